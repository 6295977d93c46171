//! What a comparison cannot show, however well everything agrees, and the command that makes a dump that can.

mod case;
mod coverage;
mod gaps;
mod remedy;

use case::Case;
pub use coverage::Coverage;

use super::report::BlindSpot;
use crate::engine::{Class, Role as A};
use crate::model::Model;

/// A row of [`TABLE`]; its summary is `None` when the dumps are not blind in this way.
struct Row {
    id: &'static str,
    summary: fn(&Case) -> Option<String>,
    remedy: fn(&Case) -> String,
}

/// Everything that dumps can be blind to.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row { id: "one_token", summary: one_token, remedy: remedy::a_dozen_tokens },
    Row { id: "few_tokens", summary: few_tokens, remedy: remedy::more_tokens },
    Row { id: "prefill_only", summary: prefill_only, remedy: remedy::decode },
    Row { id: "last_row_only", summary: last_row_only, remedy: remedy::everything },
    Row { id: "no_attention_internals", summary: no_attention_internals, remedy: remedy::everything },
    Row { id: "sparse", summary: sparse, remedy: remedy::everything },
];

/// What cannot show when `ids` were fed, `steps` to each forward, and `coverage` is what was compared. `path` is that
/// of the model, for the remedies.
pub fn blind_spots(model: &Model, path: &str, ids: &[u32], steps: &[usize], coverage: &Coverage) -> Vec<BlindSpot> {
    let case = Case { model, path, ids, steps, coverage };
    let found = TABLE.iter().filter_map(|row| {
        let summary = (row.summary)(&case)?;
        Some(BlindSpot { id: row.id, summary, remedy: (row.remedy)(&case) })
    });
    found.collect()
}

/// `a, b and c`.
fn listed(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        words => words.concat(),
    }
}

fn one_token(case: &Case) -> Option<String> {
    if case.tokens() != 1 {
        return None;
    }
    let spec = &case.model.spec;
    // Queries show what made them, if they are there.
    let shown = case.has(A::Scores) || case.query().is_some_and(|query| case.has(query));
    let norms = case.model.graph.has(A::QNorm) && !shown && !case.has(A::QNorm);
    let biased = spec.layers.iter().any(|layer| layer.attn.qkv_bias);
    let biases = biased && !shown && !case.has_any(&[A::QProj, A::QNorm]);
    let blind = [
        (case.rope().is_some(), "RoPE"),
        (spec.embed.learned.is_some(), "the positions of later tokens"),
        (case.model.graph.is_causal(), "the causal mask"),
        (case.window().is_some(), "the sliding window"),
        (!case.has(A::Scores), "the softmax scale"),
        (norms, "the norms of q and k"),
        (biases, "the biases of q and k"),
    ];
    let blind: Vec<&str> = blind.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
    Some(format!(
        "One token at position 0: attention has one key, whose weight is 1 whatever q and k are. A mistake in {} cannot \
         show. Feed a dozen tokens or more.",
        listed(&blind)
    ))
}

fn few_tokens(case: &Case) -> Option<String> {
    let tokens = case.tokens();
    if tokens < 2 {
        return None;
    }
    let wanted = case.wanted();
    let window = wanted.window.map(|wanted| {
        format!(
            "The sliding window of {window} hides nothing from {tokens} tokens, so a missing or wrong one cannot show. Feed \
             a text of more than {window} tokens.",
            window = wanted - 1
        )
    });
    let tables = wanted.tables.map(|wanted| {
        format!("RoPE tables rounded to bf16 hardly show within {tokens} tokens. Feed {wanted} or more.")
    });
    let scaling = wanted.scaling.map(|wanted| {
        format!(
            "The {} scaling of RoPE turns nothing far within {tokens} tokens, so a missing one hardly shows. Feed {wanted} \
             or more.",
            case.rope().map_or("", |rope| rope.scaling.name())
        )
    });
    let lengthened = wanted.lengthened.map(|wanted| {
        format!(
            "The {} scaling of RoPE has other speeds for more than {} tokens, and a mistake in those cannot show within \
             {tokens}. Feed {wanted} or more.",
            case.rope().map_or("", |rope| rope.scaling.name()),
            wanted - 1
        )
    });
    let said: Vec<String> = [window, tables, scaling, lengthened].into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join(" "))
}

