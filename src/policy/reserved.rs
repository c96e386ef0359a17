//! Reserved identities: names that Kubernetes or its installer gives a meaning of their own.

use std::cmp::Reverse;

use crate::fold::{MOST_MARKS, fold_apart, fold_beginning, has_marks, split_marks};

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
        // No prefix has more characters than the longest has bytes, and no more marks behind it are looked at.
        let longest = self.prefixes.first().map_or(0, |(_, folded)| folded.len());
        self.of_folded(&fold_beginning(name, longest + MOST_MARKS + 1))
    }

    fn of_folded(&self, name: &str) -> Option<&str> {
        let begins = |folded: &str| {
            let (stem, marks) = split_marks(folded);
            name.strip_prefix(stem).is_some_and(|rest| has_marks(rest, marks))
        };
        self.prefixes.iter().find(|(_, folded)| begins(folded)).map(|(prefix, _)| prefix.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MOST_MARKS, Reserved};
    use crate::fold::fold_apart;
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

    /// What prefixes and names are made of: their letters in other forms, and what may stand before, between and behind them.
    fn text(most: usize) -> impl Strategy<Value = String> {
        let part = prop_oneof![
            8 => proptest::sample::select(vec![
                "system", "SYS", "\u{17f}y\u{17f}", "tem:", "\u{ff33}ystem", "\u{ff1a}", ":", "kubeadm:", "\u{212a}ubeadm", "corp",
                "cor\u{1e55}", "caf", "e", "\u{e9}", "\u{c9}", "\u{1eb9}", "\u{df}", "\u{130}", "\u{fb03}", "\u{fdfa}", "\u{ac01}",
                "\u{1fb3}", "\u{1fb4}", "\u{3b1}",
            ]).prop_map(str::to_owned),
            4 => "[ \t\u{a0}\u{b4}\u{2003}\u{3000}]{1,3}|[\u{ad}\u{34f}\u{200b}\u{200d}\u{2060}\u{feff}]{1,3}",
            4 => "[\u{300}\u{301}\u{323}\u{327}\u{344}\u{345}]{1,4}",
            1 => (MOST_MARKS - 2..MOST_MARKS + 3, "[\u{300}\u{301}\u{323}\u{345}]").prop_map(|(many, mark)| mark.repeat(many)),
            1 => "\\PC{1,4}",
        ];
        proptest::collection::vec(part, 0..most).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_beginning_of_a_name_says_what_all_of_it_says(more in proptest::collection::vec(text(4), 0..3), before in text(3), at in any::<usize>(), name in text(12)) {
            let reserved = Reserved::new(more);
            let (prefix, _) = &reserved.prefixes[at % reserved.prefixes.len()];
            for name in [before.clone() + prefix + &name, before + &prefix.to_uppercase() + &name, name] {
                prop_assert_eq!(reserved.prefix_of(&name), reserved.of_folded(&fold_apart(&name)), "{:?}", name);
            }
        }
    }

    #[test]
    fn what_stands_before_a_prefix_is_looked_through_however_long_it_is() {
        let reserved = Reserved::default();
        for space in [" ", "\u{a0}", "\u{2003}", "\t"] {
            assert_eq!(
                reserved.prefix_of(&format!("{}\u{ff33}YSTEM:x", space.repeat(10_000))),
                Some("system:"),
                "{space:?}"
            );
        }
        assert_eq!(reserved.prefix_of(&format!("system:{}", "\u{301}".repeat(20_000))), Some("system:"));
        assert_eq!(reserved.prefix_of(&format!("system{}:", "\u{301}".repeat(20_000))), None);
    }
}
