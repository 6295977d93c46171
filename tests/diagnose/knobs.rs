//! Every known mistake on every op that it is said of, in every family: its changes hit something, give another result, and
//! can be made in another layer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::support::{HEADLESS, Reference, TINY, tiny};
use layerstep::diagnose::suspects::scene::Scene;
use layerstep::diagnose::suspects::{Suspect, Variant, all};
use layerstep::engine::{Compute, Edit, Field, Graph, LogitRows, Op, Run, Site};
use layerstep::model::Model;
use layerstep::ops::{Form, Rounding};

/// Only a dump tells what they are.
const OF_DUMPS: &[&str] = &["weights_zero_from", "kv_cache_position", "rope_position_offset", "kv_cache_stale"];

/// Too small a change for few numbers in f32.
const SMALL: &[&str] = &["rope_low_precision", "ref_inv_freq_low_precision"];

/// The ops that a suspect is said of, and its ways there.
fn ways<'a>(model: &'a Arc<Model>, suspect: &'a Suspect) -> impl Iterator<Item = (Site, Variant)> + 'a {
    let sites = model.graph.sites().filter(|site| suspect.is_of(model.graph[*site].role));
    sites.flat_map(|site| (suspect.variants)(&Scene::without_dump(model, site)).into_iter().map(move |way| (site, way)))
}

/// Whether all layers are of the same sizes: else what is moved may find no place.
fn has_alike_layers(graph: &Graph) -> bool {
    graph.sites().all(|site| {
        let twins = (0..graph.layers()).filter_map(|layer| graph.twin(site, layer));
        { twins }.all(|twin| graph.are_alike(site, twin))
    })
}

#[test]
fn every_change_hits_something_and_moves_to_other_layers() {
    let mut made = BTreeSet::new();
    for name in TINY.iter().chain(HEADLESS) {
        let model = tiny(name);
        let graph = &model.graph;
        for suspect in all() {
            for (site, way) in ways(&model, suspect) {
                let case = format!("{name}: {} in {}: {}", suspect.id, graph.short(site), way.words);
                way.edit.check(&model, site).unwrap_or_else(|missed| panic!("{case}: {missed}"));
                assert_eq!(way.edit.moved(graph, 0).as_ref(), Some(&way.edit), "{case}");
                made.insert(suspect.id);
                let twin = graph[site].layer.and_then(|layer| graph.twin(site, layer + 1));
                let Some((twin, moved)) = twin.and_then(|twin| Some((twin, way.edit.moved(graph, 1)?))) else {
                    continue;
                };
                let missed = moved.check(&model, twin).err().filter(|_| has_alike_layers(graph));
                assert_eq!(missed, None, "{case}, moved");
                if let Some(back) = moved.moved(graph, -1) {
                    assert_eq!(back, way.edit, "{case}, moved and back");
                }
            }
        }
    }
    let never: Vec<&str> = all()
        .filter(|suspect| !suspect.ops.is_empty())
        .map(|suspect| suspect.id)
        .filter(|id| !made.contains(id))
        .collect();
    assert_eq!(never, OF_DUMPS);
}

