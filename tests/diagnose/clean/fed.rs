//! A mistake has one name, however the tokens were fed: all at once, in two parts, or one by one, as small engines do.

use layerstep::diagnose::Verdict;
use layerstep::diagnose::suspects::all;
use layerstep::diagnose::suspects::switch::{alterations, find};
use layerstep::engine::{Alteration, Edit, Field, Role, Site};
use layerstep::model::op::Places;
use layerstep::ops::Rounding;

use super::coverages::blocks;
use super::layouts::{pairs_side_by_side, pairs_twice_apart};
use super::subject::{Format, Subject};
use crate::fixture::{Tensors, graph_of, prefill};

/// Tokens that are fed.
const TOKENS: usize = 7;

/// These need several tokens in one forward.
const OF_SEVERAL: &[&str] = &["causal_mask_missing", "mask_off_by_one", "head_merge_order"];

/// At position 0 nothing is rotated: there, no rotation and the position 0 of a cache that does not count are the same.
const ALSO: &[(&str, &str)] = &[("rope_missing", "kv_cache_position")];

/// The ids of the suspects of each divergence.
fn named(subject: &Subject, dump: &Tensors) -> (Verdict, Vec<Vec<&'static str>>) {
    let report = subject.report(None, Some(dump), Format::Safetensors);
    let ids = report.divergences.iter().map(|divergence| divergence.suspects.iter().map(|s| s.id).collect());
    (report.verdict, ids.collect())
}

#[test]
fn a_mistake_has_one_name() {
    let layouts = [vec![1; TOKENS], vec![1, TOKENS - 1], vec![3, TOKENS - 3], vec![TOKENS - 2, 1, 1]];
    let mut tried = 0;
    for name in ["llama", "qwen3"] {
        let ids = prefill(name).ids()[..TOKENS].to_vec();
        let whole = Subject::fed(name, ids.clone(), vec![TOKENS]);
        for suspect in all().filter(|suspect| suspect.id != "stale_layer_state") {
            // Of three ways, one is fed as the others are.
            for way in 1..=3 {
                let Ok((words, altered)) = alterations(&whole.model, suspect, &[1], Some(way)) else { break };
                let made = |subject: &Subject| subject.altered(Rounding::None, altered.clone(), |_, _| ());
                let (_, at_once) = named(&whole, &made(&whole));
                if !at_once.iter().all(|ids| ids.contains(&suspect.id)) || at_once.is_empty() {
                    continue;
                }
                let steps = &layouts[if way == 1 { 0 } else { 1 + tried % 3 }];
                let fed = Subject::fed(name, ids.clone(), steps.clone());
                let (verdict, found) = named(&fed, &made(&fed));
                let case = format!("{name}, {steps:?}, {} {words}: at once {at_once:?}, now {found:?}", suspect.id);
                if verdict == Verdict::Match {
                    // Too small to see in few numbers, or not there.
                    assert!(OF_SEVERAL.contains(&suspect.id) || suspect.id == "norm_eps", "{case}");
                    continue;
                }
                let known = |id: &&'static str| at_once[0].contains(id) || ALSO.contains(&(suspect.id, id));
                assert!(found.iter().all(|ids| ids.contains(&suspect.id)), "{case}");
                assert!(found[0].iter().all(known), "{case}");
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn nobody_is_accused_whatever_the_order_of_channels() {
    for name in ["llama", "qwen2", "mistral"] {
        let ids = prefill(name).ids()[..TOKENS].to_vec();
        let graph = graph_of(name);
        for steps in [vec![1; TOKENS], vec![1, TOKENS - 1], vec![TOKENS - 2, 1, 1]] {
            let subject = Subject::fed(name, ids.clone(), steps.clone());
            let right = subject.recorded(Rounding::None, |_, _| ());
            for (dump, expected) in [
                (pairs_side_by_side(&right, &graph), Verdict::Rounding),
                (pairs_twice_apart(&right, &graph), Verdict::Rounding),
                (right, Verdict::Match),
            ] {
                assert_eq!(named(&subject, &dump), (expected, Vec::new()), "{name}, {steps:?}");
            }
        }
    }
}

/// Where only blocks were dumped: mistakes of one op, and of several with weights of their own.
#[test]
fn a_mistake_is_named_over_a_span() {
    for (model, id, way, expected) in [
        ("llama", "gate_up_swapped", 1, &["gate_up_swapped"][..]),
        ("qwen2", "qk_permuted", 1, &["qk_permuted"]),
        // The same numbers: scores do not tell which of the two it was.
        ("llama", "qk_permuted", 3, &["rope_interleaved", "qk_permuted"]),
        ("qwen2", "rope_interleaved", 1, &["rope_interleaved", "qk_permuted"]),
        ("qwen3", "fused_order", 1, &["fused_order"]),
        ("qwen3", "norm_wrong_weight", 1, &["norm_wrong_weight"]),
        ("llama", "softmax_scale", 1, &["softmax_scale"]),
    ] {
        let ids = prefill(model).ids();
        let subject = Subject::fed(model, ids.clone(), vec![ids.len()]);
        let suspect = find(id).expect("a suspect");
        let (_, altered) = alterations(&subject.model, suspect, &[1], Some(way)).expect("it can be made");
        let dump = blocks(&subject.altered(Rounding::None, altered, |_, _| ()), &subject.model.graph);
        assert_eq!(named(&subject, &dump), (Verdict::Diverged, vec![expected.to_vec()]), "{model}: {id} {way}");
    }
}

/// Queries and keys have matrices of their own: what is wrong with both is said of both.
#[test]
fn a_mistake_of_several_matrices_is_said_of_each() {
    let ids = prefill("llama_bias").ids();
    let subject = Subject::fed("llama_bias", ids.clone(), vec![ids.len()]);
    let wrong: Vec<Site> = [Role::QProj, Role::KProj, Role::VProj].map(|role| subject.site(1, role)).to_vec();
    let altered = vec![Alteration { sites: wrong.clone().into(), edit: Edit::Bias(None) }];
    let report = subject.report(None, Some(&subject.altered(Rounding::None, altered, |_, _| ())), Format::Safetensors);
    let found: Vec<&str> = report.divergences.iter().map(|divergence| divergence.name.as_str()).collect();
    let graph = &subject.model.graph;
    assert_eq!(found, wrong.iter().map(|site| graph.name(*site)).collect::<Vec<_>>());
}

/// Positions that are wrong in each decode step: the run with the mistakes makes them as each step has them.
#[test]
fn the_proof_makes_the_mistake_of_each_step() {
    let ids = prefill("llama").ids()[..TOKENS].to_vec();
    let subject = Subject::fed("llama", ids, vec![TOKENS - 3, 1, 1, 1]);
    let at = TOKENS - 3;
    for places in [Places::From { at, to: 5 }, Places::From { at, to: 0 }, Places::Stuck { at, to: 4 }] {
        let sites = [Role::QRope, Role::KRope].map(|role| subject.site(1, role)).to_vec();
        let altered = vec![Alteration { sites: sites.into(), edit: Edit::Set(Field::Places(places)) }];
        let dump = subject.altered(Rounding::None, altered, |_, _| ());
        let report = subject.report(None, Some(&dump), Format::Safetensors);
        let proven = |note: &String| note.contains("kv_cache_position") && note.contains("our engine gives all ");
        assert!(report.proofs.iter().any(proven), "{places:?}: {:?}", report.proofs);
    }
}
