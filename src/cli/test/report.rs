//! How tests went.

use std::fmt::Write;

use super::{Ran, SuiteRan};
use crate::cli::junit::{escape, unread};
use crate::cli::paint::Paint;
use crate::cli::problem::Problem;
use crate::escape::printable;

pub(super) fn text(suites: &[SuiteRan], paint: Paint) -> String {
    let mut out = String::new();
    for suite in suites {
        let _ = writeln!(out, "{}", paint.strong(&printable(&suite.source)));
        for test in &suite.tests {
            let name = printable(&test.name);
            if test.differences.is_empty() {
                let _ = writeln!(out, "  {}  {name}", paint.good("ok  "));
                continue;
            }
            let _ = writeln!(out, "  {}  {name}", paint.alarm("FAIL"));
            for (what, expected, found) in &test.differences {
                let _ = writeln!(
                    out,
                    "        {what}: expected {}, found {}",
                    paint.good(&shown(expected)),
                    paint.alarm(&shown(found))
                );
            }
            let _ = writeln!(out, "        because {}", test.review.reason);
        }
    }
    let all = || suites.iter().flat_map(|suite| &suite.tests);
    let failed = all().filter(|test| !test.differences.is_empty()).count();
    let (ran, tests) = (all().count(), if all().count() == 1 { "test" } else { "tests" });
    let summary = format!("{ran} {tests}: {} passed, {failed} failed", ran - failed);
    let _ = writeln!(out, "{}", if failed == 0 { paint.good(&summary) } else { paint.alarm(&summary) });
    out
}

pub(super) fn junit(suites: &[SuiteRan], problems: &[Problem]) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    for suite in suites {
        let failed = suite.tests.iter().filter(|test| !test.differences.is_empty()).count();
        let name = escape(&suite.source);
        let _ = writeln!(out, "<testsuite name=\"{name}\" tests=\"{}\" failures=\"{failed}\">", suite.tests.len());
        for test in &suite.tests {
            let _ = write!(out, "<testcase classname=\"{name}\" name=\"{}\">", escape(&test.name));
            if !test.differences.is_empty() {
                let _ = write!(
                    out,
                    "<failure message=\"{}\">{}</failure>",
                    escape(&difference(test)),
                    escape(&test.review.reason)
                );
            }
            out.push_str("</testcase>\n");
        }
        out.push_str("</testsuite>\n");
    }
    unread(&mut out, problems);
    out.push_str("</testsuites>\n");
    out
}

fn shown(text: &str) -> String {
    if text.is_empty() { "(none)".to_owned() } else { printable(text) }
}

fn difference(test: &Ran) -> String {
    let each = test
        .differences
        .iter()
        .map(|(what, expected, found)| format!("{what}: expected {}, found {}", shown(expected), shown(found)));
    each.collect::<Vec<_>>().join("; ")
}
