//! What an op is for. Panes, the lens, aliases and blind spots ask by role; arithmetic never does.

/// The part that an op plays in a transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is described by its row of ROLES")]
pub enum Role {
    EmbedTokens,
    InputNorm,
    QProj,
    KProj,
    VProj,
    QNorm,
    KNorm,
    QRope,
    KRope,
    Scores,
    Probs,
    Context,
    OProj,
    ResidMid,
    MlpNorm,
    GateProj,
    UpProj,
    ActFn,
    ActMul,
    DownProj,
    Block,
    FinalNorm,
    LmHead,
    EmbedPositions,
    Embeddings,
    QkvProj,
    AttnOutNorm,
    MlpOutNorm,
    RouterLogits,
    Routing,
    ExpertGate,
    ExpertUp,
    ExpertAct,
    ExpertActMul,
    ExpertDown,
    Experts,
    Logits,
    GateUpProj,
    SharedGateProj,
    SharedUpProj,
    SharedActFn,
    SharedActMul,
    SharedDownProj,
    SharedGate,
    SharedWeight,
    Shared,
    MlpOut,
    ExpertGateUp,
    VNorm,
    PerLayerEmbed,
    PerLayerModel,
    PerLayerScaled,
    PerLayerNorm,
    PerLayerInput,
    ResidMlp,
    PerLayerGate,
    PerLayerAct,
    PerLayerMul,
    PerLayerProj,
    PerLayerOutNorm,
    QClip,
    KClip,
    VClip,
    EmbedTypes,
    EmbedSum,
    AttnSum,
    MlpSum,
    Pooled,
    Dense,
    DenseAct,
    Unit,
    QDown,
    QDownNorm,
    QRopeInput,
    Queries,
    KvDown,
    Latent,
    LatentNorm,
    KvUp,
    KRopeInput,
    Keys,
    QTempered,
    ExpertInput,
    MixIn,
    MixIn2,
    ConvB,
    ConvC,
    ConvX,
    ConvIn,
    ConvOut,
    ConvAct,
    StateQuery,
    StateKey,
    StateValue,
    StateZ,
    StateB,
    StateA,
    StateQueryNorm,
    StateKeyNorm,
    StateWrite,
    StateDecay,
    StateOut,
    StateNorm,
    Mixed,
    MixOut,
    QGateProj,
    AttnGate,
    AttnGateWeight,
    AttnGated,
    TimeStep,
    RouterNorm,
    RouterInput,
    RoutingScaled,
    MlpBesideNorm,
    ExpertsNorm,
    ExpertsOutNorm,
    EmbedProj,
    HeadProj,
    MixInput,
    MixScaled,
    StateGate,
    MixSum,
    AttnInput,
    KScaled,
    GateScaled,
    MlpScaled,
    TimeStepFloor,
}

/// One row of [`ROLES`].
#[derive(Debug)]
pub struct Row {
    /// Which role.
    pub role: Role,
    /// The word that means it in every family: `3.q_rope`.
    pub short: &'static str,
    /// Whether every layer may have one.
    pub per_layer: bool,
    /// One line for people.
    pub meaning: &'static str,
}

const fn layer(role: Role, short: &'static str, meaning: &'static str) -> Row {
    Row { role, short, per_layer: true, meaning }
}

const fn whole(role: Role, short: &'static str, meaning: &'static str) -> Row {
    Row { role, short, per_layer: false, meaning }
}

