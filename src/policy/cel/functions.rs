//! The functions that an expression may call: those of CEL and of Kubernetes' libraries for strings,
//! lists, IP addresses and CIDRs, optionals, and `matches` over expressions compiled before.

use std::sync::Arc;

use cel::common::ast::{Expr, IdedExpr};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::extractors::This;
use cel::objects::Opaque;
use cel::{Context, DeclarationError, Env, ExecutionError, Value, extensions};

use super::bindings::Vals;
use super::pattern::Pattern;
use super::{Bindings, addresses};

/// How much a call costs and gives, in terms of the sizes of its target and arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Reads everything once; gives a number, a boolean or a short text.
    Scalar,
    /// Compares everything with everything; gives a number or a boolean.
    Product,
    /// Reads everything once; gives at most as much as it reads.
    Same,
    /// Compares everything with everything; gives at most as much as it reads.
    Sorted,
    /// Gives a list of parts of its target.
    Split,
    /// Gives its list with a separator between each two.
    Join,
    /// May put its last argument in for each part of its target.
    Replace,
}

/// Every function and operator, by its name in the syntax tree.
const FUNCTIONS: &[(&str, Shape)] = {
    use Shape::{Join, Product, Replace, Same, Scalar, Sorted, Split};
    &[
        ("_&&_", Scalar),
        ("_||_", Scalar),
        ("!_", Scalar),
        ("_==_", Scalar),
        ("_!=_", Scalar),
        ("_<_", Scalar),
        ("_<=_", Scalar),
        ("_>_", Scalar),
        ("_>=_", Scalar),
        ("_-_", Scalar),
        ("-_", Scalar),
        ("_*_", Scalar),
        ("_/_", Scalar),
        ("_%_", Scalar),
        ("@in", Scalar),
        ("@not_strictly_false", Scalar),
        ("_+_", Same),
        ("_?_:_", Same),
        ("_[_]", Same),
        ("_[?_]", Same),
        ("_?._", Same),
        ("size", Scalar),
        ("int", Scalar),
        ("uint", Scalar),
        ("double", Scalar),
        ("string", Same),
        ("contains", Scalar),
        ("startsWith", Scalar),
        ("endsWith", Scalar),
        ("matches", Scalar),
        ("charAt", Same),
        ("indexOf", Product),
        ("lastIndexOf", Product),
        ("lowerAscii", Same),
        ("upperAscii", Same),
        ("trim", Same),
        ("substring", Same),
        ("replace", Replace),
        ("split", Split),
        ("join", Join),
        ("reverse", Same),
        ("slice", Same),
        ("sort", Sorted),
        ("distinct", Sorted),
        ("flatten", Same),
        ("optional.none", Scalar),
        ("optional.of", Same),
        ("optional.ofNonZeroValue", Same),
        ("value", Same),
        ("hasValue", Scalar),
        ("or", Same),
        ("orValue", Same),
        ("ip", Same),
        ("cidr", Same),
        ("isIP", Scalar),
        ("isCIDR", Scalar),
        ("family", Scalar),
        ("isLoopback", Scalar),
        ("isUnspecified", Scalar),
        ("containsIP", Scalar),
        ("containsCIDR", Scalar),
        ("prefixLength", Scalar),
    ]
};

/// The macros, which the parser expands where they stand so; named here for those who write one otherwise.
const MACROS: [(&str, &str); 6] = [
    ("has", "has(csr.expirationSeconds)"),
    ("all", "csr.dnsNames.all(name, name != '')"),
    ("exists", "csr.dnsNames.exists(name, name != '')"),
    ("exists_one", "csr.dnsNames.exists_one(name, name != '')"),
    ("map", "csr.dnsNames.map(name, name + '.')"),
    ("filter", "csr.dnsNames.filter(name, name != '')"),
];

/// What a library of Kubernetes that is not here calls its functions.
pub(super) const SETS: &str = "sets";

/// What they do, in other words.
pub(super) const INSTEAD_OF_SETS: &str = "instead of contains write b.all(item, item in a), instead of intersects \
                                          b.exists(item, item in a), and instead of equivalent the first both ways";

