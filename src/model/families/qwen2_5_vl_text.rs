//! Qwen2.5-VL, its language model: that of Qwen2-VL. `Qwen2_5_VLTextConfig` and `modeling_qwen2_5_vl.py`.

use super::Family;
use super::qwen2_vl_text::QWEN2_VL;

pub(super) const QWEN2_5_VL: Family = Family { name: "qwen2_5_vl_text", ..QWEN2_VL };
