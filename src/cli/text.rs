//! Verdicts for people.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::paint::Paint;
use super::reviewed::{Reviewed, Shown, count};
use crate::escape::printable;
use crate::review::Decision;

pub(super) fn show(reviewed: &Reviewed, paint: Paint) -> Shown {
    let review = &reviewed.review;
    let name = printable(&reviewed.sourced.request.envelope.name);
    let name = if name.is_empty() { "-".to_owned() } else { name };
    let mut text = String::new();
    let _ = writeln!(text, "{}", paint.faint(&printable(&reviewed.sourced.source)));
    if review.violations.is_empty() {
        let _ = writeln!(text, "           {}", review.reason);
    }
    for violation in &review.violations {
        let _ = writeln!(text, "           {} {}", violation.message, paint.faint(&format!("[{}]", violation.code)));
    }
    if let Some(audit) = &review.audit {
        let _ = writeln!(
            text,
            "           with the objects in mode Audit enforced: {}, because {}",
            audit.decision, audit.reason
        );
    }
    Shown { decision: review.decision, name, text }
}

pub(super) fn write(out: &mut dyn Write, all: &[Shown], paint: Paint) -> io::Result<()> {
    let width = all.iter().map(|shown| shown.name.chars().count()).max().unwrap_or_default().min(40);
    for Shown { decision, name, text } in all {
        let word = match decision {
            Decision::Approve => "Approve",
            Decision::Deny => "Deny",
            Decision::NoOpinion => "Undecided",
        };
        let word = paint.decision(*decision, &format!("{word:<9}"));
        write!(out, "{word}  {}  {text}", paint.strong(&format!("{name:<width$}")))?;
    }
    let part = |decision, word: &str| {
        let count = count(all, decision);
        let text = format!("{count} {word}");
        if count == 0 { text } else { paint.decision(decision, &text) }
    };
    if !all.is_empty() {
        writeln!(out)?;
    }
    writeln!(
        out,
        "{}, {}, {}",
        part(Decision::Approve, "approved"),
        part(Decision::Deny, "denied"),
        part(Decision::NoOpinion, "undecided")
    )
}
