//! Kimi K2: DeepSeek-V3 under another `model_type`, of which only the sizes differ. Its own `configuration_deepseek.py`; transformers
//! reads it as `DeepseekV3Config`.

use super::deepseek_v3::{DEEPSEEK_V3, PLAIN as OF_V3};
use super::{Family, When};

const PLAIN: Family = Family { name: "kimi_k2", ..OF_V3 };

pub(super) const KIMI_K2: Family =
    Family { name: "kimi_k2", variants: &[(When::Null("q_lora_rank"), &PLAIN)], ..DEEPSEEK_V3 };
