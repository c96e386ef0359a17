//! What type each part of an expression has. CEL lets values of different types be compared, which are never equal then:
//! `csr.key.bits != '3072'` would hold for every key. Kubernetes refuses such an expression when it is written, and so
//! does this.

use std::fmt;
use std::sync::Arc;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::compared::Texts;
use super::pattern::Pattern;
use super::words::{Order, Words};
use super::{bindings, compared, functions};

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// Of what is in an empty list, or may be: it goes with every other.
    Any,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    /// A text of which it is known what it can be.
    Word(Words),
    Bytes,
    Null,
    Ip,
    Cidr,
    List(Box<Type>),
    /// With what its keys and its values are.
    Map(Box<(Type, Type)>),
    Optional(Box<Type>),
    /// An object whose fields are known, by its path.
    Object(&'static str),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "anything",
            Self::Bool => "true or false",
            Self::Int => "a number",
            Self::Uint => "an unsigned number",
            Self::Double => "a floating point number",
            Self::Text | Self::Word(_) => "a text",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::Ip => "an address",
            Self::Cidr => "a range of addresses",
            Self::List(of) => {
                return if **of == Self::Any { f.write_str("a list") } else { write!(f, "a list of {}", of.plural()) };
            }
            Self::Map(_) => "a map",
            Self::Optional(of) => return write!(f, "an optional ({of}, or nothing)"),
            Self::Object(path) => return write!(f, "the object {path}"),
        })
    }
}

impl Type {
    const fn plural(&self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int => "numbers",
            Self::Uint => "unsigned numbers",
            Self::Double => "floating point numbers",
            Self::Text | Self::Word(_) => "texts",
            Self::Ip => "addresses",
            Self::Cidr => "ranges of addresses",
            Self::List(_) => "lists",
            Self::Optional(_) => "optionals",
            Self::Any | Self::Bytes | Self::Null | Self::Map(_) | Self::Object(_) => "objects",
        }
    }

    /// Whether a map has such keys. (With maps for keys a type could double with each step of an expression.)
    const fn is_key(&self) -> bool {
        matches!(self, Self::Any | Self::Bool | Self::Int | Self::Uint | Self::Text | Self::Word(_))
    }

    pub(super) fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    pub(super) fn map(keys: Self, values: Self) -> Self {
        Self::Map(Box::new((keys, values)))
    }

    fn optional(of: Self) -> Self {
        Self::Optional(Box::new(of))
    }

    /// The type that both are, if there is one.
    pub(super) fn with(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, known) | (known, Self::Any) => Some(known.clone()),
            (Self::List(one), Self::List(other)) => one.with(other).map(Self::list),
            (Self::Optional(one), Self::Optional(other)) => one.with(other).map(Self::optional),
            (Self::Map(one), Self::Map(other)) => Some(Self::map(one.0.with(&other.0)?, one.1.with(&other.1)?)),
            (Self::Word(one), Self::Word(other)) if one == other => Some(Self::Word(*one)),
            (Self::Word(Words::Usage(_)), Self::Word(Words::Usage(_))) => Some(Self::Word(Words::Usage(Order::Any))),
            (Self::Text | Self::Word(_), Self::Text | Self::Word(_)) => Some(Self::Text),
            (one, other) => (one == other).then(|| one.clone()),
        }
    }
}

/// Tells the types of an expression whose regular expressions these are.
#[derive(Debug)]
pub(super) struct Types<'a> {
    patterns: &'a [Arc<Pattern>],
    /// What comprehensions declare.
    variables: Vec<(String, Type)>,
    texts: Texts,
}

/// What is wrong, and the text in the expression that it is about.
pub(super) type Wrong = (String, String);

impl<'a> Types<'a> {
    pub(super) fn new(patterns: &'a [Arc<Pattern>]) -> Self {
        Self { patterns, variables: Vec::new(), texts: Texts::default() }
    }

