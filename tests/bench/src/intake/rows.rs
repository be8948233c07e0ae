//! What the product writes for one session, as a model of what others are to write.

use aftercare_tests::postgres::TestDatabase;
use serde_json::{Map, Value, json};

use super::{load, session, sign_in};
use crate::keys::Keys;
use crate::product::Product;

/// Columns that PostgreSQL fills in.
const COMPUTED: &str =
    "ARRAY(SELECT column_name::text FROM information_schema.columns WHERE is_generated = 'ALWAYS')";

/// Columns and values of one row.
pub(super) type Row = Map<String, Value>;

/// The rows of one session.
pub(super) struct Rows {
    pub(super) treatment: Row,
    pub(super) reminders: Vec<Row>,
    pub(super) audit: Vec<Row>,
}

impl Rows {
    /// Has the product record one session in a copy, and reads what that wrote.
    pub(super) fn of_one_session(keys: &Keys, seeded: &TestDatabase, account: &Value) -> Self {
        let database = seeded.copy();
        let (running, port) = Product { keys, database: database.url() }.api();
        let token = sign_in(port, account);
        database.execute("DELETE FROM audit");
        let answer = load::send(port, &load::post("/v1/treatments", &token, &session(0)));
        assert_eq!(answer.status, 201, "{}", answer.text());
        drop(running);
        let all = |rows: &str| -> Vec<Row> {
            let rows = database.query(&format!("SELECT to_jsonb(t) - {COMPUTED} FROM {rows} t"));
            rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
        };
        let latest = "(SELECT * FROM treatments ORDER BY recorded_at DESC LIMIT 1)";
        let reminders = format!(
            "(SELECT r.* FROM reminders r JOIN {latest} l ON l.id = r.treatment_id ORDER BY r.id)"
        );
        let rows = Self {
            treatment: all(latest).remove(0),
            reminders: all(&reminders),
            audit: all("audit"),
        };
        database.drop_it();
        rows
    }

    pub(super) fn json(&self) -> Value {
        let Self { treatment, reminders, audit } = self;
        json!({ "treatment": treatment, "reminders": reminders, "audit": audit })
    }

    /// That so many sessions were written, and nothing of them is missing.
    pub(super) fn check(&self, database: &TestDatabase, sessions: usize) {
        for (table, each) in
            [("treatments", 1), ("reminders", self.reminders.len()), ("audit", self.audit.len())]
        {
            let recent = match table {
                "audit" => " WHERE action = 'treatment.recorded'",
                _ => "",
            };
            let written = database.query(&format!("SELECT count(*) FROM {table}{recent}"));
            assert_eq!(written, [(sessions * each).to_string()], "{table}");
        }
    }
}
