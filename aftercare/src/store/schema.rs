//! The tables, as both engines have them; the migrations are the truth.

#![allow(missing_docs, unreachable_pub, reason = "made by diesel's table! macro")]

use diesel::{allow_tables_to_appear_in_same_query, joinable, table};

table! {
    use diesel::sql_types::{Binary, Bool, Integer, Nullable};
    use crate::store::sql::Instant;
    server (id) {
        id -> Integer,
        key_check -> Binary,
        created_at -> Instant,
        master_key -> Integer,
        index_key_wrapped -> Nullable<Binary>,
        audit_key_wrapped -> Nullable<Binary>,
        audit_head_logged_at -> Nullable<Instant>,
        sending_paused -> Bool,
    }
}

table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use crate::store::sql::Instant;
    signing_keys (id) {
        id -> Text,
        private_sealed -> Nullable<Binary>,
        public_key -> Binary,
        created_at -> Instant,
        signs_from -> Instant,
        retired_at -> Nullable<Instant>,
    }
}

table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use crate::store::sql::{Doc, Id, Instant};
    clinics (id) {
        id -> Id,
        client_id -> Text,
        display_name -> Text,
        time_zone -> Text,
        locale -> Text,
        contact_phone -> Nullable<Text>,
        slots -> Doc,
        push_content -> Text,
        paused -> Bool,
        created_at -> Instant,
    }
}

table! {
    use diesel::sql_types::{Nullable, Text};
    use crate::store::sql::{Id, Instant};
    client_secrets (id) {
        id -> Id,
        clinic_id -> Id,
        hash -> Text,
        created_at -> Instant,
        revoked_at -> Nullable<Instant>,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Nullable, Text};
    use crate::store::sql::{Doc, Id, Instant};
    patients (id) {
        id -> Id,
        clinic_id -> Id,
        ref_hash -> Binary,
        ref_sealed -> Binary,
        key_wrapped -> Binary,
        time_zone -> Nullable<Text>,
        locale -> Nullable<Text>,
        preferences -> Doc,
        plan_version -> BigInt,
        created_at -> Instant,
        updated_at -> Instant,
        time_zone_as_of -> Nullable<Instant>,
        locale_as_of -> Nullable<Instant>,
    }
}

table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use crate::store::sql::{Id, Instant};
    consents (patient_id, kind) {
        patient_id -> Id,
        kind -> Text,
        granted -> Bool,
        notice_version -> Nullable<Text>,
        at -> Instant,
    }
}

table! {
    use diesel::sql_types::{Binary, Nullable};
    use crate::store::sql::{Id, Instant};
    sessions (id) {
        id -> Id,
        clinic_id -> Id,
        patient_id -> Nullable<Id>,
        installation_hash -> Nullable<Binary>,
        created_at -> Instant,
        expires_at -> Nullable<Instant>,
        revoked_at -> Nullable<Instant>,
        client_secret_id -> Nullable<Id>,
    }
}

table! {
    use diesel::sql_types::{Binary, Nullable};
    use crate::store::sql::{Id, Instant};
    refresh_tokens (id) {
        id -> Id,
        session_id -> Id,
        hash -> Binary,
        created_at -> Instant,
        expires_at -> Instant,
        spent_at -> Nullable<Instant>,
        successor_id -> Nullable<Id>,
    }
}

table! {
    use diesel::sql_types::{Binary, Nullable};
    use crate::store::sql::{Id, Instant};
    enrolments (id) {
        id -> Id,
        clinic_id -> Id,
        patient_id -> Id,
        code_hash -> Binary,
        created_at -> Instant,
        expires_at -> Instant,
        redeemed_at -> Nullable<Instant>,
    }
}

table! {
    use diesel::sql_types::{Binary, Bool, Nullable, Text};
    use crate::store::sql::{Id, Instant};
    devices (id) {
        id -> Id,
        patient_id -> Id,
        installation_hash -> Binary,
        installation_sealed -> Binary,
        address_kind -> Text,
        address_hash -> Nullable<Binary>,
        address_sealed -> Nullable<Binary>,
        platform -> Text,
        time_zone -> Text,
        locale -> Text,
        notifications_enabled -> Bool,
        delivery -> Text,
        state -> Text,
        state_reason -> Nullable<Text>,
        session_id -> Nullable<Id>,
        last_seen_at -> Instant,
        created_at -> Instant,
    }
}

