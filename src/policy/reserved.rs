//! Reserved identities: names that Kubernetes or its installer gives a meaning of their own.

use std::cmp::Reverse;

use crate::fold::{fold_apart, has_marks, split_marks};

/// `system:masters`, whose members every authorization check lets through.
pub const MASTERS: &str = "system:masters";

/// The prefixes that make a name a reserved identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// Each as it is written, and folded; the longest first, since one may begin with another.
    prefixes: Vec<(String, String)>,
}

impl Default for Reserved {
    fn default() -> Self {
        Self::new(std::iter::empty())
    }
}

impl Reserved {
    /// `system:`, `kubeadm:` and the given prefixes (`eks:`…).
    pub fn new(more: impl IntoIterator<Item = String>) -> Self {
        let standard = ["system:".to_owned(), "kubeadm:".to_owned()];
        let all = standard.into_iter().chain(more.into_iter().filter(|prefix| !prefix.is_empty()));
        let mut prefixes: Vec<(String, String)> = all.map(|prefix| (prefix.clone(), fold_apart(&prefix))).collect();
        prefixes.sort_by_key(|(_, folded)| Reverse(folded.len()));
        Self { prefixes }
    }

    /// The longest prefix that makes `name` a reserved identity, compared after trimming, case folding and
    /// Unicode compatibility normalisation.
    #[must_use]
    pub fn prefix_of(&self, name: &str) -> Option<&str> {
        let name = fold_apart(name);
        let begins = |folded: &str| {
            let (stem, marks) = split_marks(folded);
            name.strip_prefix(stem).is_some_and(|rest| has_marks(rest, marks))
        };
        self.prefixes.iter().find(|(_, folded)| begins(folded)).map(|(prefix, _)| prefix.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reserved;
    use crate::policy::{Field, Pattern};

    fn permits(reserved: &Reserved, pattern: &Pattern, name: &str) -> bool {
        pattern.matches(name, false) && pattern.spells_out(reserved.prefix_of(name))
    }

    #[test]
    fn only_a_pattern_that_spells_the_prefix_out_permits_a_reserved_name() {
        let reserved = Reserved::new(["eks:".to_owned()]);
        for (pattern, name, expected) in [
            ("*", "amy", true),
            ("**", "system:admin", false),
            ("s*", "system", true),
            ("s**", "system:admin", false),
            ("system:*", "system:admin", true),
            ("system:node:*", "system:node:a", true),
            ("syste**", "system:admin", false),
            ("**", "System:admin", false),
            ("**", "kubeadm:cluster-admins", false),
            ("**", "eks:node-manager", false),
            ("eks:*", "eks:node-manager", true),
            ("**", "oidc:system:admin", true),
            ("\u{ff53}ystem:admin", "\u{ff53}ystem:admin", false),
        ] {
            let pattern = Pattern::new(pattern, Field::Identity).unwrap();
            assert_eq!(permits(&reserved, &pattern, name), expected, "{} and {name}", pattern.source());
        }
    }

    #[test]
    fn a_prefix_within_another_is_to_be_spelled_out_as_well() {
        for prefixes in [["corp:", "corp:root:"], ["corp:root:", "corp:"]] {
            let reserved = Reserved::new(prefixes.map(str::to_owned));
            for (pattern, expected) in [("corp:**", false), ("corp:root:*", true), ("corp:r**", false)] {
                let pattern = Pattern::new(pattern, Field::Identity).unwrap();
                assert_eq!(
                    permits(&reserved, &pattern, "corp:root:x"),
                    expected,
                    "{} of {prefixes:?}",
                    pattern.source()
                );
            }
            assert!(permits(&reserved, &Pattern::new("corp:*", Field::Identity).unwrap(), "corp:x"));
        }
        // A mark may go together with the last letter of it.
        let ends_in_a_letter = Reserved::new(["corp".to_owned()]);
        for name in ["corp", "CORP\u{301}x", "cor\u{1e55}x"] {
            assert_eq!(ends_in_a_letter.prefix_of(name), Some("corp"), "{name}");
        }
        // Or before the mark of that letter.
        let ends_in_a_mark = Reserved::new(["caf\u{e9}".to_owned()]);
        for name in ["Caf\u{e9}", "CAF\u{c9}\u{323}x", "caf\u{1eb9}\u{301}:x"] {
            assert_eq!(ends_in_a_mark.prefix_of(name), Some("caf\u{e9}"), "{name}");
        }
        assert_eq!(ends_in_a_mark.prefix_of("cafe\u{323}x\u{301}"), None);
        let reserved = Reserved::new(["system:serviceaccount:".to_owned()]);
        let pattern = Pattern::new("system:**", Field::Identity).unwrap();
        assert!(!permits(&reserved, &pattern, "system:serviceaccount:a:b"));
        assert!(permits(&reserved, &pattern, "system:node:a"));
    }
}
