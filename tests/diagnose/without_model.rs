//! Two dumps, compared without their model: dumps of the tiny models and of the demo, rewritten with changes.

use std::sync::LazyLock;

use crate::fixture::{self, TINY, Tensors, at, by_token, graph_of, head_dim, permute, prefill, reference, reshape};
use half::{bf16, f16};
use layerstep::diagnose::{Culprit, Report, Status, Verdict, without_model};
use layerstep::dump::{Options, Pair};
use layerstep::engine::{Graph, Role as A, Site};
use layerstep::formats::Archive;
use layerstep::model::{Spec, lower::lower};
use ndarray::{ArrayD, Axis, Slice};

/// Has every name that a dump of this file has.
static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    let text = r#"{"model_type": "qwen3", "num_hidden_layers": 32}"#;
    lower(&Spec::from_json(text, "config.json").expect("a config").0)
});

fn node(layer: usize, role: A) -> Site {
    at(&GRAPH, layer, role)
}

fn role(site: Site) -> A {
    GRAPH[site].role.expect("every node has a role")
}

fn layer(site: Site) -> usize {
    GRAPH[site].layer.unwrap_or(0)
}

fn parsed(name: &str) -> (usize, Site) {
    fixture::parsed(name, &GRAPH)
}

/// Compares two dumps.
fn compare(reference: &Tensors, candidate: &Tensors) -> Report {
    let (reference, candidate) = (reference.write(), candidate.write());
    let pair = Pair::open(&reference.path, &candidate.path, &Options::default(), None).expect("two dumps");
    without_model(&pair, None).expect("a report")
}

/// What a report must say: the verdict, and of the first divergence the name, the culprit, and whether it is exact; words
/// of the sentence.
type Expected<'a> = (Verdict, Option<(&'a str, Culprit, bool)>, &'a [&'a str]);

#[track_caller]
fn check(reference: &Tensors, candidate: &Tensors, expected: Expected) -> Report {
    let report = compare(reference, candidate);
    let (verdict, first, words) = expected;
    let found = report.first_divergence().map(|d| (d.name.as_str(), d.culprit, d.exact));
    assert_eq!((report.verdict, found), (verdict, first), "{}\n{:#?}", report.sentence, report.notes);
    assert!(words.iter().all(|words| report.sentence.contains(words)), "{words:?}: {}", report.sentence);
    report
}

/// A dump whose tensors are changed by `change`, which may drop them.
fn changed(original: &Tensors, change: impl Fn(usize, Site, &ArrayD<f32>) -> Option<ArrayD<f32>>) -> Tensors {
    original.rewritten(|name, values| {
        let (forward, site) = parsed(name);
        Some((name.to_string(), change(forward, site, values)?))
    })
}

/// One tensor replaced.
fn replaced(original: &Tensors, name: &str, change: impl Fn(&ArrayD<f32>) -> ArrayD<f32>) -> Tensors {
    assert!(original.tensors.iter().any(|(known, _)| known == name), "{name} is there");
    let change = |known: &str, values: &ArrayD<f32>| if known == name { change(values) } else { values.clone() };
    original.rewritten(|known, values| Some((known.to_string(), change(known, values))))
}

/// Numbers of about the size of `values`, with nothing in common with them.
fn unrelated(values: &ArrayD<f32>) -> ArrayD<f32> {
    let numbers = fixture::numbers(values.shape(), 7) * size(values) * 1.7;
    ndarray::Zip::from(values).and(&numbers).map_collect(|value, number| if masked(*value) { *value } else { *number })
}

fn masked(value: f32) -> bool {
    value.abs() > 1e3
}

/// Root mean square of what is not masked.
fn size(values: &ArrayD<f32>) -> f32 {
    let squares: f32 = values.iter().filter(|v| !masked(**v)).map(|v| v * v).sum();
    (squares / values.len() as f32).sqrt()
}

/// A relative error of about `share` in every element that is finite.
fn noisy(values: &ArrayD<f32>, share: f32, seed: usize) -> ArrayD<f32> {
    let mut noisy = fixture::numbers(values.shape(), seed) * size(values) * share * 1.7;
    noisy.zip_mut_with(values, |noise, value| {
        *noise = if masked(*value) || *value == 0.0 { *value } else { value + *noise }
    });
    noisy
}