table! {
    use diesel::sql_types::{Integer, Nullable, Text};
    use crate::store::sql::{Doc, Id, Instant};
    protocols (id) {
        id -> Id,
        clinic_id -> Nullable<Id>,
        slug -> Text,
        version -> Integer,
        document -> Doc,
        created_at -> Instant,
    }
}

table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use crate::store::sql::{Doc, Id, Instant};
    treatments (id) {
        id -> Id,
        clinic_id -> Id,
        patient_id -> Id,
        namespace -> Text,
        event_hash -> Binary,
        event_sealed -> Binary,
        content_hash -> Binary,
        protocol_id -> Id,
        completed_at -> Instant,
        time_zone -> Text,
        areas -> Doc,
        state -> Text,
        next_session_at -> Nullable<Instant>,
        metadata_sealed -> Nullable<Binary>,
        recorded_at -> Instant,
        voided_at -> Nullable<Instant>,
        updated_at -> Instant,
        session_due_at -> Nullable<Instant>,
        session_told_at -> Nullable<Instant>,
        closed_at -> Nullable<Instant>,
        over_at -> Nullable<Instant>,
    }
}

table! {
    use diesel::sql_types::{Bool, Integer, Nullable, Text};
    use crate::store::sql::{Doc, Id, Instant};
    reminders (id) {
        id -> Id,
        clinic_id -> Id,
        patient_id -> Id,
        treatment_id -> Id,
        step_id -> Text,
        due_at -> Instant,
        use_by -> Instant,
        state -> Text,
        reason -> Nullable<Text>,
        members -> Doc,
        attempt_at -> Nullable<Instant>,
        attempts -> Integer,
        lease_id -> Nullable<Id>,
        leased_until -> Nullable<Instant>,
        sent_at -> Nullable<Instant>,
        created_at -> Instant,
        updated_at -> Instant,
        said -> Nullable<Doc>,
        snoozed_until -> Nullable<Instant>,
        shelved -> Bool,
    }
}

table! {
    use diesel::sql_types::Text;
    use crate::store::sql::{Id, Instant};
    receipts (reminder_id, kind) {
        reminder_id -> Id,
        patient_id -> Id,
        kind -> Text,
        at -> Instant,
        reported_at -> Instant,
    }
}

table! {
    use crate::store::sql::{Id, Instant};
    snoozes (id) {
        id -> Id,
        reminder_id -> Id,
        patient_id -> Id,
        at -> Instant,
        until -> Instant,
    }
}

table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use crate::store::sql::{Id, Instant};
    amendments (id) {
        id -> Id,
        clinic_id -> Id,
        patient_id -> Nullable<Id>,
        treatment_id -> Nullable<Id>,
        kind -> Text,
        namespace -> Text,
        event_hash -> Nullable<Binary>,
        supersedes_hash -> Nullable<Binary>,
        content_hash -> Nullable<Binary>,
        at -> Instant,
        content_sealed -> Binary,
        received_at -> Instant,
    }
}

table! {
    use diesel::sql_types::Binary;
    use crate::store::sql::{Id, Instant};
    signing_secrets (id) {
        id -> Id,
        clinic_id -> Id,
        secret_sealed -> Binary,
        created_at -> Instant,
    }
}

table! {
    use diesel::sql_types::{Binary, Integer};
    use crate::store::sql::{Id, Instant};
    webhook_answers (clinic_id, message_hash) {
        clinic_id -> Id,
        message_hash -> Binary,
        status -> Integer,
        body_sealed -> Binary,
        received_at -> Instant,
    }
}

table! {
    use diesel::sql_types::{Integer, Nullable, Text};
    use crate::store::sql::{Id, Instant};
    deliveries (id) {
        id -> Id,
        reminder_id -> Id,
        patient_id -> Id,
        device_id -> Id,
        attempt -> Integer,
        state -> Text,
        status -> Nullable<Integer>,
        code -> Nullable<Text>,
        detail -> Nullable<Text>,
        at -> Instant,
        retry_at -> Nullable<Instant>,
        lease_id -> Nullable<Id>,
        leased_until -> Nullable<Instant>,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Nullable, Text};
    use crate::store::sql::{Id, Instant};
    audit (id) {
        id -> Id,
        at -> Instant,
        clinic_id -> Nullable<Id>,
        actor -> Text,
        action -> Text,
        subject -> Nullable<Text>,
        seq -> Nullable<BigInt>,
        prev -> Nullable<Binary>,
        hash -> Nullable<Binary>,
    }
}

