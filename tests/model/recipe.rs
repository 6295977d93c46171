//! A model as a list of what its port has to do: `inspect --recipe`.

use layerstep::model::Model;
use layerstep::model::families::Family;
use layerstep::model::recipe::{Step, is_other, of_family, steps};
use layerstep::model::spec::Spec;

use crate::support::{TINY, tiny};

fn family(name: &str) -> Vec<Step> {
    let row = Family::named(name).expect("a family");
    of_family(row).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn of(model: &Model) -> Vec<Step> {
    steps(&model.spec)
}

#[test]
fn no_family_is_otherwise_than_itself() {
    for row in Family::ALL {
        let steps = family(row.name);
        assert!(steps.iter().all(|step| !is_other(step, &steps)), "{}", row.name);
        let topics: Vec<&str> = steps.iter().map(|step| step.topic).collect();
        // An encoder has no logits.
        let end = if row.encoder.is_some() { "result" } else { "logits" };
        // Some classes have attention only in layers that a key lists.
        let has_none = steps.iter().any(|step| step.topic == "mixer" && step.layers.is_empty());
        let of_attention: &[&str] =
            if has_none { &[] } else { &["q, k and v", "heads", "RoPE", "scores", "mask", "o"] };
        for topic in ["embeddings", "block", "norms", "MLP", end].iter().chain(of_attention) {
            assert!(topics.contains(topic), "{}: {topic} is not told", row.name);
        }
    }
}

/// A topic, its layers, and a part of what is said.
type Told = (&'static str, &'static [usize], &'static str);

/// All that each of these does otherwise than Llama.
#[rustfmt::skip]
const OTHERWISE: &[(&str, &[Told])] = &[
    ("llama", &[("RoPE", &[], "speeds of llama3")]),
    ("qwen2", &[
        ("q, k and v", &[], "with biases"),
        ("logits", &[], "the head being the table of embeddings"),
    ]),
    ("qwen3", &[("q and k", &[], "normed over each head, one weight for all, before RoPE")]),
    ("gemma3", &[
        ("embeddings", &[], "times sqrt(hidden)"),
        ("block", &[], "x += norm(attention(norm(x))); x += norm(mlp(norm(x)))"),
        ("norms", &[], "* (1 + w), cast at the end"),
        ("q and k", &[], "* (1 + w)"),
        ("RoPE", &[2], "speeds of linear"),
        ("scores", &[], "times a constant of the model"),
        ("mask", &[0, 1], "window"),
        ("MLP", &[], "down(gelu_pytorch_tanh(gate(x)) * up(x))"),
        ("logits", &[], "the head being the table of embeddings"),
    ]),
    ("olmo2", &[
        ("block", &[], "x += norm(attention(x)); x += norm(mlp(x))"),
        ("norms", &[], "at the end"),
        ("q and k", &[], "all heads together"),
        ("RoPE", &[], "nothing is cast"),
    ]),
    ("cohere2", &[
        ("block", &[], "side by side: n = norm(x); x = x + attention(n) + mlp(n)"),
        ("norms", &[], "(x - mean)"),
        ("RoPE", &[0, 1], "pairs (2i, 2i + 1)"),
        ("RoPE", &[2], "none"),
        ("mask", &[0, 1], "window"),
        ("logits", &[], "times a factor"),
    ]),
    ("bloom", &[
        ("embeddings", &[], "then a norm before the first block"),
        ("norms", &[], "+ b"),
        ("q, k and v", &[], "the queries of a key head, its key, its value"),
        ("RoPE", &[], "positions are in the scores"),
        ("scores", &[], "ALiBi"),
        ("o", &[], "with a bias"),
        ("MLP", &[], "with biases"),
        ("logits", &[], "table of embeddings"),
    ]),
    ("qwen3_moe", &[
        ("q and k", &[], "normed"),
        ("MLP", &[0, 2], "experts, each down(silu(gate(x)) * up(x))"),
        ("router", &[0, 2], "softmax over all, then the k largest"),
    ]),
    ("gpt_oss", &[
        ("norms", &[], "cast at the end"),
        ("q, k and v", &[], "with biases"),
        ("RoPE", &[], "speeds of yarn"),
        ("scores", &[], "(sink)"),
        ("mask", &[0], "window"),
        ("o", &[], "with a bias"),
        ("MLP", &[], "a channel of each in turn, with biases"),
        ("router", &[], "the k largest logits, then softmax over those, logits have a bias"),
    ]),
];

#[test]
fn what_is_otherwise_than_in_llama_is_told() {
    let llama = family("llama");
    for (name, expected) in OTHERWISE {
        let own = of(&tiny(name));
        let found: Vec<&Step> = own.iter().filter(|step| is_other(step, &llama)).collect();
        let topics: Vec<(&str, &[usize])> = found.iter().map(|step| (step.topic, &step.layers[..])).collect();
        let wanted: Vec<(&str, &[usize])> = expected.iter().map(|(topic, layers, _)| (*topic, *layers)).collect();
        assert_eq!(topics, wanted, "{name}: {found:#?}");
        for (step, (topic, _, part)) in found.iter().zip(*expected) {
            assert!(step.what.contains(part), "{name}: {topic} says {:?}", step.what);
        }
    }
}

#[test]
fn models_that_compute_otherwise_are_told_apart() {
    let all: Vec<(&str, Vec<Step>, Spec)> =
        TINY.iter().map(|name| (*name, of(&tiny(name)), tiny(name).spec.clone())).collect();
    for (a, steps_a, spec_a) in &all {
        for (b, steps_b, spec_b) in &all {
            let same = Spec { family: spec_b.family, names: spec_b.names, ..spec_a.clone() } == *spec_b;
            assert_eq!(steps_a == steps_b, same, "{a} and {b}");
        }
    }
}
