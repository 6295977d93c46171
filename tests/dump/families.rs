//! What other blocks call their ops: the family's own words first, then those of other programs.

use layerstep::dump::{Pair, Subject};
use layerstep::engine::Role as A;
use ndarray::{ArrayD, Axis, IxDyn};

use crate::fixture::{OTHERS, TINY, Tensors, at, bits, check, graph_of, made_up, parsed, permute, prefill, reshape};

/// What one name is taken for in a model.
fn taken(model: &str, name: &str) -> Option<String> {
    let graph = graph_of(model);
    let mut one = made_up(&graph, &[7, 1, 9, 3]);
    one.tensors = vec![(name.into(), ArrayD::zeros(IxDyn(&[4, 1])))];
    let (dump, _written) = one.open(&graph);
    dump.all_planned().first().map(|planned| planned.activation.clone())
}

#[test]
fn names_mean_what_the_family_says() {
    let cases = [
        ("gemma2", "layers_1_post_attention_layernorm", "model.layers.1.post_attention_layernorm"),
        ("gemma2", "1.post_attention_layernorm", "model.layers.1.post_attention_layernorm"),
        ("gemma2", "attn_post_norm-1", "model.layers.1.post_attention_layernorm"),
        ("gemma2", "ffn_norm-1", "model.layers.1.pre_feedforward_layernorm"),
        ("gemma2", "ffn_post_norm-1", "model.layers.1.post_feedforward_layernorm"),
        ("gemma2", "blocks.1.hook_attn_out", "model.layers.1.post_attention_layernorm"),
        ("gemma2", "blocks.1.ln2_post.hook_normalized", "model.layers.1.post_feedforward_layernorm"),
        ("gemma2", "model.layers.1.self_attn.input", "model.layers.1.input_layernorm"),
        ("gemma2", "model.layers.1.mlp.input", "model.layers.1.pre_feedforward_layernorm"),
        ("gemma2", "model.layers.1.post_feedforward_layernorm.input", "model.layers.1.mlp.down_proj"),
        ("gemma2", "result_output", "logits"),
        ("gemma2", "lm_head", "lm_head"),
        ("llama", "blocks.1.hook_attn_out", "model.layers.1.self_attn.o_proj"),
        ("llama", "layers_1_post_attention_layernorm", "model.layers.1.post_attention_layernorm"),
        ("llama", "result_output", "lm_head"),
        ("gpt2", "transformer_h_1_attn_c_attn", "transformer.h.1.attn.c_attn"),
        ("gpt2", "h.1.mlp.c_proj", "transformer.h.1.mlp.c_proj"),
        ("gpt2", "blocks.1.mlp.hook_pre", "transformer.h.1.mlp.c_fc"),
        ("gpt2", "transformer.h.1.attn.input", "transformer.h.1.ln_1"),
        ("gpt2", "transformer.h.1.mlp.input", "transformer.h.1.ln_2"),
        ("gpt2", "hidden_states.0", "transformer.embeddings"),
        ("gpt2", "hook_pos_embed", "transformer.wpe"),
        ("gpt2", "Qcur-1", "transformer.h.1.attn.q"),
        ("qwen2_vl", "model.layers.1.self_attn.q_proj", "model.language_model.layers.1.self_attn.q_proj"),
        ("qwen2_vl", "language_model.model.layers.1.mlp", "model.language_model.layers.1.mlp.down_proj"),
        ("qwen2_vl", "layers_1_mlp_up_proj", "model.language_model.layers.1.mlp.up_proj"),
        ("qwen2_vl", "Kcur-1", "model.language_model.layers.1.self_attn.k_proj"),
        ("qwen2_vl", "model.embed_tokens", "model.language_model.embed_tokens"),
        ("qwen2_vl", "language_model.model.norm", "model.language_model.norm"),
        ("gemma4", "model.layers.1.act_fn", "model.layers.1.per_layer_act"),
        ("gemma4", "layers_1_mlp_act_fn", "model.layers.1.mlp.act_fn"),
        ("qwen3_moe", "model.layers.0.mlp.gate", "model.layers.0.mlp.gate"),
        ("qwen3_moe", "layers_0_mlp_gate", "model.layers.0.mlp.gate"),
        ("qwen3_moe", "router_logits.0", "model.layers.0.mlp.gate"),
        ("qwen3_moe", "model.layers.0.mlp", "model.layers.0.mlp.experts"),
        ("qwen3_moe", "model.layers.0.mlp.input", "model.layers.0.post_attention_layernorm"),
        ("qwen3_moe", "ffn_moe_out-0", "model.layers.0.mlp.experts"),
        ("qwen3_moe", "layers_1_mlp", "model.layers.1.mlp.down_proj"),
        ("qwen3_moe", "layers_1_gate", "model.layers.1.mlp.gate_proj"),
    ];
    for (model, name, expected) in cases {
        assert_eq!(taken(model, name).as_deref(), Some(expected), "{model}: {name}");
    }
    assert_eq!(taken("llama", "inp_embd").as_deref(), Some("model.embed_tokens"));
    assert_eq!(taken("gemma2", "inp_scaled").as_deref(), Some("model.embed_tokens"));
    assert_eq!(taken("gemma2", "inp_embd"), None, "before the factor");
    // Nothing tells which experts they are of.
    assert_eq!(taken("qwen3_moe", "ffn_moe_gate-0"), None);
}

