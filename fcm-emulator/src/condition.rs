//! Topic conditions: `'a' in topics && ('b' in topics || !('c' in topics))`.

use std::collections::BTreeSet;

use crate::message::is_topic;

/// Google's limit of topics in one condition.
const MAX_TOPICS: usize = 5;

/// A condition over the topics a phone subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The phone subscribed to this topic.
    In(String),
    /// It does not hold.
    Not(Box<Condition>),
    /// Both hold.
    And(Box<Condition>, Box<Condition>),
    /// One of both holds.
    Or(Box<Condition>, Box<Condition>),
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parser = Parser { rest: text.trim_start(), topics: 0, depth: 0 };
        let condition = parser.any_of()?;
        if !parser.rest.is_empty() {
            return Err("nothing may follow the expression");
        }
        Ok(condition)
    }

    /// Whether it holds for a phone with these topics.
    pub(crate) fn holds(&self, topics: &BTreeSet<String>) -> bool {
        match self {
            Self::In(topic) => topics.contains(topic),
            Self::Not(inner) => !inner.holds(topics),
            Self::And(left, right) => left.holds(topics) && right.holds(topics),
            Self::Or(left, right) => left.holds(topics) || right.holds(topics),
        }
    }
}

/// Google allows five topics, so nothing sensible nests deeper than this.
const MAX_DEPTH: usize = 32;

struct Parser<'a> {
    rest: &'a str,
    topics: usize,
    depth: usize,
}

impl Parser<'_> {
    fn any_of(&mut self) -> Result<Condition, &'static str> {
        let mut left = self.all_of()?;
        while self.eat("||") {
            left = Condition::Or(Box::new(left), Box::new(self.all_of()?));
        }
        Ok(left)
    }

    fn all_of(&mut self) -> Result<Condition, &'static str> {
        let mut left = self.one()?;
        while self.eat("&&") {
            left = Condition::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Condition, &'static str> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("too deeply nested");
        }
        let condition = if self.eat("!") {
            Condition::Not(Box::new(self.one()?))
        } else if self.eat("(") {
            let inner = self.any_of()?;
            if !self.eat(")") {
                return Err("a closing parenthesis is missing");
            }
            inner
        } else {
            self.membership()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn membership(&mut self) -> Result<Condition, &'static str> {
        let expected = "expected 'TopicName' in topics";
        let (topic, rest) =
            self.rest.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).ok_or(expected)?;
        let topic = topic.to_owned();
        self.rest = rest.trim_start();
        if !is_topic(&topic) || !self.eat("in ") || !self.eat("topics") {
            return Err(expected);
        }
        self.topics += 1;
        if self.topics > MAX_TOPICS {
            return Err("at most five topics");
        }
        Ok(Condition::In(topic))
    }

    fn eat(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest.trim_start();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Condition;

    fn holds(text: &str, topics: &[&str]) -> bool {
        let topics = topics.iter().map(ToString::to_string).collect();
        Condition::parse(text).unwrap().holds(&topics)
    }

    #[test]
    fn and_binds_closer_than_or() {
        let text = "'a' in topics || 'b' in topics && 'c' in topics";
        assert!(holds(text, &["a"]));
        assert!(!holds(text, &["b"]));
        assert!(holds(text, &["b", "c"]));
        assert!(!holds("('a' in topics||'b' in topics)&&'c' in topics", &["a"]));
        assert!(holds("!('a' in topics)", &["b"]));
    }

    #[test]
    fn refuses_what_is_no_condition() {
        for text in
            ["", "'a'", "'a' in topics &&", "('a' in topics", "'a' in topics 'b'", "'ä' in topics"]
        {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
        let six = ["'a' in topics"; 6].join(" && ");
        assert_eq!(Condition::parse(&six), Err("at most five topics"));
        assert!(Condition::parse(&"(".repeat(10_000)).is_err());
    }
}
