//! One run of a model: a program counter and named slots. `step()` *is* the forward pass.
//!
//! The debugger calls the engine; the engine calls nobody. There are no hooks and no second code path for debugging:
//! generation, capture, comparison and stepping all call the same [`Run::step`], and any single op can be run on foreign
//! inputs by [`evaluate`].

pub mod arithmetic;
pub mod cache;
pub mod compute;
pub mod edit;
pub mod op;
pub mod patch;
pub mod run;
pub mod sampling;
pub mod sequence;
pub mod step;
pub mod together;

pub use crate::model::graph::{Axis, Class, Counts, Graph, Node, Read, Site};
pub use crate::model::op::{Keyed, Op, Product};
pub use crate::model::role::{ROLES, Role};
pub use arithmetic::arithmetic;
pub use compute::Compute;
pub use edit::{Alteration, Edit, Field, Missed, Rates, Shards};
pub use patch::{Change, Feed, Part, Patch, Picked, Tokens};
pub use run::{LogitRows, Run};
pub use sampling::{Sampler, Sampling};
pub use sequence::Sequence;
pub use step::{Span, Step, evaluate};

/// An activation: shared, so that recording one costs a reference count, and copied on the first write.
pub type Value<T = f32> = ndarray::ArcArray<T, ndarray::IxDyn>;
