//! `aftercare plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;

use aftercare::locale::Locale;
use aftercare::planner::{Preview, Trial, preview};
use aftercare::protocol::{Area, NotAName, Protocol, shipped};
use aftercare::zone::Zone;
use jiff::Timestamp;
use jiff::civil::DateTime;

use super::{Failure, heading};

/// What can be planned begins with 2000-01-01T00:00Z, as what can be recorded does …
const FIRST: Timestamp = Timestamp::constant(946_684_800, 0);
/// … and ends with 2199-12-31T23:59:59Z: time-zone rules that far ahead are guesses already.
const LAST: Timestamp = Timestamp::constant(7_258_118_399, 0);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  aftercare plan --at 2026-11-22T15:40 --zone Europe/Lisbon --lang es"
)]
pub(super) struct Args {
    /// The protocol: the name of a shipped one, or a file
    #[arg(long, default_value = "microneedling", value_name = "NAME|FILE")]
    protocol: String,
    /// When the session ended, on the wall of --zone (2026-11-22T15:40), or with an offset (…Z)
    #[arg(long, value_name = "TIME", required_unless_present = "batch")]
    at: Option<String>,
    /// The IANA time zone of treatment and patient, such as Europe/Lisbon
    #[arg(long, value_name = "ZONE", required_unless_present = "batch")]
    zone: Option<Zone>,
    /// The areas treated, separated by commas [default: the protocol's own]
    #[arg(long, value_delimiter = ',', value_parser = area, value_name = "AREAS")]
    areas: Vec<Area>,
    /// The language of the texts, as a BCP 47 tag
    #[arg(long, default_value = "en", value_name = "TAG")]
    lang: Locale,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Read many from standard input, `TIME ZONE [AREAS]` on each line, and print a JSON document on a
    /// line for each
    #[arg(long, conflicts_with_all = ["at", "zone", "areas", "json"])]
    batch: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let protocol = find(&args.protocol)?;
    let (Some(at), Some(zone)) = (&args.at, args.zone) else {
        return batch(&protocol, &args.lang);
    };
    let preview = plan(&protocol, at, zone, &args.areas, args.lang)?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &preview).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", table(&protocol, &preview))?;
    }
    Ok(())
}

fn plan(
    protocol: &Arc<Protocol>,
    at: &str,
    zone: Zone,
    treated: &[Area],
    locale: Locale,
) -> Result<Preview, Failure> {
    let completed_at = instant(at, &zone)?;
    Ok(preview(Trial {
        protocol: Arc::clone(protocol),
        completed_at,
        recorded_at: completed_at,
        areas: areas(protocol, treated)?,
        zone,
        locale,
        slots: BTreeMap::new(),
    }))
}

fn batch(protocol: &Arc<Protocol>, locale: &Locale) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (n, line) in io::stdin().lines().enumerate() {
        let preview = planned(protocol, &line?, locale)
            .map_err(|failure| Failure::Usage(format!("line {}: {failure}", n + 1)))?;
        serde_json::to_writer(&mut out, &preview).map_err(io::Error::from)?;
        writeln!(out)?;
    }
    Ok(out.flush()?)
}

/// What one line of a batch asks for.
fn planned(protocol: &Arc<Protocol>, line: &str, locale: &Locale) -> Result<Preview, Failure> {
    let mut words = line.split_whitespace();
    let (Some(at), Some(zone)) = (words.next(), words.next()) else {
        return Err(Failure::Usage(format!("\"{line}\" is not TIME ZONE [AREAS]")));
    };
    let zone: Zone = zone.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
    let names = words.flat_map(|word| word.split(',')).filter(|name| !name.is_empty());
    let treated = names.map(area).collect::<Result<Vec<_>, _>>();
    let treated = treated.map_err(|error| Failure::Usage(error.to_string()))?;
    plan(protocol, at, zone, &treated, locale.clone())
}

/// One of `face, neck`, with or without the space.
pub(super) fn area(text: &str) -> Result<Area, NotAName> {
    text.trim().parse()
}

