//! What a port of a model has to do, topic by topic: its description in words, to be held against another family's.
//!
//! Every field of a [`Spec`] is taken apart here by name, so that one that is added has to be told, too.

mod attention;
mod mixer;
mod mlp;

use super::config::ConfigError;
use super::families::Family;
use super::spec::{Around, Dense, Embed, Head, Layer, Norm, PerLayer, Spec, Stage, Term, Wiring};
use crate::ops::{Activation, Form};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is about: `norms`.
    pub topic: &'static str,
    /// The layers that it is of; empty where all are alike, and where it is of none.
    pub layers: Vec<usize>,
    /// What is computed, without the sizes of this model.
    pub what: String,
    /// Its sizes and constants; may be empty.
    pub numbers: String,
}

/// What is said of a topic: what is computed, and with which numbers.
type Said = (String, String);

/// What is said of each layer under a topic.
type OfLayer = fn(&Layer) -> Said;

/// The topics that layers have, in the order in which a block computes them.
const TOPICS: &[(&str, OfLayer)] = &[
    ("block", block),
    ("mixer", mixer::mixer),
    ("q, k and v", attention::projections),
    ("heads", attention::heads),
    ("q and k", attention::norm),
    ("RoPE", attention::rope),
    ("scores", attention::scores),
    ("mask", attention::mask),
    ("o", attention::output),
    ("MLP", mlp::mlp),
    ("router", mlp::router),
    ("shared", mlp::shared),
];

/// Topics of attention, which some layers do not have.
const OF_ATTENTION: [&str; 7] = ["q, k and v", "heads", "q and k", "RoPE", "scores", "mask", "o"];

/// Topics of the MLP, which blocks of one other part do not have.
const OF_MLP: [&str; 3] = ["MLP", "router", "shared"];

/// All that a model computes, in the order of the forward pass.
pub fn steps(spec: &Spec) -> Vec<Step> {
    let Spec {
        family: _,
        names: _,
        is_wrapped,
        hidden,
        vocab,
        positions,
        embed,
        per_layer,
        layers,
        norm,
        head,
        embedding,
    } = spec;
    let mut steps = vec![whole("embeddings", embeddings(embed, [*hidden, *vocab, *positions]))];
    if *is_wrapped {
        steps.push(whole(
            "parts",
            ("the language model of several parts, fed with text alone".to_string(), String::new()),
        ));
    }
    steps.extend(per_layer.map(|inputs| whole("layer inputs", layer_inputs(inputs))));
    for (topic, of) in TOPICS {
        let mut kinds: Vec<(Said, Vec<usize>)> = Vec::new();
        // What stands in the place of attention is told by itself.
        let is_told = |layer: &Layer| match layer.wiring {
            Wiring::MlpOnly if *topic == "mixer" || OF_ATTENTION.contains(topic) => false,
            Wiring::MixerOnly if OF_MLP.contains(topic) => false,
            _ => layer.mixer.is_none() || layer.abreast.is_some() || !OF_ATTENTION.contains(topic),
        };
        let said = |layer: &Layer| if is_told(layer) { of(layer) } else { Said::default() };
        for (index, said) in layers.iter().map(said).enumerate() {
            match kinds.iter_mut().find(|(kind, _)| *kind == said) {
                Some((_, same)) => same.push(index),
                None => kinds.push((said, vec![index])),
            }
        }
        let alone = kinds.len() == 1;
        let step = |((what, numbers), of): (Said, Vec<usize>)| Step {
            topic,
            layers: if alone { Vec::new() } else { of },
            what,
            numbers,
        };
        steps.extend(kinds.into_iter().filter(|((what, _), _)| !what.is_empty()).map(step));
        if *topic == "block" {
            steps.extend(norms(spec).into_iter().map(|said| whole("norms", said)));
        }
    }
    if let Some(head) = head {
        steps.push(whole("logits", logits(norm.as_ref(), head)));
    }
    if head.is_none() || !embedding.is_empty() {
        steps.push(whole("result", result(norm.as_ref(), embedding)));
    }
    steps
}

/// What the models of a family compute whose config.json says nothing but the width of a head: one class has a default for
/// that which cannot be rotated.
///
/// # Errors
/// As of a config.json that cannot be read.
pub fn of_family(family: &Family) -> Result<Vec<Step>, ConfigError> {
    let mut keys = serde_json::json!({ "model_type": family.name });
    if let Some(key) = family.keys.head_dim {
        keys[key] = 128.into();
    }
    let (spec, _) = Spec::from_json(&keys.to_string(), "config.json")?;
    Ok(steps(&spec))
}

