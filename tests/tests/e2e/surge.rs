//! A clinic that sends far more than it is used to is noticed.

use aftercare::care;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::SignedDuration;

use crate::stage::Stage;

const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Stage {
    /// So many patients are treated now.
    async fn record(&self, day: &str, count: usize) {
        for n in 0..count {
            let patient = format!("{day}-{n}");
            self.patient(&patient).await;
            self.session_done(&patient, &patient).await;
        }
    }

    async fn surges(&self) -> Vec<(i64, i64)> {
        let surges = self.bed.store.read(care::surges).await.unwrap();
        assert!(surges.iter().all(|surge| surge.clinic == self.clinic.clinic_id));
        surges.into_iter().map(|surge| (surge.lately, surge.before)).collect()
    }
}

async fn five_times_the_usual_number_of_sessions_is_noticed(bed: Bed) {
    let stage = Stage::set(bed).await;
    assert_eq!(stage.surges().await, []);
    stage.record("first", 20).await;
    assert_eq!(stage.surges().await, [], "that many surprise nobody");
    stage.record("more", 1).await;
    assert_eq!(stage.surges().await, [(21, 0)], "of who never sent any, too");
    stage.bed.clock.advance(DAY);
    assert_eq!(stage.surges().await, []);

    // 123 in four weeks: five times a day's mean is not quite 22.
    stage.record("second", 102).await;
    stage.bed.clock.advance(DAY * 2);
    stage.record("third", 21).await;
    assert_eq!(stage.surges().await, [], "more than twenty, and usual");
    stage.record("fourth", 1).await;
    assert_eq!(stage.surges().await, [(22, 123)]);
    stage.bed.clock.advance(DAY * 28);
    stage.record("fifth", 21).await;
    assert_eq!(stage.surges().await, [(21, 22)], "what is older than that does not count");
}

on_both_engines!(five_times_the_usual_number_of_sessions_is_noticed);
