//! Whether a cell ended as it should.

use std::collections::BTreeSet;
use std::time::Duration;

use aftercare::ids::ReminderId;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::SqliteConnection;
use jiff::SignedDuration;

use super::cells::{Alarm, Cell, Fault};
use super::crowd::{Start, over};
use super::run::{Report, Seen};
use super::script::Script;

/// After an outage everything that is still of use is gone by then.
const DRAINED: Duration = Duration::from_mins(1);
/// As many are claimed at once; among these the order is open.
const UNDER_WAY: usize = 1_000;

/// How many ended like this.
#[derive(Debug, QueryableByName)]
pub(crate) struct Ended {
    #[diesel(sql_type = Text)]
    pub(crate) state: String,
    #[diesel(sql_type = Text)]
    pub(crate) reason: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) count: i64,
}

#[derive(QueryableByName)]
struct Sent {
    #[diesel(sql_type = Text)]
    id: String,
}

pub(crate) fn judge(
    script: &Script,
    seen: &Seen,
    look: &mut SqliteConnection,
    size: usize,
) -> Report {
    let cell = &script.cell;
    let ended = ended(look);
    let count = |end: &Ended| usize::try_from(end.count).unwrap();
    let as_it_should =
        |end: &&Ended| cell.ends.contains(&(end.state.as_str(), end.reason.as_str()));
    let well: usize = ended.iter().filter(as_it_should).map(count).sum();
    let known: BTreeSet<ReminderId> = script.taken.iter().map(|(id, ..)| *id).collect();
    let unsent = sent(look).iter().filter(|id| !known.contains(id)).count();
    let lost = size.saturating_sub(well) + unsent;
    let mut wrongs = script.wrongs.clone();
    if lost > 0 || ended.iter().map(count).sum::<usize>() != size {
        wrongs.push(format!("{lost} of {size} are lost: {ended:?}"));
    }
    if script.early > 0 {
        wrongs.push(format!("{} came too early", script.early));
    }
    if !seen.alarms.iter().eq(cell.alarm.iter()) {
        wrongs.push(format!("operators should hear of {:?}: {seen:?}", cell.alarm));
    }
    let quiet = cell.lasts.is_none() || seen.well_at_last;
    if !quiet {
        wrongs.push("it is over, and operators do not hear of it".to_owned());
    }
    wrongs.extend(judge_tokens(script, size));
    let drained = drained(script);
    wrongs.extend(judge_outage(script, drained));
    Report {
        name: cell.name,
        sends: script.sends,
        retries: script.retries,
        early: script.early,
        tokens: script.tokens,
        lost,
        drained,
        ended,
        wrongs,
    }
}

/// The first instructions of everybody: what became of them.
fn ended(look: &mut SqliteConnection) -> Vec<Ended> {
    let over = over().as_microsecond();
    let sql = format!(
        "SELECT state, coalesce(reason, '') AS reason, count(*) AS count FROM reminders \
         WHERE use_by <= {over} GROUP BY 1, 2 ORDER BY 1, 2"
    );
    sql_query(sql).load(look).unwrap()
}

fn sent(look: &mut SqliteConnection) -> Vec<ReminderId> {
    const SENT: &str = "SELECT lower(hex(id)) AS id FROM reminders WHERE state = 'sent'";
    let rows: Vec<Sent> = sql_query(SENT).load(look).unwrap();
    rows.into_iter().map(|row| row.id.parse().unwrap()).collect()
}

/// One call when it begins, one more when FCM refuses the token, and one for each look whether it is still so.
fn judge_tokens(script: &Script, size: usize) -> Option<String> {
    let cell = &script.cell;
    let most = match (cell.fault, cell.alarm) {
        (Fault::Token(_) | Fault::TokenDial(_), _) => return None,
        (_, Some(Alarm::Paused)) => 12,
        _ => 1,
    };
    let refusals = 2 * size.min(UNDER_WAY) + 16;
    if script.tokens > most {
        return Some(format!("{} tokens were asked for", script.tokens));
    }
    (script.refusals > refusals).then(|| format!("{} messages were refused", script.refusals))
}

fn drained(script: &Script) -> Option<Duration> {
    let lasts = script.cell.lasts?;
    let due_by_then = script.cell.start.at() + SignedDuration::try_from(lasts).ok()?;
    let waiting = script.taken.iter().filter(|(_, due_at, _)| *due_at <= due_by_then);
    waiting.map(|(.., at)| at.saturating_sub(lasts)).max()
}

fn judge_outage(script: &Script, drained: Option<Duration>) -> Option<String> {
    let Cell { lasts: Some(lasts), fault, start, .. } = script.cell else { return None };
    if start == Start::Burst {
        return None;
    }
    if drained.is_some_and(|took| took > DRAINED) {
        return Some(format!("the last one came {drained:?} after the end"));
    }
    // Whoever was tried waits its own time; whoever was not comes in order.
    let after = script.taken.iter().filter(|(.., at)| *at >= lasts);
    let dues: Vec<_> = after.map(|(_, due_at, _)| *due_at).collect();
    let mut in_order = dues.clone();
    in_order.sort();
    let before_its_turn = |(due, turn): &(_, _)| due > turn;
    let overtaking = dues.iter().zip(in_order.iter().skip(UNDER_WAY)).find(before_its_turn);
    let untried = matches!(fault, Fault::Token(_));
    overtaking.filter(|_| untried).map(|(due, turn)| format!("one due at {due} came before {turn}"))
}
