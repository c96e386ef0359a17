//! Verdicts for CI systems: a test case for each request, failed where it is denied.

use std::fmt::Write;

use super::reviewed::Reviewed;
use crate::escape::printable;
use crate::review::Decision;

pub(super) fn render(all: &[Reviewed]) -> String {
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
    out.push_str("</testsuite>\n</testsuites>\n");
    out
}

pub(super) fn escape(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
