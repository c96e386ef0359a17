//! Verdicts for people.

use std::fmt::Write;

use super::paint::Paint;
use super::reviewed::Reviewed;
use crate::escape::printable;
use crate::review::Decision;

pub(super) fn render(all: &[Reviewed], paint: Paint) -> String {
    let name = |reviewed: &Reviewed| {
        let name = printable(&reviewed.sourced.request.envelope.name);
        if name.is_empty() { "-".to_owned() } else { name }
    };
    let width = all.iter().map(|reviewed| name(reviewed).chars().count()).max().unwrap_or_default().min(40);
    let mut out = String::new();
    for reviewed in all {
        let review = &reviewed.review;
        let word = match review.decision {
            Decision::Approve => "Approve",
            Decision::Deny => "Deny",
            Decision::NoOpinion => "Undecided",
        };
        let word = paint.decision(review.decision, &format!("{word:<9}"));
        let name = paint.strong(&format!("{:<width$}", name(reviewed)));
        let _ = writeln!(out, "{word}  {name}  {}", paint.faint(&printable(&reviewed.sourced.source)));
        if review.violations.is_empty() {
            let _ = writeln!(out, "           {}", review.reason);
        }
        for violation in &review.violations {
            let _ = writeln!(out, "           {} {}", violation.message, paint.faint(&format!("[{}]", violation.code)));
        }
        if let Some(audit) = &review.audit {
            let _ = writeln!(
                out,
                "           with the objects in mode Audit enforced: {}, because {}",
                audit.decision, audit.reason
            );
        }
    }
    let count = |decision| all.iter().filter(|reviewed| reviewed.review.decision == decision).count();
    let part = |decision, word: &str| {
        let count = count(decision);
        let text = format!("{count} {word}");
        if count == 0 { text } else { paint.decision(decision, &text) }
    };
    if !all.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "{}, {}, {}",
        part(Decision::Approve, "approved"),
        part(Decision::Deny, "denied"),
        part(Decision::NoOpinion, "undecided")
    );
    out
}