    /// The type of `node`.
    pub(super) fn of(&mut self, node: &IdedExpr) -> Result<Type, Wrong> {
        match &node.expr {
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::Text,
                LiteralValue::UInt(_) => Type::Uint,
            }),
            Expr::Ident(name) => Ok(self.variable(name)),
            Expr::Select(select) => {
                let operand = self.of(&select.operand)?;
                let read = field(&operand, &select.field)?;
                if !select.test {
                    return Ok(read);
                }
                is_asked_for(&operand, &select.field, &read)?;
                Ok(Type::Bool)
            }
            Expr::List(list) => {
                let mut of = Type::Any;
                for (index, item) in list.elements.iter().enumerate() {
                    let item = self.entry(item, list.optional_indices.contains(&index))?;
                    of = of.with(&item).ok_or_else(|| two("[", "a list", &of, &item))?;
                }
                Ok(Type::list(of))
            }
            Expr::Map(map) => {
                let mut of = (Type::Any, Type::Any);
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
                    let (key, value) = (self.of(&entry.key)?, self.entry(&entry.value, entry.optional)?);
                    if !key.is_key() {
                        let problem = format!("a key of a map is a text, a number, true or false, and not {key}");
                        return Err(("{".to_owned(), problem));
                    }
                    let keys = of.0.with(&key).ok_or_else(|| two("{", "a map", &of.0, &key))?;
                    of = (keys, of.1.with(&value).ok_or_else(|| two("{", "a map", &of.1, &value))?);
                }
                Ok(Type::map(of.0, of.1))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Call(call) => self.call(call),
            Expr::Struct(_) | Expr::Unspecified => Ok(Type::Any),
        }
    }

    /// The type of what is in a list or a map; with a `?` before it, it is there if the optional has something.
    fn entry(&mut self, node: &IdedExpr, optional: bool) -> Result<Type, Wrong> {
        match self.of(node)? {
            Type::Optional(of) if optional => Ok(*of),
            Type::Any => Ok(Type::Any),
            other if optional => {
                Err(("?".to_owned(), format!("? in a list or a map takes an optional, and not {other}")))
            }
            other => Ok(other),
        }
    }

    fn variable(&self, name: &str) -> Type {
        let own = self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, of)| of.clone());
        let root = || bindings::ROOTS.into_iter().find(|root| *root == name).map(Type::Object);
        own.or_else(root).unwrap_or(Type::Any)
    }

    /// `all`, `exists`, `exists_one`, `map` and `filter`, as the parser writes them out.
    fn comprehension(&mut self, comprehension: &ComprehensionExpr) -> Result<Type, Wrong> {
        let range = self.of(&comprehension.iter_range)?;
        let (first, second) = match range {
            Type::List(of) => (*of.clone(), *of),
            Type::Map(of) => (of.0, of.1),
            Type::Any => (Type::Any, Type::Any),
            other => {
                return Err((
                    "all".to_owned(),
                    format!("all, exists, exists_one, map and filter take a list, and not {other}"),
                ));
            }
        };
        let declared = self.variables.len();
        let gathered = self.of(&comprehension.accu_init)?;
        let texts = match &comprehension.iter_range.expr {
            Expr::List(list) => compared::texts(&list.elements),
            Expr::Map(map) => compared::texts(compared::entries(map).map(|entry| &entry.key)),
            _ => Vec::new(),
        };
        self.texts.of_variables.push((comprehension.iter_var.clone(), texts));
        match &comprehension.iter_var2 {
            // With two variables the first one of a list is a number.
            Some(name) => {
                let of = if matches!(self.of(&comprehension.iter_range)?, Type::List(_)) { Type::Int } else { first };
                self.variables.extend([(comprehension.iter_var.clone(), of), (name.clone(), second)]);
            }
            None => self.variables.push((comprehension.iter_var.clone(), first)),
        }
        self.variables.push((comprehension.accu_var.clone(), gathered));
        self.of(&comprehension.loop_cond)?;
        // What is gathered has the type of the first item; after that, nothing else goes in.
        for _ in 0..2 {
            let step = self.of(&comprehension.loop_step)?;
            if let Some((_, gathered)) = self.variables.last_mut() {
                *gathered = gathered.with(&step).ok_or_else(|| two("all", "it", gathered, &step))?;
            }
        }
        let result = self.of(&comprehension.result);
        self.variables.truncate(declared);
        self.texts.of_variables.pop();
        result
    }

    /// That an optional whose value is asked for is not always there.
    fn is_optional(&mut self, node: Option<&IdedExpr>) -> Result<(), Wrong> {
        let Some(Expr::Call(call)) = node.map(|node| &node.expr) else { return Ok(()) };
        let is_read = matches!(call.func_name.as_str(), operators::OPT_SELECT | operators::OPT_INDEX);
        let [operand, name] = call.args.as_slice() else { return Ok(()) };
        let Expr::Literal(LiteralValue::String(name)) = &name.expr else { return Ok(()) };
        // What is called is not looked at twice: of each of many in a row that would be twice as often.
        if !is_read || !is_path(operand) {
            return Ok(());
        }
        let operand = self.of(operand)?;
        let read = item(&operand, call.args.get(1), &Type::Text)?;
        is_asked_for(&operand, name.inner(), &read)
    }

    /// The type of what may be one of `words`, or else the text in `node`, if there is one.
    fn in_place(&mut self, words: Words, node: Option<&IdedExpr>) -> Result<Option<Type>, Wrong> {
        let Some(text) = node.and_then(compared::text) else { return Ok(None) };
        compared::in_place(words, text)?;
        self.texts.in_place.push(text.to_owned());
        Ok(Some(Type::Word(words)))
    }

    /// The type of what is `one` or the `other`, as a condition says.
    fn either(&mut self, call: &CallExpr, one: &Type, other: &Type) -> Result<Type, Wrong> {
        let given = one.with(other).ok_or_else(|| two("?", "? :", one, other))?;
        let word = match (one, other) {
            (Type::Word(words), _) => self.in_place(*words, call.args.get(2))?,
            (_, Type::Word(words)) => self.in_place(*words, call.args.get(1))?,
            _ => None,
        };
        Ok(word.unwrap_or(given))
    }

    fn call(&mut self, call: &CallExpr) -> Result<Type, Wrong> {
        let name = call.func_name.as_str();
        // A namespace, as in `optional.of`, is no value.
        let space = call.target.as_ref().and_then(|target| match &target.expr {
            Expr::Ident(space) => Some(space.as_str()).filter(|space| functions::is_known(&format!("{space}.{name}"))),
            _ => None,
        });
        let target = call.target.as_deref().filter(|_| space.is_none());
        let operands: Vec<Type> =
            target.into_iter().chain(&call.args).map(|operand| self.of(operand)).collect::<Result<_, _>>()?;
        let first = operands.first().cloned().unwrap_or(Type::Any);
        let second = operands.get(1).cloned().unwrap_or(Type::Any);
        takes(name, target.is_some(), &first, &second)?;
        Ok(match (space, name) {
            (Some(_), "none") => Type::optional(Type::Any),
            (Some(_), "of" | "ofNonZeroValue") => Type::optional(first),
            (_, operators::EQUALS | operators::NOT_EQUALS) => {
                compared::equal(call, &first, &second, &self.texts)?;
                Type::Bool
            }
            (_, operators::IN) => {
                compared::contained(call, &first, &second, &self.texts)?;
                Type::Bool
            }
            (_, operators::CONDITIONAL) => {
                let third = operands.get(2).cloned().unwrap_or(Type::Any);
                self.either(call, &second, &third)?
            }
            (_, operators::INDEX) => {
                compared::looked_up(call, &second, &self.texts)?;
                item(&first, call.args.get(1), &second)?
            }
            (_, operators::OPT_INDEX | operators::OPT_SELECT) => {
                compared::looked_up(call, &second, &self.texts)?;
                // Of what is in an optional an optional is read anyway.
                let inner = if let Type::Optional(inner) = &first { inner } else { &first };
                Type::optional(item(inner, call.args.get(1), &second)?)
            }
            (_, operators::ADD) => match first.with(&second).ok_or_else(|| two("+", "+", &first, &second))? {
                Type::Word(_) => Type::Text,
                sum => sum,
            },
            (_, "or") => first.with(&second).ok_or_else(|| two("or", "or()", &first, &second))?,
            (_, "hasValue") => {
                self.is_optional(target)?;
                Type::Bool
            }
            (_, "orValue") => {
                let is_empty = call.args.first().is_some_and(is_empty);
                if !is_empty {
                    self.is_optional(target)?;
                }
                let Type::Optional(of) = first else { return Ok(first) };
                if let Type::Word(words) = &*of
                    && let Some(word) = self.in_place(*words, call.args.first())?
                {
                    return Ok(word);
                }
                of.with(&second).ok_or_else(|| two("orValue", "orValue()", &of, &second))?
            }
            (_, "value") => match first {
                Type::Optional(of) => *of,
                other => other,
            },
            (_, "flatten") => flattened(first, call.args.first())?,
            (_, "sort") => turned(first, Order::Sorted),
            (_, "reverse") => turned(first, Order::Any),
            (
                _,
                "slice"
                | "distinct"
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::NEGATE,
            ) => match first {
                Type::Word(_) => Type::Text,
                other => other,
            },
            (_, "split") => Type::list(part(&first)),
            (_, "charAt" | "trim" | "substring") => part(&first),
            (_, "lowerAscii") => Type::Word(Words::LowerCase),
            (_, "upperAscii") => Type::Word(Words::UpperCase),
            (_, "string" | "replace" | "join") => Type::Text,
            (_, "size" | "int" | "family" | "prefixLength") => Type::Int,
            (_, "uint") => Type::Uint,
            (_, "double") => Type::Double,
            (_, "ip") => Type::Ip,
            (_, "cidr") => Type::Cidr,
            (_, "matches" | "startsWith" | "endsWith" | "contains" | "indexOf" | "lastIndexOf") => {
                compared::found(call, &first, self.patterns, &self.texts)?;
                if name.ends_with("ndexOf") { Type::Int } else { Type::Bool }
            }
            // Operators that compare or combine, and questions.
            _ => Type::Bool,
        })
    }
}

