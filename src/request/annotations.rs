//! The annotations of a `CertificateSigningRequest` by which cert-manager issues what the request itself does not ask for
//! (`CertificateTemplateFromCertificateSigningRequest` and `DurationFromCertificateSigningRequest` in its `pkg/util/pki`).
//! Whatever the signer: one of any name may read them.

use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{DecodeCode, DecodeError};
use crate::bounded::Bounded;
use crate::escape::{cut, printable};

/// `"true"` has cert-manager issue a certificate authority.
const IS_CA: &str = "experimental.cert-manager.io/request-is-ca";
/// A lifetime, as a Go duration, which cert-manager takes before that of `spec.expirationSeconds`.
const DURATION: &str = "experimental.cert-manager.io/request-duration";

/// Where they stand.
pub(super) const FIELD: &str = "metadata.annotations";

/// The most bytes of a value that are kept. What is cut ends with `…`, and so says nothing that is taken.
const MAX_VALUE: usize = 64;

/// What the two say, if they are there.
#[derive(Debug, Clone, Default)]
pub(super) struct Annotations {
    is_ca: Option<String>,
    duration: Option<String>,
}

impl Annotations {
    /// Whether they ask for nothing that the request, with this `spec.expirationSeconds`, does not.
    pub(super) fn fit(&self, expiration_seconds: Option<i32>) -> Result<(), DecodeError> {
        if let Some(found) = self.is_ca.as_deref().filter(|found| *found != "false") {
            let message = format!(
                "the annotation {IS_CA} is \"{}\": with \"true\" cert-manager issues a certificate authority, which no policy \
                 can allow; leave it out",
                printable(found)
            );
            return Err(DecodeError::new(DecodeCode::CertificateAuthority, FIELD, found, message));
        }
        let asked = expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        if let Some(found) = self.duration.as_deref().filter(|found| asked.is_none() || seconds(found) != asked) {
            let message = format!(
                "the annotation {DURATION} is \"{}\", which cert-manager takes before spec.expirationSeconds: leave it out, or \
                 write the same there, in whole hours, minutes and seconds such as 1h0m0s",
                printable(found)
            );
            return Err(DecodeError::new(DecodeCode::DurationAnnotation, FIELD, found, message));
        }
        Ok(())
    }

    /// The values that are kept.
    pub(super) fn values(&self) -> impl Iterator<Item = &String> {
        self.is_ca.iter().chain(&self.duration)
    }
}

/// The seconds of a Go duration (`time.ParseDuration`), where it is of whole hours, minutes and seconds, in this order.
fn seconds(duration: &str) -> Option<u64> {
    let (mut rest, mut sum) = (duration, 0_u64);
    for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        // Rust, too, takes a sign.
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = number.parse().ok().filter(|_| digits)?;
        sum = sum.checked_add(number.checked_mul(seconds)?)?;
        rest = after;
    }
    (rest.is_empty() && !duration.is_empty()).then_some(sum)
}

/// `metadata.annotations`, or nothing where these cannot be read, or not in one way.
pub(super) struct RawAnnotations(pub(super) Option<Annotations>);

impl Default for RawAnnotations {
    fn default() -> Self {
        Self(Some(Annotations::default()))
    }
}

impl<'de> Deserialize<'de> for RawAnnotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnnotationsVisitor)
    }
}

struct AnnotationsVisitor;

