//! Units of work: what the API and the scheduler do, each over one open transaction.
//!
//! A request handler opens a transaction, calls one function from here and commits: a treatment
//! and its plan are recorded together or not at all. Whatever changes what planning looks at ends
//! with [`replan`].

mod amend;
mod calendar;
mod can;
mod case;
mod clinics;
mod consents;
mod courses;
mod desk;
mod devices;
pub mod dispatch;
mod each;
mod erasure;
mod events;
mod export;
mod handout;
mod moving;
mod paging;
mod patients;
mod phone_clock;
mod plan;
mod preferences;
mod protocols;
mod publish;
mod reachability;
mod reading;
mod receipts;
mod replan;
mod retention;
mod signing_keys;
mod signing_secrets;
mod snooze;
mod surge;
mod test_push;
mod timeline;
mod treatments;
pub mod turns;
mod webhooks;
mod why;

pub use amend::{AmendError, SessionPatch, amend_treatment, book_next_session};
pub use calendar::{Entry, EntryKind, Feed, When, calendar_feed, close_calendar, open_calendar};
pub use can::{CanAnswer, CanError, Verdict, can};
pub use case::{Case, Source, cases, locked_case};
pub use clinics::{ClinicError, ClinicPatch, change_clinic, clinic_name};
pub use consents::{ConsentError, ConsentView, ConsentWord, consent, tell_consent};
pub use courses::tell_due_sessions;
pub use desk::{
    DeskPatient, DeskSession, DeskTreatment, UNDO, UndoError, desk_patient, desk_session,
    last_recorded, recorded_at_desk, undo_treatment,
};
pub use devices::{
    drop_silent_devices, patients_with_silent_devices, register_device, remove_device,
};
pub use each::{Each, each_patient};
pub use erasure::{ErasedBy, erase_patient};
pub use events::{Received, Says, SessionEvent, receive_event};
pub use export::{Export, export};
pub use handout::{Handout, handout};
pub use moving::{Impact, move_running, protocol_impact};
pub use paging::cut;
pub use patients::upsert_patient;
pub use plan::{replan, replan_case};
pub use preferences::{PreferencesError, PreferencesPatch, change_preferences};
pub use protocols::{protocol_of, seed_protocols};
pub use publish::{
    Draft, PublishError, Published, Running, TryOut, draft, name_protocol, publish_protocol,
    try_protocol,
};
pub use reachability::{Unheard, UnheardPage, UnheardReminder, unheard};
pub use reading::{Reading, note_own_export, note_reading};
pub use receipts::{Receipts, ReceiptsError, Reported, record_receipts};
pub use replan::{ReplanFilter, Replanned, replan_everybody};
pub use retention::{Retention, RetentionError, close_if_over, erase_if_over};
pub use signing_keys::{
    ACCESS_LIFETIME, PUBLISHED_AHEAD, Rotation, Turn, ensure_signing_key, needs_care,
    replace_signing_keys, rotate_signing_keys, signing_key,
};
pub use signing_secrets::{SecretRefused, add_signing_secret, delete_signing_secret};
pub use snooze::{SnoozeError, snooze};
pub use surge::surges;
pub use test_push::{Asked, TestPushError, ask_test_push};
pub use timeline::{
    ClinicCard, CourseView, ReminderView, RestrictionView, Timeline, TreatmentCard, TreatmentView,
    Warning, timeline, treatment, treatment_views,
};
pub use treatments::{
    AreasSaid, Namespace, PatientRef, ProtocolName, RecordError, Recorded, Refusal, SessionDone,
    record_treatment, void_treatment,
};
pub use webhooks::{
    Failures, Message, Outbound, Told, WebhookError, claim_webhook, create_webhook, delete_webhook,
    give_up_for_the_gone, replay_webhook, settle_webhook, webhook_failures,
};
pub use why::{RuleBehind, ShiftBehind, StepBehind, TreatmentBehind, Why, why};