/// That what is called `name` takes such operands; with others it fails whatever the request.
fn takes(name: &str, is_member: bool, first: &Type, second: &Type) -> Result<(), Wrong> {
    let is_text = |of: &Type| matches!(of, Type::Any | Type::Text | Type::Word(_));
    let is_number = |of: &Type| matches!(of, Type::Any | Type::Int | Type::Uint | Type::Double);
    let problem = match name {
        "contains" | "startsWith" | "endsWith" | "matches" | "indexOf" | "lastIndexOf" | "charAt" | "lowerAscii"
        | "upperAscii" | "trim" | "substring" | "replace" | "split"
            if !is_text(first) =>
        {
            let hint = match first {
                Type::List(_) if name == "contains" => ": in tells what is in a list, as in 'a' in csr.dnsNames",
                Type::List(_) => ": all and exists look at each in a list",
                Type::Optional(_) => ": write .orValue('') behind the optional",
                _ => "",
            };
            format!("{name} is of a text, and not of {first}{hint}")
        }
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS
            if first.with(second).is_none() && !(is_number(first) && is_number(second)) =>
        {
            format!("{first} is neither less nor more than {second}")
        }
        operators::LOGICAL_AND | operators::LOGICAL_OR
            if first.with(&Type::Bool).is_none() || second.with(&Type::Bool).is_none() =>
        {
            let other = if first.with(&Type::Bool).is_none() { first } else { second };
            format!("&& and || take true or false, and not {other}")
        }
        operators::CONDITIONAL if first.with(&Type::Bool).is_none() => {
            format!("? : takes true or false before the ?, and not {first}")
        }
        operators::LOGICAL_NOT if first.with(&Type::Bool).is_none() => {
            format!("! takes true or false, and not {first}")
        }
        "ip" | "isIP" | "cidr" | "isCIDR" if is_member => format!("write {name}(…) around it"),
        _ => return Ok(()),
    };
    let place = match name {
        operators::LOGICAL_NOT => "!",
        operators::CONDITIONAL => "?",
        operators::LOGICAL_AND => "&&",
        operators::LOGICAL_OR => "||",
        operators::LESS => "<",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::GREATER_EQUALS => ">=",
        name => name,
    };
    Err((place.to_owned(), problem))
}