/// Everything that is computed after `first` in program order, and that itself, is off by `share`.
fn wrong_from(original: &Tensors, first: (usize, Site), share: f32) -> Tensors {
    let after = |forward: usize, site: Site| role(site) != A::EmbedTokens && (forward, site) >= first;
    changed(original, |forward, site, values| {
        let seed = 31 * forward + 7 * layer(site) + role(site) as usize;
        Some(if after(forward, site) { noisy(values, share, seed) } else { values.clone() })
    })
}

fn blocks(_: usize, site: Site, values: &ArrayD<f32>) -> Option<ArrayD<f32>> {
    (role(site) == A::Block).then(|| values.clone())
}

#[test]
fn equal_dumps_match_and_rounded_ones_are_rounding() {
    for model in TINY {
        let original = reference(model);
        let report = check(&original, &original, (Verdict::Match, None, &["largest error 0.0e0"]));
        assert!(report.activations.iter().all(|row| row.status == Status::Ok) && report.notes.len() == 1);
        let last_bits = changed(&original, |_, site, values| Some(noisy(values, 2e-7, layer(site))));
        check(&original, &last_bits, (Verdict::Match, None, &[]));
        let bf16s = changed(&original, |_, _, values| Some(values.mapv(|v| bf16::from_f32(v).to_f32())));
        check(&original, &bf16s, (Verdict::Rounding, None, &["as far as bf16 allows"]));
        let f16s = changed(&original, |_, _, values| Some(values.mapv(|v| f16::from_f32(v).to_f32())));
        check(&f16s, &original, (Verdict::Rounding, None, &["as far as f16 allows"]));
        check(&f16s, &bf16s, (Verdict::Rounding, None, &["as far as bf16 allows"]));
    }
}

#[test]
fn names_and_layouts_are_matched() {
    for model in TINY {
        let (graph, original) = (graph_of(model), reference(model));
        let renamed = original.rewritten(|name, values| {
            let (forward, site) = parsed(name);
            let suffix = if forward > 0 { format!("@{forward}") } else { String::new() };
            let per_head = matches!(role(site), A::QProj | A::KProj | A::VProj | A::QRope | A::KRope | A::Context);
            let values = if per_head { by_token(values, &graph) } else { values.clone().insert_axis(Axis(0)) };
            let name = match (GRAPH[site].layer, role(site)) {
                (Some(layer), A::Block) => format!("blocks.{layer}.hook_resid_post"),
                (Some(layer), A::ResidMid) => format!("ffn_inp-{layer}"),
                (Some(layer), A::DownProj) => format!("layer{layer}_mlp"),
                (_, A::LmHead) => "final_logits".into(),
                _ => format!("LlamaForCausalLM.{}", GRAPH.name(site)),
            };
            Some((format!("{name}{suffix}"), values))
        });
        let report = check(&original, &renamed, (Verdict::Match, None, &["largest error 0.0e0"]));
        assert!(report.activations.iter().all(|row| row.status == Status::Ok), "{model}: {:?}", report.notes);

        let last = changed(&prefill(model), |_, site, values| {
            let axis = GRAPH[site].axes.iter().position(|axis| ["token", "query"].contains(&axis.name))?;
            Some(values.slice_axis(Axis(axis), Slice::from(-1..)).as_standard_layout().into_owned())
        });
        check(&prefill(model), &last, (Verdict::Match, None, &["largest error 0.0e0"]));
    }
}

#[test]
fn engines_mask_differently() {
    for masked in [f32::NEG_INFINITY, f32::MIN, -1e9, -1e4] {
        let mask = |_: usize, site: Site, values: &ArrayD<f32>| {
            let scores = role(site) == A::Scores;
            Some(if scores { values.mapv(|v| if v < -1e30 { masked } else { v }) } else { values.clone() })
        };
        for model in ["mistral", "qwen3"] {
            let original = reference(model);
            check(&original, &changed(&original, mask), (Verdict::Match, None, &[]));
        }
    }
    // Behind the softmax nobody sees where a mask, or a number for the whole row, was put.
    let original = prefill("qwen2");
    let unmasked = changed(&original, |_, site, values| {
        let scores = role(site) == A::Scores;
        Some(if scores { values.mapv(|v| if v < -1e30 { 0.25 } else { v }) } else { values.clone() })
    });
    let shifted = changed(&original, |_, site, values| {
        let scores = role(site) == A::Scores;
        Some(if scores { values.mapv(|v| if v < -1e30 { v } else { v + 3.0 }) } else { values.clone() })
    });
    check(&original, &unmasked, (Verdict::Match, None, &[]));
    let report = check(&original, &shifted, (Verdict::Rounding, None, &["in another form"]));
    assert!(report.notes.iter().any(|note| note.contains("shifted by a number of its own")), "{:?}", report.notes);
}

