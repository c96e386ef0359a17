use super::ViolationCode;
use crate::escape::printable;
use crate::policy::{Compiled, MASTERS, ObjectRef, ValidationRule};
use crate::request::DecodeError;

/// One way in which a request goes beyond what is permitted.
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
    /// What is permitted there.
    pub permitted: String,
    /// One sentence for somebody who never saw the policy; safe to print.
    pub message: String,
}

impl Violation {
    /// A request that asks for `system:masters`.
    pub(super) fn masters() -> Self {
        Self {
            object: None,
            code: ViolationCode::SystemMasters,
            field: "request".to_owned(),
            found: MASTERS.to_owned(),
            permitted: format!("anything but {MASTERS}"),
            message: format!(
                "the request asks for {MASTERS}, whose members may do everything and cannot be stopped; it is never \
                 granted, so ask for a group that a ClusterRoleBinding names"
            ),
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
            permitted: source,
            message,
        }
    }

    /// A request that does not decode, or falls below the floor.
    pub(super) fn refused(error: &DecodeError) -> Self {
        Self {
            object: None,
            code: ViolationCode::Request(error.code),
            field: error.field.to_owned(),
            found: printable(&error.found),
            permitted: String::new(),
            message: error.message.clone(),
        }
    }
}