impl<'de> Visitor<'de> for AnnotationsVisitor {
    type Value = RawAnnotations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<RawAnnotations, E> {
        Ok(RawAnnotations::default())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<RawAnnotations, E> {
        Ok(RawAnnotations(None))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<RawAnnotations, E> {
        Ok(RawAnnotations(None))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<RawAnnotations, E> {
        Ok(RawAnnotations(None))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<RawAnnotations, E> {
        Ok(RawAnnotations(None))
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<RawAnnotations, E> {
        Ok(RawAnnotations(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawAnnotations, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(RawAnnotations(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawAnnotations, A::Error> {
        let (mut is_ca, mut duration, mut odd) = (None, None, false);
        while let Some(key) = entries.next_key::<String>()? {
            let value = match key.as_str() {
                IS_CA => &mut is_ca,
                DURATION => &mut duration,
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            odd |= value.replace(entries.next_value::<Bounded<1>>()?).is_some();
        }
        let mut text = |value: Option<Bounded<1>>| match value? {
            // As Go reads it (encoding/json).
            Bounded::Kept(Value::Null) => Some(String::new()),
            Bounded::Kept(Value::String(text)) => Some(cut(&text, MAX_VALUE)),
            _ => {
                odd = true;
                None
            }
        };
        let annotations = Annotations { is_ca: text(is_ca), duration: text(duration) };
        Ok(RawAnnotations((!odd).then_some(annotations)))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::{DURATION, IS_CA, MAX_VALUE, seconds};
    use crate::request::{CsrObject, DecodeCode};

    fn object(annotations: &Value, expiration_seconds: Option<i32>) -> CsrObject {
        let pem = include_str!("../../benches/requests/p256.pem");
        serde_json::from_value(json!({
            "metadata": { "annotations": annotations },
            "spec": {
                "request": STANDARD.encode(pem), "usages": ["client auth"], "expirationSeconds": expiration_seconds,
            },
        }))
        .unwrap()
    }

    fn code(annotations: &Value, expiration_seconds: Option<i32>) -> Option<DecodeCode> {
        object(annotations, expiration_seconds).signing_request().content.err().map(|error| error.code)
    }

    #[test]
    fn annotations_ask_for_nothing_but_what_the_request_does() {
        const CA: Option<DecodeCode> = Some(DecodeCode::CertificateAuthority);
        const LIFETIME: Option<DecodeCode> = Some(DecodeCode::DurationAnnotation);
        const MALFORMED: Option<DecodeCode> = Some(DecodeCode::ObjectMalformed);
        let cut = format!("{:0>1$}9h", "3600s", MAX_VALUE);
        for (key, value, expected) in [
            (IS_CA, json!("false"), None),
            (IS_CA, json!(null), CA),
            (IS_CA, json!("true"), CA),
            (IS_CA, json!("True"), CA),
            (IS_CA, json!("false "), CA),
            (IS_CA, json!(""), CA),
            (IS_CA, json!("x".repeat(100_000)), CA),
            (IS_CA, json!(false), MALFORMED),
            (IS_CA, json!(["false"]), MALFORMED),
            (DURATION, json!("3600s"), None),
            (DURATION, json!("60m"), None),
            (DURATION, json!("1h"), None),
            (DURATION, json!("1h0m0s"), None),
            (DURATION, json!("59m60s"), None),
            (DURATION, json!(null), LIFETIME),
            (DURATION, json!("3601s"), LIFETIME),
            (DURATION, json!("87600h"), LIFETIME),
            (DURATION, json!("3600"), LIFETIME),
            (DURATION, json!("+1h"), LIFETIME),
            (DURATION, json!("1.0h"), LIFETIME),
            (DURATION, json!("30m30m"), LIFETIME),
            (DURATION, json!("0s1h"), LIFETIME),
            (DURATION, json!("1h "), LIFETIME),
            (DURATION, json!(""), LIFETIME),
            (DURATION, json!(cut), LIFETIME),
            (DURATION, json!(3600), MALFORMED),
            (DURATION, json!({}), MALFORMED),
        ] {
            assert_eq!(code(&json!({ "a/b": "c", key: value, "z": [1] }), Some(3600)), expected, "{key}: {value}");
        }
        // The lifetime is that of the signer then, and not the one of the annotation.
        assert_eq!(code(&json!({ DURATION: "1h" }), None), LIFETIME);
        assert_eq!(code(&json!({ DURATION: "0s" }), None), LIFETIME);
        assert_eq!(code(&json!({ IS_CA: "false" }), None), None);
        for annotations in [json!(true), json!(-1), json!(1), json!(1.5), json!("x"), json!([IS_CA, "false"])] {
            assert_eq!(code(&annotations, None), MALFORMED, "{annotations}");
        }
    }

    #[test]
    fn a_duration_is_read_as_go_reads_it_or_not_at_all() {
        for (text, expected) in [
            ("0s", Some(0)),
            ("90m", Some(5400)),
            ("1h30m", Some(5400)),
            ("1h90s", Some(3690)),
            ("007s", Some(7)),
            ("10ms", None),
            ("1m5", None),
            ("1h+5m", None),
            ("h", None),
            ("1d", None),
            ("1H", None),
            ("-1s", None),
            ("\u{661}h", None),
            ("18446744073709551615s", Some(u64::MAX)),
            ("18446744073709551616s", None),
            ("18446744073709551615h", None),
            ("5124095576030431h18446744073709551615s", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn an_annotation_that_is_there_twice_is_not_read_in_one_way() {
        for (first, second) in [("\"true\"", "\"false\""), ("\"false\"", "\"false\""), ("null", "\"false\"")] {
            let text = format!(r#"{{"metadata":{{"annotations":{{"{IS_CA}":{first},"a":"b","{IS_CA}":{second}}}}}}}"#);
            let object: CsrObject = serde_json::from_str(&text).unwrap();
            assert_eq!(object.malformed(), Some("metadata.annotations"), "{text}");
            let error = object.signing_request().content.unwrap_err();
            assert_eq!((error.code, error.field), (DecodeCode::ObjectMalformed, "metadata"));
        }
    }

    #[test]
    fn of_other_annotations_nothing_is_read_or_kept() {
        let memory = |annotations: &Value| object(annotations, Some(3600)).memory();
        let none = memory(&json!({}));
        let others: serde_json::Map<String, Value> =
            (0..1000).map(|index| (format!("{IS_CA}-{index}"), json!("true"))).collect();
        for others in [
            Value::Object(others),
            json!({ "experimental.cert-manager.io/Request-Is-Ca": "true", "request-is-ca": "true", "": null }),
            json!({ "cert-manager.io/request-duration": "87600h", "a": { IS_CA: "true" } }),
            json!(null),
        ] {
            assert_eq!((code(&others, Some(3600)), memory(&others)), (None, none));
        }
        let long = "x".repeat(100_000);
        let kept = memory(&json!({ IS_CA: long, DURATION: long })) - none;
        assert!((2 * MAX_VALUE..500).contains(&kept), "{kept}");
    }

    #[test]
    fn system_masters_is_found_beside_an_annotation() {
        let mut value =
            json!({ "metadata": { "annotations": { IS_CA: "true" } }, "spec": { "usages": ["client auth"] } });
        let pem = include_str!("../../tests/corpus/cases/masters-fullwidth.csr");
        value["spec"]["request"] = json!(STANDARD.encode(pem));
        let request = serde_json::from_value::<CsrObject>(value).unwrap().signing_request();
        assert!(request.asks_for_masters && request.content.is_err());
    }
}
