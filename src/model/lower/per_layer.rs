//! The end of a block, and inputs of each layer that are gated there: Gemma 4.

use super::{Build, R};
use crate::model::graph::{Axis, Site};
use crate::model::op::{Op, Vector, Weight};
use crate::model::spec::{Layer, PerLayer};

impl Build<'_> {
    /// `(x + scale * f) * scalar`, where the layer has an input of its own `(x' + gated(x')) * scalar` of `x' = x + f`.
    pub(super) fn end(&mut self, layer: &Layer, mut x: Site, mut f: Site) -> Site {
        if let (Some(per_layer), Some((of_embeddings, of_tokens))) = (self.spec.per_layer, self.inputs) {
            let narrow = vec![Axis::TOKEN, Axis::channels("per_layer", per_layer.width)];
            let own = self.layer.expect("a block is one of the layers");
            let op = Op::LayerInput { layer: own, factor: 0.5f64.sqrt() };
            let input = self.node(R::PerLayerInput, op, [of_embeddings, of_tokens], narrow.clone());
            x = self.sum(R::ResidMlp, x, f, layer.scale);
            let gate = self.linear(R::PerLayerGate, x, narrow[1], false);
            let act = self.node(R::PerLayerAct, Op::Activate(per_layer.act), [gate], narrow.clone());
            let mul = self.node(R::PerLayerMul, Op::Multiply, [act, input], narrow);
            let out = self.linear(R::PerLayerProj, mul, self.hidden(), false);
            f = self.maybe_norm(R::PerLayerOutNorm, out, self.spec.norm);
        }
        if !layer.scalar {
            return self.sum(R::Block, x, f, layer.scale);
        }
        let name = format!("{}.layer_scalar", self.name(R::Block));
        let scalar = Vector::Param(self.named(name, &[1], None));
        self.node(R::Block, Op::ScaledSum { scalar }, [x, f], self.stream())
    }

    /// Inputs of all layers: `norm(x W / sqrt(hidden))` for each, and rows of a table.
    pub(super) fn inputs(&mut self, PerLayer { width, vocab, .. }: PerLayer, x: Site) -> (Site, Site) {
        let layers = self.spec.layers.len();
        let all = Axis::joined("layer*per_layer", layers, width);
        let table = Weight::Param(self.weight(R::PerLayerEmbed, &[vocab, layers * width]));
        let factor = f64::from((width as f64).sqrt() as f32);
        let op = Op::Embed { table, factor, rounded: true };
        let tokens = self.node(R::PerLayerEmbed, op, [], vec![Axis::TOKEN, all]);
        let projected = self.linear(R::PerLayerModel, x, all, false);
        let factors = vec![(self.spec.hidden as f64).sqrt().recip()];
        let scaled = self.node(R::PerLayerScaled, Op::Sum { factors }, [projected], vec![Axis::TOKEN, all]);
        let norm = self.spec.norm.expect("models with inputs of layers end in a norm");
        let op = self.norm_op(R::PerLayerNorm, &norm, width, Some(width));
        let axes = vec![Axis::heads("layer", layers), Axis::TOKEN, Axis::channels("per_layer", width)];
        (self.node(R::PerLayerNorm, op, [scaled], axes), tokens)
    }
}
