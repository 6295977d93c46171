//! What an expression gives.

use ndarray::{ArcArray, IxDyn};

use crate::engine::Axis;

/// What an expression gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// True or false.
    Truth(bool),
    /// A tensor with at least one axis.
    Tensor(Tensor),
    /// A number for each axis, with its name: lengths, or the place of an element.
    Axes(Vec<(&'static str, usize)>),
    /// Names of axes, and elements with their places on them, the largest first.
    Top(Vec<&'static str>, Vec<(Vec<usize>, f64)>),
}

/// Elements and the names of their axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The elements.
    pub elements: Elements,
    /// Names of the axes, outermost first: as many as there are axes.
    pub axes: Vec<&'static str>,
}

/// The elements of a tensor: activations are f32, what is computed from them f64.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// f32.
    Single(ArcArray<f32, IxDyn>),
    /// f64.
    Double(ArcArray<f64, IxDyn>),
}

impl Value {
    /// The ids of the tokens that places on an axis of the vocabulary mean, one for each line of it.
    pub(in crate::debugger) fn vocabulary(&self) -> Vec<usize> {
        let is_vocabulary = |name: Option<&&str>| name.is_some_and(|name| *name == Axis::VOCABULARY);
        match self {
            Self::Top(axes, elements) if is_vocabulary(axes.last()) => {
                elements.iter().filter_map(|(place, _)| place.last().copied()).collect()
            }
            Self::Axes(axes) => {
                let last = axes.last().filter(|(name, _)| is_vocabulary(Some(name)));
                last.map(|(_, id)| *id).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Elements {
    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Single(values) => values.shape(),
            Self::Double(values) => values.shape(),
        }
    }

    /// The element at an index.
    pub fn at(&self, index: &[usize]) -> f64 {
        match self {
            Self::Single(values) => f64::from(values[index]),
            Self::Double(values) => values[index],
        }
    }

    /// The elements in f64.
    pub fn double(&self) -> ArcArray<f64, IxDyn> {
        match self {
            Self::Single(values) => values.mapv(f64::from).into_shared(),
            Self::Double(values) => values.clone(),
        }
    }

    /// The elements in f32: rounded, where they were computed.
    pub fn single(&self) -> ArcArray<f32, IxDyn> {
        match self {
            Self::Single(values) => values.clone(),
            Self::Double(values) => values.mapv(|value| value as f32).into_shared(),
        }
    }
}

impl Tensor {
    /// The tensor with something else for each element.
    pub(super) fn map(&self, what: impl Fn(f64) -> f64) -> Self {
        let values = match &self.elements {
            Elements::Single(values) => values.mapv(|value| what(f64::from(value))),
            Elements::Double(values) => values.mapv(what),
        };
        Self { elements: Elements::Double(values.into_shared()), axes: self.axes.clone() }
    }

    /// What is left without axes is a number.
    pub(super) fn settle(self) -> Value {
        if self.axes.is_empty() { Value::Number(self.elements.at(&[])) } else { Value::Tensor(self) }
    }
}
