//! Verdicts for CI systems: a test case for each request, failed where it is denied.

use std::fmt::Write;
use std::io;

use super::problem::Problem;
use super::reviewed::{Reviewed, Shown, count};
use crate::escape::{cut, one_line};
use crate::review::Decision;

pub(super) fn show(reviewed: &Reviewed) -> Shown {
    let review = &reviewed.review;
    let mut text = format!(
        "<testcase classname=\"{}\" name=\"{}\">",
        escape(&reviewed.sourced.source),
        escape(&reviewed.sourced.request.envelope.name)
    );
    let (reason, code) = (escape(&review.reason), review.reason_code);
    let _ = match review.decision {
        Decision::Approve => Ok(()),
        Decision::Deny => write!(text, "<failure type=\"{code}\" message=\"{reason}\"/>"),
        Decision::NoOpinion => write!(text, "<skipped message=\"{reason}\"/>"),
    };
    text.push_str("</testcase>\n");
    Shown { decision: review.decision, name: String::new(), text }
}

pub(super) fn write(out: &mut dyn io::Write, all: &[Shown], problems: &[Problem]) -> io::Result<()> {
    write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"countersign review\" tests=\"{}\" \
         failures=\"{}\" skipped=\"{}\">\n",
        all.len(),
        count(all, Decision::Deny),
        count(all, Decision::NoOpinion)
    )?;
    for shown in all {
        out.write_all(shown.text.as_bytes())?;
    }
    let mut rest = "</testsuite>\n".to_owned();
    unread(&mut rest, problems);
    writeln!(out, "{rest}</testsuites>")
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