/// How the macro of this name is written.
pub(super) fn macro_form(name: &str) -> Option<&'static str> {
    MACROS.iter().find(|(known, _)| *known == name).map(|(_, form)| *form)
}

/// Whether there is a function or operator of this name.
pub(super) fn is_known(name: &str) -> bool {
    shape(name).is_some()
}

/// What it costs and gives.
pub(super) fn shape(name: &str) -> Option<Shape> {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape)
}

/// The names of functions that somebody may have meant.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let functions =
        FUNCTIONS.iter().map(|(name, _)| *name).filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    functions.chain(MACROS.map(|(name, _)| name))
}

/// Whether the argument of the function is a regular expression.
pub(super) fn takes_pattern(name: &str) -> bool {
    name == "matches"
}

/// No identifier that somebody writes begins so.
const REFERENCE: &str = "@pattern";

/// What stands for a compiled pattern in a syntax tree.
pub(super) fn reference(index: usize) -> Expr {
    Expr::Ident(format!("{REFERENCE}{index}"))
}

/// Whether `node` stands for a compiled pattern.
pub(super) fn is_pattern(node: &IdedExpr) -> bool {
    matches!(&node.expr, Expr::Ident(name) if name.starts_with(REFERENCE))
}

/// The compiled pattern that `node` stands for.
pub(super) fn pattern<'a>(node: &IdedExpr, patterns: &'a [Arc<Pattern>]) -> Option<&'a Pattern> {
    let Expr::Ident(name) = &node.expr else { return None };
    patterns.get(name.strip_prefix(REFERENCE)?.parse::<usize>().ok()?).map(Arc::as_ref)
}

/// What an expression is parsed with.
pub(super) fn environment() -> Result<Env, DeclarationError> {
    let mut env = Env::stdlib().with_optional_support(true);
    env.add_extension(extensions::strings)?;
    env.add_extension(extensions::lists)?;
    Ok(env)
}

fn context() -> Result<Context<'static, 'static>, DeclarationError> {
    let mut context = Context::with_env(Arc::new(environment()?));
    context.add_function("matches", matches)?;
    addresses::register(&mut context)?;
    Ok(context)
}

thread_local! {
    // Making it takes longer than most evaluations; nothing that an evaluation does changes it.
    static CONTEXT: Result<Context<'static, 'static>, DeclarationError> = context();
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of a function that can be called")]
fn matches(This(text): This<Arc<String>>, pattern: Value) -> Result<bool, ExecutionError> {
    match &pattern {
        Value::Opaque(opaque) => opaque.downcast_ref::<Pattern>().and_then(|pattern| pattern.is_match(&text)),
        _ => None,
    }
    .ok_or_else(|| ExecutionError::function_error("matches", "the regular expression cannot be applied"))
}

/// What the names in an expression stand for; nothing is copied for an evaluation.
struct Variables<'a> {
    bindings: &'a Vals,
    patterns: &'a [Arc<Pattern>],
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(index) = variable.strip_prefix(REFERENCE) {
            let pattern: Arc<dyn Opaque> = Arc::<Pattern>::clone(self.patterns.get(index.parse::<usize>().ok()?)?);
            return Value::Opaque(pattern).try_into().ok().map(CowVal::Owned);
        }
        self.bindings.iter().find(|(name, _)| *name == variable).map(|(_, value)| CowVal::Borrowed(value.as_ref()))
    }
}

/// Evaluates `ast`, which was checked before.
pub(super) fn evaluate(
    ast: &IdedExpr,
    patterns: &[Arc<Pattern>],
    bindings: &Bindings<'_>,
) -> Result<Value, ExecutionError> {
    let variables = Variables { bindings: bindings.vals()?, patterns };
    CONTEXT.with(|functions| {
        let functions = functions.as_ref().map_err(|error| ExecutionError::InternalError(error.to_string()))?;
        let mut scope = functions.new_inner_scope();
        scope.set_variable_resolver(&variables);
        scope.resolve(ast)
    })
}