/// Every role, in the order of the enum.
#[rustfmt::skip]
pub const ROLES: &[Row] = &[
    whole(Role::EmbedTokens, "embed_tokens", "rows of the embedding table: the residual stream at its start"),
    layer(Role::InputNorm, "attn_norm", "the residual stream, normalised for attention"),
    layer(Role::QProj, "q_proj", "queries"),
    layer(Role::KProj, "k_proj", "keys"),
    layer(Role::VProj, "v_proj", "values"),
    layer(Role::QNorm, "q_norm", "queries, normalised per head"),
    layer(Role::KNorm, "k_norm", "keys, normalised per head"),
    layer(Role::QRope, "q_rope", "queries, rotated by their position"),
    layer(Role::KRope, "k_rope", "keys, rotated by their position: what the cache keeps"),
    layer(Role::Scores, "scores", "q kᵀ / sqrt(head_dim), -inf where masked"),
    layer(Role::Probs, "probs", "softmax of the scores: the attention pattern"),
    layer(Role::Context, "context", "values summed by the pattern: the input of o_proj"),
    layer(Role::OProj, "o_proj", "what attention adds to the residual stream"),
    layer(Role::ResidMid, "resid_mid", "the residual stream between attention and MLP"),
    layer(Role::MlpNorm, "mlp_norm", "the residual stream, normalised for the MLP"),
    layer(Role::GateProj, "gate_proj", "gate of the MLP"),
    layer(Role::UpProj, "up_proj", "what the gate lets through"),
    layer(Role::ActFn, "act_fn", "activation function of the gate"),
    layer(Role::ActMul, "act_mul", "act(gate) * up: the input of down_proj"),
    layer(Role::DownProj, "down_proj", "what the MLP adds to the residual stream"),
    layer(Role::Block, "block", "the residual stream after the block"),
    whole(Role::FinalNorm, "norm", "the residual stream, normalised for the head"),
    whole(Role::LmHead, "lm_head", "logits: one score per token id"),
    whole(Role::EmbedPositions, "embed_positions", "rows of the table of learned positions"),
    whole(Role::Embeddings, "embeddings", "the residual stream at its start: tokens and positions"),
    layer(Role::QkvProj, "qkv_proj", "queries, keys and values side by side"),
    layer(Role::AttnOutNorm, "attn_out_norm", "attention's output, normalised before it is added"),
    layer(Role::MlpOutNorm, "mlp_out_norm", "the MLP's output, normalised before it is added"),
    layer(Role::RouterLogits, "router_logits", "the router's score of each expert"),
    layer(Role::Routing, "routing", "the weight of each expert, 0 where it is not chosen"),
    layer(Role::ExpertGate, "expert_gate", "gate of each chosen expert, by rising expert id"),
    layer(Role::ExpertUp, "expert_up", "what the gate of each chosen expert lets through"),
    layer(Role::ExpertAct, "expert_act", "activation function of the experts' gates"),
    layer(Role::ExpertActMul, "expert_act_mul", "act(gate) * up of each chosen expert"),
    layer(Role::ExpertDown, "expert_down", "what each chosen expert gives, before it is weighted"),
    layer(Role::Experts, "experts", "the outputs of the chosen experts, weighted and added"),
    whole(Role::Logits, "logits", "what the model returns: logits after what follows the head"),
    layer(Role::GateUpProj, "gate_up_proj", "gate of the MLP and what it lets through, side by side"),
    layer(Role::SharedGateProj, "shared_gate_proj", "gate of the expert that every token has"),
    layer(Role::SharedUpProj, "shared_up_proj", "what the gate of the shared expert lets through"),
    layer(Role::SharedActFn, "shared_act_fn", "activation function of the shared expert's gate"),
    layer(Role::SharedActMul, "shared_act_mul", "act(gate) * up of the shared expert"),
    layer(Role::SharedDownProj, "shared_down_proj", "what the shared expert gives"),
    layer(Role::SharedGate, "shared_gate", "how much the shared expert counts, before the sigmoid"),
    layer(Role::SharedWeight, "shared_weight", "how much the shared expert counts"),
    layer(Role::Shared, "shared", "what the shared expert gives, weighted"),
    layer(Role::MlpOut, "mlp_out", "experts and what every token has beside them together: what the MLP adds to the residual stream"),
    layer(Role::ExpertGateUp, "expert_gate_up", "gate of each chosen expert and what it lets through, out of one matrix"),
    layer(Role::VNorm, "v_norm", "values, normalised per head: what the cache keeps"),
    whole(Role::PerLayerEmbed, "per_layer_embed", "rows of the table of inputs of all layers"),
    whole(Role::PerLayerModel, "per_layer_model", "the embeddings, projected to inputs of all layers"),
    whole(Role::PerLayerScaled, "per_layer_scaled", "the same times a factor"),
    whole(Role::PerLayerNorm, "per_layer_norm", "the same, normalised for each layer"),
    layer(Role::PerLayerInput, "per_layer_input", "the layer's own input: of the token, and of its embedding"),
    layer(Role::ResidMlp, "resid_mlp", "the residual stream between the MLP and the layer's own input"),
    layer(Role::PerLayerGate, "per_layer_gate", "gate of the layer's own input"),
    layer(Role::PerLayerAct, "per_layer_act", "activation function of that gate"),
    layer(Role::PerLayerMul, "per_layer_mul", "act(gate) * the layer's own input"),
    layer(Role::PerLayerProj, "per_layer_proj", "the same, projected to the stream"),
    layer(Role::PerLayerOutNorm, "per_layer_out_norm", "the same, normalised before it is added"),
    layer(Role::QClip, "q_clip", "queries, clipped"),
    layer(Role::KClip, "k_clip", "keys, clipped"),
    layer(Role::VClip, "v_clip", "values, clipped"),
    whole(Role::EmbedTypes, "embed_types", "rows of the table of token types: that of type 0"),
    whole(Role::EmbedSum, "embed_sum", "tokens, types and positions together, before the norm"),
    layer(Role::AttnSum, "attn_sum", "the residual stream with what attention adds, before the norm"),
    layer(Role::MlpSum, "mlp_sum", "the residual stream with what the MLP adds, before the norm"),
    whole(Role::Pooled, "pooled", "one row of all: the embedding, before what follows"),
    whole(Role::Dense, "dense", "the embedding, through a matrix"),
    whole(Role::DenseAct, "dense_act", "activation function behind that matrix"),
    whole(Role::Unit, "normalized", "the embedding, of length 1"),
    layer(Role::QDown, "q_down", "the narrow row that all queries are made of"),
    layer(Role::QDownNorm, "q_down_norm", "the narrow row of queries, normalised"),
    layer(Role::QRopeInput, "q_rope_input", "the part of each query that is rotated, before it is"),
    layer(Role::Queries, "queries", "queries: their own part, then the rotated one"),
    layer(Role::KvDown, "kv_down", "the narrow row that keys and values are made of, and the rotated part of all keys"),
    layer(Role::Latent, "latent", "the narrow row that keys and values are made of"),
    layer(Role::LatentNorm, "latent_norm", "the narrow row of keys and values, normalised: what may be cached in their place"),
    layer(Role::KvUp, "kv_up", "of each head the part of its key that is not rotated, and its value"),
    layer(Role::KRopeInput, "k_rope_input", "the part of all keys that is rotated, before it is"),
    layer(Role::Keys, "keys", "keys: their own part, then the rotated one, which all heads share"),
    layer(Role::QTempered, "q_tempered", "queries times a factor that grows with the position"),
    layer(Role::ExpertInput, "expert_input", "what each chosen expert reads: the token's row times its weight"),
    layer(Role::MixIn, "mix_in", "what a convolution or a state is made from, side by side"),
    layer(Role::MixIn2, "mix_in_2", "how much is written to the state and what is left of it, side by side"),
    layer(Role::ConvB, "conv_b", "the gate before the convolution"),
    layer(Role::ConvC, "conv_c", "the gate behind the convolution"),
    layer(Role::ConvX, "conv_x", "what the convolution is of, before its gate"),
    layer(Role::ConvIn, "conv_in", "what the convolution is over: the last of it are kept"),
    layer(Role::ConvOut, "conv_out", "the convolution over the last positions"),
    layer(Role::ConvAct, "conv_act", "activation function of the convolution"),
    layer(Role::StateQuery, "state_query", "what asks the state"),
    layer(Role::StateKey, "state_key", "where the state is written"),
    layer(Role::StateValue, "state_value", "what is written to the state"),
    layer(Role::StateZ, "state_z", "the gate of what the state gives"),
    layer(Role::StateB, "state_b", "how much is written to the state, before the sigmoid"),
    layer(Role::StateA, "state_a", "how much is left of the state, before the softplus"),
    layer(Role::StateQueryNorm, "state_query_norm", "what asks the state, of length 1"),
    layer(Role::StateKeyNorm, "state_key_norm", "where the state is written, of length 1"),
    layer(Role::StateWrite, "state_write", "how much is written to the state"),
    layer(Role::StateDecay, "state_decay", "the logarithm of what is left of the state"),
    layer(Role::StateOut, "state_out", "what the state gives"),
    layer(Role::StateNorm, "state_norm", "what the state gives, normalised per head or per group"),
    layer(Role::Mixed, "mixed", "what the convolution or the state gives, gated"),
    layer(Role::MixOut, "mix_out", "what the convolution or the state adds to the residual stream"),
    layer(Role::QGateProj, "q_gate_proj", "queries and the gate of attention, of each head side by side"),
    layer(Role::AttnGate, "attn_gate", "the gate of attention, before the sigmoid"),
    layer(Role::AttnGateWeight, "attn_gate_weight", "the gate of attention"),
    layer(Role::AttnGated, "attn_gated", "the context, gated: the input of o_proj"),
    layer(Role::TimeStep, "time_step", "the step of time by which a token moves the state"),
    layer(Role::RouterNorm, "router_norm", "the residual stream, normalised for the router"),
    layer(Role::RouterInput, "router_input", "the same times a weight of each channel and a factor: what the router reads"),
    layer(Role::RoutingScaled, "routing_scaled", "the weight of each expert, times one that the expert has"),
    layer(Role::MlpBesideNorm, "mlp_beside_norm", "what the MLP gives, normalised before experts are added to it"),
    layer(Role::ExpertsNorm, "experts_norm", "the residual stream, normalised for the experts beside the MLP"),
    layer(Role::ExpertsOutNorm, "experts_out_norm", "what the experts give, normalised before it is added to the MLP's"),
    whole(Role::EmbedProj, "embed_proj", "rows of the embedding table, projected to the stream"),
    whole(Role::HeadProj, "head_proj", "the stream, projected to the width of the table: what the head reads"),
    layer(Role::MixInput, "mix_input", "the normalised stream times a constant: what a state is made from"),
    layer(Role::MixScaled, "mix_scaled", "what a state is made from, each part times a constant"),
    layer(Role::StateGate, "state_gate", "activation function of the gate of what the state gives"),
    layer(Role::MixSum, "mix_sum", "a state and attention side by side, each times a constant: what both add to the residual stream"),
    layer(Role::AttnInput, "attn_input", "the normalised stream times a constant: what attention reads"),
    layer(Role::KScaled, "k_scaled", "keys times a constant, before they are rotated"),
    layer(Role::GateScaled, "gate_scaled", "gate of the MLP times a constant"),
    layer(Role::MlpScaled, "mlp_scaled", "what the MLP gives, times a constant"),
    layer(Role::TimeStepFloor, "time_step_floor", "the step of time, no shorter than a constant"),
];

