/// Whether something holds; `Unknown` where it cannot be told, with the reason as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// It cannot be told, and why.
    Unknown(String),
}

impl Truth {
    /// All of them hold (Kleene's conjunction): one `No` decides, then one `Unknown`.
    pub fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut result = Self::Yes;
        for truth in truths {
            match truth {
                Self::No => return Self::No,
                Self::Unknown(_) if result == Self::Yes => result = truth,
                Self::Unknown(_) | Self::Yes => {}
            }
        }
        result
    }

    /// Any of them holds (Kleene's disjunction): one `Yes` decides, then one `Unknown`.
    pub fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        !Self::all(truths.into_iter().map(|truth| !truth))
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    /// The opposite; what cannot be told stays so.
    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            unknown @ Self::Unknown(_) => unknown,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}