/// What is read by `operand.name`.
fn field(operand: &Type, name: &str) -> Result<Type, Wrong> {
    match operand {
        Type::Object(path) => {
            let known = bindings::fields(path);
            let found = known.iter().find(|(field, _)| *field == name).map(|(_, of)| of.clone());
            found.ok_or_else(|| {
                let names: Vec<&str> = known.iter().map(|(field, _)| *field).collect();
                (name.to_owned(), bindings::no_field(path, name, &names))
            })
        }
        Type::Map(of) => Ok(of.1.clone()),
        Type::Optional(of) => field(of, name).map(Type::optional),
        Type::Any => Ok(Type::Any),
        other => Err((name.to_owned(), format!("{other} has no field {name}"))),
    }
}

/// What is read by `operand[index]`, where the index is of the type `of`.
fn item(operand: &Type, index: Option<&IdedExpr>, of: &Type) -> Result<Type, Wrong> {
    match operand {
        Type::List(inner) => match of {
            Type::Int | Type::Uint | Type::Any => Ok(*inner.clone()),
            other => Err((
                "[".to_owned(),
                format!(
                    "a list takes a number in [], counted from 0, and not {other}: in tells whether something is in it"
                ),
            )),
        },
        Type::Optional(inner) => item(inner, index, of).map(Type::optional),
        Type::Object(path) => match index.map(|index| &index.expr) {
            Some(Expr::Literal(LiteralValue::String(name))) => field(operand, name.inner()),
            _ => Err(("[".to_owned(), format!("{path} takes the name of a field in [], written down"))),
        },
        Type::Map(map) => {
            map.0.with(of).ok_or_else(|| compared::never("[", of, &map.0))?;
            Ok(map.1.clone())
        }
        Type::Any => Ok(Type::Any),
        other => Err(("[".to_owned(), format!("nothing is read of {other} by [] or .?"))),
    }
}

