//! JSON values of which only so much is kept while they are read: an item of two bytes takes some hundred in memory.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value that consists of at most `MAX` values, itself among them; of a larger one nothing is kept but that there was one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bounded<const MAX: usize> {
    Kept(Value),
    TooLarge,
}

impl<const MAX: usize> Default for Bounded<MAX> {
    fn default() -> Self {
        Self::Kept(Value::Null)
    }
}

impl<const MAX: usize> Bounded<MAX> {
    /// The value, if it was kept.
    pub(crate) fn kept(self) -> Option<Value> {
        match self {
            Self::Kept(value) => Some(value),
            Self::TooLarge => None,
        }
    }

    /// The text that the value is, or nothing.
    pub(crate) fn text(self) -> String {
        if let Self::Kept(Value::String(text)) = self { text } else { String::new() }
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Bounded<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = Cell::new(Some(MAX));
        let value = Within(&left).deserialize(deserializer)?;
        Ok(if left.get().is_some() { Self::Kept(value) } else { Self::TooLarge })
    }
}

/// The first `COUNT` items of a list, each [`Bounded`] by `MAX`; nothing of what is no list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct First<const COUNT: usize, const MAX: usize>(pub(crate) Vec<Bounded<MAX>>);

impl<const COUNT: usize, const MAX: usize> Default for First<COUNT, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, const COUNT: usize, const MAX: usize> Deserialize<'de> for First<COUNT, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FirstVisitor)
    }
}

struct FirstVisitor<const COUNT: usize, const MAX: usize>;

impl<'de, const COUNT: usize, const MAX: usize> Visitor<'de> for FirstVisitor<COUNT, MAX> {
    type Value = First<COUNT, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(First::default())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(First::default())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(First::default())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(First::default())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(First::default())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(First::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(First::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut first = Vec::new();
        while first.len() < COUNT {
            match items.next_element()? {
                Some(item) => first.push(item),
                None => return Ok(First(first)),
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(First(first))
    }
}

/// Reads a value while some are left: nothing is left once there were too many, and the rest is read over.
#[derive(Clone, Copy)]
struct Within<'a>(&'a Cell<Option<usize>>);

impl Within<'_> {
    fn take(self, value: impl Into<Value>) -> Value {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(1)));
        if self.0.get().is_some() { value.into() } else { Value::Null }
    }
}

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(self.take(Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(self.take(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(self.take(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(self.take(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(self.take(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(self.take(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        self.take(Value::Null);
        while self.0.get().is_some() {
            match items.next_element_seed(self)? {
                Some(item) => kept.push(item),
                None => return Ok(Value::Array(kept)),
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        self.take(Value::Null);
        while self.0.get().is_some() {
            let Some(key) = entries.next_key::<String>()? else { return Ok(Value::Object(kept)) };
            kept.insert(key, entries.next_value_seed(self)?);
        }
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Bounded, First};

    fn read<const MAX: usize>(text: &str) -> Option<Value> {
        serde_json::from_str::<Bounded<MAX>>(text).unwrap().kept()
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let value = json!({"a": [1, -1, 1.5, true, null, "x", {"b": {}}], "": []});
        assert_eq!(read::<11>(&value.to_string()), Some(value.clone()));
        assert_eq!(read::<10>(&value.to_string()), None);
        assert_eq!(read::<1>("null"), Some(Value::Null));
        // From a value as from text.
        assert_eq!(serde_json::from_value::<Bounded<11>>(value.clone()).unwrap().kept(), Some(value));
        assert_eq!(serde_json::from_str::<Bounded<1>>("\"x\"").unwrap().text(), "x");
        assert_eq!(serde_json::from_str::<Bounded<1>>("1").unwrap().text(), "");
    }

    #[test]
    fn what_does_not_fit_is_read_over_to_its_end() {
        for text in ["[1,2,3,[4]]", r#"{"a":"b","c":{"d":[1]},"e":2}"#, r#"[{"a":1},{"b":2}]"#, r#"[["x"],"y"]"#] {
            for (after, fits) in [
                serde_json::from_str(&format!("[{text},7]"))
                    .map(|(read, after): (Bounded<3>, u8)| (after, read.kept())),
                serde_json::from_str(&format!("[{text},7]"))
                    .map(|(read, after): (Bounded<1>, u8)| (after, read.kept())),
            ]
            .map(Result::unwrap)
            {
                assert_eq!((after, fits), (7, None), "{text}");
            }
            assert!(read::<6>(text).is_some(), "{text}");
        }
        assert!(serde_json::from_str::<Bounded<1>>("[1,2,3,").is_err());
    }

    #[test]
    fn the_first_items_of_a_list_are_kept_and_the_rest_is_read_over() {
        let first = |text: &str| -> (Vec<Option<Value>>, u8) {
            let (first, after): (First<2, 2>, u8) = serde_json::from_str(&format!("[{text},7]")).unwrap();
            (first.0.into_iter().map(Bounded::kept).collect(), after)
        };
        assert_eq!(first("[1,[2,[3]],3,{\"a\":4}]"), (vec![Some(json!(1)), None], 7));
        assert_eq!(first("[1]"), (vec![Some(json!(1))], 7));
        for none in ["null", "true", "-1", "1", "1.5", "\"x\"", "{\"a\":[1]}", "[]"] {
            assert_eq!(first(none), (Vec::new(), 7), "{none}");
        }
    }
}
