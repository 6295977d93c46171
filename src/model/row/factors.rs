//! Constants that parts of a block are multiplied by, as a family has them.

/// Keys of constants that parts of a block are multiplied by; each is 1 where its key is missing.
#[derive(Clone, Copy, Debug)]
pub struct FactorsRow {
    /// Of what attention reads, and of what it gives.
    pub attention: [&'static str; 2],
    /// Of keys.
    pub key: &'static str,
    /// Of what the mixer reads, and of what it gives.
    pub mixer: [&'static str; 2],
    /// Of the five parts that a selective state space is made from: a list, or null.
    pub parts: &'static str,
    /// Of the gate of the MLP, and of what it gives: a list, or null.
    pub mlp: &'static str,
}

impl FactorsRow {
    pub(super) fn reads(&self, key: &str) -> bool {
        [self.attention, self.mixer].as_flattened().contains(&key) || [self.key, self.parts, self.mlp].contains(&key)
    }
}
