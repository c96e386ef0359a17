//! Stable codes: what programs and alerts may rely on.

use crate::codes::codes;
use crate::request::DecodeCode;

codes! {
    /// What a violation is about.
    ViolationCode {
        /// The signer is not among those that a guardrail allows.
        SignerNotAllowed => "signer-not-allowed",
        /// A guardrail denies the signer.
        SignerDenied => "signer-denied",
        /// There is no CN, and one is needed.
        CommonNameMissing => "subject-common-name-missing",
        /// No pattern allows the CN.
        CommonNameNotAllowed => "subject-common-name-not-allowed",
        /// The CN is denied.
        CommonNameDenied => "subject-common-name-denied",
        /// The CN is a reserved identity that no pattern spells out.
        CommonNameReserved => "subject-common-name-reserved",
        /// The CN is not the requestor's own user name.
        CommonNameNotRequestor => "subject-common-name-not-requestor",
        /// No pattern allows an O.
        OrganizationNotAllowed => "subject-organization-not-allowed",
        /// An O is denied.
        OrganizationDenied => "subject-organization-denied",
        /// An O is a reserved identity that no pattern spells out.
        OrganizationReserved => "subject-organization-reserved",
        /// An O is not a group of the requestor.
        OrganizationNotRequestor => "subject-organization-not-requestor",
        /// A required O is missing.
        OrganizationMissing => "subject-organization-missing",
        /// Too few or too many O.
        OrganizationCount => "subject-organization-count",
        /// No pattern allows an OU.
        OrganizationalUnitNotAllowed => "subject-organizational-unit-not-allowed",
        /// An OU is denied.
        OrganizationalUnitDenied => "subject-organizational-unit-denied",
        /// An OU is a reserved identity that no pattern spells out.
        OrganizationalUnitReserved => "subject-organizational-unit-reserved",
        /// A required OU is missing.
        OrganizationalUnitMissing => "subject-organizational-unit-missing",
        /// Too few or too many OU.
        OrganizationalUnitCount => "subject-organizational-unit-count",
        /// The subject has an attribute that no policy can allow (C, L, ST…).
        SubjectAttributeNotAllowed => "subject-attribute-not-allowed",
        /// A usage is not allowed, or no extended key usage is asked for where some are.
        UsageNotAllowed => "usage-not-allowed",
        /// A usage is denied, or no extended key usage is asked for where one is denied, or no key usage where one of those is.
        UsageDenied => "usage-denied",
        /// A required usage is missing.
        UsageMissing => "usage-missing",
        /// The lifetime asked for is too short.
        ExpirationTooShort => "expiration-too-short",
        /// The lifetime asked for, or given where none is asked for, is too long.
        ExpirationTooLong => "expiration-too-long",
        /// No lifetime is asked for.
        ExpirationUnset => "expiration-unset",
        /// No lifetime is asked for, and nothing says what the signer gives.
        ExpirationSignerMaximumUnknown => "expiration-signer-maximum-unknown",
        /// The algorithm of the key is not allowed.
        KeyAlgorithmNotAllowed => "key-algorithm-not-allowed",
        /// The RSA key is shorter than allowed.
        KeyTooShort => "key-too-short",
        /// The RSA key is longer than allowed.
        KeyTooLong => "key-too-long",
        /// The curve of the key is not allowed.
        KeyCurveNotAllowed => "key-curve-not-allowed",
        /// No pattern allows a DNS name.
        DnsNameNotAllowed => "dns-name-not-allowed",
        /// A DNS name is denied, or covers one that is.
        DnsNameDenied => "dns-name-denied",
        /// A wildcard DNS name where none may be.
        DnsNameWildcard => "dns-name-wildcard",
        /// A required DNS name is missing.
        DnsNameMissing => "dns-name-missing",
        /// Too few or too many DNS names.
        DnsNameCount => "dns-name-count",
        /// No range allows an IP address.
        IpAddressNotAllowed => "ip-address-not-allowed",
        /// An IP address is denied.
        IpAddressDenied => "ip-address-denied",
        /// No IP address is in a required range.
        IpAddressMissing => "ip-address-missing",
        /// Too few or too many IP addresses.
        IpAddressCount => "ip-address-count",
        /// No pattern allows a URI.
        UriNotAllowed => "uri-not-allowed",
        /// A URI is denied.
        UriDenied => "uri-denied",
        /// A required URI is missing.
        UriMissing => "uri-missing",
        /// Too few or too many URIs.
        UriCount => "uri-count",
        /// No pattern allows an email address.
        EmailAddressNotAllowed => "email-address-not-allowed",
        /// An email address is denied.
        EmailAddressDenied => "email-address-denied",
        /// A required email address is missing.
        EmailAddressMissing => "email-address-missing",
        /// Too few or too many email addresses.
        EmailAddressCount => "email-address-count",
        /// A validation, an expression in CEL, is false.
        ValidationFailed => "validation-failed",
        /// A kubelet's request for somebody else, or somebody else's request for a kubelet.
        KubeletIdentity => "kubelet-identity",
        /// `from: Node` or rules about the Node, and the request is not a node's for itself.
        NodeIdentity => "node-identity",
        /// The Node was created longer ago than may be.
        NodeTooOld => "node-too-old",
        /// `from: Node`, and a DNS name that no node has: `localhost`, `kubernetes…`, Services, the cluster's domain.
        DnsNameNeverNode => "dns-name-never-node",
        /// `from: Node`, and an IP address that no node has: loopback, link-local, unspecified, multicast.
        IpAddressNeverNode => "ip-address-never-node",
        /// `from: Node`, and an IP address of the range of Services.
        IpAddressService => "ip-address-service",
        /// `system:masters` is asked for.
        SystemMasters => "system-masters",
        @inner
        /// The request does not decode, or falls below the floor.
        Request(DecodeCode),
    }
}

codes! {
    /// Why a review came out as it did.
    ReasonCode {
        /// The signer is not managed.
        SignerNotManaged => "signer-not-managed",
        /// Somebody decided already, or the request is going away.
        Settled => "settled",
        /// The request is older than may be.
        TooOld => "request-too-old",
        /// `system:masters` is asked for.
        SystemMasters => "system-masters",
        /// The request does not decode, or falls below the floor.
        RequestRefused => "request-refused",
        /// A guardrail is violated.
        GuardrailViolated => "guardrail-violated",
        /// A guardrail cannot be evaluated.
        GuardrailUnknown => "guardrail-unknown",
        /// A guardrail that must be there is not, or decides nothing.
        GuardrailRequired => "guardrail-required",
        /// A policy is satisfied.
        PolicySatisfied => "policy-satisfied",
        /// Policies match, and none is satisfied.
        PolicyViolated => "policy-violated",
        /// A policy cannot be evaluated.
        PolicyUnknown => "policy-unknown",
        /// No policy matches.
        NoPolicyMatches => "no-policy-matches",
    }
}
