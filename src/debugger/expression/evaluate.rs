//! The value of an expression.

use std::ops::Range;

use ndarray::Zip;

use super::function::{Kind as Does, Measure, Pair, Reduction};
use super::name::CHANNEL;
use super::reduce;
use super::slice::{place, slice};
use super::tree::{AND, AxisName, COMPARISON, Kind, Node, OR, Operator, Wanted, holds, one};
use super::value::{Elements, Tensor, Value};
use super::{Error, Function, Source};
use crate::metrics::compare;

/// Elements that `top` gives unless it is told, and at most.
const TOP: (usize, usize) = (5, 1000);

/// Whether `source` has what a node names.
pub(super) fn check(node: &Node, source: &dyn Source) -> Result<(), Error> {
    let known = match &node.kind {
        Kind::Activation(wanted) => source.knows(wanted.witness),
        Kind::Word(_) => source.compares(),
        _ => Ok(()),
    };
    known.map_err(|sentence| Error::new(sentence, node.at.clone()))?;
    node.children().into_iter().try_for_each(|child| check(child, source))
}

/// The value of a node.
pub(super) fn evaluate(node: &Node, source: &dyn Source) -> Result<Value, Error> {
    match &node.kind {
        Kind::Number(value) => Ok(Value::Number(*value)),
        Kind::Truth(value) => Ok(Value::Truth(*value)),
        Kind::Activation(wanted) => fetch(wanted, &node.at, source).map(Value::Tensor),
        Kind::Word(word) => {
            measure(word.measure, source).map(Value::Number).map_err(|s| Error::absent(s, node.at.clone()))
        }
        Kind::Call { function, arguments, axes } => call(node, function, arguments, axes, source),
        Kind::Slice(of, parts) => match evaluate(of, source)? {
            Value::Tensor(tensor) => {
                slice(tensor, parts).map(Tensor::settle).map_err(|problem| lacks(node, of, &problem))
            }
            value => Err(Error::new(format!("{of} is {}: it has no elements to take", kind(&value)), of.at.clone())),
        },
        Kind::Negative(operand) => Ok(map(numbers(evaluate(operand, source)?, operand)?, |value| -value)),
        Kind::Not(operand) => Ok(match numbers(evaluate(operand, source)?, operand)? {
            Value::Tensor(tensor) => Value::Tensor(tensor.map(|value| one(!holds(value)))),
            value => Value::Truth(!truth(&value)),
        }),
        Kind::Binary(operator, a, b) if operator.tightness <= AND => logic(operator, node, (a, b), source),
        Kind::Binary(operator, a, b) => {
            let (left, right) = (evaluate(a, source)?, evaluate(b, source)?);
            if let (Value::Axes(left), Value::Axes(right)) = (&left, &right)
                && let symbol @ ("==" | "!=") = operator.symbol()
            {
                let same = left.iter().map(|axis| axis.1).eq(right.iter().map(|axis| axis.1));
                return Ok(Value::Truth(same == (symbol == "==")));
            }
            combine(node, (numbers(left, a)?, numbers(right, b)?), operator.does, operator.tightness <= COMPARISON)
        }
    }
}

fn fetch(wanted: &Wanted, at: &Range<usize>, source: &dyn Source) -> Result<Tensor, Error> {
    let site = wanted.site().map_or_else(|| source.here(), Ok);
    let tensor = site.and_then(|site| source.activation(wanted.witness, site, wanted.forward));
    tensor.map_err(|sentence| Error::absent(sentence, at.clone()))
}

fn measure(what: Measure, source: &dyn Source) -> Result<f64, String> {
    if what == Measure::Rerouted {
        return source.rerouted().map(|tokens| tokens as f64);
    }
    let errors = source.errors()?;
    let (value, absent) = match what {
        Measure::Error => (errors.error, "no two witnesses have the activation here"),
        Measure::Local => (errors.local, "the inputs of the op here were not dumped, or not its output"),
        Measure::Ratio | Measure::Rerouted => {
            let ratio = errors.local.zip(errors.floor).map(|(local, floor)| local / floor);
            (ratio, "the inputs of the op here were not dumped, or not its output")
        }
    };
    value.ok_or_else(|| absent.to_string())
}