/// A part of a text.
fn part(of: &Type) -> Type {
    let Type::Word(words) = of else { return Type::Text };
    words.part().map_or(Type::Text, Type::Word)
}

/// What is in another order now.
fn turned(what: Type, order: Order) -> Type {
    match what {
        Type::List(of) if matches!(*of, Type::Word(Words::Usage(_))) => Type::list(Type::Word(Words::Usage(order))),
        // A text.
        Type::Word(_) => Type::Text,
        other => other,
    }
}

/// What `flatten` gives of a list, by as many levels as `depth` says, which is one unless it is there.
fn flattened(list: Type, depth: Option<&IdedExpr>) -> Result<Type, Wrong> {
    let levels = match depth.map(|depth| &depth.expr) {
        None => 1,
        Some(Expr::Literal(LiteralValue::Int(levels))) => *levels.inner(),
        Some(_) => return Err(("flatten".to_owned(), "flatten takes its depth as a number, written down".to_owned())),
    };
    Ok((0..levels.clamp(0, 16)).fold(list, |list, _| match list {
        Type::List(of) if matches!(*of, Type::List(_)) => *of,
        other => other,
    }))
}

/// That what is always there need not be asked for: the answer would be the same for all requests.
fn is_asked_for(operand: &Type, name: &str, read: &Type) -> Result<(), Wrong> {
    let Type::Object(path) = operand else { return Ok(()) };
    if !bindings::is_always_there(path, name) {
        return Ok(());
    }
    let hint = match read {
        Type::List(_) | Type::Map(_) => {
            format!("empty where there is none: {path}.{name}.size() > 0 tells that there is one")
        }
        Type::Text if name == "uid" => {
            format!("empty where there is none: {path}.{name} != '' tells that there is one")
        }
        _ => "so there is nothing to ask".to_owned(),
    };
    Err((name.to_owned(), format!("{path}.{name} is always there, {hint}")))
}