/// Channels of every head from half a head apart to side by side.
fn interleaved(values: &ArrayD<f32>, head_dim: usize) -> ArrayD<f32> {
    let last = Axis(values.ndim() - 1);
    let of = |head: usize| (0..head_dim).map(move |c| head * head_dim + c / 2 + (c % 2) * (head_dim / 2));
    let order: Vec<usize> = (0..values.len_of(last) / head_dim).flat_map(of).collect();
    values.select(last, &order)
}

#[test]
fn another_order_of_q_and_k_is_no_mistake() {
    let q_and_k = [A::QProj, A::KProj, A::QNorm, A::KNorm, A::QRope, A::KRope];
    for model in TINY {
        let (width, original) = (head_dim(&graph_of(model)), reference(model));
        let permuted = changed(&original, |_, site, values| {
            let of = q_and_k.contains(&role(site));
            Some(if of { interleaved(values, width) } else { values.clone() })
        });
        let report = check(&original, &permuted, (Verdict::Rounding, None, &["in another form"]));
        let equivalent = report.activations.iter().filter(|row| row.status == Status::Equivalent).count();
        let all = original.tensors.iter().filter(|(name, _)| q_and_k.contains(&role(parsed(name).1))).count();
        assert_eq!(equivalent, all, "{model}");
        assert!(report.notes.iter().any(|note| note.contains("side by side (2i, 2i+1)")), "{:?}", report.notes);
        // Nothing changes when no scores are there: their product is the same.
        let without = |_: usize, site: Site, values: &ArrayD<f32>| (role(site) != A::Scores).then(|| values.clone());
        check(&original, &changed(&permuted, without), (Verdict::Rounding, None, &["in another form"]));
    }
    // Read half a head apart by RoPE all the same, it is one.
    let (width, original) = (head_dim(&graph_of("llama")), prefill("llama"));
    let wrong = wrong_from(&original, (0, node(1, A::QRope)), 0.3);
    let wrong = replaced(&wrong, "model.layers.1.self_attn.q_proj", |values| interleaved(values, width));
    let first = ("model.layers.1.self_attn.q_proj", Culprit::Unknown, true);
    check(&original, &wrong, (Verdict::Diverged, Some(first), &["side by side"]));
    // And so it is when a port joins heads without turning them back.
    let wrong = wrong_from(&original, (0, node(1, A::OProj)), 0.3);
    let wrong = replaced(&wrong, "model.layers.1.self_attn.context", |values| {
        let (tokens, channels) = (values.shape()[0], values.shape()[1]);
        let heads = permute(&reshape(values, &[tokens, channels / width, width]), &[1, 0, 2]);
        reshape(&heads, &[tokens, channels])
    });
    let first = ("model.layers.1.self_attn.context", Culprit::Candidate, true);
    check(&original, &wrong, (Verdict::Diverged, Some(first), &["heads and tokens have changed places"]));
}

#[test]
fn a_tensor_under_a_wrong_name_is_named() {
    let original = reference("llama_bias");
    let (reference, candidate) = (Culprit::Reference, Culprit::Candidate);
    // What it takes part in does not add up, in one dump.
    for name in [
        "model.layers.1.self_attn.o_proj",
        "model.layers.1.resid_mid",
        "model.layers.1.mlp.up_proj",
        "model.layers.0.self_attn.scores",
        "model.layers.1.self_attn.v_proj",
        "model.layers.1.input_layernorm",
    ] {
        let wrong = replaced(&original, name, unrelated);
        let says = ["is not what its name says", "what is computed from it agrees"];
        for (a, b, culprit) in [(&original, &wrong, candidate), (&wrong, &original, reference)] {
            let report = compare(a, b);
            let first = report.first_divergence().expect("a divergence");
            assert_eq!(
                (report.verdict, first.name.as_str(), first.culprit),
                (Verdict::Mislabelled, name, culprit),
                "{}",
                report.sentence
            );
            assert!(says.iter().all(|words| report.sentence.contains(words)), "{}", report.sentence);
            assert_eq!(report.activations.iter().filter(|row| row.status == Status::Bad).count(), 1, "{name}");
        }
    }
    // It is another tensor.
    let before = original.get("model.layers.0").clone();
    let wrong = replaced(&original, "model.layers.1", |_| before.clone());
    let report = compare(&original, &wrong);
    assert_eq!(
        (report.verdict, report.divergences[0].culprit),
        (Verdict::Mislabelled, candidate),
        "{}",
        report.sentence
    );
    assert!(report.sentence.contains("the candidate's model.layers.1 equals the reference's model.layers.0"));
    assert!(report.notes.iter().any(|note| note.contains("hold the same bits")), "{:?}", report.notes);
    // NaN in one tensor that nobody used.
    let spoilt = replaced(&original, "model.layers.2.mlp.gate_proj", |values| values.mapv(|_| f32::NAN));
    assert_eq!(compare(&original, &spoilt).verdict, Verdict::Mislabelled);
}

