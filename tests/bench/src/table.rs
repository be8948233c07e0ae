//! Figures of several rounds as one Markdown table.

/// What the medians of the first figure are compared with, in the last column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    /// There is nothing to compare.
    Nothing,
    /// The first row's, divided by this row's: of speeds.
    FirstOverIt,
    /// This row's, divided by the first row's: of times, or of what grows.
    ItOverFirst,
}

/// What each did in every round: so many figures.
pub(crate) struct Table<const FIGURES: usize> {
    title: String,
    compare: Compare,
    columns: [&'static str; FIGURES],
    rows: Vec<Row<FIGURES>>,
}

struct Row<const FIGURES: usize> {
    name: String,
    turns: Vec<[f64; FIGURES]>,
}

impl<const FIGURES: usize> Table<FIGURES> {
    pub(crate) fn new(title: String, compare: Compare, columns: [&'static str; FIGURES]) -> Self {
        Self { title, compare, columns, rows: Vec::new() }
    }

    /// Adds what somebody did in one round, and says so.
    pub(crate) fn add(&mut self, name: &str, turn: [f64; FIGURES]) {
        let said: Vec<String> = self
            .columns
            .iter()
            .zip(turn)
            .map(|(column, value)| format!("{} {column}", figure(value)))
            .collect();
        eprintln!("{name}: {}", said.join(", "));
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.turns.push(turn);
        } else {
            self.rows.push(Row { name: name.to_owned(), turns: vec![turn] });
        }
    }

    pub(crate) fn print(&self) {
        let first = self.rows.first();
        let first_name = first.map_or("", |row| &row.name);
        let first = first.map_or(f64::NAN, |row| row.spread(0).1);
        let compared = match self.compare {
            Compare::Nothing => String::new(),
            Compare::FirstOverIt => format!(" {first_name} over it |"),
            Compare::ItOverFirst => format!(" it over {first_name} |"),
        };
        println!("\n{}; min / median / max\n", self.title);
        println!("| who | {} |{compared}", self.columns.join(" | "));
        println!("|---|{}", "---|".repeat(FIGURES + usize::from(!compared.is_empty())));
        for row in &self.rows {
            let cells: Vec<String> = (0..FIGURES).map(|index| row.cell(index)).collect();
            let compared = match self.compare {
                Compare::Nothing => String::new(),
                Compare::FirstOverIt => format!(" {:.2} |", first / row.spread(0).1),
                Compare::ItOverFirst => format!(" {:.2} |", row.spread(0).1 / first),
            };
            println!("| {} | {} |{compared}", row.name, cells.join(" | "));
        }
    }
}

impl<const FIGURES: usize> Row<FIGURES> {
    /// The least, the middle and the most.
    fn spread(&self, index: usize) -> (f64, f64, f64) {
        let mut all: Vec<f64> = self.turns.iter().map(|turn| turn[index]).collect();
        all.sort_by(f64::total_cmp);
        let at = |place: usize| all.get(place).copied().unwrap_or(f64::NAN);
        (at(0), at(all.len() / 2), at(all.len().saturating_sub(1)))
    }

    fn cell(&self, index: usize) -> String {
        let (least, middle, most) = self.spread(index);
        if middle.is_nan() {
            return figure(middle);
        }
        format!("{} / {} / {}", figure(least), figure(middle), figure(most))
    }
}

/// With three digits that count, or none behind the point; what is not a number was not measured.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        none if none.is_nan() => return "-".to_owned(),
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// The value that this share of all values does not exceed; of none, not a number.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