/// What is done to queries, and the same of keys.
const PARTNERS: [(Role, Role); 6] = [
    (Role::QProj, Role::KProj),
    (Role::QClip, Role::KClip),
    (Role::QNorm, Role::KNorm),
    (Role::QRope, Role::KRope),
    (Role::QRopeInput, Role::KRopeInput),
    (Role::Queries, Role::Keys),
];

impl Role {
    /// Its row of the table.
    pub fn row(self) -> &'static Row {
        &ROLES[self as usize]
    }

    /// The word that means it in every family.
    pub fn short(self) -> &'static str {
        self.row().short
    }

    /// Queries for keys and keys for queries: what is done to one has to be done to the other.
    pub fn partner(self) -> Option<Self> {
        PARTNERS.iter().find_map(|(q, k)| match self {
            role if role == *q => Some(*k),
            role if role == *k => Some(*q),
            _ => None,
        })
    }

    /// The same of queries, for what is done to keys: engines have one code for both.
    #[must_use]
    pub fn of_queries(self) -> Self {
        PARTNERS.iter().find(|(_, k)| *k == self).map_or(self, |(q, _)| *q)
    }
}

/// What transformers calls the modules of a family, and what the functional values between them are called.
#[derive(Debug, PartialEq)]
pub struct Names {
    /// What stands before the number of a layer: `model.layers`.
    pub layers: &'static str,
    /// Paths by role, the first that has one: of a layer's roles what follows its number, of the others the whole path.
    pub paths: &'static [&'static [(Role, &'static str)]],
    /// Further names of modules whose result is that of an op inside: `self_attn` gives what `o_proj` gives.
    pub modules: &'static [(Role, &'static str)],
}

impl Names {
    /// The path of a role; the role's own word where the family has no name for it.
    pub fn path(&self, role: Role) -> &'static str {
        let named = self.paths.iter().flat_map(|paths| paths.iter()).find(|(of, _)| *of == role);
        named.map_or(role.short(), |(_, path)| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_enum() {
        for (index, row) in ROLES.iter().enumerate() {
            assert_eq!(row.role as usize, index, "{}", row.short);
        }
    }
}