#[test]
fn labels_that_are_one_layer_off() {
    let original = prefill("qwen3");
    let kept = changed(&original, |_, site, values| {
        [A::EmbedTokens, A::Block, A::LmHead].contains(&role(site)).then(|| values.clone())
    });
    let late = kept.rewritten(|name, values| {
        let (_, site) = parsed(name);
        let name = match (role(site), layer(site)) {
            (A::Block, 2) => return None,
            (A::Block, layer) => format!("model.layers.{}", layer + 1),
            (A::EmbedTokens, _) => "model.layers.0".into(),
            _ => name.to_string(),
        };
        Some((name, values.clone()))
    });
    let report = compare(&kept, &late);
    assert_eq!(report.verdict, Verdict::Mislabelled, "{}", report.sentence);
    let first = report.first_divergence().expect("a divergence");
    assert_eq!(
        (first.name.as_str(), first.layers.as_slice(), first.culprit),
        ("model.layers.0", &[0, 1, 2][..], Culprit::Candidate)
    );
}

#[test]
fn a_last_block_after_the_final_norm() {
    for model in ["qwen2", "llama"] {
        let original = changed(&prefill(model), |forward, site, values| {
            if role(site) == A::FinalNorm { Some(values.clone()) } else { blocks(forward, site, values) }
        });
        let normed = original.get("model.norm").clone();
        let wrong = replaced(&original, "model.layers.2", |_| normed.clone());
        let first = Some(("model.layers.2", Culprit::Reference, false));
        let alone = |tensors: &Tensors| changed(tensors, blocks);
        let says = ["is a norm of the candidate's"];
        check(&wrong, &original, (Verdict::Mislabelled, first, &["equals the candidate's model.norm"]));
        check(&alone(&wrong), &alone(&original), (Verdict::Mislabelled, first, &says));
    }
}

#[test]
fn the_bug_of_the_demo() {
    let open = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/demo").join(name);
        let archive = Archive::open(&path).expect("a dump of the demo");
        let read = |entry: &layerstep::formats::Entry| {
            (entry.name.clone(), archive.read(&entry.name).expect("a tensor").into_f32())
        };
        Tensors { tensors: archive.entries().iter().map(read).collect(), metadata: archive.metadata().clone() }
    };
    let (right, wrong) = (open("reference.safetensors"), open("candidate.safetensors"));
    let q_rope = ("model.layers.2.self_attn.q_rope", Culprit::Unknown, true);
    let says = ["from token 1 on", "RoPE over pairs (i, i+16), the candidate RoPE over pairs (2i, 2i+1)"];
    check(&right, &wrong, (Verdict::Diverged, Some(q_rope), &says));
    let report =
        check(&wrong, &right, (Verdict::Diverged, Some(q_rope), &["the reference has RoPE over pairs (2i, 2i+1)"]));
    assert_eq!(report.divergences[0].last_good.as_deref(), Some("model.layers.2.self_attn.v_proj"));
    let bracket = Some(("model.layers.2", Culprit::Unknown, false));
    let report = check(&changed(&right, blocks), &changed(&wrong, blocks), (Verdict::Diverged, bracket, &[]));
    assert_eq!(report.divergences[0].last_good.as_deref(), Some("model.layers.1"));
}

