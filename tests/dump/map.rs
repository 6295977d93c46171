//! `--map` files.

use std::path::Path;

use layerstep::dump::{Dump, Map, Options};
use layerstep::engine::Role as A;

use crate::fixture::{Tensors, at, bits, graph_of, numbers, parsed, permute, prefill, reference, reshape};

fn options(text: &str) -> Options {
    Options { map: Some(Map::parse(Path::new("my.toml"), text).expect("a map")), batch: None }
}

#[test]
fn a_map_renames_reshapes_transposes_and_sums() {
    let (graph, original) = (graph_of("llama"), reference("llama"));
    let own = original.rewritten(|name, values| {
        let (forward, site) = parsed(name, &graph);
        let layer = graph[site].layer.unwrap_or(0) + 1;
        Some(match graph[site].role.expect("known") {
            A::OProj => (format!("step{forward}/enc{layer}_a"), values.clone()),
            // [token, head_dim, head]: no built-in reading.
            A::QProj => {
                let heads = reshape(values, &[values.shape()[0], 4, 16]);
                (format!("step{forward}/enc{layer}_q"), permute(&heads, &[0, 2, 1]))
            }
            A::Block => (format!("step{forward}/enc{layer}_half"), values / 2.0),
            A::LmHead => (format!("logits of step {forward}"), values.clone()),
            _ => (format!("scratch {name}"), values.clone()),
        })
    });
    let map = r#"
        "step{K}/enc{N}_a" = "model.layers.{N-1}.self_attn.o_proj@{K}"
        "logits of step {K}" = "lm_head@{K}"
        "scratch*" = "ignore"
        ["step{K}/enc{N}_q"]
        name = "{N-1}.q_proj@{K}"
        transpose = [0, 2, 1]
        ["step{K}/enc{N}_half"]
        name = "{N-1}@{K}"
        sum = ["step{K}/enc{N}_half"]
        reshape = [-1, "hidden"]
    "#;
    let written = own.write();
    let mut dump = Dump::open(&written.path, &graph, &options(map)).expect("a dump");
    dump.bind(&original.ids(), &original.steps()).expect("bound");
    assert!(dump.unmatched().is_empty(), "{}", dump.plan());
    assert!(
        dump.plan().to_string().contains("plus step0/enc1_half, reshaped to [-1, 48] by the map"),
        "{}",
        dump.plan()
    );
    assert!(dump.unused().iter().all(|unused| unused.reason.as_deref() == Some("the map says so")));
    for (name, values) in &original.tensors {
        let (forward, site) = parsed(name, &graph);
        if !matches!(graph[site].role.expect("known"), A::OProj | A::QProj | A::Block | A::LmHead) {
            continue;
        }
        if graph.is(site, A::QProj) && forward == 0 {
            assert!(
                dump.planned(forward, site).expect(name).to_string().contains("transposed to [0, 2, 1] by the map")
            );
        }
        let read = dump.read(forward, site, None).expect(name).expect(name);
        assert!(bits(&read.part.values) == bits(values), "{name}");
    }
}

#[test]
fn a_map_goes_before_the_aliases() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let both = Tensors {
        tensors: vec![("lm_head".into(), numbers(&[13, 192], 1)), ("real".into(), original.get("lm_head").clone())],
        metadata: original.metadata.clone(),
    };
    let written = both.write();
    let mut dump = Dump::open(&written.path, &graph, &options("real = \"lm_head\"")).expect("a dump");
    dump.bind(&original.ids(), &original.steps()).expect("bound");
    let read = dump.read(0, at(&graph, 0, A::LmHead), None).expect("read").expect("there");
    assert!(bits(&read.part.values) == bits(original.get("lm_head")));
    assert_eq!(dump.unused()[0].to_string(), "lm_head [13, 192]: real is taken for lm_head");
}

#[test]
fn a_wrong_map_is_refused_with_its_line() {
    let cases = [
        ("\n\na = 1", "my.toml: line 3: \"a\" wants a name in quotes, or a table with name, sum, reshape, transpose"),
        (
            "a = \"lm_head\"\n[b]\nname = \"lm_head\"\nscale = 2",
            "line 4: unknown key \"scale\"; a rule has name, sum, reshape, transpose",
        ),
        ("[b]\nsum = [\"x\"]", "line 1: \"b\" has no name"),
        ("a = \"lm_hat\"", "line 1: \"lm_hat\" is no activation; names are those of `layerstep inspect MODEL --names`"),
        ("a = \"{N}.q_proj\"", "line 1: {N} of \"{N}.q_proj\" is not in \"a\""),
        ("[a]\nname = \"lm_head\"\ntranspose = [0, 2]", "line 3: transpose wants every axis once, from 0: [1, 0, 2]"),
        (
            "[a]\nname = \"lm_head\"\nreshape = [-1, -1]",
            "line 3: reshape wants a list of sizes: numbers, -1 once, or hidden",
        ),
        ("[a]\nname = \"lm_head\"\nreshape = [0]", "line 3: reshape wants a list of sizes"),
        ("[a]\nname = \"lm_head\"\nreshape = \"wide\"", "line 3: reshape wants a list of sizes"),
        ("[a]\nname = 3", "line 2: name wants a name in quotes"),
        ("[a]\nname = \"lm_head\"\nsum = [1]", "line 3: sum wants a list of tensor names"),
        ("a = \"lm_head\"\na = \"lm_head\"", "line 2: "),
        ("a = ", "line 1: "),
        ("\"a\u{1b}\" = 1", "line 1: "),
    ];
    for (text, expected) in cases {
        let error = Map::parse(Path::new("my.toml"), text).expect_err(text).to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(['\u{1b}', '\n']), "{error}");
    }
    let error = Map::open(Path::new("/nowhere/my.toml")).expect_err("no file").to_string();
    assert!(error.starts_with("/nowhere/my.toml: cannot read the map: "), "{error}");
}

#[test]
fn a_map_that_does_not_fit_the_dump_is_refused() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let one = Tensors {
        tensors: vec![("x7".into(), original.get("lm_head").clone()), ("small".into(), numbers(&[3], 1))],
        metadata: original.metadata.clone(),
    };
    let written = one.write();
    let cases = [
        ("\"x{N}\" = \"{N}.q_proj\"", "tensor \"x7\" is taken for \"7.q_proj\" by the map, but the model has 3 layers"),
        (
            "[x7]\nname = \"lm_head\"\nreshape = [5, -1]",
            "tensor \"x7\" has shape [13, 192], which cannot be reshaped to [5, 499] by the map",
        ),
        (
            "[x7]\nname = \"lm_head\"\ntranspose = [2, 1, 0]",
            "tensor \"x7\" has shape [13, 192], and the map transposes 3 axes",
        ),
        (
            "[x7]\nname = \"lm_head\"\nsum = [\"small\"]",
            "tensor \"x7\" has shape [13, 192], and the map adds \"small\" of shape [3]",
        ),
        ("[x7]\nname = \"lm_head\"\nsum = [\"gone\"]", "no array is named \"gone\""),
        ("x7 = \"0.q_norm\"", "tensor \"x7\" is taken for \"0.q_norm\" by the map, but this model does not normalise"),
    ];
    for (text, expected) in cases {
        let error = Dump::open(&written.path, &graph, &options(text)).and_then(|mut dump| {
            dump.bind(&original.ids(), &original.steps())?;
            dump.read(0, at(&graph, 0, A::LmHead), None)
        });
        let error = error.expect_err(text).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
