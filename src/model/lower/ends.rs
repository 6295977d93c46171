//! The two ends of a model: from ids to the residual stream, and from that to logits, or to an embedding.

use super::{Build, R, vocab};
use crate::model::graph::{Axis, Site};
use crate::model::op::{Op, Param, Vector, Weight};
use crate::model::spec::{Dense, Head, Stage};
use crate::ops::Activation;

impl Build<'_> {
    /// `x = norm(W table[id] * scale + types[0] + positions[position])`, `* factor`
    pub(super) fn embed(&mut self) -> Site {
        let (spec, embed) = (self.spec, self.spec.embed);
        let own = embed.width.map_or(self.hidden(), |width| Axis::channels("embedding", width));
        let table = Weight::Param(self.weight(R::EmbedTokens, &[spec.vocab, own.length(0, 0)]));
        let factor = embed.scale.map_or(1.0, f64::from);
        let op = Op::Embed { table, factor, rounded: embed.scale.is_some() };
        let mut tokens = self.node(R::EmbedTokens, op, [], vec![Axis::TOKEN, own]);
        if embed.width.is_some() {
            tokens = self.linear(R::EmbedProj, tokens, self.hidden(), false);
        }
        if let Some(factor) = embed.factor {
            return self.node(R::Embeddings, Op::Sum { factors: vec![factor] }, [tokens], self.stream());
        }
        let mut terms = vec![tokens];
        if let Some(types) = embed.types {
            let table = Weight::Param(self.weight(R::EmbedTypes, &[types, spec.hidden]));
            terms.push(self.node(R::EmbedTypes, Op::EmbedRow { table, row: 0 }, [], self.stream()));
        }
        if let Some(positions) = embed.learned {
            let table = Weight::Param(self.weight(R::EmbedPositions, &[embed.rows_before + positions, spec.hidden]));
            let op = Op::EmbedPositions { table, offset: embed.rows_before.cast_signed() };
            terms.push(self.node(R::EmbedPositions, op, [], self.stream()));
        }
        let summed = if embed.norm.is_some() { R::EmbedSum } else { R::Embeddings };
        let all = if let [tokens] = terms[..] { tokens } else { self.add(summed, &terms) };
        self.maybe_norm(R::Embeddings, all, embed.norm)
    }

    pub(super) fn head(&mut self, head: &Head, mut h: Site) {
        let spec = self.spec;
        if let Some(width) = spec.embed.width {
            h = self.linear(R::HeadProj, h, Axis::channels("embedding", width), false);
        }
        let weight = self.weight(R::LmHead, &[spec.vocab, self.width(h)]);
        if head.tied {
            // The first weight of all is the embedding table.
            self.params[weight.index()].tied = Some(Param(0));
        }
        let bias = head.bias.then(|| Vector::Param(self.param(R::LmHead, "bias", &[spec.vocab], None)));
        let op = Op::Linear { weight: Weight::Param(weight), bias, operands: None, fine: false };
        let z = self.node(R::LmHead, op, [h], vocab(spec));
        if let Some(factor) = head.factor {
            self.node(R::Logits, Op::Sum { factors: vec![factor] }, [z], vocab(spec));
        }
        if let Some(cap) = head.cap {
            self.node(R::Logits, Op::Cap(cap), [z], vocab(spec));
        }
    }

    /// From the rows of the last layer to one, of length 1 in most models.
    pub(super) fn embedding(&mut self, mut x: Site) {
        let spec = self.spec;
        for stage in &spec.embedding {
            let width = self.width(x);
            let axes = vec![Axis::SEQUENCE, Axis::channels("embedding", width)];
            x = match stage {
                Stage::Pool(how) => self.node(R::Pooled, Op::Pool(*how), [x], axes),
                Stage::Unit { eps } => self.node(R::Unit, Op::Unit { eps: *eps }, [x], axes),
                Stage::Dense(dense) => self.dense(dense, x),
            };
        }
    }

    fn dense(&mut self, dense: &Dense, x: Site) -> Site {
        let Dense { folder, width, bias, act } = dense;
        let axes = vec![Axis::SEQUENCE, Axis::channels("embedding", *width)];
        let own = |what: &str| format!("{folder}.linear.{what}");
        let weight = Weight::Param(self.named(own("weight"), &[*width, self.width(x)], None));
        let bias = bias.then(|| Vector::Param(self.named(own("bias"), &[*width], None)));
        let y = self.node(R::Dense, Op::Linear { weight, bias, operands: None, fine: false }, [x], axes.clone());
        // A model may have several.
        self.nodes[y.index()].name.clone_from(folder);
        if *act == Activation::Identity {
            return y;
        }
        let y = self.node(R::DenseAct, Op::Activate(*act), [y], axes);
        self.nodes[y.index()].name = format!("{folder}.act");
        y
    }
}
