//! Options that change verdicts, the same for `run` and `review`.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

use crate::policy::{Reserved, Settings, SignerPattern, network, signer_name};

/// How old a request may be unless an option says otherwise.
pub(super) const MAX_REQUEST_AGE: Duration = Duration::from_secs(60 * 60);

/// Options that change verdicts.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Verdict options")]
pub(super) struct VerdictOptions {
    /// A signer whose requests are reviewed: NAME, DOMAIN/* or *; repeatable.
    #[arg(long = "managed-signer", value_name = "SIGNER", value_parser = SignerPattern::managed)]
    pub(super) managed_signers: Vec<SignerPattern>,
    /// A prefix of reserved names besides system: and kubeadm:, for example eks:; repeatable.
    #[arg(long = "reserved-prefix", value_name = "PREFIX")]
    reserved_prefixes: Vec<String>,
    /// The longest lifetime that a signer gives, in seconds, by its full name (one year for kubernetes.io/*, unless this
    /// says what --cluster-signing-duration is); repeatable.
    #[arg(long = "signer-max-seconds", value_name = "SIGNER=SECONDS", value_parser = signer_seconds)]
    signer_max_seconds: Vec<(String, i64)>,
    /// A range of Services, whose addresses no node has, for example 10.96.0.0/12; repeatable.
    #[arg(long = "service-cidr", value_name = "CIDR", value_parser = network)]
    service_cidrs: Vec<IpNet>,
    /// A CSRGuardrail that must be there, Ready and enforced before anything is approved; repeatable.
    #[arg(long = "require-guardrail", value_name = "NAME")]
    required_guardrails: Vec<String>,
}

impl VerdictOptions {
    /// The settings, with `managed` where no option names a signer.
    pub(super) fn settings(
        self,
        managed: Vec<SignerPattern>,
        max_request_age: Option<Duration>,
    ) -> anyhow::Result<Settings> {
        let named = !self.managed_signers.is_empty();
        let mut signer_max_seconds = BTreeMap::new();
        for (signer, seconds) in self.signer_max_seconds {
            let other = *signer_max_seconds.entry(signer.clone()).or_insert(seconds);
            anyhow::ensure!(
                other == seconds,
                "--signer-max-seconds says {other} and {seconds} for {signer}: keep one of them"
            );
        }
        Ok(Settings {
            managed_signers: if named { self.managed_signers } else { managed },
            reserved: Reserved::new(self.reserved_prefixes),
            signer_max_seconds,
            required_guardrails: self.required_guardrails,
            service_cidrs: self.service_cidrs,
            max_request_age,
        })
    }
}

fn signer_seconds(text: &str) -> Result<(String, i64), String> {
    let wrong = || "write SIGNER=SECONDS, for example example.com/vpn=86400".to_owned();
    let (signer, seconds) = text.rsplit_once('=').ok_or_else(wrong)?;
    signer_maximum(signer, seconds.parse().map_err(|_| wrong())?)
}

/// A signer and the longest lifetime that it gives, in seconds; the error says what to write instead.
pub(super) fn signer_maximum(signer: &str, seconds: i64) -> Result<(String, i64), String> {
    let signer = signer_name(signer)?.to_owned();
    if seconds > 0 { Ok((signer, seconds)) } else { Err(format!("{seconds} is no lifetime: write seconds, from 1")) }
}

/// The longest duration, as in the chart: 999,999 days. Several of them can be added to any moment.
const LONGEST: Duration = Duration::from_secs(999_999 * 24 * 60 * 60);

/// `90s`, `3m`, `1h` or `14d`, at most [`LONGEST`]. A number alone would be days to some and seconds to others.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => 0,
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds.filter(|_| unit > 0).map(Duration::from_secs) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err("write a duration such as 90s, 3m, 1h or 14d, and 999999d at most".to_owned()),
    }
}

/// What the API server would have filled in, for requests that do not say it themselves.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Request options, for bare PEM and for what a manifest leaves out")]
pub(super) struct RequestOptions {
    /// spec.signerName, for example kubernetes.io/kube-apiserver-client.
    #[cfg_attr(feature = "controller", arg(conflicts_with = "live"))]
    #[arg(long, value_name = "SIGNER")]
    pub(super) signer_name: Option<String>,
    /// spec.username: the requestor's user name.
    #[cfg_attr(feature = "controller", arg(conflicts_with = "live"))]
    #[arg(long, value_name = "USER")]
    pub(super) username: Option<String>,
    /// spec.uid: the requestor's uid.
    #[cfg_attr(feature = "controller", arg(conflicts_with = "live"))]
    #[arg(long, value_name = "UID")]
    pub(super) uid: Option<String>,
    /// A group of the requestor; repeatable.
    #[cfg_attr(feature = "controller", arg(conflicts_with = "live"))]
    #[arg(long = "group", value_name = "GROUP")]
    pub(super) groups: Vec<String>,
    /// An extra of the requestor, as its authenticator filled it; repeatable.
    #[cfg_attr(feature = "controller", arg(conflicts_with = "live"))]
    #[arg(long = "extra", value_name = "KEY=VALUE", value_parser = extra)]
    pub(super) extra: Vec<(String, String)>,
    /// A usage of spec.usages, for example "client auth"; repeatable.
    #[cfg_attr(feature = "controller", arg(conflicts_with = "live"))]
    #[arg(long = "usage", value_name = "USAGE")]
    pub(super) usages: Vec<String>,
    /// spec.expirationSeconds, in seconds; 600 or more.
    #[cfg_attr(feature = "controller", arg(conflicts_with = "live"))]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i32).range(i64::from(MIN_EXPIRATION)..))]
    pub(super) expiration_seconds: Option<i32>,
    /// Where these are stated, and others can be.
    #[arg(skip)]
    pub(super) stated_in: StatedIn,
}

/// The least `spec.expirationSeconds` that the API server takes, in seconds.
pub(super) const MIN_EXPIRATION: i32 = 600;

/// Why the API server would refuse a lifetime, if it would.
pub(super) fn too_short(seconds: Option<i32>) -> Option<String> {
    let seconds = seconds.filter(|seconds| *seconds < MIN_EXPIRATION)?;
    Some(format!(
        "the API server takes no expirationSeconds below {MIN_EXPIRATION}, which is ten minutes, and this is {seconds}"
    ))
}

/// Where somebody states what a request leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum StatedIn {
    /// In options of the command.
    #[default]
    Options,
    /// In a test of a suite.
    Test,
}

fn extra(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Duration, LONGEST, duration};

    #[test]
    fn a_duration_has_a_unit_and_an_end() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("3m", 180), ("1h", 3_600), ("14d", 1_209_600)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("999999d"), Ok(LONGEST));
        for text in [
            "",
            "s",
            "90",
            "1.5h",
            "-1s",
            "+-1s",
            "1w",
            "1H",
            "1 h",
            "1h30m",
            "1ms",
            "1000000d",
            "18446744073709551615s",
            "9e9d",
        ] {
            assert!(duration(text).unwrap_err().contains("999999d at most"), "{text}");
        }
    }
}
