//! One run of a model: a program counter and named slots. `step()` *is* the forward pass.
//!
//! The debugger calls the engine; the engine calls nobody. There are no hooks and no second code path for debugging:
//! generation, capture, comparison and stepping all call the same [`Run::step`], and any single op can be run on foreign
//! inputs by [`evaluate`].

pub mod activation;
pub mod arithmetic;
pub mod cache;
pub mod compute;
pub mod evaluate;
pub mod name;
pub mod op;
pub mod patch;
pub mod program;
pub mod run;
pub mod sampling;
pub mod supply;
pub mod together;

pub use activation::{ACTIVATIONS, Activation, Axis, Row};
pub use arithmetic::arithmetic;
pub use compute::Compute;
pub use evaluate::{Input, Span, evaluate, inputs};
pub use name::{Site, matching};
pub use op::{Alteration, Edit, Op, Step};
pub use patch::{Change, Feed, Part, Patch, Picked, Tokens};
pub use program::Program;
pub use run::{LogitRows, Run};
pub use sampling::{Sampler, Sampling};
pub use supply::Supply;

/// An activation: shared, so that recording one costs a reference count, and copied on the first write.
pub type Value<T = f32> = ndarray::ArcArray<T, ndarray::IxDyn>;