fn prefill_only(case: &Case) -> Option<String> {
    // Behind a model without a head no decode step follows.
    (case.coverage.forwards() == 1 && case.model.graph.logits().is_some()).then(|| {
        "Prefill only: a mistake in the positions of decode steps, or in what they write to and read from the key/value \
         cache, cannot show. Decode a few steps."
            .into()
    })
}

fn last_row_only(case: &Case) -> Option<String> {
    let fed = case.steps.first().copied()?;
    let rows = case.coverage.partial_rows(fed, &case.model.graph)?;
    let are = if rows == 1 { "row is" } else { "rows are" };
    Some(format!(
        "Only {rows} of {fed} {are} there: at which token an error starts, and whether it grows with the position, cannot \
         show. Dump the rows of all tokens."
    ))
}

fn no_attention_internals(case: &Case) -> Option<String> {
    let graph = &case.model.graph;
    let some_layer = case.coverage.rows.keys().any(|(_, site)| graph[*site].layer.is_some());
    let query = case.query()?;
    let key = query.partner()?;
    if case.tokens() < 2 || !some_layer || case.has_any(&[query, key, A::Scores, A::Probs]) {
        return None;
    }
    let norms = if graph.has(A::QNorm) { "the norms of q and k, " } else { "" };
    let (rotated, rope) = if case.rope().is_some() { ("rotated ", "RoPE, ") } else { ("", "") };
    let [query, key] = [query, key].map(|role| graph.class_label(Class::Role(role)));
    Some(format!(
        "No {rotated}q and k, scores or probabilities are there: mistakes in {norms}{rope}scale, mask and the order of heads \
         cannot be told apart, and hardly show where attention is flat or fixed on one token. Dump {query}, {key} and \
         scores."
    ))
}

