//! What is alarming, each with a stable code.

use crate::codes::codes;
use crate::fold::fold;

codes! {
    /// What is alarming about a request, a certificate, a key or a kubeconfig.
    AlarmCode {
        /// The certificate has expired.
        Expired => "expired",
        /// It expires within `--expires-within`.
        Expiring => "expiring",
        /// Its validity has not begun.
        NotYetValid => "not-yet-valid",
        /// It has a group whose members may do everything.
        ClusterAdmin => "cluster-admin",
        /// A name that Kubernetes reserves for itself.
        ReservedName => "reserved-name",
        /// A client certificate that lasts for more than 30 days.
        LongLifetime => "long-lifetime",
        /// A client certificate that is a CA too.
        ClientAndCa => "client-and-ca",
        /// The private key that goes with it belongs to another.
        KeyMismatch => "key-mismatch",
        /// Others than its owner may read or write a file with a secret.
        FileMode => "file-mode",
        /// A key that is too short, or of an algorithm that nothing takes any more.
        WeakKey => "weak-key",
        /// A signature whose hash no longer holds.
        WeakSignature => "weak-signature",
        /// Those that signed it do not verify, or may not sign, or have expired.
        ChainInvalid => "chain-invalid",
        /// One CA where there should be several.
        SharedCa => "shared-ca",
        /// In a kubeconfig, another CA signed the certificate of the user than the cluster is trusted by.
        OtherCa => "other-ca",
        /// A kubeconfig does not make sure which server it speaks to.
        InsecureConnection => "insecure-connection",
        /// Not as the standard has it, or not whole.
        Odd => "odd",
        /// A request that Countersign does not decode.
        RequestRefused => "request-refused",
    }
}

impl clap::ValueEnum for AlarmCode {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.as_str()))
    }
}

/// Something alarming, in a clause that is safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alarm {
    pub(super) code: AlarmCode,
    pub(super) message: String,
}

/// An alarm, for shortness.
pub(super) fn alarm(code: AlarmCode, message: impl Into<String>) -> Alarm {
    Alarm { code, message: message.into() }
}

/// The groups whose members may do everything: one by the API server itself, one by what kubeadm binds it to.
const ADMINS: [(&str, &str); 2] = [
    (crate::policy::MASTERS, "whose members may do everything and cannot be stopped"),
    ("kubeadm:cluster-admins", "which kubeadm binds to cluster-admin"),
];

/// Why a group is one of administrators, if it is.
pub(super) fn administrators(group: &str) -> Option<&'static str> {
    let group = fold(group);
    ADMINS.iter().find(|(name, _)| *name == group).map(|(_, why)| *why)
}
