//! Verdicts for CI systems: a test case for each request, failed where it is denied.

use std::fmt::Write;

use super::problem::Problem;
use super::reviewed::Reviewed;
use crate::escape::{cut, one_line};
use crate::review::Decision;

pub(super) fn render(all: &[Reviewed], problems: &[Problem]) -> String {
    let count = |decision| all.iter().filter(|reviewed| reviewed.review.decision == decision).count();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"countersign review\" tests=\"{}\" \
         failures=\"{}\" skipped=\"{}\">\n",
        all.len(),
        count(Decision::Deny),
        count(Decision::NoOpinion)
    );
    for reviewed in all {
        let review = &reviewed.review;
        let _ = write!(
            out,
            "<testcase classname=\"{}\" name=\"{}\">",
            escape(&reviewed.sourced.source),
            escape(&reviewed.sourced.request.envelope.name)
        );
        let (reason, code) = (escape(&review.reason), review.reason_code);
        let _ = match review.decision {
            Decision::Approve => Ok(()),
            Decision::Deny => write!(out, "<failure type=\"{code}\" message=\"{reason}\"/>"),
            Decision::NoOpinion => write!(out, "<skipped message=\"{reason}\"/>"),
        };
        out.push_str("</testcase>\n");
    }
    out.push_str("</testsuite>\n");
    unread(&mut out, problems);
    out.push_str("</testsuites>\n");
    out
}

/// What could not be read, as errors of a suite of their own.
pub(super) fn unread(out: &mut String, problems: &[Problem]) {
    if problems.is_empty() {
        return;
    }
    let number = problems.len();
    let _ = writeln!(out, "<testsuite name=\"what could not be read\" tests=\"{number}\" errors=\"{number}\">");
    for problem in problems {
        let (source, problem) = (escape(&problem.source), escape(&problem.to_string()));
        let _ = writeln!(out, "<testcase name=\"{source}\"><error message=\"{problem}\"/></testcase>");
    }
    out.push_str("</testsuite>\n");
}

/// The longest text of an attribute, in bytes: a reason with many violations fits.
const MAX_TEXT: usize = 4096;

/// As the value of an attribute, or as text.
pub(super) fn escape(text: &str) -> String {
    cut(&one_line(text), MAX_TEXT)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
