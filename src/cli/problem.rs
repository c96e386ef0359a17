//! What keeps a command from concluding something: on standard error, with a place, and exit 2.

use std::fmt;

use serde::Serialize;

use super::located::Place;
use super::{Exit, say};
use crate::escape::{one_line, printable};

/// Something that could not be read.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) source: String,
    #[serde(flatten)]
    pub(super) place: Option<Place>,
    /// In one line, and safe to print.
    pub(super) message: String,
}

impl Problem {
    /// What `message` quotes may be anybody's: files that are read were written by others.
    pub(super) fn new(source: &str, place: Option<Place>, message: impl AsRef<str>) -> Self {
        Self { source: source.to_owned(), place, message: one_line(message.as_ref()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.source))?;
        if let Some(place) = self.place {
            write!(f, ":{place}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Says on standard error what could not be concluded.
pub(super) fn report(problems: &[Problem]) -> Exit {
    for problem in problems {
        say(&problem.to_string());
    }
    Exit::Unconcluded
}
