//! The observer: judges every message in the moment it arrives, by what it knows of the world and by nothing of
//! what the product decided.

use std::time::Duration;

use aftercare::clock::Clock as _;
use aftercare::ids::ReminderId;
use jiff::{SignedDuration, Timestamp};

use crate::fcm::{End, Reply};
use crate::history::{AT_ONCE, UNDER_WAY};
use crate::ledger::{Facts, Patient, Session};
use crate::message::Message;
use crate::rows::{self, Lease, Row};
use crate::rules::{Step, quiet_since, usual};
use crate::world::World;

/// The longest that a scheduler waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How late a message may be that was due before the quiet hours.
const BUSY: SignedDuration = SignedDuration::from_mins(5);
/// What follows an answer is written down within that time, by whoever is not stopped.
pub(crate) const WRITTEN: Duration = Duration::from_secs(150);

/// A message at FCM's door.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) process: u8,
    pub(crate) at: Duration,
    pub(crate) reminder: ReminderId,
    pub(crate) address: String,
    /// The lease that the reminder was under.
    pub(crate) lease: Option<Lease>,
    /// When the lease ends that it left under, the reminder's or a single device's.
    pub(crate) until: Option<Timestamp>,
    pub(crate) reply: Reply,
    /// When its connection broke under it.
    pub(crate) cut: Option<Duration>,
    /// When its answer reached whoever asked.
    pub(crate) answered: Option<Duration>,
    /// Whether they wrote it down as sent.
    pub(crate) written: bool,
}

impl Arrival {
    /// Whether a scheduler knows that it was taken.
    pub(crate) fn is_known_taken(&self) -> bool {
        self.reply.taken && self.reply.words.0.is_empty() && self.answered.is_some()
    }

    /// From when on it may be tried again; `None`: at once.
    pub(crate) fn again_from(&self) -> Option<Duration> {
        let Some(answered) = self.answered else {
            let gone = self.reply.end == End::Refuse;
            let lost = self.cut.unwrap_or(self.at + self.reply.after.min(PATIENCE));
            return (!gone).then(|| lost + Duration::from_secs(10));
        };
        let asked = self.reply.retry_after.map(|after| Duration::from_secs(after.max(1)));
        let wait = match self.reply.status {
            429 => asked.unwrap_or(Duration::from_mins(1)),
            200 | 500 | 503 => asked.unwrap_or(Duration::from_secs(10)),
            _ => return None,
        };
        Some(answered + wait)
    }
}

impl World {
    /// A message arrives: what comes of it, and its number.
    pub(crate) fn arrives(&mut self, process: u8, body: &[u8]) -> (u64, Reply) {
        let now = self.clock.elapsed();
        let message = match Message::read(body, self.clock.now()) {
            Ok(message) => message,
            Err(why) => {
                self.wrong(why);
                return (u64::MAX, self.fcm.reply(""));
            }
        };
        self.see_writes();
        let row = rows::reminder(&mut self.look, message.reminder);
        if let Some(row) = &row {
            self.holders.insert(row.id, row.lease.clone());
        }
        let reply = self.fcm.reply(&message.address);
        let n = self.arrivals.len() as u64;
        self.tell(
            &format!("process {process}"),
            &format!(
                "sends {} to {}, due {}, of use until {}; {}{} after {:?} {:?} ({})",
                message.reminder,
                message.address,
                message.due_at,
                message.use_by,
                reply.status,
                reply.retry_after.map(|s| format!(" again in {s} s")).unwrap_or_default(),
                reply.after,
                reply.end,
                message.words,
            ),
        );
        let leases = rows::retry_leases(&mut self.look, message.reminder);
        let retried = leases.get(&process).copied();
        if let Err(why) = self.judge(process, &message, row.as_ref(), retried.is_some()) {
            self.wrong(format!("{why}: {} to {}", message.reminder, message.address));
        }
        let lease = row.as_ref().and_then(|row| row.lease.clone());
        let of_reminder = lease.as_ref().filter(|lease| lease.process() == process);
        self.arrivals.push(Arrival {
            process,
            at: now,
            reminder: message.reminder,
            address: message.address,
            until: of_reminder.map(|lease| lease.until).or(retried),
            lease,
            reply,
            answered: None,
            cut: None,
            written: false,
        });
        self.wake_zombies(process, message.reminder);
        self.mischief(process, row.as_ref(), reply);
        (n, reply)
    }

    /// The connection broke that their answers were to come by.
    pub(crate) fn cut(&mut self, open: impl IntoIterator<Item = u64>) {
        let now = self.clock.elapsed();
        for n in open {
            let arrival = usize::try_from(n).ok().and_then(|n| self.arrivals.get_mut(n));
            if let Some(arrival) = arrival {
                arrival.cut = Some(now);
            }
        }
    }

