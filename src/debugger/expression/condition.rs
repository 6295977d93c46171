//! Expressions that are true or false: when a breakpoint stops, and what a watch waits for.

use std::fmt;

use super::function::{Kind as Does, Measure, Reduction};
use super::tree::{AND, COMPARISON, Kind, Node, Part};
use super::{Error, Expression, Source, Value};

/// An expression that is true or false. Displayed in its canonical form.
#[derive(Clone, Debug)]
pub struct Condition {
    expression: Expression,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// One sentence, and where in the text; also when it is a number or a tensor, not a condition.
    pub fn parse(text: &str, source: &dyn Source) -> Result<Self, Error> {
        let expression = Expression::parse(text, source)?;
        decides(&expression.node)?;
        Ok(Self { expression })
    }

    /// Whether `source` has what it names: witnesses, a comparison. A condition that names what cannot be there would
    /// never hold.
    ///
    /// # Errors
    /// What is not there, and where in the text it is named.
    pub fn check(&self, source: &dyn Source) -> Result<(), Error> {
        self.expression.check(source)
    }

    /// Whether it holds for the op here. It does not where the op's activation has no such element or axis, where a
    /// witness does not have an activation or it is not computed yet, and where nothing was compared.
    ///
    /// # Errors
    /// One sentence: it can hold nowhere, as when shapes do not fit each other.
    pub fn holds(&self, source: &dyn Source) -> Result<bool, String> {
        match self.expression.evaluate(source) {
            Ok(Value::Truth(value)) => Ok(value),
            Ok(Value::Number(value)) => Ok(value > 0.0),
            Ok(_) => Err(elementwise(&self.expression.node).to_string()),
            Err(error) if error.absent => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt(f)
    }
}

/// Whether a node is true or false, as far as its form tells.
fn decides(node: &Node) -> Result<(), Error> {
    match &node.kind {
        Kind::Truth(_) => Ok(()),
        Kind::Not(operand) => decides(operand),
        Kind::Binary(operator, a, b) if operator.tightness <= AND => decides(a).and_then(|()| decides(b)),
        _ if is_tensor(node) => Err(elementwise(node)),
        Kind::Binary(operator, ..) if operator.tightness == COMPARISON => Ok(()),
        Kind::Call { function, axes, .. } if axes.is_empty() && counts(function.kind) => Ok(()),
        Kind::Word(word) if word.measure == Measure::Rerouted => Ok(()),
        _ => Err(Error::new(format!("{node} is not true or false: compare it, as in {node} > 1"), node.at.clone())),
    }
}

fn counts(function: Does) -> bool {
    use Reduction::{All, Any, Count, Inf, Nan};
    matches!(function, Does::Reduce(Nan | Inf | Count | Any | All))
}

fn elementwise(node: &Node) -> Error {
    Error::new(format!("{node} is a tensor, not one truth: any(x > 1) and all(x > 1) are"), node.at.clone())
}

/// Whether a node has axes, as far as its form tells.
fn is_tensor(node: &Node) -> bool {
    match &node.kind {
        Kind::Activation(_) => true,
        Kind::Call { function, arguments, .. } => match function.kind {
            Does::Map(_) => arguments.first().is_none_or(is_tensor),
            _ => false,
        },
        Kind::Slice(_, parts) => parts.iter().any(|part| matches!(part, Part::Range(..))),
        Kind::Negative(operand) | Kind::Not(operand) => is_tensor(operand),
        Kind::Binary(_, a, b) => is_tensor(a) || is_tensor(b),
        Kind::Number(_) | Kind::Truth(_) | Kind::Word(_) => false,
    }
}
