//! Parts of a dump.

use layerstep::engine::{Activation as A, Site};
use ndarray::Axis;

use crate::fixture::{Tensors, parsed};

fn only(original: &Tensors, keep: impl Fn(Site) -> bool) -> Tensors {
    original.rewritten(|name, values| keep(parsed(name).1).then(|| (name.into(), values.clone())))
}

pub(crate) fn all(original: &Tensors) -> Tensors {
    original.clone()
}

pub(crate) fn blocks(original: &Tensors) -> Tensors {
    only(original, |site| site.activation == A::Block)
}

/// Every second block: of three layers, the first and the last.
pub(crate) fn second_blocks(original: &Tensors) -> Tensors {
    only(original, |site| site.activation == A::Block && site.layer % 2 == 0)
}

pub(crate) fn middle_block_and_logits(original: &Tensors) -> Tensors {
    only(original, |site| site == Site::new(1, A::Block) || site.activation == A::LmHead)
}

pub(crate) fn logits(original: &Tensors) -> Tensors {
    only(original, |site| site.activation == A::LmHead)
}

pub(crate) fn attention(original: &Tensors) -> Tensors {
    only(original, |site| site.activation == A::OProj)
}

/// The last row of every forward, but of the keys and values: an engine that only generates has no other logits.
pub(crate) fn last_rows(original: &Tensors) -> Tensors {
    original.rewritten(|name, values| {
        let (_, site) = parsed(name);
        let kept = matches!(site.activation, A::KProj | A::VProj | A::KNorm | A::KRope);
        let axis = Axis(site.activation.row().axes.iter().position(|axis| axis.is_row()).expect("a row axis"));
        let last = values.len_of(axis) - 1;
        Some((name.into(), if kept { values.clone() } else { values.select(axis, &[last]) }))
    })
}

/// The last row of everything.
pub(crate) fn last_rows_only(original: &Tensors) -> Tensors {
    original.rewritten(|name, values| {
        let (_, site) = parsed(name);
        let axis = Axis(site.activation.row().axes.iter().position(|axis| axis.is_row()).expect("a row axis"));
        Some((name.into(), values.select(axis, &[values.len_of(axis) - 1])))
    })
}
