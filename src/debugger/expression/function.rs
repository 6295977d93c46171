//! The functions: one table, from which the parser, help and completion are derived.

/// One function.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// How it is called.
    pub signature: &'static str,
    /// One sentence.
    pub doc: &'static str,
    pub(super) kind: Kind,
}

/// What a function does with its arguments.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// One number of all elements, or of those along some axes.
    Reduce(Reduction),
    /// A number for each element.
    Map(fn(f64) -> f64),
    /// Of two tensors of one shape.
    Pair(Pair),
    /// Lengths of the axes.
    Shape,
    /// The largest elements.
    Top,
}

/// How elements become one number: FUNCTIONS says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduction {
    Min,
    Max,
    Absmax,
    Sum,
    Mean,
    Rms,
    Std,
    Median,
    Norm,
    Argmax,
    Argmin,
    Nan,
    Inf,
    Count,
    Size,
    Any,
    All,
}

/// What is asked of two tensors: FUNCTIONS says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    Diff,
    Err,
    Cos,
}

const fn reduce(name: &'static str, signature: &'static str, doc: &'static str, what: Reduction) -> Function {
    Function { name, signature, doc, kind: Kind::Reduce(what) }
}

const fn map(name: &'static str, signature: &'static str, doc: &'static str, what: fn(f64) -> f64) -> Function {
    Function { name, signature, doc, kind: Kind::Map(what) }
}

const fn pair(name: &'static str, signature: &'static str, doc: &'static str, what: Pair) -> Function {
    Function { name, signature, doc, kind: Kind::Pair(what) }
}

/// Every function. `x` is a tensor, `axis` the name of one of its axes or its number; several axes may follow each other.
#[rustfmt::skip]
pub const FUNCTIONS: &[Function] = &[
    reduce("min", "min(x, axis...)", "The smallest of the finite elements.", Reduction::Min),
    reduce("max", "max(x, axis...)", "The largest of the finite elements.", Reduction::Max),
    reduce("absmax", "absmax(x, axis...)", "The largest absolute value of the finite elements.", Reduction::Absmax),
    reduce("sum", "sum(x, axis...)", "The sum of the finite elements.", Reduction::Sum),
    reduce("mean", "mean(x, axis...)", "The mean of the finite elements.", Reduction::Mean),
    reduce("rms", "rms(x, axis...)", "The root mean square of the finite elements.", Reduction::Rms),
    reduce("std", "std(x, axis...)", "The standard deviation of the finite elements, divided by their number.", Reduction::Std),
    reduce("median", "median(x, axis...)", "The median of the finite elements.", Reduction::Median),
    reduce("norm", "norm(x, axis...)", "The L2 norm of the finite elements; without parentheses, norm is the activation.", Reduction::Norm),
    reduce("argmax", "argmax(x, axis...)", "Where the largest finite element is.", Reduction::Argmax),
    reduce("argmin", "argmin(x, axis...)", "Where the smallest finite element is.", Reduction::Argmin),
    reduce("nan", "nan(x, axis...)", "The number of elements that are NaN; without x, of all witnesses.", Reduction::Nan),
    reduce("inf", "inf(x, axis...)", "The number of elements that are infinite: -inf, where scores are masked, included; without x, of all witnesses.", Reduction::Inf),
    reduce("count", "count(x, axis...)", "The number of elements that are not zero: count(x > 1) counts where that holds.", Reduction::Count),
    reduce("size", "size(x, axis...)", "The number of elements.", Reduction::Size),
    reduce("any", "any(x, axis...)", "Whether any element is not zero: any(x > 1).", Reduction::Any),
    reduce("all", "all(x, axis...)", "Whether no element is zero: all(x > 1).", Reduction::All),
    map("abs", "abs(x)", "The absolute value of each element.", f64::abs),
    map("sqrt", "sqrt(x)", "The square root of each element.", f64::sqrt),
    map("log", "log(x)", "The natural logarithm of each element.", f64::ln),
    map("exp", "exp(x)", "e to the power of each element.", f64::exp),
    pair("diff", "diff(a, b)", "a - b, but equal infinities, as masked scores have them, are no difference.", Pair::Diff),
    pair("err", "err(a, b)", "The relative L2 error of a against b; without parentheses, the error of the op here.", Pair::Err),
    pair("cos", "cos(a, b)", "The cosine of the angle between a and b.", Pair::Cos),
    Function { name: "shape", signature: "shape(x)", doc: "The names and lengths of the axes.", kind: Kind::Shape },
    Function { name: "top", signature: "top(x, k)", doc: "The k largest elements (5 without k), and where they are: top(lm_head[-1], 5).", kind: Kind::Top },
];

/// A word for what the comparison with the dumps says of the op here.
#[derive(Debug)]
pub struct Word {
    /// The word.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    pub(super) measure: Measure,
}

/// What the comparison measures: WORDS says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Error,
    Local,
    Ratio,
    Rerouted,
}

/// Every word.
pub const WORDS: &[Word] = &[
    Word { name: "err", doc: "The relative L2 error of the op here, as the listing has it.", measure: Measure::Error },
    Word { name: "local", doc: "The error of the op here on the dump's own inputs.", measure: Measure::Local },
    Word { name: "ratio", doc: "The local error over the noise floor of the op here.", measure: Measure::Ratio },
    Word {
        name: "rerouted",
        doc: "The number of tokens that a dump gives other experts than our engine: watch rerouted.",
        measure: Measure::Rerouted,
    },
];

/// The function of a name.
pub(super) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The word of a name.
pub(super) fn word(name: &str) -> Option<&'static Word> {
    WORDS.iter().find(|word| word.name == name)
}