fn sparse(case: &Case) -> Option<String> {
    let any = !case.coverage.rows.is_empty();
    let gaps = any.then(|| gaps::told(case.coverage, &case.model.graph)).flatten()?;
    Some(format!("These ops cannot be told apart, since only the last of each is there, or none: {gaps}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Graph, Site};

    const SIZES: &str = r#""vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "#;
    const LLAMA: &str = r#""model_type": "llama""#;
    const QWEN2: &str = r#""model_type": "qwen2""#;
    const QWEN3: &str = r#""model_type": "qwen3""#;
    const MISTRAL: &str = r#""model_type": "mistral", "sliding_window": 4096"#;
    const LLAMA3: &str = r#""model_type": "llama", "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3",
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#;

    /// The blind spots of a model, at a path with a blank, when `there` says what of each forward was dumped.
    fn blind(
        keys: &str,
        steps: &[usize],
        there: fn(&Graph, usize, Site) -> bool,
        rows: Option<usize>,
    ) -> Vec<BlindSpot> {
        let model = Model::without_weights(&format!("{{{SIZES}{keys}}}")).expect("a configuration");
        let graph = &model.graph;
        let every = steps
            .iter()
            .enumerate()
            .flat_map(|(forward, tokens)| graph.sites().map(move |site| ((forward, site), rows.unwrap_or(*tokens))));
        let coverage = Coverage {
            rows: every.filter(|((forward, site), _)| there(graph, *forward, *site)).collect(),
            ..Coverage::default()
        };
        let ids: Vec<u32> = (0..steps.iter().sum::<usize>() as u32).collect();
        blind_spots(&model, "my models/x", &ids, steps, &coverage)
    }

    /// Exactly the blind spots `expected`, each with words of its summary and of its remedy.
    #[track_caller]
    fn check(found: &[BlindSpot], expected: &[(&str, &[&str], &[&str])]) {
        let ids: Vec<&str> = found.iter().map(|spot| spot.id).collect();
        assert_eq!(ids, expected.iter().map(|(id, _, _)| *id).collect::<Vec<_>>(), "{found:#?}");
        for (spot, (_, summary, remedy)) in found.iter().zip(expected) {
            assert!(summary.iter().all(|words| spot.summary.contains(words)), "{summary:?}: {spot:#?}");
            assert!(remedy.iter().all(|words| spot.remedy.contains(words)), "{remedy:?}: {spot:#?}");
            assert!(!spot.summary.contains('\n') && !spot.remedy.contains('\n'), "{spot:#?}");
        }
    }

    fn all(_: &Graph, _: usize, _: Site) -> bool {
        true
    }

    fn blocks(graph: &Graph, _: usize, site: Site) -> bool {
        graph.is(site, A::Block)
    }

    #[test]
    fn a_whole_dump_of_prefill_and_decode_is_blind_to_nothing() {
        for keys in [LLAMA, QWEN2, QWEN3, LLAMA3] {
            check(&blind(keys, &[13, 1, 1], all, None), &[]);
        }
    }

    #[test]
    fn one_token_names_what_the_model_has() {
        let decode = "prefill_only";
        let capture = ["capture.py 'my models/x' --prompt \"The capital", "--decode 4"];
        let check = |keys, there, says: &[&str]| {
            let found = blind(keys, &[1], there, None);
            let found: Vec<BlindSpot> = found.into_iter().filter(|spot| spot.id != "sparse").collect();
            check(&found, &[("one_token", says, &capture), (decode, &[], &["--decode 4"])]);
            found[0].summary.clone()
        };
        let whole = check(LLAMA, all, &["RoPE and the causal mask cannot"]);
        assert!(!whole.contains("norms") && !whole.contains("window"), "{whole}");
        check(LLAMA, blocks, &["the softmax scale"]);
        check(MISTRAL, all, &["the sliding window"]);
        check(QWEN2, blocks, &["the biases of q and k"]);
        check(QWEN3, blocks, &["the norms of q and k"]);
    }

    #[test]
    fn few_tokens_are_counted_against_window_tables_and_scaling() {
        let window = "The sliding window of 4096 hides nothing from 15 tokens";
        let remedy = ["head -n 683", "--layers 0 --only '*_proj'"];
        let whole = blind(MISTRAL, &[13, 1, 1], all, None);
        check(&whole, &[("few_tokens", &[window, "a text of more than 4096 tokens"], &remedy)]);
        check(&blind(MISTRAL, &[4097, 1], all, None), &[]);

        let without_q = |graph: &Graph, _: usize, site: Site| !graph.is(site, A::QRope);
        let tables = ["rounded to bf16 hardly show within 15 tokens"];
        let found = blind(LLAMA, &[13, 1, 1], without_q, None);
        let gap = ["from q_rope to k_rope (2 ops) in layers 0-2"];
        check(
            &found,
            &[("few_tokens", &tables, &["head -n 42"]), ("sparse", &gap, &["--ids 0,1,2,3,4,5,6,7,8,9,10,11,12"])],
        );
        let found = blind(LLAMA3, &[300, 1], without_q, None);
        let gap = ["q_rope"];
        let more = ["--prompt \"$(yes"];
        check(&found, &[("few_tokens", &["The llama3 scaling"], &more), ("sparse", &gap, &more)]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let remedy = ["capture.py 'my models/x' --ids 0,1,2", "--decode 4"];
        let found = blind(QWEN3, &[260, 1], blocks, None);
        let norms = ["the norms of q and k, RoPE"];
        let gap = [
            "from model.embed_tokens to model.layers.0 (21 ops)",
            "from input_layernorm to the block's output (20 ops) in \
                   layers 1-2",
            "from model.norm to the end (2 ops)",
        ];
        check(&found, &[("no_attention_internals", &norms, &["--prompt"]), ("sparse", &gap, &["--prompt"])]);

        let prefill = |_: &Graph, forward: usize, _: Site| forward == 0;
        check(&blind(LLAMA, &[13, 1, 1], prefill, None), &[("prefill_only", &["cache"], &remedy)]);
        check(&blind(LLAMA, &[13, 1], all, Some(1)), &[("last_row_only", &["Only 1 of 13 row is"], &remedy)]);
        let logits = |graph: &Graph, _: usize, site: Site| graph.is(site, A::LmHead);
        let gap = ["from model.embed_tokens to lm_head (57 ops)"];
        check(&blind(LLAMA, &[260, 1], logits, None), &[("sparse", &gap, &["--prompt"])]);
        check(&blind(LLAMA, &[260, 1], |_, _, _| false, None), &[]);
    }
}
