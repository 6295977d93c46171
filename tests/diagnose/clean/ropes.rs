//! RoPE that is scaled in another way than the model's is named with its numbers, from all ops and from the blocks alone.

use layerstep::diagnose::Verdict;
use layerstep::engine::{Alteration, Edit, Field, Role};
use layerstep::model::spec::{Rope, Scaling};
use layerstep::ops::{Rounding, Yarn};

use super::coverages::blocks;
use super::subject::{Format, Subject};
use crate::fixture::{Tensors, prefill, reference};

/// What a port does to RoPE in layer 1, and what is said of it: the id, and words of it.
struct Case {
    model: &'static str,
    edit: fn(&Rope) -> Field,
    id: &'static str,
    says: &'static [&'static str],
    /// Whether it is named where only blocks were dumped.
    over_a_span: bool,
}

fn yarn(factor: f64, original: f64) -> Scaling {
    Scaling::Yarn(Yarn { factor, fast: 32.0, slow: 1.0, original, truncate: true })
}

fn longer(factor: f64) -> f64 {
    0.1 * factor.ln() + 1.0
}

/// Always the table of short or of long sequences.
fn one_table(own: &Rope, second: bool) -> Field {
    let Scaling::LongRope { short, long, original } = own.scaling.clone() else { panic!("it is longrope") };
    let one = if second { long } else { short };
    Field::Rope(Rope { scaling: Scaling::LongRope { short: one.clone(), long: one, original }, ..own.clone() })
}

const CASES: &[Case] = &[
    Case {
        model: "qwen3",
        edit: |own| Field::Rope(Rope { scaling: yarn(4.0, 64.0), factor: longer(4.0), ..own.clone() }),
        id: "rope_scaling_missing",
        says: &["YaRN by 4 from 64 positions", "times 1.1386", "the model has none"],
        over_a_span: true,
    },
    Case {
        model: "qwen3",
        edit: |own| Field::Rope(Rope { scaling: yarn(8.0, 256.0), ..own.clone() }),
        id: "rope_scaling_missing",
        says: &["YaRN by 8 from 256 positions, without its factor 1.2079", "the model has none"],
        over_a_span: false,
    },
    Case {
        model: "mistral",
        edit: |own| {
            let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 32.0 };
            Field::Rope(Rope { scaling, ..own.clone() })
        },
        id: "rope_scaling_missing",
        says: &["llama3 scaling by 8 from 32 positions where the model has none"],
        over_a_span: false,
    },
    Case {
        model: "llama",
        edit: |own| Field::Rope(Rope { scaling: Scaling::Linear { factor: 4.0 }, ..own.clone() }),
        id: "rope_scaling_missing",
        says: &["linear scaling by 4 where the model has llama3 scaling by 4 from 32 positions"],
        over_a_span: true,
    },
    Case {
        model: "llama",
        edit: |own| Field::Rope(Rope { theta: 2000.0, ..own.clone() }),
        id: "rope_theta",
        says: &["theta 2000 where the model has 500"],
        over_a_span: false,
    },
    Case {
        model: "llama_yarn",
        edit: |own| Field::Rope(Rope { theta: 1700.0, ..own.clone() }),
        id: "rope_theta",
        says: &["theta 1700 where the model has 500"],
        over_a_span: false,
    },
    Case {
        model: "llama_yarn",
        edit: |own| Field::Rope(own.plain()),
        id: "rope_scaling_missing",
        says: &["no scaling, without the factor 1.1386", "the model has YaRN by 4 from 32 positions, betas 4 and 1"],
        over_a_span: true,
    },
    Case {
        model: "llama_yarn",
        edit: |_| Field::Factor(1.0),
        id: "rope_attention_factor",
        says: &["as they are where the model multiplies them by 1.1386"],
        over_a_span: true,
    },
    Case {
        model: "llama_bias",
        edit: |_| Field::Factor(0.1 * 8.0f64.ln() + 1.0),
        id: "rope_attention_factor",
        says: &["times 1.2079, YaRN's factor for 8 contexts, where the model has none"],
        over_a_span: false,
    },
    Case {
        model: "llama_longrope",
        edit: |own| one_table(own, true),
        id: "rope_scaling_missing",
        says: &["the long table of longrope for 13 tokens, where the model has the short one"],
        over_a_span: true,
    },
    Case {
        model: "llama_dynamic",
        edit: |own| Field::Rope(Rope { scaling: yarn(2.0, 14.0), factor: longer(2.0), ..own.clone() }),
        id: "rope_scaling_missing",
        says: &["YaRN by 2 from 14 positions", "the model has dynamic scaling by 4 beyond 14 positions"],
        over_a_span: true,
    },
];