#[test]
fn what_goes_on_is_wrong_and_what_does_not_add_up_names_the_culprit() {
    let original = reference("qwen2");
    for (site, culprit) in [
        (node(1, A::QProj), Culprit::Unknown),
        (node(1, A::ResidMid), Culprit::Candidate),
        (node(0, A::ActMul), Culprit::Candidate),
        (node(2, A::Probs), Culprit::Candidate),
        (node(2, A::Context), Culprit::Candidate),
        (node(1, A::InputNorm), Culprit::Candidate),
        (node(0, A::LmHead), Culprit::Unknown),
    ] {
        let name = GRAPH.name(site).to_string();
        let wrong = wrong_from(&original, (0, site), 0.4);
        let report = compare(&original, &wrong);
        let first = report.first_divergence().expect("a divergence");
        let found = (report.verdict, first.name.as_str(), first.culprit, first.exact);
        assert_eq!(found, (Verdict::Diverged, name.as_str(), culprit, true), "{}", report.sentence);
        let statuses = |status| report.activations.iter().filter(|row| row.status == status).count();
        assert!(
            statuses(Status::Bad) > 0
                && statuses(Status::Ok) + statuses(Status::Bad) + statuses(Status::Propagated) == 285,
            "{name}"
        );
    }
    // In a decode step only.
    let wrong = wrong_from(&original, (2, node(1, A::KRope)), 0.4);
    let report = compare(&original, &wrong);
    assert_eq!(
        report.first_divergence().map(|d| (d.name.as_str(), d.step())),
        Some(("model.layers.1.self_attn.k_rope@2", 2))
    );
}

#[test]
fn one_token_hides_q_and_k() {
    // Attention to one token is the same whatever q and k are: that what follows agrees does not mean they were right.
    let one = |values: &ArrayD<f32>, site: Site| {
        let mut values = values.clone();
        for (at, axis) in GRAPH[site].axes.iter().enumerate() {
            if ["token", "query", "key"].contains(&axis.name) {
                values.slice_axis_inplace(Axis(at), Slice::from(..1));
            }
        }
        values.as_standard_layout().into_owned()
    };
    let mut original = changed(&prefill("qwen2"), |_, site, values| Some(one(values, site)));
    original.metadata.insert("input_ids".into(), format!("{:?}", &original.ids()[..1]));
    original.metadata.insert("steps".into(), "[1]".into());
    let wrong = changed(&original, |_, site, values| {
        let of = layer(site) == 1 && [A::KProj, A::KRope, A::Scores].contains(&role(site));
        Some(if of { unrelated(values) } else { values.clone() })
    });
    let first = ("model.layers.1.self_attn.k_proj", Culprit::Unknown, true);
    check(&original, &wrong, (Verdict::Diverged, Some(first), &[]));
}

#[test]
fn noise_from_the_first_product_on_is_no_accusation() {
    let original = reference("llama");
    let name = "model.layers.0.self_attn.q_proj";
    for share in [5e-4, 1e-2, 8e-2] {
        let noise = wrong_from(&original, (0, node(0, A::QProj)), share);
        check(
            &original,
            &noise,
            (Verdict::Inconclusive, Some((name, Culprit::Unknown, false)), &["quantised weights"]),
        );
        // A mistake above the noise is found.
        let wrong = wrong_from(&noise, (0, node(2, A::QRope)), 1.5);
        let report = compare(&original, &wrong);
        assert_eq!(
            (report.verdict, report.divergences[0].layer()),
            (Verdict::Diverged, Some(2)),
            "{}",
            report.sentence
        );
    }
    // A bias is no noise.
    let bias = wrong_from(&original, (0, node(0, A::QRope)), 0.05);
    let bias = changed(&bias, |forward, site, values| {
        let of = forward == 0 && layer(site) == 0 && [A::QProj, A::KProj, A::VProj].contains(&role(site));
        let row = fixture::numbers(&[values.shape()[values.ndim() - 1]], 3) * 0.1;
        Some(if of { values + &row } else { values.clone() })
    });
    let report = compare(&original, &bias);
    assert_eq!((report.verdict, report.divergences[0].name.as_str()), (Verdict::Diverged, name), "{}", report.sentence);
}

#[test]
fn without_evidence_nobody_is_accused() {
    let original = changed(&prefill("mistral"), blocks);
    let wrong = replaced(&original, "model.layers.2", unrelated);
    let last = Some(("model.layers.2", Culprit::Unknown, false));
    check(&original, &wrong, (Verdict::Inconclusive, last, &["nothing that follows"]));
    let part = |activation| {
        let keep = move |_: usize, site: Site, values: &ArrayD<f32>| (role(site) == activation).then(|| values.clone());
        changed(&prefill("mistral"), keep)
    };
    check(&part(A::QProj), &part(A::KProj), (Verdict::Inconclusive, None, &["none in common"]));
    // Names that nobody knows are compared, and judged by what follows.
    let foreign = |tensors: &Tensors| {
        tensors.rewritten(|name, values| Some((name.replace("mlp.up_proj", "mixer.expert"), values.clone())))
    };
    let (right, spoilt) = (prefill("llama"), replaced(&prefill("llama"), "model.layers.1.mlp.up_proj", unrelated));
    let report = check(&foreign(&right), &foreign(&right), (Verdict::Match, None, &[]));
    assert!(report.activations.iter().any(|row| row.name == "model.layers.1.mixer.expert" && row.status == Status::Ok));
    let first = Some(("model.layers.1.mixer.expert", Culprit::Unknown, false));
    check(&foreign(&right), &foreign(&spoilt), (Verdict::Mislabelled, first, &[]));
}