/// Whether it is `''`, `[]` or `{}`.
fn is_empty(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => text.inner().is_empty(),
        Expr::List(list) => list.elements.is_empty(),
        Expr::Map(map) => map.entries.is_empty(),
        _ => false,
    }
}

/// Whether it is a variable, or a field of one, and so on.
fn is_path(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Select(select) => is_path(&select.operand),
        Expr::Ident(_) => true,
        _ => false,
    }
}

fn two(place: &str, what: &str, one: &Type, other: &Type) -> Wrong {
    (place.to_owned(), format!("{what} has both {one} and {other} in it, which do not go together"))
}

#[cfg(test)]
mod tests {
    use cel::Value;
    use cel::objects::{Key, OptionalValue};
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::{Type, Types, bindings};
    use crate::policy::cel::words::How;
    use crate::policy::cel::{Bindings, bounds, functions};
    use crate::request::{Envelope, SigningRequest};

    /// Whether `value` is of the type.
    fn fits(value: &Value, of: &Type, in_place: &[String]) -> bool {
        let fits = |value: &Value, of: &Type| fits(value, of, in_place);
        let optional = || <&OptionalValue>::try_from(value).ok().map(OptionalValue::value);
        match (of, value) {
            (Type::Any, _)
            | (Type::Bool, Value::Bool(_))
            | (Type::Int, Value::Int(_))
            | (Type::Uint, Value::UInt(_))
            | (Type::Double, Value::Float(_))
            | (Type::Text, Value::String(_))
            | (Type::Bytes, Value::Bytes(_))
            | (Type::Null, Value::Null) => true,
            (Type::Word(words), Value::String(text)) => {
                words.never(How::Equals, text).is_none() || in_place.contains(text)
            }
            (Type::List(of), Value::List(items)) => items.iter().all(|item| fits(item, of)),
            (Type::Map(of), Value::Map(map)) => map.map.iter().all(|(key, value)| {
                let key = match key {
                    Key::Int(key) => Value::Int(*key),
                    Key::Uint(key) => Value::UInt(*key),
                    Key::Bool(key) => Value::Bool(*key),
                    Key::String(key) => Value::String(std::sync::Arc::clone(key)),
                };
                fits(&key, &of.0) && fits(value, &of.1)
            }),
            (Type::Object(path), Value::Map(map)) => map.map.iter().all(|(key, value)| {
                let known = bindings::fields(path);
                matches!(key, Key::String(key) if known.iter().any(|(name, of)| *name == key.as_str() && fits(value, of)))
            }),
            (Type::Optional(of), _) => optional().is_some_and(|value| value.is_none_or(|value| fits(value, of))),
            (Type::Ip | Type::Cidr, Value::Opaque(_)) => optional().is_none(),
            _ => false,
        }
    }