/// What a port gives that makes the mistake in queries and keys of layer 1.
fn made(subject: &Subject, edit: fn(&Rope) -> Field) -> Tensors {
    let own = subject.model.spec.layers[1].attn.rope.as_ref().expect("it rotates");
    let sites: Vec<_> = [Role::QRope, Role::KRope].map(|role| subject.site(1, role)).to_vec();
    let altered = vec![Alteration { sites: sites.into(), edit: Edit::Set(edit(own)) }];
    subject.altered(Rounding::None, altered, |_, _| ())
}

#[track_caller]
fn check(subject: &Subject, dump: &Tensors, id: &str, says: &[&str], what: &str) {
    let report = subject.report(None, Some(dump), Format::Safetensors);
    assert_eq!((report.verdict, report.divergences.len()), (Verdict::Diverged, 1), "{what}: {}", report.sentence);
    let first = &report.divergences[0].suspects[0];
    assert_eq!(first.id, id, "{what}: {}", report.sentence);
    for words in says {
        assert!(first.summary.contains(words), "{what}: `{words}` is not in `{}`", first.summary);
    }
}

#[test]
fn other_scalings_are_named_with_their_numbers() {
    for case in CASES {
        let subject = Subject::of(case.model, &prefill(case.model));
        let dump = made(&subject, case.edit);
        let what = format!("{}, {:?}", case.model, case.says);
        check(&subject, &dump, case.id, case.says, &what);
        if case.over_a_span {
            let dump = blocks(&dump, &subject.model.graph);
            check(&subject, &dump, case.id, case.says, &format!("{what}, blocks"));
        }
    }
}

/// A sequence that outgrows its original context does so in a decode step: from there on the port is wrong.
#[test]
fn a_length_that_is_not_looked_at_is_named() {
    for (model, edit, step, says) in [
        (
            "llama_dynamic",
            (|own| Field::Rope(own.plain())) as fn(&Rope) -> Field,
            2,
            "no scaling where the model has dynamic",
        ),
        ("llama_longrope", |own| one_table(own, false), 3, "the short table of longrope for 16 tokens"),
    ] {
        let subject = Subject::of(model, &reference(model));
        let report = subject.report(None, Some(&made(&subject, edit)), Format::Safetensors);
        let first = report.divergences.first().expect("a divergence");
        assert_eq!(first.name, format!("model.layers.1.self_attn.q_rope@{step}"), "{model}: {}", report.sentence);
        let suspect = &first.suspects[0];
        assert_eq!(suspect.id, "rope_scaling_missing", "{model}: {}", report.sentence);
        assert!(suspect.summary.contains(says), "{model}: {}", suspect.summary);
    }
}

/// A base that has grown with the sequence, in a model that has none.
#[test]
fn a_base_that_grows_is_named() {
    let ids: Vec<u32> = (0..80).map(|i| 3 + (7 * i) % 90).collect();
    let subject = Subject::fed("llama_bias", ids.clone(), vec![ids.len()]);
    let dynamic =
        |own: &Rope| Field::Rope(Rope { scaling: Scaling::Dynamic { factor: 4.0, positions: 64 }, ..own.clone() });
    let says = ["dynamic scaling by 4 beyond 64 positions where the model has none"];
    check(&subject, &made(&subject, dynamic), "rope_scaling_missing", &says, "a longer sequence");
}
