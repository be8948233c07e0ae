//! `aftercare demo`: a whole course in seconds, over the real API, scheduler and FCM HTTP v1.

mod clock;
mod http;
mod stage;
mod story;

use aftercare::locale::Locale;
use aftercare::protocol::{Area, shipped};
use aftercare::zone::Zone;
use jiff::civil::DateTime;
use jiff::{Span, Timestamp};

use super::Failure;
use super::logging::Logging;
use super::serve::stopped;
use stage::Stage;
use story::Story;

#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  aftercare demo --zone America/New_York --lang es\n  aftercare demo \
--at 2026-10-24T23:50 --areas scalp\n  aftercare demo --keep"
)]
pub(super) struct Args {
    /// The time zone of the clinic, the treatment and the phone
    #[arg(long, default_value = "Europe/Lisbon", value_name = "ZONE")]
    zone: Zone,
    /// When the first session ends, on the wall of --zone [default: 2026-11-22T15:40; with --keep,
    /// 15:40 three months ago]
    #[arg(long, value_name = "TIME")]
    at: Option<DateTime>,
    /// The language of the phone, as a BCP 47 tag
    #[arg(long, default_value = "en", value_name = "TAG")]
    lang: Locale,
    /// The areas treated, separated by commas [default: the protocol's own]
    #[arg(long, value_delimiter = ',', value_parser = super::plan::area, value_name = "AREAS")]
    areas: Vec<Area>,
    /// Leave everything running, on the real clock, and print curl lines with live tokens
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    logging: Quiet,
}

/// The demo's own lines matter more than the log's.
#[derive(Debug, Clone, clap::Args)]
struct Quiet {
    /// What to log: a level, or directives such as info,aftercare=debug
    #[arg(
        long,
        env = "AFTERCARE_LOG",
        hide_env_values = true,
        default_value = "error",
        value_name = "FILTER"
    )]
    log: String,
}

/// The day on which the story begins unless it is told otherwise.
const DAY: DateTime = DateTime::constant(2026, 11, 22, 15, 40, 0, 0);

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    Logging::text(&args.logging.log).start()?;
    let Some(protocol) = shipped().iter().find(|s| s.protocol.slug == "microneedling") else {
        return Err(Failure::Work("the microneedling protocol is not in this binary".to_owned()));
    };
    if let Some(area) = args.areas.iter().find(|area| !protocol.protocol.areas.contains(area)) {
        return Err(Failure::Usage(format!("microneedling is not applied to the {area}")));
    }
    let completed_at = begin(&args)?;
    // From here on: nothing may stay behind, whenever it is stopped.
    let asked = tokio::spawn(stopped());
    let stage = Stage::set(completed_at, &args.zone).await?;
    let played = tokio::select! {
        played = play(&stage, &args, completed_at) => played,
        stop = asked => stop.map_err(Failure::work).flatten(),
    };
    stage.strike().await;
    played
}

async fn play(stage: &Stage, args: &Args, completed_at: Timestamp) -> Result<(), Failure> {
    let story = Story::begin(stage, args, completed_at).await?;
    story.tell().await?;
    if args.keep {
        stage.release();
        story.leave_running().await?;
    }
    Ok(())
}

fn begin(args: &Args) -> Result<Timestamp, Failure> {
    let today = || {
        let now = aftercare::clock::Env::system().now().to_zoned(args.zone.tz().clone()).date();
        now.checked_sub(Span::new().months(3)).map(|day| day.to_datetime(DAY.time()))
    };
    let local = match (args.at, args.keep) {
        (Some(at), _) => at,
        (None, true) => today().map_err(Failure::work)?,
        (None, false) => DAY,
    };
    if !(2000..=2199).contains(&local.year()) {
        return Err(Failure::Usage(format!("--at {local} is not in the years 2000 to 2199")));
    }
    args.zone.tz().to_ambiguous_timestamp(local).compatible().map_err(Failure::work)
}