/// Whether another model does not do this, in none of its layers. Numbers are every model's own.
pub fn is_other(step: &Step, than: &[Step]) -> bool {
    !than.iter().any(|other| (other.topic, &other.what) == (step.topic, &step.what))
}

fn whole(topic: &'static str, (what, numbers): Said) -> Step {
    Step { topic, layers: Vec::new(), what, numbers }
}

/// The parts that are there, with commas between them.
fn listed(parts: impl IntoIterator<Item = (bool, String)>) -> String {
    parts.into_iter().filter_map(|(is, part)| is.then_some(part)).collect::<Vec<_>>().join(", ")
}

/// A constant as people write it: `0.0883883`.
fn short(number: f64) -> String {
    let rounded: f64 = format!("{number:.5e}").parse().expect("what is printed as a number is one");
    if rounded != 0.0 && (rounded.abs() < 1e-3 || rounded.abs() >= 1e9) {
        format!("{rounded:e}")
    } else {
        rounded.to_string()
    }
}

fn embeddings(embed: &Embed, [hidden, vocab, positions]: [usize; 3]) -> Said {
    let Embed { width, scale, factor, norm, types, learned, rows_before } = embed;
    let row = match rows_before {
        0 => "plus a row of a table of positions".to_string(),
        before => format!("plus a row of a table of positions, which begins with {before} other rows"),
    };
    let what = [
        (true, "a row of the table".to_string()),
        (width.is_some(), "through a matrix to the stream, and through another one back before the head".to_string()),
        (scale.is_some(), "times sqrt(hidden) rounded to the dtype of the weights".to_string()),
        (factor.is_some(), "times a factor".to_string()),
        (types.is_some(), "plus the row of type 0 of a table of token types".to_string()),
        (learned.is_some(), row),
        (norm.is_some(), "then a norm before the first block".to_string()),
    ];
    let numbers = [
        (true, format!("{vocab} rows of {}", width.unwrap_or(hidden))),
        (types.is_some(), format!("{} types", types.unwrap_or_default())),
        (scale.is_some(), format!("scale {}", short(scale.unwrap_or(1.0).into()))),
        (factor.is_some(), format!("factor {}", short(factor.unwrap_or(1.0)))),
        (true, format!("{} positions", learned.unwrap_or(positions))),
    ];
    (listed(what), listed(numbers))
}

/// What each layer is given beside the stream.
fn layer_inputs(PerLayer { width, vocab, act }: PerLayer) -> Said {
    let act = Activation::NAMES.iter().find(|(_, known)| *known == act).map_or("act", |(name, _)| name);
    let input = "of each layer p = (row of a second table * sqrt(width) + norm(embeddings W / sqrt(hidden))) / sqrt(2)";
    let what = format!("{input}; behind the MLP x += norm(W ({act}(W x) * p))");
    (what, format!("{vocab} rows of {width} for each layer"))
}

/// What follows what in a block: `x += attention(norm(x))`.
fn block(layer: &Layer) -> Said {
    let Layer { attn: _, mixer, abreast, mlp: _, beside, attn_norms, mlp_norms, wiring, scale, scalar } = layer;
    let around = |part: &str, Around { pre, post }: &Around, input: &str| {
        let inner = if pre.is_some() { format!("norm({input})") } else { input.to_string() };
        if post.is_some() { format!("norm({part}({inner}))") } else { format!("{part}({inner})") }
    };
    let first = if mixer.is_some() { "mixer" } else { "attention" };
    let times = if *scale == 1.0 { "" } else { "s * " };
    let what = match wiring {
        Wiring::Sequential => {
            let (mut attention, mut mlp) = (around(first, attn_norms, "x"), around("mlp", mlp_norms, "x"));
            if abreast.is_some() {
                attention = format!("a * {attention} + b * {}", around("attention", attn_norms, "x"));
            }
            if beside.is_some() {
                let own = around("mlp", &Around { post: None, ..*mlp_norms }, "x");
                mlp = around(&format!("norm({own}) + norm(experts"), &Around { pre: mlp_norms.pre, post: None }, "x");
                mlp = if mlp_norms.post.is_some() { format!("norm({mlp}))") } else { format!("{mlp})") };
            }
            format!("x += {times}{attention}; x += {times}{mlp}")
        }
        Wiring::MixerOnly => format!("x += {times}{}", around(first, attn_norms, "x")),
        Wiring::MlpOnly => format!("x += {times}{}", around("mlp", mlp_norms, "x")),
        Wiring::PostNorm => format!("x = norm(x + {times}attention(x)); x = norm(x + {times}mlp(x))"),
        Wiring::Parallel(order) => {
            // Without a norm of its own, the MLP reads what attention reads.
            let shares = mlp_norms.pre.is_none() && attn_norms.pre.is_some();
            let input = if shares { "n" } else { "x" };
            let of_attention = Around { pre: attn_norms.pre.filter(|_| !shares), ..*attn_norms };
            let (attention, mlp) = (around(first, &of_attention, input), around("mlp", mlp_norms, input));
            let term = |term: &Term| match term {
                Term::Stream => "x".to_string(),
                Term::Attention => format!("{times}{attention}"),
                Term::Mlp => format!("{times}{mlp}"),
            };
            let sum = order.iter().map(term).collect::<Vec<_>>().join(" + ");
            if shares { format!("side by side: n = norm(x); x = {sum}") } else { format!("side by side: x = {sum}") }
        }
    };
    let what = if *scalar { format!("{what}; x *= a weight of the layer") } else { what };
    let numbers = [
        (*scale != 1.0, format!("s = {}", short(*scale))),
        (abreast.is_some(), abreast.map(|[a, b]| format!("a = {}, b = {}", short(a), short(b))).unwrap_or_default()),
    ];
    (what, listed(numbers))
}

