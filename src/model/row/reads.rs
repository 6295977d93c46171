//! Which keys of config.json a row reads.

use super::{Family, LatentRow, ScaleRow, Switch, When, Windows};

/// Keys that say how the width of the MLP is made of the key's.
const WIDTH: [&str; 3] = ["block_auto_adjust_ff_dim", "block_ffn_dim_multiplier", "block_multiple_of"];

impl Family {
    /// Whether it reads a key of config.json.
    pub fn reads(&self, key: &str) -> bool {
        const ALL: [&str; 4] = ["model_type", "vocab_size", "tie_word_embeddings", "layer_types"];
        let keys = self.keys;
        let sizes = [
            keys.hidden_size,
            keys.intermediate_size,
            keys.num_hidden_layers,
            keys.num_attention_heads,
            keys.max_position_embeddings,
        ];
        let switched =
            |switch: Switch| matches!(switch, Switch::Key(own) | Switch::Unless(own) | Switch::One(own) if own == key);
        let of_windows: &[&str] = match self.windows {
            _ if self.encoder.is_some() => &[],
            Windows::None => &[],
            Windows::Chunks(_) => &["attention_chunk_size"],
            Windows::All | Windows::AsListed | Windows::AllBut { .. } | Windows::AllButFirst { .. } => {
                &["sliding_window"]
            }
            Windows::AllButLast { .. } => &["sliding_window"],
            Windows::AllIfUsed | Windows::NotRotated => &["sliding_window", "use_sliding_window"],
            Windows::ByLayer { .. } => &["sliding_window", "use_sliding_window", "max_window_layers"],
        };
        let caps = [self.score_cap, self.logit_cap].into_iter().flatten().map(|(own, _)| own);
        let factor = self.logit_factor.map(|factor| factor.key);
        let factors = [self.scale.key(), self.embed_factor, self.residual_factor, factor];
        let named = caps.chain(factors.into_iter().flatten());
        ALL.contains(&key)
            || sizes.contains(&key)
            || [keys.num_key_value_heads, keys.head_dim, keys.eps, keys.act, self.scale_by_layer, self.clip]
                .contains(&Some(key))
            || self.rope.is_some_and(|rope| rope.reads(key))
            || of_windows.contains(&key)
            || matches!(self.windows, Windows::AllBut { key: Some(own), .. } if own == key)
            || matches!(self.windows, Windows::AllButFirst { key: own, .. } if own == key)
            || self.encoder.is_some_and(|encoder| encoder.reads(key))
            || { named }.any(|own| own == key)
            || [self.qkv_bias, self.o_bias, self.mlp_bias, self.head_bias, self.wiring.parallel, self.one_key_head]
                .into_iter()
                .any(switched)
            || self.qk_norm.is_some_and(|norm| switched(norm.at))
            || self.experts.is_some_and(|experts| experts.reads(key))
            || self.mixer.is_some_and(|mixer| mixer.reads(key))
            || self.blocks.is_some_and(|blocks| blocks.reads(key))
            || self.factors.is_some_and(|factors| factors.reads(key))
            || (self.adjusts_width && WIDTH.contains(&key))
            || (self.predicts_further && ["num_nextn_predict_layers", "num_mtp_layers"].contains(&key))
            || self.embed_width == Some(key)
            || self.nested.contains(&key)
            || self.never.contains(&key)
            || self.only.iter().any(|(own, _)| *own == key)
            || self.global.is_some_and(|row| {
                [row.head_dim.0, row.values_are_keys, row.key_heads, "per_layer_config"].contains(&key)
            })
            || self.sharing.is_some_and(|row| [row.layers, row.wide].contains(&key))
            || self.per_layer.is_some_and(|row| [row.width.0, row.vocab.0].contains(&key))
            || self.others.iter().any(|(_, other)| *other == key)
            || self.variants.iter().any(
                |(when, _)| matches!(when, When::Flag(own) | When::Off(own) | When::Number(own, _) | When::Null(own) if *own == key),
            )
            || (self.latent.is_some() && LatentRow::KEYS.contains(&key))
            || self.growth.is_some_and(|(flag, [by, every])| [flag, by.0, every.0].contains(&key))
            || self.reads.contains(&key)
    }
}

impl ScaleRow {
    fn key(self) -> Option<&'static str> {
        match self {
            Self::OfWidth | Self::Fixed(_) => None,
            Self::InverseRoot(key, _) | Self::Own(key, _) => Some(key),
        }
    }
}