/// A shipped protocol, or one from a file.
pub(super) fn find(name: &str) -> Result<Arc<Protocol>, Failure> {
    if let Some(shipped) = shipped().iter().find(|shipped| shipped.protocol.slug == name) {
        return Ok(Arc::clone(&shipped.protocol));
    }
    if !std::path::Path::new(name).exists() {
        let known: Vec<_> = shipped().iter().map(|s| s.protocol.slug.as_str()).collect();
        let known = known.join(", ");
        let detail = format!("no protocol and no file is called \"{name}\"; shipped are: {known}");
        return Err(Failure::Usage(detail));
    }
    super::protocol::load(name.as_ref()).map(Arc::new)
}

fn areas(protocol: &Protocol, wanted: &[Area]) -> Result<Option<BTreeSet<Area>>, Failure> {
    if let Some(area) = wanted.iter().find(|area| !protocol.areas.contains(area)) {
        let known: Vec<_> = protocol.areas.iter().map(|area| area.as_str()).collect();
        let known = known.join(", ");
        let detail = format!("{} is not applied to the {area}; it knows {known}", protocol.slug);
        return Err(Failure::Usage(detail));
    }
    Ok((!wanted.is_empty()).then(|| wanted.iter().cloned().collect()))
}

fn instant(text: &str, zone: &Zone) -> Result<Timestamp, Failure> {
    let absolute = || text.parse::<Timestamp>().ok();
    let wall = || {
        let local: DateTime = text.parse().ok()?;
        zone.tz().to_ambiguous_timestamp(local).compatible().ok()
    };
    // A day alone is no moment, and a zone in brackets would contradict --zone.
    let moment = text.contains(':') && !text.contains('[');
    let at = moment.then(|| absolute().or_else(wall)).flatten().ok_or_else(|| {
        Failure::Usage(format!("--at \"{text}\" is no moment; write 2026-11-22T15:40"))
    })?;
    if (FIRST..=LAST).contains(&at) {
        Ok(at)
    } else {
        Err(Failure::Usage(format!("--at {text} is not in the years 2000 to 2199")))
    }
}

fn table(protocol: &Protocol, preview: &Preview) -> String {
    let zone = &preview.treatment.time_zone;
    let wall =
        |at: Timestamp| at.to_zoned(zone.tz().clone()).strftime("%a %d %b %H:%M").to_string();
    let areas: Vec<_> = preview.treatment.areas.iter().map(|area| area.as_str()).collect();
    let mut page = String::new();
    let draft = protocol.notice().map(|notice| format!(" ({notice})")).unwrap_or_default();
    let completed = preview.treatment.completed_at.to_zoned(zone.tz().clone());
    let _ = writeln!(page, "{} v{}{draft}: {}", protocol.slug, protocol.version, areas.join(", "));
    let _ = writeln!(page, "Completed {} in {zone}", completed.strftime("%a %d %b %Y %H:%M"));
    let _ = writeln!(page, "\n{}", heading("Holds until"));
    for held in &preview.restrictions {
        let until = held.until.map_or_else(|| "open-ended".to_owned(), wall);
        let _ = writeln!(page, "{until:<17} {:<16} {}", held.rule.as_str(), held.text);
    }
    let _ = writeln!(page, "\n{}", heading("Sends at"));
    for reminder in &preview.reminders {
        let _ = writeln!(page, "{:<17} {}", wall(reminder.due_at), reminder.title);
        for line in wrapped(&reminder.body, 78) {
            let _ = writeln!(page, "{:<17} {line}", "");
        }
    }
    if !preview.skipped.is_empty() {
        let _ = writeln!(page, "\n{}", heading("Leaves out"));
    }
    for skipped in &preview.skipped {
        let _ = writeln!(page, "{:<17} {}", skipped.step.as_str(), skipped.reason);
    }
    page
}

/// The words of a text in lines of at most `width` characters.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
