//! Lists of names: O, OU, DNS names, URIs and email addresses, all by the same rules.

use std::cell::LazyCell;
use std::sync::Arc;

use super::ViolationCode;
use super::checks::Checks;
use super::violation::TOLD;
use crate::escape::printable;
use crate::policy::{Count, Field, FieldValue, ListRules, Pattern, Reserved, Source, WidePattern};
use crate::request::{MAX_SANS, Pkcs10};

/// A name in a request.
#[derive(Debug)]
pub(super) struct Name<'a> {
    pub(super) value: FieldValue<'a>,
    /// The prefix that makes it a reserved identity, where a name can be one.
    pub(super) reserved: Option<&'a str>,
}

impl<'a> Name<'a> {
    fn of(field: Field, text: &'a str, reserved: &'a Reserved) -> Self {
        let reserved = if field == Field::Identity { reserved.prefix_of(text) } else { None };
        Self { value: FieldValue::new(field, text), reserved }
    }

    /// The name as it is.
    pub(super) const fn text(&self) -> &'a str {
        self.value.text()
    }
}

/// The names in a request, with what is found out about each once for all objects.
#[derive(Debug)]
pub(super) struct Names<'a> {
    pub(super) common_name: Option<Name<'a>>,
    pub(super) organizations: Vec<Name<'a>>,
    pub(super) organizational_units: Vec<Name<'a>>,
    pub(super) dns_names: Vec<Name<'a>>,
    pub(super) uris: Vec<Name<'a>>,
    pub(super) email_addresses: Vec<Name<'a>>,
}

impl<'a> Names<'a> {
    pub(super) fn of(pkcs10: &'a Pkcs10, reserved: &'a Reserved) -> Self {
        let of = |field, texts: &'a [String]| texts.iter().map(|text| Name::of(field, text, reserved)).collect();
        let Pkcs10 { subject, sans, .. } = pkcs10;
        Self {
            common_name: subject.common_name.as_ref().map(|text| Name::of(Field::Identity, text, reserved)),
            organizations: of(Field::Identity, &subject.organizations),
            organizational_units: of(Field::Identity, &subject.organizational_units),
            dns_names: of(Field::DnsName, &sans.dns_names),
            uris: of(Field::Uri, &sans.uris),
            email_addresses: of(Field::EmailAddress, &sans.email_addresses),
        }
    }
}

/// How one list of names is spoken about.
pub(super) struct ListKind {
    /// Where it is in the request.
    pub(super) field: &'static str,
    /// One of it, for people.
    pub(super) noun: &'static str,
    /// More than one of it.
    pub(super) plural: &'static str,
    pub(super) not_allowed: ViolationCode,
    pub(super) denied: ViolationCode,
    pub(super) missing: ViolationCode,
    pub(super) count: ViolationCode,
    /// For names that may be reserved identities.
    pub(super) reserved: Option<ViolationCode>,
}

pub(super) const ORGANIZATIONS: ListKind = ListKind {
    field: "subject.organizations",
    noun: "organization (group)",
    plural: "organizations (groups)",
    not_allowed: ViolationCode::OrganizationNotAllowed,
    denied: ViolationCode::OrganizationDenied,
    missing: ViolationCode::OrganizationMissing,
    count: ViolationCode::OrganizationCount,
    reserved: Some(ViolationCode::OrganizationReserved),
};

pub(super) const ORGANIZATIONAL_UNITS: ListKind = ListKind {
    field: "subject.organizationalUnits",
    noun: "organizational unit",
    plural: "organizational units",
    not_allowed: ViolationCode::OrganizationalUnitNotAllowed,
    denied: ViolationCode::OrganizationalUnitDenied,
    missing: ViolationCode::OrganizationalUnitMissing,
    count: ViolationCode::OrganizationalUnitCount,
    reserved: Some(ViolationCode::OrganizationalUnitReserved),
};

pub(super) const DNS_NAMES: ListKind = ListKind {
    field: "dnsNames",
    noun: "DNS name",
    plural: "DNS names",
    not_allowed: ViolationCode::DnsNameNotAllowed,
    denied: ViolationCode::DnsNameDenied,
    missing: ViolationCode::DnsNameMissing,
    count: ViolationCode::DnsNameCount,
    reserved: None,
};