#[test]
fn what_a_model_does_not_have_is_said() {
    let cases = [
        ("gpt2", "model.layers.0.q_rope", "this model has no q_rope"),
        ("llama", "ffn_moe_logits-0", "this model has no router_logits"),
        ("qwen3_moe", "1.routing", "layer 1 has no routing"),
        ("gpt2", "transformer.h.9.attn.c_attn", "the model has 3 layers"),
    ];
    for (model, name, expected) in cases {
        let graph = graph_of(model);
        let mut one = made_up(&graph, &[7, 1]);
        one.tensors = vec![(name.into(), ArrayD::zeros(IxDyn(&[2, 8])))];
        let (dump, _written) = one.open(&graph);
        assert_eq!(dump.unmatched()[0].reason.as_deref(), Some(expected), "{model}: {name}");
    }
}

#[test]
fn every_activation_of_other_families_is_read() {
    for name in OTHERS {
        let graph = graph_of(name);
        let original = made_up(&graph, &[7, 1, 64, 3, 4]);
        let dump = check(&original, &original, &graph, &[]);
        assert!(dump.unmatched().is_empty() && dump.all_planned().len() == graph.len(), "{name}: {}", dump.plan());
        let underscores = original.rewritten(|name, values| Some((name.replace('.', "_"), values.clone())));
        check(&original, &underscores, &graph, &[]);
    }
}

#[test]
fn experts_are_read_in_every_layout() {
    let graph = graph_of("qwen3_moe");
    let original = made_up(&graph, &[7, 1, 99, 3, 4]);
    let site = at(&graph, 0, A::ExpertUp);
    let x = original.get(graph.name(site));
    let (t, s, c) = (x.shape()[0], x.shape()[1], x.shape()[2]);
    let turned = "transposed from [slot, token, channel]";
    for (values, steps) in [
        (x.clone(), ""),
        (x.clone().insert_axis(Axis(0)), "squeezed"),
        (reshape(x, &[t * s * c]), "reshaped to [token, slot, channel]"),
        (permute(x, &[1, 0, 2]), turned),
    ] {
        let one = Tensors { tensors: vec![(graph.name(site).into(), values)], metadata: original.metadata.clone() };
        let (dump, _written) = one.bound(&graph);
        let planned = dump.planned(0, site).expect("planned");
        assert_eq!(planned.steps().join(", "), steps, "{planned}");
        let read = dump.read(0, site, None).expect("read").expect("there");
        assert!(bits(&read.part.values) == bits(x), "{planned}");
    }
}

