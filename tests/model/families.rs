//! Every family at every node: named, captured by PyTorch, judged, drawn.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::support::{HEADLESS, Reference, TINY, repository, tiny};
use layerstep::debugger::view::{
    AttentionRequest, CacheRequest, HistogramRequest, LensRequest, Page, PageRequest, Shown, TensorRequest, Witness,
};
use layerstep::debugger::{Command, Debugger, Session};
use layerstep::diagnose::{Precision, Status, Verdict, Witnesses, walk};
use layerstep::dump::{Dump, Options};
use layerstep::engine::{Graph, Read, Role};
use layerstep::model::spec::Wiring;

/// PyTorch's dump of a tiny model, bound to what was fed.
fn dump(name: &str, graph: &Arc<Graph>) -> Arc<Dump> {
    let path = repository("reference/tiny").join(name).join("reference.safetensors");
    let mut dump = Dump::open(&path, graph, &Options::default()).expect("a dump of capture.py");
    let ids = dump.ids().expect("capture.py writes the ids").clone();
    dump.bind(&ids.ids, &ids.steps).expect("it fits its model");
    Arc::new(dump)
}

#[test]
fn every_node_has_a_name_of_its_own_and_is_found_by_all_of_its_names() {
    for name in TINY.iter().chain(HEADLESS) {
        let graph = &tiny(name).graph;
        let names: BTreeSet<&str> = graph.nodes().iter().map(|node| &node.name[..]).collect();
        let shorts: BTreeSet<&str> = graph.nodes().iter().map(|node| &node.short[..]).collect();
        assert_eq!((names.len(), shorts.len()), (graph.len(), graph.len()), "{name}");
        for site in graph.sites() {
            let node = &graph[site];
            let role = node.role.expect("families' nodes have roles");
            let by_role = node.layer.map_or(role.short().to_string(), |layer| format!("{layer}.{}", role.short()));
            // A model may have several matrices behind the pooling.
            let own = graph.find(node.layer, role) == Some(site);
            for known in [&node.name, &node.short].into_iter().chain(own.then_some(&by_role)) {
                assert_eq!(graph.parse(known), Some(site), "{name}: {known}");
                assert_eq!(graph.matching(known), [site], "{name}: {known}");
            }
            assert!(node.reads.iter().all(|read| read.site() < site), "{name}: {} reads what is before it", node.name);
            assert!(Precision::F32.least(node, &node.shape(4, 4)) > 0.0, "{name}: {} has a floor", node.name);
        }
    }
}

#[test]
fn one_name_means_what_the_family_says() {
    let role = |model: &str, name: &str| tiny(model).graph.parse(name).and_then(|site| tiny(model).graph[site].role);
    let norm = "model.layers.1.post_attention_layernorm";
    assert_eq!(role("llama", norm), Some(Role::MlpNorm));
    assert_eq!(role("gemma2", norm), Some(Role::AttnOutNorm));
    assert_eq!(role("gemma2", "1.mlp_norm"), role("gemma2", "model.layers.1.pre_feedforward_layernorm"));
    assert_eq!(role("gpt2", "1.ln_1"), Some(Role::InputNorm));
    assert_eq!(role("gpt2", "transformer.h.1.attn"), Some(Role::OProj));
    assert_eq!(role("gpt2", "1.q_rope"), None);
    assert_eq!(role("qwen3_moe", "0.mlp.gate"), Some(Role::RouterLogits));
    assert_eq!(role("qwen3_moe", "1.gate_proj"), Some(Role::GateProj), "layer 1 has no experts");
    assert_eq!(role("qwen3_moe", "1.routing"), None);
}

/// What the graph of each family is: the nodes of no layer and of the first.
#[test]
fn graphs_are_as_reviewed() {
    for name in ["llama", "gemma2", "gpt2", "qwen3_moe", "bert", "gemma_embedding"] {
        let graph = &tiny(name).graph;
        let mut text = String::new();
        for node in graph.nodes().iter().filter(|node| node.layer.is_none_or(|layer| layer == 0)) {
            let axes: Vec<&str> = node.axes.iter().map(|axis| axis.name).collect();
            let read = |read: &Read| match *read {
                Read::Node(site) | Read::Whole(site) | Read::Stale(site) | Read::Earlier(site, _) => {
                    graph.short(site).to_string()
                }
                Read::Past(site) => format!("past {}", graph.short(site)),
            };
            let reads: Vec<String> = node.reads.iter().map(read).collect();
            let op = format!("{:?}", node.op);
            let kind = op.split([' ', '(', '{']).next().unwrap_or_default();
            let (name, axes, reads) = (&node.name, axes.join(", "), reads.join(", "));
            writeln!(text, "{name} [{axes}] = {kind}({reads})").expect("a string takes all");
        }
        insta::assert_snapshot!(format!("graph_{name}"), text);
    }
}