/// How the norms of the residual stream compute, each way once.
fn norms(spec: &Spec) -> Vec<Said> {
    let of_layer = |layer: &Layer| [layer.attn_norms, layer.mlp_norms].map(|Around { pre, post }| [pre, post]);
    let of_layers = spec.layers.iter().flat_map(of_layer).flatten().flatten();
    let mut said: Vec<Said> = Vec::new();
    for norm in spec.embed.norm.into_iter().chain(of_layers).chain(spec.norm) {
        let one = norm_said(&norm);
        if !said.contains(&one) {
            said.push(one);
        }
    }
    said
}

/// How a norm computes, and where it rounds in a run of a coarser format.
fn norm_said(norm: &Norm) -> Said {
    let Norm { form, eps, offset, weight, bias, rounded_once } = norm;
    let normed = match form {
        Form::Rms => "x / sqrt(mean(x²) + eps)",
        Form::EpsOutside => "x / (sqrt(mean(x²)) + eps)",
        Form::Centred => "(x - mean) / sqrt(variance + eps)",
        Form::Identity => "x",
    };
    let times = match (weight, *offset == 0.0) {
        (false, _) => String::new(),
        (true, true) => " * w".to_string(),
        (true, false) => format!(" * ({} + w)", short((*offset).into())),
    };
    let plus = if *bias { " + b" } else { "" };
    let cast = match (weight, rounded_once) {
        (false, _) => "",
        (true, true) => ", cast at the end",
        (true, false) => ", cast before w",
    };
    (format!("{normed}{times}{plus}{cast}"), format!("eps {}", short((*eps).into())))
}

/// What a model without a head gives: the rows behind the last block, or one that is made of them.
fn result(norm: Option<&Norm>, embedding: &[Stage]) -> Said {
    let rows = if norm.is_some() { "norm(x)" } else { "x" };
    let (mut what, mut numbers) = (vec![rows.to_string()], norm.map_or_else(Vec::new, |norm| vec![norm_said(norm).1]));
    for stage in embedding {
        what.push(match stage {
            Stage::Pool(how) => format!("then {}", how.words()),
            Stage::Unit { eps: _ } => "then x / |x|".to_string(),
            Stage::Dense(Dense { folder: _, width, bias, act }) => {
                numbers.push(format!("to {width} channels"));
                let with = if *bias { "with a bias" } else { "no bias" };
                let act = if *act == Activation::Identity { "" } else { &format!(", then {}", act.name()) };
                format!("then a matrix, {with}{act}")
            }
        });
    }
    (what.join(", "), numbers.join(", "))
}

fn logits(norm: Option<&Norm>, head: &Head) -> Said {
    let Head { tied, bias, factor, cap } = head;
    let read = if norm.is_some() { "norm(x)" } else { "x" };
    let the_table = if *tied { ", the head being the table of embeddings" } else { "" };
    let table = format!("head({read}){the_table}");
    let what = [
        (true, table),
        (*bias, "plus a bias".to_string()),
        (factor.is_some(), "times a factor".to_string()),
        (cap.is_some(), "then c tanh(z / c)".to_string()),
    ];
    let numbers = [
        (norm.is_some(), norm.map_or_else(String::new, |norm| norm_said(norm).1)),
        (factor.is_some(), format!("factor {}", short(factor.unwrap_or(1.0)))),
        (cap.is_some(), format!("c = {}", short(cap.unwrap_or_default()))),
    ];
    (listed(what), listed(numbers))
}