pub(super) const IP_ADDRESSES: ListKind = ListKind {
    field: "ipAddresses",
    noun: "IP address",
    plural: "IP addresses",
    not_allowed: ViolationCode::IpAddressNotAllowed,
    denied: ViolationCode::IpAddressDenied,
    missing: ViolationCode::IpAddressMissing,
    count: ViolationCode::IpAddressCount,
    reserved: None,
};

pub(super) const URIS: ListKind = ListKind {
    field: "uris",
    noun: "URI",
    plural: "URIs",
    not_allowed: ViolationCode::UriNotAllowed,
    denied: ViolationCode::UriDenied,
    missing: ViolationCode::UriMissing,
    count: ViolationCode::UriCount,
    reserved: None,
};

pub(super) const EMAIL_ADDRESSES: ListKind = ListKind {
    field: "emailAddresses",
    noun: "email address",
    plural: "email addresses",
    not_allowed: ViolationCode::EmailAddressNotAllowed,
    denied: ViolationCode::EmailAddressDenied,
    missing: ViolationCode::EmailAddressMissing,
    count: ViolationCode::EmailAddressCount,
    reserved: None,
};

/// The most names of a list that a policy permits, and that any object looks at one by one: a request cannot have so many O
/// or SANs, and there is room for thousands of OU and other attributes in it.
pub(super) const MAX_VALUES: usize = MAX_SANS;