/// A tensor has not what is asked of it. Of the activation here another op's may have it.
fn lacks(node: &Node, of: &Node, problem: &str) -> Error {
    let sentence = format!("{of} {problem}");
    if of.is_about_here() { Error::absent(sentence, node.at.clone()) } else { Error::new(sentence, node.at.clone()) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "a number",
        Value::Truth(_) => "true or false",
        Value::Tensor(_) => "a tensor",
        Value::Axes(_) => "a number for each axis",
        Value::Top(..) => "a list of elements",
    }
}

/// A number or a tensor, to compute with.
fn numbers(value: Value, node: &Node) -> Result<Value, Error> {
    match value {
        Value::Number(_) | Value::Tensor(_) => Ok(value),
        Value::Truth(value) => Ok(Value::Number(one(value))),
        value => Err(Error::new(format!("{node} is {}: nothing is computed with it", kind(&value)), node.at.clone())),
    }
}

fn tensor(value: Value, node: &Node) -> Result<Tensor, Error> {
    match value {
        Value::Tensor(tensor) => Ok(tensor),
        value => Err(Error::new(format!("{node} is {}, not a tensor", kind(&value)), node.at.clone())),
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Number(value) => holds(*value),
        Value::Truth(value) => *value,
        _ => false,
    }
}

fn map(value: Value, what: impl Fn(f64) -> f64) -> Value {
    match value {
        Value::Number(value) => Value::Number(what(value)),
        Value::Tensor(tensor) => Value::Tensor(tensor.map(what)),
        other => other,
    }
}

/// Two numbers, a tensor and a number, or two tensors of one shape, element by element.
fn combine(node: &Node, operands: (Value, Value), what: impl Fn(f64, f64) -> f64, truth: bool) -> Result<Value, Error> {
    Ok(match operands {
        (Value::Number(a), Value::Number(b)) if truth => Value::Truth(what(a, b) > 0.0),
        (Value::Number(a), Value::Number(b)) => Value::Number(what(a, b)),
        (Value::Tensor(a), Value::Number(b)) => Value::Tensor(a.map(|a| what(a, b))),
        (Value::Number(a), Value::Tensor(b)) => Value::Tensor(b.map(|b| what(a, b))),
        (Value::Tensor(a), Value::Tensor(b)) => {
            alike(node, &a, &b)?;
            let values = Zip::from(&a.elements.double()).and(&b.elements.double()).map_collect(|a, b| what(*a, *b));
            Value::Tensor(Tensor { elements: Elements::Double(values.into_shared()), axes: a.axes })
        }
        (value, _) => value,
    })
}

fn alike(node: &Node, a: &Tensor, b: &Tensor) -> Result<(), Error> {
    if a.elements.shape() == b.elements.shape() {
        return Ok(());
    }
    let sentence = format!("the shapes {} and {} are not the same", a.describe(), b.describe());
    Err(Error::new(sentence, node.at.clone()))
}

/// What is not there is neither true nor false; the other operand may decide all the same.
fn logic(operator: &Operator, node: &Node, (a, b): (&Node, &Node), source: &dyn Source) -> Result<Value, Error> {
    let decides = operator.tightness == OR;
    let value = |operand: &Node| numbers(evaluate(operand, source)?, operand);
    let left = match value(a) {
        Err(error) if error.absent && decides => {
            let right = value(b)?;
            let decided = !matches!(right, Value::Tensor(_)) && truth(&right);
            return if decided { Ok(Value::Truth(true)) } else { Err(error) };
        }
        left => left?,
    };
    if !matches!(left, Value::Tensor(_)) && truth(&left) == decides {
        return Ok(Value::Truth(decides));
    }
    combine(node, (left, value(b)?), operator.does, true)
}