#[test]
fn other_tokens_are_no_divergence() {
    let original = reference("qwen2");
    let mut other = original.clone();
    let mut ids = original.ids();
    ids[3] += 1;
    other.metadata.insert("input_ids".into(), format!("{ids:?}"));
    check(&original, &other, (Verdict::InputsDiffer, None, &["token 3 is", "in the reference", "in the candidate"]));
    // Fewer decode steps of the same session are compared as far as they go.
    let mut short = prefill("qwen2");
    check(&original, &short, (Verdict::Match, None, &[]));
    // Nobody says which tokens they were: the embeddings do.
    short.metadata.clear();
    check(&original, &short, (Verdict::Match, None, &[]));
    let wrong = wrong_from(&short, (0, node(0, A::InputNorm)), 0.5);
    let wrong = replaced(&wrong, "model.embed_tokens", |values| {
        let mut values = values.clone();
        let row = unrelated(&values.select(Axis(0), &[5]));
        values.slice_axis_mut(Axis(0), Slice::from(5..6)).assign(&row);
        values
    });
    check(&original, &wrong, (Verdict::InputsDiffer, Some(("model.embed_tokens", Culprit::Unknown, true)), &["[5]"]));
}

#[test]
fn shapes_that_fit_nothing_are_compared_as_they_are() {
    let original = prefill("qwen3");
    let odd = |seed| {
        changed(&original, |_, site, values| {
            Some(match (layer(site), role(site)) {
                (0, A::Probs | A::Scores | A::QRope) => fixture::numbers(&[13, 99], seed),
                (1, A::Probs) => fixture::numbers(&[2, 3, 4, 5], seed),
                (1, A::Scores | A::KProj) => fixture::numbers(&[], seed),
                (1, A::Context | A::VProj) => fixture::numbers(&[0, 7], seed),
                (2, A::GateProj) => fixture::numbers(&[13, 5], seed),
                _ => values.clone(),
            })
        })
    };
    check(&odd(1), &odd(1), (Verdict::Match, None, &["largest error 0.0e0"]));
    let report = compare(&odd(1), &odd(2));
    assert_eq!(report.verdict, Verdict::Mislabelled, "{}", report.sentence);
    let report = compare(&original, &odd(1));
    assert_eq!(report.verdict, Verdict::Match, "{}", report.sentence);
    let missing = report.activations.iter().filter(|row| row.status == Status::Missing).count();
    assert_eq!(missing, 9);
}

#[test]
fn the_first_value_that_is_not_finite_is_named() {
    let original = prefill("llama");
    let infinite = |values: &ArrayD<f32>| {
        let mut values = values.clone();
        values[[3, 5]] = f32::INFINITY;
        values
    };
    let damaged = replaced(&original, "model.layers.1.mlp.down_proj", infinite);
    let words = ["first non-finite: model.layers.1.mlp.down_proj, token 3, channel 5: inf in the candidate", "damaged"];
    let report = check(
        &original,
        &damaged,
        (Verdict::Mislabelled, Some(("model.layers.1.mlp.down_proj", Culprit::Candidate, true)), &words),
    );
    assert!(report.activations.iter().all(|row| row.error.is_finite()), "{:?}", report.activations);
    let first = (0, node(1, A::DownProj));
    let gone_on = changed(&original, |forward, site, values| {
        Some(if (forward, site) >= first { values.mapv(|_| f32::NAN) } else { values.clone() })
    });
    let first = Some(("model.layers.1.mlp.down_proj", Culprit::Candidate, true));
    check(&original, &gone_on, (Verdict::Diverged, first, &["token 0, channel 0: NaN in the candidate"]));
    check(
        &gone_on,
        &original,
        (
            Verdict::Diverged,
            Some(("model.layers.1.mlp.down_proj", Culprit::Reference, true)),
            &["NaN in the reference; the candidate has "],
        ),
    );
}
