//! What an expression may cost is known before it is evaluated, wherever it reads a list from.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{Bindings, Expression, holds, request};
use crate::policy::Truth;
use crate::request::SigningRequest;

/// What this thread has taken of a processor: others may be busy.
fn processor() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// A requestor with so many groups, and so many values under `r` in its extra.
fn crowd(groups: usize, values: usize) -> SigningRequest {
    let mut crowd = request("amy", &[]);
    crowd.envelope.groups = (0..groups).map(|index| format!("group-{index:08}")).collect();
    crowd.envelope.extra.insert("r".to_owned(), (0..values).map(|index| format!("value-{index}")).collect());
    crowd
}

/// It is not evaluated, and that takes next to no time.
fn too_much(source: &str, request: &SigningRequest) {
    let began = processor();
    let Truth::Unknown(said) = holds(source, request) else { panic!("{source} is not unknown") };
    let took = processor().saturating_sub(began);
    assert!(said.contains("on this request it might cost"), "{said}");
    assert!(took < Duration::from_millis(50), "{source}: {took:?}");
}

#[test]
fn a_list_counts_for_what_is_in_it_wherever_it_is_read() {
    let groups = crowd(300, 3_000);
    let list = format!("'{}'.split('')", "x".repeat(150));
    for source in [
        "requestor['groups'].all(a, requestor['groups'].all(b, true))",
        "requestor[?'groups'].value().all(a, requestor[?'groups'].value().all(b, true))",
        "requestor.?groups.value().all(a, requestor.?groups.value().all(b, true))",
        "requestor.?groups.orValue([]).all(a, requestor.?groups.orValue([]).all(b, true))",
        "optional.none().or(requestor.?groups).value().all(a, requestor.groups.all(b, true))",
        "optional.of(requestor.groups).value().all(a, requestor.groups.all(b, true))",
        "(true ? requestor.groups : []).all(a, requestor.groups.all(b, true))",
        "[requestor.groups][0].all(a, [requestor.groups][0].all(b, true))",
        "[requestor.groups].flatten().all(a, [requestor.groups].flatten().all(b, true))",
        "[[requestor.groups]].flatten(2).all(a, [[requestor.groups]].flatten(2).all(b, true))",
        "{'g': requestor.groups}.g.all(a, {'g': requestor.groups}['g'].all(b, true))",
        "{'g': {'h': requestor.groups}}.g.h.all(a, requestor.groups.all(b, true))",
        "[requestor].all(r, r.groups.all(a, (r.groups + r.groups).size() == 600))",
        "requestor.groups.map(a, requestor.groups).size() > 0",
        "[requestor.groups][0].map(a, requestor.groups).flatten().all(c, true)",
        "['u'].map(k, requestor.groups).flatten().all(a, requestor.groups.all(b, true))",
        "requestor.extra['r'].all(r, requestor.extra['r'].exists(s, s == r))",
        "requestor.extra.r.all(r, requestor.extra.r.exists(s, s == r))",
        "requestor.extra[requestor.groups[0].replace('group-00000000', 'r')].all(r, requestor.extra['r'].all(s, true))",
        &format!("[{list}][0].map(a, [{list}][0]).flatten().map(c, [{list}][0]).size() > 0"),
    ] {
        too_much(source, &groups);
    }
}

#[test]
fn a_variable_is_what_it_was_behind_a_comprehension_that_hid_it() {
    let groups = crowd(300, 3_000);
    for source in [
        "[requestor.groups].all(a, ['x'].all(a, true) && a.distinct().size() > 0)",
        "[requestor.groups].all(a, ['x'].map(a, a).size() == 1 && a.all(b, requestor.groups.size() == 300))",
        "requestor.groups.map(g, requestor.groups.filter(g, g != '')).size() > 0",
        "['x'].map(g, requestor.groups.map(h, h))[0].all(g, requestor.groups.exists(h, g == h))",
    ] {
        too_much(source, &groups);
    }
}