fn call(
    node: &Node,
    function: &Function,
    arguments: &[Node],
    axes: &[AxisName],
    source: &dyn Source,
) -> Result<Value, Error> {
    let implicit = Wanted::here(super::Witness::Engine);
    let argument = |index: usize| match arguments.get(index) {
        Some(argument) => evaluate(argument, source),
        None => fetch(&implicit, &node.at, source).map(Value::Tensor),
    };
    // The node to name when it is not what is needed.
    let named = arguments.first().unwrap_or(node);
    match function.kind {
        Does::Map(what) => Ok(map(numbers(argument(0)?, named)?, what)),
        // What is not finite is looked for wherever it may be.
        Does::Reduce(what @ (Reduction::Nan | Reduction::Inf)) if arguments.is_empty() && axes.is_empty() => {
            let everywhere = source.here().and_then(|site| source.everywhere(site));
            let everywhere = everywhere.map_err(|sentence| Error::absent(sentence, node.at.clone()))?;
            let mut count = 0.0;
            for tensor in &everywhere {
                if let Value::Number(more) = reduced(what, tensor, axes, node, named)? {
                    count += more;
                }
            }
            Ok(Value::Number(count))
        }
        Does::Reduce(what) => reduced(what, &tensor(argument(0)?, named)?, axes, node, named),
        Does::Shape => {
            let tensor = tensor(argument(0)?, named)?;
            Ok(Value::Axes(tensor.axes.iter().copied().zip(tensor.elements.shape().iter().copied()).collect()))
        }
        Does::Pair(what) => {
            let (a, b) = (argument(0)?, argument(1)?);
            if what == Pair::Diff {
                let (a, b) = (numbers(a, &arguments[0])?, numbers(b, &arguments[1])?);
                return combine(node, (a, b), |a, b| if a == b { 0.0 } else { a - b }, false);
            }
            let (a, b) = (tensor(a, &arguments[0])?, tensor(b, &arguments[1])?);
            alike(node, &a, &b)?;
            let all = |_: usize, _: usize| true;
            let c = match (&a.elements, &b.elements) {
                (Elements::Single(a), Elements::Single(b)) => compare(a.view(), b.view(), all),
                (a, b) => compare(a.double().view(), b.double().view(), all),
            };
            Ok(Value::Number(if what == Pair::Err { c.error } else { c.cosine }))
        }
        Does::Top => {
            let count = match arguments.get(1) {
                None => TOP.0,
                Some(count) => match evaluate(count, source)? {
                    Value::Number(k) if k.fract() == 0.0 && (1.0..=TOP.1 as f64).contains(&k) => k as usize,
                    _ => {
                        let sentence = format!("top gives 1 to {} elements: {}", TOP.1, function.signature);
                        return Err(Error::new(sentence, count.at.clone()));
                    }
                },
            };
            let tensor = tensor(argument(0)?, named)?;
            let elements = top(&tensor.elements, count);
            Ok(Value::Top(tensor.axes, elements))
        }
    }
}

fn reduced(what: Reduction, tensor: &Tensor, axes: &[AxisName], node: &Node, of: &Node) -> Result<Value, Error> {
    let lacks = |problem: String| lacks(node, of, &problem);
    if axes.is_empty() {
        return reduce::whole(what, tensor).map_err(lacks);
    }
    let mut over = Vec::new();
    for axis in axes {
        let index = axis_index(axis, &tensor.axes)
            .ok_or_else(|| lacks(format!("has no axis {axis}: its axes are {}", tensor.axes.join(", "))))?;
        if over.contains(&index) {
            return Err(Error::new(format!("the axis {} is given twice", tensor.axes[index]), node.at.clone()));
        }
        over.push(index);
    }
    if over.len() > 1 && matches!(what, Reduction::Argmax | Reduction::Argmin) {
        return Err(Error::new("argmax and argmin are of one axis, or of all of them", node.at.clone()));
    }
    Ok(reduce::along(what, tensor, &over))
}

fn axis_index(axis: &AxisName, axes: &[&'static str]) -> Option<usize> {
    let find = |name: &str| axes.iter().position(|axis| *axis == name);
    match axis {
        AxisName::Index(index) => place(*index, axes.len()),
        AxisName::Name(name) if name == CHANNEL => {
            let last = axes.len().checked_sub(1)?;
            (!matches!(axes[last], "key" | "query" | "token" | "head" | "kv_head")).then_some(last)
        }
        AxisName::Name(name) => find(name).or_else(|| match name.as_str() {
            "head" => find("kv_head"),
            "token" => find("query"),
            _ => None,
        }),
    }
}

/// The largest elements that are not NaN; of equal ones, the first.
fn top(elements: &Elements, count: usize) -> Vec<(Vec<usize>, f64)> {
    let values = elements.double();
    let mut found: Vec<(usize, f64)> =
        values.iter().copied().enumerate().filter(|(_, value)| !value.is_nan()).collect();
    let order = |a: &(usize, f64), b: &(usize, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if found.len() > count {
        found.select_nth_unstable_by(count, order);
        found.truncate(count);
    }
    found.sort_unstable_by(order);
    found.into_iter().map(|(flat, value)| (reduce::place(flat, values.shape()), value)).collect()
}
