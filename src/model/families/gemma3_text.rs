//! Gemma 3, text: Gemma 2 whose q and k are normalised per head, without caps, with windows in five of six layers, which have
//! a RoPE of their own. `Gemma3TextConfig` and `modeling_gemma3.py`.

use super::gemma2::GEMMA2;
use super::qwen3::QK_NORM;
use super::{Defaults, EncoderRow, Family, QkNormRow, RopeRow, When, Windows};

pub(super) const GEMMA3: Family =
    Family { variants: &[(When::Flag("use_bidirectional_attention"), &BOTH_WAYS)], ..ONE_WAY };

/// EmbeddingGemma: every token sees those behind it as well, half a window to each side in layers that have one.
const BOTH_WAYS: Family =
    Family { encoder: Some(EncoderRow::DECODER), reads: &["hidden_act", "use_bidirectional_attention"], ..ONE_WAY };

const ONE_WAY: Family = Family {
    name: "gemma3_text",
    defaults: Defaults { vocab_size: 262_208, max_position_embeddings: 131_072, rope_theta: 1e6, ..GEMMA2.defaults },
    whole_heads: true,
    qk_norm: Some(QkNormRow { norm: GEMMA2.norm, ..QK_NORM }),
    rope: Some(RopeRow { sliding: Some((Some("rope_local_base_freq"), 1e4)), ..RopeRow::HALVES }),
    // The class does not hand its cap of scores on.
    score_cap: None,
    logit_cap: Some(("final_logit_softcapping", None)),
    windows: Windows::AllBut { key: Some("sliding_window_pattern"), every: 6 },
    ..GEMMA2
};
