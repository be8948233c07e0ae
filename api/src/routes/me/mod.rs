//! What a patient's own app asks and tells, one file for each thing it is about.

mod can;
mod consents;
mod preferences;
mod receipts;
mod reminders;
mod timeline;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) use timeline::{answer_timeline, digest_tag, matches};

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(timeline::get_my_timeline)
        .service(can::can_i)
        .service(preferences::get_my_preferences)
        .service(preferences::patch_my_preferences)
        .service(consents::get_my_consent)
        .service(consents::put_my_consent)
        .service(receipts::post_my_receipts)
        .service(reminders::snooze_my_reminder)
        .service(reminders::why_my_reminder);
}