/// An engine that chooses another number of experts has values that nothing of ours stands against: the rest is read.
#[test]
fn another_number_of_experts_is_set_aside() {
    let graph = graph_of("qwen3_moe");
    let original = made_up(&graph, &[7, 1, 99]);
    let (up, router) = (at(&graph, 0, A::ExpertUp), at(&graph, 0, A::Routing));
    let x = original.get(graph.name(up));
    for slots in [1, 3] {
        let chosen: Vec<usize> = (0..slots).map(|slot| slot % x.shape()[1]).collect();
        let tensors = vec![
            (graph.name(up).into(), x.select(Axis(1), &chosen)),
            (graph.name(router).into(), original.get(graph.name(router)).clone()),
        ];
        let (dump, _written) = Tensors { tensors, metadata: original.metadata.clone() }.bound(&graph);
        assert!(dump.planned(0, up).is_none() && dump.planned(0, router).is_some(), "{}", dump.plan());
        let noted = dump.notes().iter().any(|note| note.contains("where the model chooses 2, so it is not compared"));
        assert!(noted && dump.unused().len() == 1, "{:?}", dump.notes());
    }
}

/// ggml has the slots in the order in which the router chose the experts, and says which they are.
#[test]
fn slots_of_ggml_are_sorted_by_expert() {
    let graph = graph_of("qwen3_moe");
    let original = made_up(&graph, &[7, 1, 99]);
    let site = at(&graph, 0, A::ExpertUp);
    let x = original.get(graph.name(site));
    let chosen = [[5.0, 2.0], [0.0, 3.0], [4.0, 1.0]];
    let mut ranked = x.clone();
    for (mut row, experts) in ranked.outer_iter_mut().zip(chosen) {
        if experts[0] > experts[1] {
            let turned = row.select(Axis(0), &[1, 0]);
            row.assign(&turned);
        }
    }
    let ids = ArrayD::from_shape_vec(IxDyn(&[3, 2]), chosen.concat()).expect("ids");
    let tensors = vec![("ffn_moe_up-0".into(), ranked), ("ffn_moe_topk-0".into(), ids)];
    let (dump, _written) = Tensors { tensors, metadata: original.metadata.clone() }.bound(&graph);
    let read = dump.read(0, site, None).expect("read").expect("there");
    assert!(bits(&read.part.values) == bits(x), "{}", dump.plan());
}

#[test]
fn two_dumps_tell_their_family_and_sizes() {
    for name in TINY.iter().chain(OTHERS) {
        let (graph, original) = (graph_of(name), prefill(name));
        let written = original.write();
        let pair =
            Pair::open(&written.path, &written.path, &layerstep::dump::Options::default(), None).expect("a pair");
        assert!(pair.heads_known(), "{name}");
        for (_, subject) in pair.subjects() {
            let Subject::Site(site) = subject else { panic!("{name}: {}", pair.name(&subject)) };
            let ours = parsed(pair.graph().name(site), &graph).1;
            let shape = |graph: &layerstep::engine::Graph, site| graph[site].shape(13, 13);
            assert_eq!(shape(pair.graph(), site), shape(&graph, ours), "{name}: {}", pair.name(&subject));
            assert_eq!(pair.graph()[site].role, graph[ours].role, "{name}: {}", pair.name(&subject));
        }
        assert_eq!(pair.graph().layers(), graph.layers(), "{name}");
    }
}

/// A single odd number is no reason to wait.
#[test]
fn many_layers_are_opened_at_once() {
    let mut original = prefill("llama");
    original.tensors.push(("l_out-4000".into(), original.get("model.layers.1").clone()));
    let written = original.write();
    let began = std::time::Instant::now();
    let pair = Pair::open(&written.path, &written.path, &layerstep::dump::Options::default(), None).expect("a pair");
    assert_eq!(pair.graph().layers(), 4001);
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}