/// What is computed is at least what a value that is made takes, so that nothing is larger than what is known of it.
#[test]
fn nothing_that_is_made_is_larger_than_what_was_computed() {
    let amy = crowd(8, 4);
    let texts = "'a,,b,,'.split(',')";
    let letters = format!("'{}'.split('')", "x".repeat(900));
    let commas = format!("'{}'.split(',')", ",".repeat(900));
    for source in [
        "requestor",
        "requestor.extra",
        "requestor['extra']['r']",
        "requestor.?extra[?'r'].orValue(['x'])",
        "requestor.groups + requestor.extra.r",
        "requestor.groups + requestor.extra",
        "'a' + 'bc'",
        "[requestor.groups, [requestor.groups, requestor.username]]",
        "[[requestor.groups], [requestor.groups]].flatten()",
        "[[[requestor.groups]], [[1, 'abc']]].flatten(3)",
        "{'a': requestor.groups, 'b': 'c'}",
        "{'a': requestor.groups, 'b': 'c'}.a",
        "requestor.groups.map(g, requestor.groups)",
        "requestor.groups.map(g, g != '', [g, g + 'x'])",
        "requestor.groups.filter(g, g.endsWith('1'))",
        "requestor.groups.map(g, requestor.groups.map(h, h + g))",
        "requestor.groups.map(g, requestor.groups.filter(g, g != ''))",
        texts,
        &letters,
        &commas,
        "'a,b'.split('')",
        "requestor.groups.join('--')",
        "'aaaa'.replace('', 'xyz')",
        "'aaaa'.replace('a', requestor.username)",
        "string(1.7976931348623157e308)",
        "string(5e-324)",
        "requestor.groups.slice(1, 5)",
        "requestor.groups.reverse()",
        "requestor.groups.sort()",
        "(requestor.groups + requestor.groups).distinct()",
        "optional.of(requestor.groups).value()",
        "optional.none().or(optional.of(requestor.groups)).value()",
        "optional.ofNonZeroValue(requestor.groups).orValue(['x'])",
        "true ? requestor.groups : requestor.extra.r",
        "[optional.of(requestor.groups)][0].value()",
        "[?optional.of(requestor.groups)]",
        "'abc'.charAt(1) + 'ABC'.lowerAscii() + ' x '.trim() + 'abc'.substring(1)",
    ] {
        let (made, computed) = super::super::cost::made(source, &Bindings::new(&amy, None));
        assert!(made.0 <= computed.0 && made.1 <= computed.1, "{source}: {made:?} > {computed:?}");
    }
}

#[test]
fn what_people_write_is_evaluated() {
    let crowd = crowd(2_000, 50);
    for source in [
        "requestor['groups'].all(group, group.startsWith('group-'))",
        "requestor.?groups.orValue([]).exists(group, group == 'group-00001999')",
        "requestor.extra['r'].exists(value, value == 'value-7')",
        "requestor.extra[?'r'].orValue([]).exists(value, value == 'value-7')",
        "requestor.?extra[?'example.com/team'].orValue([]) == ['payments']",
        "requestor.extra['r'].all(value, requestor.extra['r'].exists(other, other == value))",
        "'payments' in requestor.extra['example.com/team'] && 'group-00000007' in requestor['groups']",
        "csr.subject.organizations.all(name, name in requestor.groups || name == 'developers')",
        "[csr.dnsNames, csr.uris].flatten().all(name, name.endsWith('.example.com'))",
    ] {
        let began = processor();
        assert_eq!(holds(source, &crowd), Truth::Yes, "{source}");
        let took = processor().saturating_sub(began);
        assert!(took < Duration::from_millis(200), "{source}: {took:?}");
    }
}

/// The worst that a text can do to a pattern is charged, and a table has no worst.
#[test]
fn a_pattern_costs_what_its_automaton_takes_for_a_text() {
    let letters = |length: usize| -> String {
        let next =
            |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        std::iter::successors(Some(1), next)
            .map(|state| if state >> 40 & 1 == 0 { 'a' } else { 'b' })
            .take(length)
            .collect()
    };
    let mut amy = request("amy", &[]);
    amy.envelope.username = letters(60_000);
    for pattern in [
        "^(a|b)*a(a|b){1000}c",
        "^(a|b)*a(a|b){300}c",
        "^(a|b)*a(a|b){30}c",
        ".*a.{100}c",
        "^[a-z]*a[^c]{99}c",
        "^.*a.{30}c",
    ] {
        too_much(&format!("!requestor.username.matches('{pattern}')"), &amy);
    }
    // As long as is still evaluated, about.
    for (pattern, length) in [
        ("^(a|b)*a(a|b){1000}c", 80),
        ("^(a|b)*a(a|b){300}c", 1_200),
        ("^(a|b)*a(a|b){14}c", 9_000),
        ("a.{10}c", 2_000),
        ("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?([.][a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$", 60_000),
    ] {
        amy.envelope.username = letters(length) + "-";
        let expression = Expression::new("test", &format!("!requestor.username.matches('{pattern}')")).unwrap();
        let began = processor();
        assert_eq!(expression.holds(&Bindings::new(&amy, None)), Truth::Yes, "{pattern}");
        let took = processor().saturating_sub(began);
        assert!(took < Duration::from_millis(100), "{pattern}: {took:?}");
    }
    let crowd = crowd(2_000, 50);
    for pattern in [
        r"^[a-z]+-[0-9]{1,63}$",
        r"^.{1,64}$",
        r"^[^x]{1,253}$",
        r"^\\pL+-\\d+$",
        r"(?i)^GROUP-",
        r"[a-z]{3,30}-0",
        r"\\b000",
    ] {
        let source = format!("requestor.groups.all(group, group.matches('{pattern}'))");
        assert_eq!(holds(&source, &crowd), Truth::Yes, "{pattern}");
    }
}

/// Each takes some milliseconds to compile.
#[test]
fn an_expression_has_eight_regular_expressions_at_most() {
    let many = |number: usize| vec!["requestor.uid.matches('^a$')"; number].join(" || ");
    assert!(Expression::new("test", &many(8)).is_ok());
    let error = Expression::new("test", &many(9)).unwrap_err();
    assert!(error.contains("it has more than 8 regular expressions: join some with |"), "{error}");
}