    /// The answer went out; it counts if somebody still listens.
    pub(crate) fn answered(&mut self, n: u64) {
        let now = self.clock.elapsed();
        let Some(arrival) = usize::try_from(n).ok().and_then(|n| self.arrivals.get_mut(n)) else {
            return;
        };
        let alive = self.processes.get(&arrival.process).is_some_and(|one| one.ended.is_none());
        if !alive || now >= arrival.at + PATIENCE {
            return;
        }
        arrival.answered = Some(now);
        let refused = match arrival.reply.words {
            (_, Some("UNREGISTERED" | "SENDER_ID_MISMATCH")) => arrival.address.clone(),
            _ => return,
        };
        if let Some(address) = self.ledger.addresses.get_mut(&refused) {
            address.refused.get_or_insert(now);
            if let Some((owner, _)) = *address.owner.now() {
                self.ledger.reach(owner, now);
            }
        }
    }

    /// The earliest moment in which a message that leaves now may have been looked at.
    fn looked(&self) -> Duration {
        let now = self.clock.elapsed();
        let disturbed = self.disturbed(now.saturating_sub(Duration::from_mins(1)), now);
        now.saturating_sub(if disturbed { UNDER_WAY } else { AT_ONCE })
    }

    fn judge(
        &self,
        process: u8,
        message: &Message,
        row: Option<&Row>,
        retried: bool,
    ) -> Result<(), String> {
        let looked = self.looked();
        let Some(row) = row else {
            let owner = self.ledger.addresses.get(&message.address).map(|one| &one.owner);
            let forgotten =
                owner.into_iter().flat_map(|owner| owner.since(looked)).flatten().any(|(n, _)| {
                    self.ledger.patients[*n].erased.since(looked).any(|erased| *erased)
                });
            return if forgotten { Ok(()) } else { Err("there is no such reminder".to_owned()) };
        };
        let n = self.ledger.by_id(row.patient).ok_or("there is no such patient")?;
        self.judge_person(n, message, row)?;
        self.judge_lease(process, row, retried)?;
        let members: Vec<_> = row.members();
        let members: Vec<(&Session, String)> =
            members.into_iter().map(|(id, step)| (&self.ledger.sessions[&id], step)).collect();
        self.judge_members(n, &members)?;
        self.judge_time(n, message, row, &members)?;
        self.judge_quiet(n, message, &members)?;
        let booking = members.iter().any(|(session, step)| {
            self.rules.step(&session.slug, step).is_some_and(Step::is_of_a_booking)
        });
        self.judge_repeat(n, message, row, booking)
    }

    fn judge_person(&self, n: usize, message: &Message, row: &Row) -> Result<(), String> {
        let (now, looked) = (self.clock.elapsed(), self.looked());
        let patient = &self.ledger.patients[n];
        let address = self.ledger.addresses.get(&message.address).ok_or("an unknown address")?;
        if !address.owner.since(looked).flatten().any(|(owner, _)| *owner == n) {
            return Err(format!("it is patient {n}'s, and the phone is not"));
        }
        if patient.erased.since(looked).all(|erased| *erased) {
            return Err("the patient is erased".to_owned());
        }
        if patient.aftercare.since(looked).all(|granted| !granted) {
            return Err("without consent".to_owned());
        }
        if self.ledger.silenced(patient, looked) {
            return Err("while sending is paused".to_owned());
        }
        if let Some(refused) = address.refused
            && now > refused + WRITTEN
            && address.owner.changed_at() + WRITTEN < now
            && !self.disturbed(refused.saturating_sub(PATIENCE), refused + WRITTEN)
        {
            return Err("FCM has said that the app is gone".to_owned());
        }
        if row.use_by != message.use_by && patient.planned + WRITTEN < now {
            return Err(format!("its use-by is {}", row.use_by));
        }
        Ok(())
    }

    fn judge_members(&self, n: usize, members: &[(&Session, String)]) -> Result<(), String> {
        let (looked, patient) = (self.looked(), &self.ledger.patients[n]);
        for (session, step) in members {
            if step.starts_with("correction-") {
                continue;
            }
            if session.voided.since(looked).all(|voided| *voided) {
                return Err(format!("{step} of a voided treatment"));
            }
            let Some(step) = self.rules.step(&session.slug, step) else {
                return Err(format!("{} has no step {step}", session.slug));
            };
            if step.is_recall() && patient.recall.since(looked).all(|granted| !granted) {
                return Err("without consent to be recalled".to_owned());
            }
        }
        Ok(())
    }

