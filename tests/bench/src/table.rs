//! Figures of several rounds as one Markdown table.

use crate::drain::Turn;

/// What one contestant did in every round.
pub(crate) struct Figures {
    name: &'static str,
    turns: Vec<Turn>,
}

impl Figures {
    pub(crate) fn of(name: &'static str) -> Self {
        Self { name, turns: Vec::new() }
    }

    pub(crate) fn add(&mut self, turn: &Turn) {
        self.turns.push(*turn);
    }

    /// The least, the middle and the most.
    fn spread(&self, figure: impl Fn(&Turn) -> f64) -> (f64, f64, f64) {
        let mut all: Vec<f64> = self.turns.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        let at = |index: usize| all.get(index).copied().unwrap_or(f64::NAN);
        (at(0), at(all.len() / 2), at(all.len().saturating_sub(1)))
    }
}

/// Prints the table; ratios are the product's median over the other's.
pub(crate) fn print(count: usize, delay: u64, all: &[Figures]) {
    let ours = all.first().map_or(f64::NAN, |figures| figures.spread(|turn| turn.rate).1);
    let first = all.first().map_or("", |figures| figures.name);
    println!("\n{count} messages due at once, {delay} ms to an answer\n");
    println!(
        "| who | messages a second: min / median / max | {first} over it | CPU µs a message: own | \
         PostgreSQL | sink |"
    );
    println!("|---|---|---|---|---|---|");
    for figures in all {
        let (least, middle, most) = figures.spread(|turn| turn.rate);
        let own = figures.spread(|turn| turn.own).1;
        let postgres = figures.spread(|turn| turn.postgres).1;
        let sink = figures.spread(|turn| turn.sink).1;
        println!(
            "| {} | {least:.0} / {middle:.0} / {most:.0} | {:.2} | {own:.1} | {postgres:.1} | {sink:.1} |",
            figures.name,
            ours / middle
        );
    }
}
