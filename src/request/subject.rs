//! The subject of a request (RFC 2986 section 4.1, RFC 5280 section 4.1.2.6).

/// A decoded subject: only what Kubernetes reads, and what it must not be mixed up with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The one CN, which Kubernetes reads as the user name; never empty.
    pub common_name: Option<String>,
    /// Every O in order of the encoding, each of which Kubernetes reads as a group; none is empty.
    pub organizations: Vec<String>,
    /// Every OU in order of the encoding.
    pub organizational_units: Vec<String>,
    /// Attributes that decode but have no place in a policy, in order of the encoding.
    pub others: Vec<(SubjectAttribute, String)>,
}

/// An attribute type that a subject may carry and no policy can allow (RFC 4519, X.520).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectAttribute {
    /// C, 2.5.4.6.
    Country,
    /// L, 2.5.4.7.
    Locality,
    /// ST, 2.5.4.8.
    State,
    /// street, 2.5.4.9.
    Street,
    /// postalCode, 2.5.4.17.
    PostalCode,
    /// serialNumber, 2.5.4.5.
    SerialNumber,
}

impl SubjectAttribute {
    /// The short name that openssl and RFC 4514 use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Country => "C",
            Self::Locality => "L",
            Self::State => "ST",
            Self::Street => "street",
            Self::PostalCode => "postalCode",
            Self::SerialNumber => "serialNumber",
        }
    }
}