    /// What the step's moment was in any zone and by any facts that counted since shortly before.
    fn moments<'a>(
        &'a self,
        since: Duration,
        (patient, session): (&'a Patient, &'a Session),
        moment: impl Fn(&Facts, &jiff::tz::TimeZone) -> Option<Timestamp> + Copy + 'a,
    ) -> impl Iterator<Item = Timestamp> + 'a {
        let (from, now) = (since.saturating_sub(UNDER_WAY), self.clock.elapsed());
        patient.zone.between(from, now).flat_map(move |zone| {
            session.facts.between(from, now).filter_map(move |facts| moment(facts, zone.tz()))
        })
    }

    fn judge_time(
        &self,
        n: usize,
        message: &Message,
        row: &Row,
        members: &[(&Session, String)],
    ) -> Result<(), String> {
        let (clock, patient) = (self.clock.now(), &self.ledger.patients[n]);
        let snoozed = self.snoozed.contains_key(&message.reminder);
        // What a phone of theirs has already stays where it was, wherever they go: another's, and what was put off.
        let first = if snoozed {
            self.arrivals.iter().find(|arrival| arrival.reminder == message.reminder)
        } else {
            self.arrivals_of(row.id).next().filter(|_| row.state == "sent")
        };
        let since = first.map_or_else(|| self.clock.elapsed(), |first| first.at);
        if message.use_by <= clock {
            return Err("at or after its use-by".to_owned());
        }
        let mut due = snoozed || self.stepped_lately();
        if message.due_at > clock && !self.stepped_lately() {
            return Err("before it is due".to_owned());
        }
        for (session, name) in members {
            let Some(step) = self.rules.step(&session.slug, name) else {
                due = true;
                continue;
            };
            let named = patient.exercises && step.is_before_exercise();
            let over = self
                .moments(since, (patient, session), move |facts, zone| step.use_by(facts, zone));
            if !named && over.max().is_none_or(|over| over <= clock) {
                return Err(format!("after the use-by of {name}"));
            }
            let mut dues =
                self.moments(since, (patient, session), move |facts, zone| step.due(facts, zone));
            due |= dues.any(|at| at <= clock || self.moved_forward(patient, at, clock));
            due |= named;
        }
        if due { Ok(()) } else { Err("before any of its steps is due".to_owned()) }
    }

    /// Whether quiet hours hold at the moment and began before that clock's.
    fn moved_forward(&self, patient: &Patient, at: Timestamp, clock: Timestamp) -> bool {
        let looked = self.looked();
        patient.zone.since(looked).any(|zone| {
            patient.quiet.since(looked).any(|quiet| {
                let since = quiet_since(at, quiet.unwrap_or_else(usual), zone.tz());
                since.is_some_and(|since| since <= clock)
            })
        })
    }

    fn judge_quiet(
        &self,
        n: usize,
        message: &Message,
        members: &[(&Session, String)],
    ) -> Result<(), String> {
        let (looked, clock) = (self.looked(), self.clock.now());
        let patient = &self.ledger.patients[n];
        let first = |(session, step): &(&Session, String)| {
            let ends = session.facts.since(looked).map(|facts| facts.completed_at);
            let late = ends.max().map(|ends| session.recorded_at.duration_since(ends));
            step == "start" && late.is_some_and(|late| late <= SignedDuration::from_mins(30))
        };
        if members.iter().all(first) || self.stepped_lately() {
            return Ok(());
        }
        let disturbs = |quiet, zone: &aftercare::zone::Zone| {
            let Some(since) = quiet_since(clock, quiet, zone.tz()) else { return false };
            // What was due before they began may be a little late.
            let busy = message.due_at <= since && clock.duration_since(message.due_at) <= BUSY;
            // The patient put it off into these very hours.
            let asked = self.snoozed.get(&message.reminder).is_some_and(|until| {
                *until == message.due_at && quiet_since(*until, quiet, zone.tz()) == Some(since)
            });
            !busy && !asked
        };
        let zones = || patient.zone.since(looked);
        let all = patient
            .quiet
            .since(looked)
            .all(|quiet| zones().all(|zone| disturbs(quiet.unwrap_or_else(usual), zone)));
        if all { Err("in quiet hours".to_owned()) } else { Ok(()) }
    }

    /// Only who holds the reminder, or one of its devices, may send; what was taken back while it left, did.
    fn judge_lease(&self, process: u8, row: &Row, retried: bool) -> Result<(), String> {
        let (now, clock) = (self.clock.elapsed(), self.clock.now());
        let held =
            row.lease.as_ref().filter(|lease| row.state == "claimed" && lease.process() == process);
        if let Some(lease) = held {
            return if lease.until > clock { Ok(()) } else { Err("after its lease".to_owned()) };
        }
        let patient = self.ledger.by_id(row.patient).map(|n| &self.ledger.patients[n]);
        let taken_back = patient.is_some_and(|patient| patient.planned + UNDER_WAY > now);
        if retried || taken_back || self.stepped_lately() {
            Ok(())
        } else {
            Err(format!("process {process} does not hold it ({} {:?})", row.state, row.lease))
        }
    }
}