impl Checks<'_> {
    /// Checks a list of names. In a policy, a list without rules must be empty, and no other has more than [`MAX_VALUES`].
    pub(super) fn names(&mut self, kind: &ListKind, rules: Option<&ListRules>, values: &[Name<'_>], wildcards: bool) {
        let looked_at = &values[..values.len().min(MAX_VALUES)];
        let Some(rules) = rules else {
            if self.is_policy {
                for value in looked_at {
                    self.not_named(kind, value.text());
                }
                if looked_at.len() < values.len() {
                    self.count(kind, Count { min: None, max: Some(0) }, values.len());
                }
            }
            return;
        };
        let patterns = rules.allowed.iter().flatten().chain(&rules.required);
        let permitted: LazyCell<Arc<str>, _> = LazyCell::new(|| list(patterns.map(Pattern::source)).into());
        let but: LazyCell<Arc<str>, _> = LazyCell::new(|| not(&rules.denied).into());
        // Which of `required` some value matches: each is compared with each once.
        let mut met = vec![false; rules.required.len()];
        for value in looked_at {
            let permits = self.permits(value, wildcards);
            let mut is_permitted = false;
            for (pattern, met) in rules.required.iter().zip(&mut met) {
                if permits(pattern) {
                    (is_permitted, *met) = (true, true);
                }
            }
            is_permitted = is_permitted
                || match &rules.allowed {
                    Some(allowed) => allowed.iter().any(permits),
                    None => rules.from.is_some() || !self.is_policy,
                };
            self.name(kind, rules, value, is_permitted, (&|| Arc::clone(&permitted), &|| Arc::clone(&but)));
        }
        if self.is_policy && looked_at.len() < values.len() {
            let most = u32::try_from(MAX_VALUES).ok();
            return self.count(kind, Count { min: None, max: rules.count.max.min(most).or(most) }, values.len());
        }
        let others = &values[looked_at.len()..];
        for (pattern, met) in rules.required.iter().zip(met) {
            if !met && !others.iter().any(|value| self.permits(value, wildcards)(pattern)) {
                self.missing(kind, pattern.source());
            }
        }
        self.count(kind, rules.count, values.len());
    }

    /// Checks one name; the last says which are permitted, by what is allowed and by what is denied.
    fn name(
        &mut self,
        kind: &ListKind,
        rules: &ListRules,
        &Name { ref value, reserved }: &Name<'_>,
        is_permitted: bool,
        (permitted, but): (&dyn Fn() -> Arc<str>, &dyn Fn() -> Arc<str>),
    ) {
        let (name, noun) = (self.name, kind.noun);
        let found = || printable(value.text());
        if let Some(pattern) = WidePattern::first_hit(&rules.denied, value) {
            self.value(kind.denied, kind.field, found, but, |shown, _| {
                format!("{noun} \"{shown}\" is denied by {name} (\"{}\")", pattern.source())
            });
        }
        if rules.from == Some(Source::Requestor) {
            self.group_of_requestor(kind, value.text(), reserved);
        }
        if is_permitted {
            return;
        }
        if self.is_policy
            && let Some(code) = kind.reserved
            && let Some(prefix) = reserved
        {
            return self.value(code, kind.field, found, permitted, |shown, permitted| {
                format!(
                    "{noun} \"{shown}\" is reserved (it begins like {prefix}), and {name} does not spell it out; it \
                     permits {permitted}"
                )
            });
        }
        self.value(kind.not_allowed, kind.field, found, permitted, |shown, permitted| {
            format!("{noun} \"{shown}\" is not allowed; {name} permits {permitted}")
        });
    }

    /// Which patterns permit `value`; in a policy, a reserved name only those that spell it out.
    fn permits<'v>(&self, value: &Name<'v>, wildcards: bool) -> impl Fn(&Pattern) -> bool + use<'v> {
        let (text, prefix) = (value.text(), value.reserved.filter(|_| self.is_policy));
        move |pattern| pattern.matches(text, wildcards) && pattern.spells_out(prefix)
    }

    fn group_of_requestor(&mut self, kind: &ListKind, value: &str, reserved: Option<&str>) {
        let (name, noun, groups) = (self.name, kind.noun, &self.envelope.groups);
        let found = || printable(value);
        if let Some(prefix) = reserved {
            let permitted = || "groups that are not reserved".into();
            self.value(ViolationCode::OrganizationReserved, kind.field, found, permitted, |shown, _| {
                format!(
                    "{noun} \"{shown}\" is reserved (it begins like {prefix}), and a requestor's own groups never yield \
                     such a name"
                )
            });
        } else if !groups.iter().any(|group| group == value) {
            let permitted = || list(groups.iter().map(String::as_str)).into();
            self.value(ViolationCode::OrganizationNotRequestor, kind.field, found, permitted, |shown, permitted| {
                format!(
                    "{noun} \"{shown}\" is not a group of the requestor, who is in {permitted}; {name} permits only those"
                )
            });
        }
    }

    pub(super) fn not_named(&mut self, kind: &ListKind, value: &str) {
        let name = self.name;
        let (found, permitted) = (|| printable(value), || "none".into());
        self.value(kind.not_allowed, kind.field, found, permitted, |shown, _| {
            format!("{} \"{shown}\" is not allowed; {name} permits no {}", kind.noun, kind.plural)
        });
    }

    pub(super) fn missing(&mut self, kind: &ListKind, required: &str) {
        let message = format!("{} requires the {} \"{required}\", and the request has none such", self.name, kind.noun);
        self.violation(kind.missing, kind.field, "", required, message);
    }

    pub(super) fn count(&mut self, kind: &ListKind, count: Count, number: usize) {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let noun = if number == 1 { kind.noun } else { kind.plural };
        let mut report = |bound: String| {
            let message = format!("the request has {number} {noun}, and {} permits {bound}", self.name);
            self.violation(kind.count, kind.field, &number.to_string(), bound, message);
        };
        if let Some(min) = count.min
            && number < min
        {
            report(format!("at least {min}"));
        }
        if let Some(max) = count.max
            && number > max
        {
            report(format!("at most {max}"));
        }
    }
}

/// Up to ten names in a row, for people.
pub(super) fn list<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    let shown: Vec<String> = names.by_ref().take(TOLD).map(printable).collect();
    match (shown.len(), names.count()) {
        (0, _) => "none".to_owned(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What is permitted where only a list of denied names says so.
pub(super) fn not(denied: &[WidePattern]) -> String {
    format!("anything but {}", list(denied.iter().map(WidePattern::source)))
}
