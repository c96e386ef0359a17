//! Lists of values: names, patterns, ranges.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Compiler;
use crate::api::{self, Absent, NodeSource, RequestorSource, Wildcards};
use crate::fold::fold;
use crate::policy::reserved::MASTERS;
use crate::policy::rules::{CommonNameRules, Count, DnsRules, IpRules, ListRules, Source};
use crate::policy::{Field, Kind, Pattern, WidePattern};

const ALSO_DENIED: &str = "is denied too, and denied wins: remove it from one of them";

/// A list of values, whichever of the API's types it came from.
pub(super) struct Lists<'a> {
    allowed: Option<&'a [String]>,
    denied: Option<&'a [String]>,
    required: Option<&'a [String]>,
    min: Option<u32>,
    max: Option<u32>,
    from: Option<Source>,
    can_be_from: bool,
    more: bool,
}

macro_rules! lists {
    ($values:expr) => {
        Lists {
            allowed: $values.allowed.as_deref(),
            denied: $values.denied.as_deref(),
            required: $values.required.as_deref(),
            min: $values.min,
            max: $values.max,
            from: None,
            can_be_from: false,
            more: false,
        }
    };
}

impl<'a> Lists<'a> {
    pub(super) fn from_values(values: &'a api::Values) -> Self {
        lists!(values)
    }

    pub(super) fn from_organizations(values: &'a api::Organizations) -> Self {
        let from = values.from.map(|RequestorSource::Requestor| Source::Requestor);
        Self { from, can_be_from: true, ..lists!(values) }
    }

    pub(super) fn from_dns_names(values: &'a api::DnsNames) -> Self {
        let from = values.from.map(|NodeSource::Node| Source::Node);
        Self { from, can_be_from: true, more: values.wildcards.is_some(), ..lists!(values) }
    }

    pub(super) fn from_ip_addresses(values: &'a api::IpAddresses) -> Self {
        let from = values.from.map(|NodeSource::Node| Source::Node);
        Self { from, can_be_from: true, ..lists!(values) }
    }

    fn is_empty(&self) -> bool {
        self.allowed.is_none()
            && self.denied.is_none()
            && self.required.is_none()
            && self.min.is_none()
            && self.max.is_none()
            && self.from.is_none()
            && !self.more
    }
}

impl Compiler {
    pub(super) fn common_name(&mut self, path: &str, names: &api::CommonName) -> CommonNameRules {
        if *names == api::CommonName::default() {
            self.report(path, "commonName is empty: state allowed, denied or from, or remove commonName");
        } else if self.kind == Kind::CSRPolicy && names.allowed.is_none() && names.from.is_none() {
            self.permits_nothing(path, "allowed or from");
        }
        self.contradiction(path, names.allowed.as_deref(), None, names.denied.as_deref());
        CommonNameRules {
            allowed: self.granted(path, "allowed", names.allowed.as_deref(), Field::Identity),
            denied: self.refused(path, names.denied.as_deref(), Field::Identity),
            from_requestor: names.from.is_some(),
            needed: match names.absent {
                Some(absent) => absent == Absent::Deny,
                None => self.kind == Kind::CSRPolicy,
            },
        }
    }

    pub(super) fn list(&mut self, path: &str, lists: &Lists<'_>, field: Field) -> ListRules {
        self.list_shape(path, lists);
        ListRules {
            allowed: self.granted(path, "allowed", lists.allowed, field),
            denied: self.refused(path, lists.denied, field),
            required: self.granted(path, "required", lists.required, field).unwrap_or_default(),
            count: Count { min: lists.min, max: lists.max },
            from: lists.from,
        }
    }

    pub(super) fn dns_names(&mut self, path: &str, names: &api::DnsNames) -> DnsRules {
        let lists = Lists::from_dns_names(names);
        DnsRules {
            list: self.list(path, &lists, Field::DnsName),
            wildcards: names.wildcards.map(|wildcards| wildcards == Wildcards::Allow),
        }
    }

    pub(super) fn ip_addresses(&mut self, path: &str, addresses: &api::IpAddresses) -> IpRules {
        let lists = Lists::from_ip_addresses(addresses);
        self.list_shape(path, &lists);
        let mut networks = |name: &str, list: Option<&[String]>| {
            let path = format!("{path}.{name}");
            list.map(|list| {
                self.not_empty(&path, list, "name at least one value, or remove the list");
                self.each(&path, list, network)
            })
        };
        IpRules {
            allowed: networks("allowed", lists.allowed),
            denied: networks("denied", lists.denied).unwrap_or_default(),
            required: networks("required", lists.required).unwrap_or_default(),
            count: Count { min: lists.min, max: lists.max },
            from: lists.from,
        }
    }

