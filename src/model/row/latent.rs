//! Multi-head latent attention, as a family has it.

/// The widths of narrow rows and of the parts of a head: what missing keys stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatentRow {
    /// `q_lora_rank`; null is none in all families.
    pub query: Option<usize>,
    /// `kv_lora_rank`
    pub width: usize,
    /// `qk_nope_head_dim`
    pub own: usize,
    /// `qk_rope_head_dim`
    pub turned: usize,
    /// `v_head_dim`
    pub value: usize,
    /// The eps of the norms of narrow rows, which no key says.
    pub eps: f32,
}

impl LatentRow {
    /// Keys of its sizes; `qk_head_dim` is the sum of two of them, and `head_dim` the rotated part.
    pub(super) const KEYS: [&str; 7] = [
        "q_lora_rank",
        "kv_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "v_head_dim",
        "qk_head_dim",
        "head_dim",
    ];
}