table! {
    use diesel::sql_types::Binary;
    use crate::store::sql::{Id, Instant};
    calendars (patient_id) {
        patient_id -> Id,
        token_hash -> Binary,
        token_sealed -> Binary,
        created_at -> Instant,
    }
}

table! {
    use diesel::sql_types::Text;
    use crate::store::sql::Instant;
    fcm_lines (project) {
        project -> Text,
        seen_at -> Instant,
        next_at -> Instant,
        ramp_began_at -> Instant,
    }
}

table! {
    use crate::store::sql::{Id, Instant};
    erasures (patient_id) {
        patient_id -> Id,
        clinic_id -> Id,
        at -> Instant,
    }
}

table! {
    use diesel::sql_types::Text;
    use crate::store::sql::{Id, Instant};
    protocol_aliases (clinic_id, code) {
        clinic_id -> Id,
        code -> Text,
        slug -> Text,
        created_at -> Instant,
    }
}

table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use crate::store::sql::{Id, Instant};
    staff (id) {
        id -> Id,
        clinic_id -> Id,
        name -> Text,
        sign_in -> Text,
        password_hash -> Nullable<Text>,
        invitation_hash -> Nullable<Binary>,
        invitation_ends_at -> Nullable<Instant>,
        created_at -> Instant,
    }
}

table! {
    use diesel::sql_types::{Nullable, Text};
    use crate::store::sql::{Id, Instant};
    protocol_moves (clinic_id, slug) {
        clinic_id -> Id,
        slug -> Text,
        protocol_id -> Id,
        reached -> Nullable<Id>,
        started_at -> Instant,
    }
}

table! {
    use diesel::sql_types::Binary;
    use crate::store::sql::{Id, Instant};
    staff_sessions (id) {
        id -> Id,
        staff_id -> Id,
        token_hash -> Binary,
        created_at -> Instant,
        used_at -> Instant,
    }
}

table! {
    use diesel::sql_types::{Integer, Nullable, Text};
    use crate::store::sql::{Id, Instant};
    test_pushes (patient_id) {
        patient_id -> Id,
        clinic_id -> Id,
        id -> Id,
        state -> Text,
        reason -> Nullable<Text>,
        requested_at -> Instant,
        use_by -> Instant,
        rested_at -> Instant,
        attempt_at -> Nullable<Instant>,
        attempts -> Integer,
        lease_id -> Nullable<Id>,
        leased_until -> Nullable<Instant>,
        sent_at -> Nullable<Instant>,
        displayed_at -> Nullable<Instant>,
        acknowledged_at -> Nullable<Instant>,
    }
}

table! {
    use diesel::sql_types::{Binary, Nullable};
    use crate::store::sql::{Doc, Id, Instant};
    webhooks (id) {
        id -> Id,
        clinic_id -> Id,
        target_sealed -> Binary,
        types -> Doc,
        created_at -> Instant,
        disabled_at -> Nullable<Instant>,
    }
}

table! {
    use diesel::sql_types::{BigInt, Integer, Nullable, Text};
    use crate::store::sql::{Doc, Id, Instant};
    webhook_events (seq) {
        seq -> BigInt,
        id -> Id,
        webhook_id -> Id,
        subject -> Id,
        patient_id -> Nullable<Id>,
        kind -> Text,
        data -> Doc,
        once -> Nullable<Text>,
        state -> Text,
        created_at -> Instant,
        attempts -> Integer,
        attempt_at -> Nullable<Instant>,
        lease_id -> Nullable<Id>,
        give_up_at -> Instant,
        settled_at -> Nullable<Instant>,
        trouble -> Nullable<Text>,
    }
}

joinable!(amendments -> patients (patient_id));
joinable!(client_secrets -> clinics (clinic_id));
joinable!(patients -> clinics (clinic_id));
joinable!(devices -> patients (patient_id));
joinable!(treatments -> patients (patient_id));
joinable!(refresh_tokens -> sessions (session_id));
joinable!(staff_sessions -> staff (staff_id));

allow_tables_to_appear_in_same_query!(
    amendments,
    clinics,
    client_secrets,
    deliveries,
    devices,
    patients,
    refresh_tokens,
    reminders,
    sessions,
    signing_keys,
    staff,
    staff_sessions,
    treatments,
    webhooks,
);
