//! A name of a request in the forms in which it is compared with what is denied.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::pattern::Field;
use crate::fold::{fold_apart, without_iotas};

/// A value of a field, and its foldings: each is made when it is first asked for, once for all patterns of all objects, since
/// there is room in a request for what takes milliseconds to fold.
#[derive(Debug)]
pub struct FieldValue<'a> {
    field: Field,
    text: &'a str,
    normal: Cow<'a, str>,
    folded: OnceCell<String>,
    bare: OnceCell<String>,
}

impl<'a> FieldValue<'a> {
    /// `text` as a value of `field`.
    #[must_use]
    pub fn new(field: Field, text: &'a str) -> Self {
        Self { field, text, normal: field.normalize(text), folded: OnceCell::new(), bare: OnceCell::new() }
    }

    /// The value as it is.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    pub(super) const fn field(&self) -> Field {
        self.field
    }

    /// The form in which values of its field are compared.
    pub(super) fn normal(&self) -> &str {
        &self.normal
    }

    /// The same folded apart, where that may say something else.
    pub(super) fn folded(&self) -> Option<&str> {
        Some(self.apart()).filter(|folded| !folded.is_ascii() || *folded != self.normal)
    }

    fn apart(&self) -> &str {
        self.folded.get_or_init(|| fold_apart(&self.normal))
    }

    /// The same folded apart without any iota.
    pub(super) fn bare(&self) -> &str {
        self.bare.get_or_init(|| without_iotas(self.apart()))
    }
}
