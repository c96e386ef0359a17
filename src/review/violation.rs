use std::sync::Arc;

use super::ViolationCode;
use crate::escape::{cut, printable};
use crate::policy::{Compiled, MASTERS, ObjectRef, ValidationRule};
use crate::request::DecodeError;

/// How many of a list are told one by one; of the others it is only said how many they are.
pub(super) const TOLD: usize = 10;
/// The longest reason, in bytes: with who decided before it, it fits into the message of a condition.
pub(super) const MAX_REASON: usize = 4_000;

/// One way in which a request goes beyond what is permitted, or how many more there are where there are too many to be
/// told one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The object that is violated; nothing where no object can permit it.
    pub object: Option<ObjectRef>,
    /// What it is, stable between versions.
    pub code: ViolationCode,
    /// Where in the request: `subject.organizations`, `expirationSeconds`.
    pub field: String,
    /// What was found there; escaped, so safe to print.
    pub found: String,
    /// What is permitted there: one text for all of a list.
    pub permitted: Arc<str>,
    /// One sentence for somebody who never saw the policy; safe to print.
    pub message: String,
    /// How many more there are of this code, at this place and of this object; zero for one that is told.
    pub more: usize,
}

impl Violation {
    /// How many it stands for.
    #[must_use]
    pub fn number(&self) -> usize {
        self.more.max(1)
    }

    /// What its texts take, in bytes.
    pub(super) fn size(&self) -> usize {
        self.found.len() + self.permitted.len() + self.message.len()
    }

    /// So many of `object` more than are told in `list`, where those of `object` stand last.
    pub(super) fn count(list: &mut Vec<Self>, object: &ObjectRef, code: ViolationCode, field: &str, number: usize) {
        let mut own = list.iter_mut().rev().take_while(|violation| violation.object.as_ref() == Some(object));
        let counted = own.find(|violation| violation.more > 0 && violation.code == code && violation.field == field);
        let more = number + counted.as_ref().map_or(0, |violation| violation.more);
        let violations = if more == 1 { "violation" } else { "violations" };
        let message = format!("{more} more {violations} of {object} in {field} ({code})");
        match counted {
            Some(violation) => (violation.message, violation.more) = (message, more),
            None => list.push(Self {
                object: Some(object.clone()),
                code,
                field: field.to_owned(),
                found: String::new(),
                permitted: Arc::default(),
                message,
                more,
            }),
        }
    }

    /// A request that asks for `system:masters`.
    pub(super) fn masters() -> Self {
        Self {
            object: None,
            code: ViolationCode::SystemMasters,
            field: "request".to_owned(),
            found: MASTERS.to_owned(),
            permitted: format!("anything but {MASTERS}").into(),
            message: format!(
                "the request asks for {MASTERS}, whose members may do everything and cannot be stopped; it is never \
                 granted, so ask for a group that a ClusterRoleBinding names"
            ),
            more: 0,
        }
    }

    /// A request of which an expression is false.
    pub(super) fn validation(object: &Compiled, rule: &ValidationRule) -> Self {
        let (name, source) = (printable(rule.expression.name()), printable(rule.expression.source()));
        let message = match &rule.message {
            Some(message) => format!("{} ({name} of {})", printable(message), object.object),
            None => format!("{name} of {} is false: {source}", object.object),
        };
        Self {
            object: Some(object.object.clone()),
            code: ViolationCode::ValidationFailed,
            field: format!("validations.{name}"),
            found: "false".to_owned(),
            permitted: source.into(),
            message,
            more: 0,
        }
    }

    /// A request that does not decode, or falls below the floor.
    pub(super) fn refused(error: &DecodeError) -> Self {
        Self {
            object: None,
            code: ViolationCode::Request(error.code),
            field: error.field.to_owned(),
            found: printable(&error.found),
            permitted: Arc::default(),
            message: error.message.clone(),
            more: 0,
        }
    }
}

/// Sentences in a row, each with how many it stands for: as many as have room in a reason, and how many more there are.
pub(super) fn row<'a>(sentences: impl Iterator<Item = (&'a str, usize)>) -> String {
    let (mut row, mut more) = (String::new(), 0);
    for (sentence, number) in sentences {
        if row.is_empty() {
            row = cut(sentence, MAX_REASON);
        } else if more == 0 && row.len() + "; ".len() + sentence.len() <= MAX_REASON {
            row.push_str("; ");
            row.push_str(sentence);
        } else {
            more += number;
        }
    }
    if more > 0 { format!("{row}; and {more} more") } else { row }
}

#[cfg(test)]
mod tests {
    use super::{MAX_REASON, row};

    #[test]
    fn sentences_stand_in_a_row_as_long_as_there_is_room() {
        let row = |lengths: &[usize]| {
            let sentences: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
            row(sentences.iter().map(|sentence| (sentence.as_str(), 2)))
        };
        let first = MAX_REASON - 1_002;
        assert_eq!(row(&[first, 1_000]).len(), MAX_REASON);
        // What comes behind one that has no room has none either, so that they stay in their order.
        assert_eq!(row(&[first, 1_001, 1]), format!("{}; and 4 more", "x".repeat(first)));
        assert_eq!(row(&[2_500, 2_000]), format!("{}; and 2 more", "x".repeat(2_500)));
    }
}
