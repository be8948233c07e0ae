//! The scheduler's metrics. Names and labels are a contract with dashboards and alerts.
//!
//! | name | kind | what |
//! |---|---|---|
//! | `aftercare_pushes_total{outcome}` | counter | messages by outcome: `sent`, `address-gone`, `address-refused`, `retry`, `rejected`, `credentials-refused`, `unsent` |
//! | `aftercare_reminders_total{end}` | counter | reminders by what became of a claim: `sent`, `retrying`, `expired`, `failed`, `no-device`, `replanned`, `released`, `dropped` |
//! | `aftercare_test_pushes_total` | counter | claims of test pushes that ended, however: no count of reminders has them |
//! | `aftercare_push_lateness_seconds` | histogram | from a reminder's due moment to FCM's acceptance, first attempts only |
//! | `aftercare_push_seconds` | histogram | how long a message took, waiting for its turn included |
//! | `aftercare_dispatch_lag_seconds` | gauge | how long the oldest due reminder has waited; 0 when none is due |
//! | `aftercare_claim_batch_size` | histogram | reminders, retries and test pushes in one claim |
//! | `aftercare_leases_reclaimed_total` | counter | claims whose lease ran out before they were settled |
//! | `aftercare_lost_leases_total` | counter | outcomes that could not be written: the lease was another's by then |
//! | `aftercare_dispatch_errors_total` | counter | runs cut short by the database |
//! | `aftercare_fcm_connections` | gauge | open connections to FCM |
//! | `aftercare_fcm_credential_ok` | gauge | 1 while FCM accepts our credential, 0 while sending is paused because it does not |
//! | `aftercare_webhook_attempts_total{outcome}` | counter | attempts to tell a clinic's webhook something: `delivered`, `retry`, `failed` (given up) |
//! | `aftercare_webhook_events{state}` | gauge | events in the outbox: `pending` (to be told) and `failed` (given up, not replayed) |
//! | `aftercare_clinics_surging` | gauge | clinics that record five times as many sessions as usual, within the last 24 h |
//! | `aftercare_heartbeat_restarts_total` | counter | times the cron scheduler fell silent and was started anew |

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Registers the metrics with the installed recorder, if there is one.
pub(crate) fn begin() {
    describe();
    stand_at_zero();
}

/// Whoever alerts on an increase hears of the first one, too, only where it was 0 before.
fn stand_at_zero() {
    const PUSHED: [&str; 7] = [
        "sent",
        "address-gone",
        "address-refused",
        "retry",
        "rejected",
        "credentials-refused",
        "unsent",
    ];
    for outcome in PUSHED {
        counter!("aftercare_pushes_total", "outcome" => outcome).increment(0);
    }
    for outcome in ["delivered", "retry", "failed"] {
        counter!("aftercare_webhook_attempts_total", "outcome" => outcome).increment(0);
    }
    reclaimed(0);
    lost(0);
    counter!("aftercare_dispatch_errors_total").increment(0);
    counter!("aftercare_heartbeat_restarts_total").increment(0);
}

fn describe() {
    describe_counter!("aftercare_pushes_total", "Messages by outcome");
    describe_counter!("aftercare_reminders_total", "Reminders by what became of a claim");
    describe_counter!("aftercare_test_pushes_total", "Claims of test pushes that ended");
    describe_histogram!("aftercare_push_lateness_seconds", "From due to accepted by FCM");
    describe_histogram!("aftercare_push_seconds", "How long a message took");
    describe_gauge!("aftercare_dispatch_lag_seconds", "How long the oldest due reminder waited");
    describe_histogram!("aftercare_claim_batch_size", "Rows in one claim");
    describe_counter!("aftercare_leases_reclaimed_total", "Claims whose lease ran out");
    describe_counter!("aftercare_lost_leases_total", "Outcomes that came after their lease");
    describe_counter!("aftercare_dispatch_errors_total", "Runs cut short by the database");
    describe_gauge!("aftercare_fcm_connections", "Open connections to FCM");
    describe_gauge!("aftercare_fcm_credential_ok", "1 while FCM accepts our credential");
    describe_counter!("aftercare_webhook_attempts_total", "Attempts to tell webhooks something");
    describe_gauge!("aftercare_webhook_events", "Events in the outbox of webhooks");
    describe_gauge!("aftercare_clinics_surging", "Clinics that send far more than usual");
    describe_counter!("aftercare_heartbeat_restarts_total", "Restarts of a silent heartbeat");
}

pub(crate) fn pushed(outcome: &'static str, took: Duration) {
    counter!("aftercare_pushes_total", "outcome" => outcome).increment(1);
    histogram!("aftercare_push_seconds").record(took.as_secs_f64());
}

pub(crate) fn ended(end: &'static str, count: usize) {
    counter!("aftercare_reminders_total", "end" => end).increment(as_count(count));
}

pub(crate) fn tested(count: usize) {
    if count > 0 {
        counter!("aftercare_test_pushes_total").increment(as_count(count));
    }
}

pub(crate) fn late(seconds: f64) {
    histogram!("aftercare_push_lateness_seconds").record(seconds.max(0.0));
}

pub(crate) fn lag(seconds: f64) {
    gauge!("aftercare_dispatch_lag_seconds").set(seconds.max(0.0));
}

#[expect(clippy::cast_precision_loss, reason = "a claim has at most thousands of rows")]
pub(crate) fn claimed(rows: usize) {
    histogram!("aftercare_claim_batch_size").record(rows as f64);
}

pub(crate) fn reclaimed(rows: usize) {
    counter!("aftercare_leases_reclaimed_total").increment(as_count(rows));
}

pub(crate) fn lost(rows: usize) {
    counter!("aftercare_lost_leases_total").increment(as_count(rows));
}

pub(crate) fn run_failed() {
    counter!("aftercare_dispatch_errors_total").increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a pool has at most hundreds of connections")]
pub(crate) fn connections(open: usize) {
    gauge!("aftercare_fcm_connections").set(open as f64);
}

pub(crate) fn credential(ok: bool) {
    gauge!("aftercare_fcm_credential_ok").set(if ok { 1.0 } else { 0.0 });
}

pub(crate) fn told(outcome: &'static str) {
    counter!("aftercare_webhook_attempts_total", "outcome" => outcome).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "an outbox has at most millions of rows")]
pub(crate) fn outbox(pending: i64, failed: i64) {
    gauge!("aftercare_webhook_events", "state" => "pending").set(pending as f64);
    gauge!("aftercare_webhook_events", "state" => "failed").set(failed as f64);
}

#[expect(clippy::cast_precision_loss, reason = "a server has at most thousands of clinics")]
pub(crate) fn surging(clinics: usize) {
    gauge!("aftercare_clinics_surging").set(clinics as f64);
}

pub(crate) fn heartbeat_restarted() {
    counter!("aftercare_heartbeat_restarts_total").increment(1);
}

fn as_count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
