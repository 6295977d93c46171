//! Every family of names.

use layerstep::engine::{Graph, Op, Role as A, Site};

use crate::fixture::{TINY, Tensors, at, bits, check, graph_of, model, parsed, prefill, reference};
use crate::namings::transformer_lens;

fn suffix(forward: usize) -> String {
    if forward == 0 { String::new() } else { format!("@{forward}") }
}

#[test]
fn a_capture_is_read_as_it_is() {
    for name in TINY {
        let (graph, original) = (graph_of(name), reference(name));
        let dump = check(&original, &original, &graph, &[]);
        assert!(dump.unmatched().is_empty() && dump.unused().is_empty(), "{name}");
        for planned in dump.all_planned() {
            let steps = planned.steps();
            assert!(steps.iter().all(|step| step.starts_with("the last ")), "{name}: {planned}");
        }
        assert_eq!(
            dump.ids().map(|ids| (ids.ids.clone(), ids.steps.clone())),
            Some((original.ids(), original.steps()))
        );
    }
}

type Rename = (&'static str, fn(&Graph, Site) -> String);

#[test]
fn names_of_one_module_are_read() {
    let (graph, original) = (graph_of("llama"), reference("llama"));
    let renames: &[Rename] = &[
        ("short", |graph, site| graph.short(site).into()),
        ("class prefix", |graph, site| format!("LlamaForCausalLM.{}", graph.name(site))),
        ("wrapped", |graph, site| format!("_orig_mod.{}", graph.name(site))),
        ("outputs", |graph, site| format!("{}.output", graph.name(site))),
        ("first of a tuple", |graph, site| format!("{}_outputs_0", graph.name(site))),
        ("file names", |graph, site| graph.name(site).replace('.', "_")),
        ("slashes", |graph, site| graph.name(site).replace('.', "/")),
        ("upper case", |graph, site| graph.name(site).to_uppercase()),
        ("no model", |graph, site| graph.name(site).trim_start_matches("model.").into()),
        ("layer1_q_proj", |graph, site| match (graph[site].layer, graph[site].role.expect("known")) {
            (_, A::EmbedTokens) => "after_embeddings".into(),
            (_, A::FinalNorm) => "after_final_norm".into(),
            (_, A::LmHead) => "final_logits".into(),
            (Some(layer), A::Block) => format!("after_layer_{layer}"),
            (layer, _) => format!("layer{}_{}", layer.unwrap_or(0), graph[site].label),
        }),
        ("aliases of a module", |graph, site| match (graph[site].layer, graph[site].role.expect("known")) {
            (Some(layer), A::OProj) => format!("model.layers.{layer}.self_attn"),
            (Some(layer), A::DownProj) => format!("model.layers.{layer}.mlp"),
            _ => graph.name(site).into(),
        }),
    ];
    for (family, rename) in renames {
        let rewritten = original.rewritten(|name, values| {
            let (forward, site) = parsed(name, &graph);
            Some((format!("{}{}", rename(&graph, site), suffix(forward)), values.clone()))
        });
        let dump = check(&original, &rewritten, &graph, &[]);
        assert!(dump.unmatched().is_empty(), "{family}: {:?}", dump.unmatched());
    }
}

#[test]
fn transformer_lens_is_read() {
    for name in TINY {
        let (graph, original) = (graph_of(name), prefill(name));
        let missing = [A::InputNorm, A::MlpNorm, A::FinalNorm, A::ActFn, A::QNorm, A::KNorm];
        let dump = check(&original, &transformer_lens(&original, &graph), &graph, &missing);
        assert!(dump.notes().iter().any(|note| note.contains("from_pretrained_no_processing")), "{:?}", dump.notes());
    }
}

#[test]
fn the_stream_entering_a_layer_is_the_block_before_it() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    for entering in ["blocks.{}.hook_resid_pre", "model.layers.{}.input", "model.layers.{}.input_layernorm.input"] {
        let rewritten = original.rewritten(|name, values| {
            let (_, site) = parsed(name, &graph);
            let layer = match graph[site].role {
                Some(A::EmbedTokens) => 0,
                Some(A::Block) => graph[site].layer? + 1,
                _ => return None,
            };
            Some((entering.replace("{}", &layer.to_string()), values.clone()))
        });
        let (dump, _written) = rewritten.bound(&graph);
        for (site, name) in
            [(at(&graph, 0, A::EmbedTokens), "model.embed_tokens"), (at(&graph, 1, A::Block), "model.layers.1")]
        {
            let read = dump.read(0, site, None).expect("read").unwrap_or_else(|| panic!("{entering}: {name}"));
            assert!(bits(&read.part.values) == bits(original.get(name)), "{entering}: {name}");
        }
    }
}

#[test]
fn what_a_module_was_given_is_its_input() {
    let (graph, original) = (graph_of("qwen2"), prefill("qwen2"));
    let inputs = [
        (A::Context, "self_attn.o_proj.input"),
        (A::ActMul, "mlp.down_proj_in"),
        (A::ResidMid, "post_attention_layernorm.input"),
        (A::InputNorm, "self_attn.input"),
        (A::MlpNorm, "mlp.inputs_0"),
        (A::GateProj, "mlp.act_fn.input"),
    ];
    let rewritten = original.rewritten(|name, values| {
        let (_, site) = parsed(name, &graph);
        let (_, input) = inputs.iter().find(|(role, _)| graph.is(site, *role))?;
        Some((format!("model.layers.{}.{input}", graph[site].layer?), values.clone()))
    });
    let (dump, _written) = rewritten.bound(&graph);
    assert!(dump.unmatched().is_empty(), "{}", dump.plan());
    for (activation, input) in inputs {
        let site = at(&graph, 1, activation);
        let read = dump.read(0, site, None).expect("read").unwrap_or_else(|| panic!("{input}"));
        assert!(bits(&read.part.values) == bits(original.get(graph.name(site))), "{input}");
    }
}