    /// Expressions of all kinds, most of which are of no type.
    fn any_expression() -> impl Strategy<Value = String> {
        let atoms = [
            "csr",
            "csr.usages",
            "csr.signerName",
            "csr.expirationSeconds",
            "csr.?expirationSeconds",
            "csr.key.?curve",
            "csr.dnsNames",
            "requestor.groups",
            "requestor.extra",
            "requestor.?pod",
            "requestor.?serviceAccount",
            "'a'",
            "'0'",
            "0",
            "1u",
            "1.5",
            "true",
            "null",
            "[]",
            "{}",
            "v",
            "w",
            "optional.none()",
            "ip('::1')",
            "b'x'",
        ];
        let unary = [
            "@1[0]",
            "@1[?0]",
            "@1['a']",
            "@1[?'a']",
            "@1.a",
            "@1.?a",
            "@1.?usages",
            "@1.uid",
            "@1.?uid",
            "has(@1.a)",
            "has(@1.uid)",
            "[@1]",
            "[?@1]",
            "{'a': @1}",
            "{?'a': @1}",
            "{0: @1}",
            "@1.filter(v, true)",
            "@1.value()",
            "@1.hasValue()",
            "@1.flatten()",
            "@1.flatten(2)",
            "@1.size()",
            "size(@1)",
            "@1.sort()",
            "@1.distinct()",
            "@1.reverse()",
            "@1.slice(0, 1)",
            "@1.split('')",
            "string(@1)",
            "int(@1)",
            "optional.of(@1)",
            "optional.ofNonZeroValue(@1)",
            "@1.lowerAscii()",
            "@1.join(',')",
            "-@1",
            "!@1",
            "@1.charAt(0)",
            "isIP(@1)",
            "ip(@1)",
        ];
        let binary = [
            "@1 == @2",
            "@1 != @2",
            "@1 in @2",
            "(@1 + @2)",
            "(@1 - @2)",
            "[@1, @2]",
            "[@1, ?@2]",
            "{'a': @1, 'b': @2}",
            "@1.map(v, @2)",
            "@1.map(w, @2)",
            "@1.all(v, @2)",
            "@1.exists_one(v, @2)",
            "@1.filter(w, @2)",
            "@1.map(v, true, @2)",
            "@1.or(@2)",
            "@1.orValue(@2)",
            "(true ? @1 : @2)",
            "(@1 && @2)",
            "@1 < @2",
            "@1[@2]",
            "@1[?@2]",
        ];
        select(atoms.to_vec()).prop_map(str::to_owned).prop_recursive(5, 24, 2, move |inner| {
            prop_oneof![
                (select(unary.to_vec()), inner.clone()).prop_map(|(form, one)| form.replace("@1", &one)),
                (select(binary.to_vec()), inner.clone(), inner)
                    .prop_map(|(form, one, other)| form.replace("@1", &one).replace("@2", &other)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_is_given_is_of_the_type_that_was_told(source in any_expression()) {
            let envelope = Envelope {
                signer_name: "example.com/x".to_owned(),
                username: "system:serviceaccount:a:b".to_owned(),
                groups: vec!["system:serviceaccounts:a".to_owned(), "a".to_owned()],
                usages: vec!["client auth".to_owned()],
                expiration_seconds: Some(600),
                extra: [
                    ("a".to_owned(), vec!["0".to_owned()]),
                    ("authentication.kubernetes.io/pod-name".to_owned(), vec!["p".to_owned()]),
                ].into(),
                ..Envelope::default()
            };
            let request = SigningRequest::decode(envelope, b"");
            let bindings = Bindings::new(&request, None);
            let Ok(ast) = bounds::parse(&source) else { return Ok(()) };
            let mut types = Types::new(&[]);
            let Ok(of) = types.of(&ast) else { return Ok(()) };
            if let Ok(value) = functions::evaluate(&ast, &[], &bindings) {
                prop_assert!(fits(&value, &of, &types.texts.in_place), "{} gives {:?}, not {}", source, value, of);
            }
        }
    }
}
