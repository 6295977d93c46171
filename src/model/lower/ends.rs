//! The two ends of a model: from ids to the residual stream, and from that to logits.

use super::{Build, R, vocab};
use crate::model::graph::Site;
use crate::model::op::{Op, Param, Vector, Weight};

impl Build<'_> {
    /// `x = table[id] * scale`, `* factor`, `+ positions[position]`
    pub(super) fn embed(&mut self) -> Site {
        let (spec, embed) = (self.spec, self.spec.embed);
        let table = Weight::Param(self.weight(R::EmbedTokens, &[spec.vocab, spec.hidden]));
        let factor = embed.scale.map_or(1.0, f64::from);
        let op = Op::Embed { table, factor, rounded: embed.scale.is_some() };
        let tokens = self.node(R::EmbedTokens, op, [], self.stream());
        if let Some(factor) = embed.factor {
            return self.node(R::Embeddings, Op::Sum { factors: vec![factor] }, [tokens], self.stream());
        }
        if let Some(norm) = &embed.norm {
            return self.norm(R::Embeddings, tokens, norm);
        }
        let Some(positions) = embed.learned else { return tokens };
        let table = Weight::Param(self.weight(R::EmbedPositions, &[embed.rows_before + positions, spec.hidden]));
        let op = Op::EmbedPositions { table, offset: embed.rows_before.cast_signed() };
        let positions = self.node(R::EmbedPositions, op, [], self.stream());
        self.sum(R::Embeddings, tokens, positions, 1.0)
    }

    pub(super) fn head(&mut self, h: Site) -> Site {
        let spec = self.spec;
        let weight = self.weight(R::LmHead, &[spec.vocab, spec.hidden]);
        if spec.head.tied {
            // The first weight of all is the embedding table.
            self.params[weight.index()].tied = Some(Param(0));
        }
        let bias = spec.head.bias.then(|| Vector::Param(self.param(R::LmHead, "bias", &[spec.vocab], None)));
        let op = Op::Linear { weight: Weight::Param(weight), bias, operands: None, fine: false };
        self.node(R::LmHead, op, [h], vocab(spec))
    }
}