/// Of each way of making a mistake, how often it was tried, and how often it gave another result.
type Effects = BTreeMap<(&'static str, String), (usize, usize)>;

fn effects(name: &str, effects: &mut Effects) {
    let (model, reference) = (tiny(name), Reference::tiny(name));
    let mut of_site: BTreeMap<Site, Vec<(&'static str, Variant)>> = BTreeMap::new();
    for suspect in all() {
        for (site, way) in ways(&model, suspect).filter(|(_, way)| way.edit != Edit::Keep) {
            of_site.entry(site).or_default().push((suspect.id, way));
        }
    }
    let mut run: Run<f64> =
        Run::with_compute(Arc::clone(&model), &reference.ids[..reference.steps[0]], LogitRows::All, Compute::default());
    run.keep_stale();
    for _ in 0..2 {
        while let Some(site) = run.step() {
            let right = run.get(site).expect("just computed").clone();
            for (id, way) in of_site.get(&site).into_iter().flatten() {
                let step = run.altered(&way.edit).unwrap_or_else(|| panic!("{name}: {id}: {}", way.words));
                let Some(wrong) = run.apply(&step, Compute::default()) else { continue };
                assert_eq!(wrong.shape(), right.shape(), "{name}: {id} in {}: {}", model.graph.short(site), way.words);
                let (tried, changed) = effects.entry((*id, way.words.clone())).or_default();
                *tried += 1;
                *changed += usize::from(wrong != right);
            }
        }
        run.begin_forward(&[1]);
    }
}

#[test]
fn every_change_gives_another_result_somewhere() {
    /// An expert that no token is sent to can have any matrix; few experts make few groups.
    const MAY_BE_NOTHING: [&str; 2] = ["experts_permuted", "router_groups"];
    let mut seen = Effects::new();
    for name in TINY {
        effects(name, &mut seen);
    }
    assert!(seen.len() > 200, "{}", seen.len());
    let nothing: Vec<_> = seen
        .iter()
        .filter(|((id, _), (_, changed))| *changed == 0 && !SMALL.contains(id) && !MAY_BE_NOTHING.contains(id))
        .collect();
    assert!(nothing.is_empty(), "these change nothing: {nothing:#?}");
    for id in seen.keys().map(|(id, _)| *id).collect::<BTreeSet<_>>() {
        let changed: usize = seen.iter().filter(|((of, _), _)| *of == id).map(|(_, (_, changed))| changed).sum();
        assert!(changed > 0 || SMALL.contains(&id), "{id}");
    }
}

/// What an edit misses, it says.
#[test]
fn a_change_that_hits_nothing_says_so() {
    let model = tiny("llama");
    let graph: &Graph = &model.graph;
    let site = graph.parse("1.q_proj").expect("an op");
    let missed = Edit::Set(Field::Form(Form::Centred)).check(&model, site).expect_err("a linear layer has no form");
    assert_eq!(missed.to_string(), "1.q_proj has nothing that Form changes");
    let late = Edit::From { position: 100, edit: Box::new(Edit::Set(Field::Eps(0.0))) };
    assert!(late.check(&model, site).is_err(), "changes of late forwards are looked at, too");
    let run: Run = {
        let mut run = Run::new(Arc::clone(&model), &[1, 2, 3], LogitRows::All);
        while run.step() != Some(site) {}
        run
    };
    assert!(run.altered(&Edit::Read { index: 1, read: graph[site].reads[0] }).is_none());
    assert!(run.altered(&Edit::Then(Op::Cap(1.0))).is_some());
}

/// A mistake is said the way round that the model has it.
#[test]
fn what_is_wrong_depends_on_the_model() {
    let said = |name: &str, op: &str, id: &str| {
        let model = tiny(name);
        let site = model.graph.parse(op).expect("an op");
        let suspect = all().find(|suspect| suspect.id == id).expect("a suspect");
        let scene = Scene::without_dump(&model, site);
        let words: Vec<String> = (suspect.variants)(&scene).into_iter().map(|way| way.words).collect();
        (suspect.said(&scene).1, words.into_iter().next().unwrap_or_default())
    };
    for (name, op, id, fix, words) in [
        ("llama", "1.attn_norm", "norm_offset_one", "multiply by the weight as it is stored", "1 + weight"),
        ("gemma2", "1.attn_norm", "norm_offset_one", "multiply by 1 + weight", "weight where the model has 1 + weight"),
        ("llama", "1.attn_norm", "norm_layernorm", "without taking the mean off", "the mean taken off"),
        ("gpt2", "1.attn_norm", "norm_layernorm", "take the mean of the row off", "the mean not taken off"),
        ("llama", "embed_tokens", "embed_scale", "take the rows of the table as they are", "times sqrt(hidden)"),
        ("gemma2", "embed_tokens", "embed_scale", "multiply the rows of the table", "as they are where the model"),
        ("llama", "lm_head", "logit_softcap", "leave logits as the head gives them", "capped at 30"),
        ("gemma2", "logits", "logit_softcap", "logits pass through", "not capped where the model caps them at"),
        (
            "llama",
            "1.scores",
            "attn_softcap",
            "where the model does, and only there",
            "capped at 30 where the model caps none",
        ),
        (
            "gemma2",
            "1.scores",
            "attn_softcap",
            "where the model does, and only there",
            "not capped where the model caps them",
        ),
        ("qwen3_moe", "0.routing", "router_renorm", "where the model does", "not divided by their sum"),
        ("qwen3_moe_plain", "1.routing", "router_renorm", "where the model does", "divided by their sum where"),
    ] {
        let (said_fix, said_words) = said(name, op, id);
        assert!(said_fix.contains(fix) && said_words.contains(words), "{name}: {id}: {said_words}: {said_fix}");
    }
}

/// Two mistakes in one op are tried together: one can leave out what the other prepares.
#[test]
fn an_input_that_is_left_out_is_not_prepared() {
    let model = tiny("llama");
    let graph: &Graph = &model.graph;
    let site = graph.parse("1").expect("the output of a block");
    let mut run = Run::new(Arc::clone(&model), &[1, 2, 3], LogitRows::All);
    while run.step() != Some(site) {}
    let prepare = Edit::Prepare { index: 1, op: Op::Cap(1.0) };
    let alone = Edit::All(vec![prepare, Edit::Reads(vec![graph[site].reads[0]]), Edit::identity()]);
    let step = run.altered(&alone).expect("an op to change");
    let value = run.apply(&step, Compute::default()).expect("what it reads is there");
    assert_eq!(Some(value.view()), run.operand(graph[site].reads[0]));
}

/// What an op reads is computed with a change by the op itself, which is another one then: nothing of the first is lost.
#[test]
fn an_op_that_computes_what_it_reads_may_be_another_one() {
    let model = tiny("llama");
    let site = model.graph.parse("1.probs").expect("an op");
    let mut run = Run::new(Arc::clone(&model), &[1, 2, 3], LogitRows::All);
    while run.step() != Some(site) {}
    let through = Edit::Through(Box::new(Edit::Set(Field::Window(Some(2)))));
    for other in [Edit::Put(vec![Op::NarrowSoftmax(Rounding::Bf16)]), Edit::Set(Field::Sinks(None))] {
        let step = run.altered(&Edit::All(vec![through.clone(), other])).expect("an op to change");
        assert!(run.apply(&step, Compute::default()).is_some());
    }
}