    /// What holds for every list of values, whatever is in it.
    fn list_shape(&mut self, path: &str, lists: &Lists<'_>) {
        if lists.is_empty() {
            self.report(path, "the object is empty: state allowed, denied, required, min or max, or remove it");
        } else if self.kind == Kind::CSRPolicy
            && lists.allowed.is_none()
            && lists.required.is_none()
            && lists.from.is_none()
        {
            self.permits_nothing(
                path,
                if lists.can_be_from { "allowed, required or from" } else { "allowed or required" },
            );
        }
        self.contradiction(path, lists.allowed, lists.required, lists.denied);
        self.ordered(path, lists.min, lists.max);
    }

    pub(super) fn permits_nothing(&mut self, path: &str, what: &str) {
        self.report(
            path,
            format!("it permits nothing: state {what}; in a policy, what is not allowed is refused anyway"),
        );
    }

    pub(super) fn ordered<T: PartialOrd>(&mut self, path: &str, min: Option<T>, max: Option<T>) {
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            self.report(
                format!("{path}.min"),
                "min is above max, so no request could satisfy it: lower min or raise max",
            );
        }
    }

    pub(super) fn contradiction<T: PartialEq + std::fmt::Display>(
        &mut self,
        path: &str,
        allowed: Option<&[T]>,
        required: Option<&[T]>,
        denied: Option<&[T]>,
    ) {
        let denied = denied.unwrap_or_default();
        for (name, list) in [("allowed", allowed), ("required", required)] {
            for (index, item) in list.unwrap_or_default().iter().enumerate().filter(|(_, item)| denied.contains(item)) {
                self.report(format!("{path}.{name}[{index}]"), format!("{item} {ALSO_DENIED}"));
            }
        }
    }

    fn granted(&mut self, path: &str, name: &str, list: Option<&[String]>, field: Field) -> Option<Vec<Pattern>> {
        let path = format!("{path}.{name}");
        let organizational_units = path.contains(".organizationalUnits.");
        list.map(|list| {
            self.not_empty(&path, list, "name at least one value, or remove the list");
            self.each(&path, list, |item| {
                if field == Field::Identity && !organizational_units && fold(item) == MASTERS {
                    return Err("system:masters is never granted by any policy: remove it; for administrators bind \
                                ClusterRole cluster-admin to a group of your own"
                        .to_owned());
                }
                Pattern::new(item, field)
            })
        })
    }

    fn refused(&mut self, path: &str, list: Option<&[String]>, field: Field) -> Vec<WidePattern> {
        let path = format!("{path}.denied");
        let Some(list) = list else { return Vec::new() };
        self.not_empty(&path, list, "name at least one value, or remove the list");
        self.each(&path, list, |item| WidePattern::new(item, field))
    }
}

/// A CIDR in a form that Go's `netip.ParsePrefix`, and so Kubernetes, reads too: an address as std reads it, which ipnet is less
/// strict about, and a length without leading zeros.
pub fn cidr(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let plain = length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    IpNet::new(address.parse().ok()?, length.parse().ok().filter(|_| plain)?).ok()
}

/// A CIDR without host bits, or a single address. IPv4-mapped IPv6 is refused: a request never
/// decodes with such an address, so a range of them would permit or deny nothing.
pub fn network(item: &str) -> Result<IpNet, String> {
    let wrong = || {
        "it is neither an IP address nor a CIDR without host bits: write, for example, 10.0.0.0/8 or 10.1.2.3 (not \
         10.1.2.3/8)"
            .to_owned()
    };
    let network = cidr(item).or_else(|| item.parse().ok().map(|address: IpAddr| address.into())).ok_or_else(wrong)?;
    if network.trunc() != network {
        return Err(format!("it has host bits: write {} for the range, or the address alone", network.trunc()));
    }
    if let IpNet::V6(v6) = network
        && v6.prefix_len() >= 96
        && v6.network().to_ipv4_mapped().is_some()
    {
        return Err("it is an IPv4-mapped IPv6 range: write the IPv4 range".to_owned());
    }
    Ok(network)
}