#[test]
fn hidden_states_are_blocks_and_the_last_is_normed() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let sites =
        [at(&graph, 0, A::EmbedTokens), at(&graph, 0, A::Block), at(&graph, 1, A::Block), at(&graph, 0, A::FinalNorm)];
    for pattern in ["hidden_states.{}", "hidden_states_{}", "hidden_states[{}]", "outputs.hidden_states.{}", "{}"] {
        let mut states = Tensors { metadata: original.metadata.clone(), ..Tensors::default() };
        for (index, site) in sites.into_iter().enumerate() {
            let values = original.get(graph.name(site)).clone().insert_axis(ndarray::Axis(0));
            states.tensors.push((pattern.replace("{}", &index.to_string()), values));
        }
        let (mut dump, _written) = states.bound(&graph);
        for site in sites {
            let read =
                dump.read(0, site, None).expect("read").unwrap_or_else(|| panic!("{pattern}: {}", graph.name(site)));
            assert!(bits(&read.part.values) == bits(original.get(graph.name(site))), "{pattern}: {}", graph.name(site));
        }
        let (norm, last) = (at(&graph, 0, A::FinalNorm), at(&graph, 2, A::Block));
        assert!(dump.planned(0, norm).is_some_and(|planned| planned.by_convention), "{pattern}");
        assert!(dump.notes().iter().any(|note| note.contains("is taken for model.norm, as Hugging Face has it")));
        assert!(dump.take_for(0, norm, last), "{pattern}");
        assert!(dump.planned(0, norm).is_none() && dump.planned(0, last).is_some(), "{pattern}");
        assert!(!dump.take_for(0, norm, last), "there is no such tensor any more");
    }
}

#[test]
fn a_norm_before_its_weight_is_left_out() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let norm = at(&graph, 0, A::InputNorm);
    let model = model("llama");
    let Op::Norm { weight, .. } = &graph[norm].op else { panic!("a norm") };
    let weight = model.vector(weight).into_owned();
    let after = original.get(graph.name(norm)).clone();
    let before = &after / &weight;
    for (values, taken) in [(after, true), (before, false)] {
        let mut lens = Tensors { metadata: original.metadata.clone(), ..Tensors::default() };
        lens.tensors.push(("blocks.0.ln1.hook_normalized".into(), values));
        let (dump, _written) = lens.bound(&graph);
        assert_eq!(dump.read(0, norm, None).expect("read").is_some(), taken);
    }
}

#[test]
fn several_names_of_one_activation_give_it_to_the_plainest() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let block = original.get("model.layers.0").clone();
    let mut twice = Tensors { metadata: original.metadata.clone(), ..Tensors::default() };
    for name in ["l_out-0", "hidden_states.1", "model.layers.0", "model.layers.0~2"] {
        twice.tensors.push((name.into(), block.clone()));
    }
    let (dump, _written) = twice.bound(&graph);
    assert_eq!(dump.planned(0, at(&graph, 0, A::Block)).map(|p| p.name.as_str()), Some("model.layers.0"));
    let unused: Vec<String> = dump.unused().iter().map(ToString::to_string).collect();
    assert_eq!(unused[0], "l_out-0 [13, 48]: model.layers.0 is taken for model.layers.0");
    assert_eq!(unused.len(), 3);
}

#[test]
fn unknown_names_come_with_guesses() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let cases: &[(&str, Option<&str>)] = &[
        ("model.layers.0.self_attn.q_porj", Some("perhaps model.layers.0.self_attn.q_proj or")),
        ("model.layers.1.mlp.gateproj", Some("perhaps model.layers.1.mlp.gate_proj")),
        ("lm_haed", Some("perhaps lm_head")),
        ("after_attn-0", None),
        ("scratch", None),
        ("model.layers.7.mlp.up_proj", Some("the model has 3 layers")),
        ("model.layers.0.self_attn.q_norm", Some("does not normalise queries and keys per head")),
        ("hidden_states.4", Some("the model has 4 hidden states")),
        ("model.layers.18446744073709551616.mlp", None),
        ("\u{1b}[31mred\u{202e}", None),
        ("@", None),
        ("~@1~", None),
        ("x@99999999999999999999", None),
    ];
    for (name, expected) in cases {
        let mut odd = Tensors { metadata: original.metadata.clone(), ..Tensors::default() };
        odd.tensors.push(((*name).into(), original.get("lm_head").clone()));
        let (dump, _written) = odd.bound(&graph);
        let [unmatched] = dump.unmatched() else { panic!("{name}: {}", dump.plan()) };
        let shown = unmatched.to_string();
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
        match expected {
            Some(expected) => assert!(shown.contains(expected), "{shown}"),
            None => assert!(!shown.contains("perhaps") && unmatched.reason.is_none(), "{shown}"),
        }
    }
}