#[test]
fn every_tensor_of_a_capture_is_compared_and_in_order() {
    for name in TINY.iter().chain(HEADLESS) {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let dump = dump(name, &model.graph);
        assert!(dump.unmatched().is_empty() && dump.unused().is_empty(), "{name}: {}", dump.plan());
        assert_eq!(dump.all_planned().len(), reference.names().len(), "{name}: {}", dump.plan());
        let witnesses = Witnesses { reference: Some(dump), candidate: None };
        let report = walk(&model, &reference.ids, &reference.steps, witnesses, &mut |_, _| ()).expect("readable");
        assert_eq!(report.verdict, Verdict::Match, "{name}: {}", report.sentence);
        assert_eq!(report.activations.len(), model.graph.len() * reference.steps.len());
        for row in &report.activations {
            assert_eq!(row.status, Status::Ok, "{name}: {}", row.name);
            assert!(row.local.is_some_and(|local| local.floor > 0.0), "{name}: {} has a floor", row.name);
        }
    }
}

#[test]
fn every_node_is_drawn_by_every_pane_that_can() {
    for name in TINY.iter().chain(HEADLESS) {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let dumps = Witnesses { reference: Some(dump(name, &model.graph)), candidate: None };
        let session = Session::new(Arc::clone(&model), reference.ids.clone(), &reference.steps, dumps);
        let mut debugger = Debugger::new(session);
        let go = |debugger: &mut Debugger, command: Command| {
            debugger.execute(&command, &AtomicBool::new(false), &mut |_| ()).expect("it goes on");
        };
        for (row, node) in model.graph.nodes().iter().enumerate() {
            go(&mut debugger, Command::Step(1));
            for shown in [Shown::Values(Witness::Engine), Shown::Difference(Witness::Engine, Witness::Reference)] {
                let all = (0, usize::MAX);
                let request =
                    TensorRequest { row, shown, rows: all, columns: all, heatmap: (8, 8), ..TensorRequest::default() };
                let page = debugger.page(&PageRequest::Tensor(request));
                let Ok(Page::Tensor(page)) = page else { panic!("{name}: {}: {page:?}", node.name) };
                let rows = if node.is_pooled() { 1 } else { 13 };
                assert_eq!(page.numbers.len(), rows, "{name}: {}: rows are tokens", node.name);
                assert!(!page.heatmap.is_empty() && page.name == node.name);
                let request = HistogramRequest { row, shown, bins: 8, channels: 4, ..HistogramRequest::default() };
                let page = debugger.page(&PageRequest::Histogram(request));
                assert!(page.is_ok(), "{name}: {}: {page:?}", node.name);
            }
        }
        let has_attention = |layer: &usize| model.graph.in_layer(*layer, Role::Scores).is_some();
        for layer in (0..model.graph.layers()).filter(has_attention) {
            let request =
                AttentionRequest { layer, heatmap: (4, 4), small: (2, 2), top: 3, ..AttentionRequest::default() };
            let page = debugger.page(&PageRequest::Attention(request));
            assert!(page.is_ok(), "{name}: attention of layer {layer}: {page:?}");
        }
        let lens = debugger.page(&PageRequest::Lens(LensRequest { top: 3, ..LensRequest::default() }));
        if !model.graph.is_causal() {
            let cache = debugger.page(&PageRequest::Cache(CacheRequest { cells: (4, 4), ..CacheRequest::default() }));
            assert!(cache.is_err_and(|error| error.starts_with("the model has no cache")), "{name}");
        }
        if model.graph.logits().is_none() {
            let refused = lens.expect_err("no logits");
            assert!(refused.starts_with("the model has no head, so it scores no next token: it gives "), "{refused}");
            continue;
        }
        let Ok(Page::Lens(page)) = lens else { panic!("{name}: no lens") };
        assert_eq!(page.rows.len(), model.graph.layers() + 2, "{name}: the start, each block, the logits");
        let Ok(Page::Cache(page)) =
            debugger.page(&PageRequest::Cache(CacheRequest { cells: (4, 4), ..CacheRequest::default() }))
        else {
            panic!("{name}: no cache")
        };
        assert_eq!((page.filled, page.layers.len()), (model.graph.layers(), model.graph.layers()), "{name}");
        assert!(
            page.layers.iter().zip(&model.spec.layers).all(|(layer, of)| match layer.error {
                Some(error) => error < 5e-6,
                // An MLP alone keeps nothing.
                None => layer.positions == 0 && of.wiring == Wiring::MlpOnly,
            }),
            "{name}: {:?}",
            page.layers
        );
    }
}
