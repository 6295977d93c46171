//! What a model holds.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Args, Findings};
use crate::cli::input::Loaded;
use crate::engine::{Axis, Counts, Graph, Node};
use crate::model::spec::{Experts, Feed, Layer, Mlp, Rope, Spec};

/// Numbers and tensors of all weights; a tied head counts once, and every expert has its own.
fn parameters(graph: &Graph) -> (usize, usize) {
    let own = graph.params().iter().filter(|param| param.tied.is_none());
    let count = own.map(|param| (param.shape.iter().product::<usize>(), param.experts.unwrap_or(1)));
    count.fold((0, 0), |(numbers, tensors), (size, count)| (numbers + size * count, tensors + count))
}

/// The sizes of the first MLP of a kind: one for all tokens, or experts.
fn feed(spec: &Spec, experts: bool) -> Option<&Feed> {
    spec.layers.iter().find_map(|layer| match &layer.mlp {
        Mlp::Plain(feed) | Mlp::Gated(feed) if !experts => Some(feed),
        Mlp::Experts(mixture) if experts => Some(&mixture.feed),
        _ if experts => layer.beside.as_ref().map(|beside| &beside.experts.feed),
        _ => None,
    })
}

/// The experts: how many there are, how many of them a token gets, how wide each is, and which layers have them.
fn experts(spec: &Spec) -> Option<(usize, usize, usize, Vec<usize>)> {
    let of = |(index, layer): (usize, &Layer)| {
        let own = match (&layer.mlp, &layer.beside) {
            (Mlp::Experts(experts), _) => experts,
            (_, beside) => &beside.as_ref()?.experts,
        };
        let Experts { feed, count, router, .. } = own;
        Some((index, *count, router.top_k, feed.width))
    };
    let all: Vec<_> = spec.layers.iter().enumerate().filter_map(of).collect();
    let (_, count, top_k, width) = *all.first()?;
    Some((count, top_k, width, all.into_iter().map(|(index, ..)| index).collect()))
}

pub(super) fn inspect(args: &Args, loaded: &Loaded) -> anyhow::Result<Findings> {
    let (model, spec) = (&loaded.model, &loaded.model.spec);
    let (parameters, tensors) = parameters(&model.graph);
    let attn =
        spec.layers.first().map(|layer| &layer.attn).ok_or_else(|| anyhow::anyhow!("the model has no layers"))?;
    let (dense, sparse, layers) = (feed(spec, false), experts(spec), spec.layers.len());
    let mlp_bias = dense.or(feed(spec, true)).is_some_and(|feed| feed.bias);
    let windows: Vec<Option<usize>> = spec.layers.iter().map(|layer| layer.attn.window).collect();
    let ropes: Vec<Option<&Rope>> = spec.layers.iter().map(|layer| layer.attn.rope.as_ref()).collect();
    let rope = ropes.iter().copied().flatten().next();
    let rotated: Vec<usize> =
        ropes.iter().enumerate().filter_map(|(layer, rope)| rope.is_some().then_some(layer)).collect();
    let mut json = json!({
        "schema": "layerstep.inspect/1", "kind": "model", "name": model.name, "architecture": spec.family,
        "dtype": model.dtype_label, "bytes": model.bytes, "parameters": parameters, "tensors": tensors,
        "layers": layers, "hidden_size": spec.hidden, "intermediate_size": dense.map(|feed| feed.width),
        "heads": attn.heads, "kv_heads": attn.kv_heads, "head_dim": attn.head_dim,
        "vocab_size": spec.vocab, "context": spec.positions, "rms_norm_eps": eps(spec),
        "rope": rope.map(|rope| json!({ "theta": rope.theta, "type": rope.scaling.name(), "channels": rope.dims,
            "attention_factor": rope.factor, "layers": rotated })),
        "sliding_window": windows,
        "biases": { "qkv": attn.qkv_bias, "o": attn.o_bias, "mlp": mlp_bias }, "qk_norm": attn.qk_norm.is_some(),
        "tied": spec.head.is_some_and(|head| head.tied), "embedder": spec.head.is_none(), "tokenizer": loaded.tokenizer.is_some(), "notes": model.notes,
    });
    if let Some((count, top_k, width, layers)) = &sparse {
        json["experts"] = json!({ "count": count, "per_token": top_k, "width": width, "layers": layers });
    }
    let mut text = String::new();
    let mut line = |name: &str, value: String| writeln!(text, "{name:<14}{value}");
    line("model", model.name.clone())?;
    line("architecture", format!("{}, {layers} layers", spec.family))?;
    line(
        "weights",
        format!("{}, {parameters} parameters in {tensors} tensors, {} bytes", model.dtype_label, model.bytes),
    )?;
    line(
        "hidden",
        format!("{}{}", spec.hidden, dense.map_or_else(String::new, |feed| format!(", MLP {}", feed.width))),
    )?;
    if let Some((count, top_k, width, of)) = &sparse {
        let some = if of.len() == layers { String::new() } else { format!(", in {} layers", of.len()) };
        line("experts", format!("{count} of {width} channels, {top_k} for each token{some}"))?;
    }
    line("heads", format!("{} of {} channels, {} for keys and values", attn.heads, attn.head_dim, attn.kv_heads))?;
    let tied = match spec.head {
        Some(head) if head.tied => ", the head is the embedding table",
        Some(_) => "",
        None => ", no head",
    };
    line("vocabulary", format!("{}{tied}", spec.vocab))?;
    let unrotated = match spec.embed.learned {
        Some(_) => "learned",
        None if attn.alibi => "slopes for each head (ALiBi)",
        None => "nothing is rotated or added",
    };
    line("positions", format!("{}, {}", spec.positions, positions(&ropes, attn.head_dim, unrotated)))?;
    let seen: Vec<usize> = windows.into_iter().flatten().collect();
    if let Some(window) = seen.first() {
        let some = if seen.len() == layers { "all".into() } else { seen.len().to_string() };
        line("window", format!("{window} keys in {some} layers"))?;
    }
    let logit_cap = spec.head.and_then(|head| head.cap);
    let parts = [
        (attn.both_ways, "every token sees all".to_string()),
        (attn.qkv_bias, "bias on q, k, v".to_string()),
        (attn.o_bias, "bias on o".to_string()),
        (mlp_bias, "bias in the MLP".to_string()),
        (attn.qk_norm.is_some(), "q and k normalised".to_string()),
        (attn.cap.is_some(), format!("scores capped at {}", attn.cap.unwrap_or_default())),
        (logit_cap.is_some(), format!("logits capped at {}", logit_cap.unwrap_or_default())),
    ];
    let parts: Vec<String> = parts.into_iter().filter_map(|(has, what)| has.then_some(what)).collect();
    if !parts.is_empty() {
        line("attention", parts.join(", "))?;
    }
    line("tokenizer", if loaded.tokenizer.is_some() { "tokenizer.json" } else { "none" }.into())?;
    if args.names {
        names(&mut text, &mut json, &model.graph, args.tokens)?;
    }
    Ok(Findings { text, json })
}

/// The eps of the norms: of those around the blocks, where none stands behind them.
fn eps(spec: &Spec) -> Option<f32> {
    let of_layer = |layer: &Layer| layer.attn_norms.pre.or(layer.attn_norms.post);
    spec.norm.or_else(|| spec.layers.iter().find_map(of_layer)).map(|norm| norm.eps)
}

/// How positions are told apart: each way of rotating that there is, and in how many layers where not in all; `unrotated`
/// where there is none.
fn positions(ropes: &[Option<&Rope>], head_dim: usize, unrotated: &str) -> String {
    let mut kinds: Vec<(&Rope, usize)> = Vec::new();
    for rope in ropes.iter().copied().flatten() {
        match kinds.iter_mut().find(|(kind, _)| *kind == rope) {
            Some((_, count)) => *count += 1,
            None => kinds.push((rope, 1)),
        }
    }
    let said = |(rope, count): &(&Rope, usize)| {
        let (name, factor, dims) = (rope.scaling.name(), rope.factor, rope.dims);
        let parts = [
            (true, format!("RoPE theta {}", rope.theta)),
            (name != "default", format!("scaled ({name})")),
            (factor != 1.0, format!("times {factor:.4}")),
            (dims < head_dim, format!("{dims} of {head_dim} channels")),
            (*count < ropes.len(), format!("in {count} layers")),
        ];
        let parts: Vec<String> = parts.into_iter().filter_map(|(is, said)| is.then_some(said)).collect();
        parts.join(", ")
    };
    if kinds.is_empty() { unrotated.into() } else { kinds.iter().map(said).collect::<Vec<_>>().join("; ") }
}

/// Every activation in the order of the forward pass.
fn names(text: &mut String, json: &mut Value, graph: &Graph, tokens: Option<usize>) -> std::fmt::Result {
    let length = |axis: &Axis| match axis.counts {
        Counts::Rows | Counts::Keys => tokens,
        Counts::Sequence => Some(1),
        _ => Some(axis.length(1, 1)),
    };
    let shape = |node: &Node| -> String {
        let size = |axis: &Axis| format!("{} {}", axis.name, length(axis).map_or("T".into(), |n| n.to_string()));
        node.axes.iter().map(size).collect::<Vec<_>>().join(", ")
    };
    let nodes = graph.nodes();
    let widest = nodes.iter().map(|node| node.name.len()).max().unwrap_or(0);
    let longest = nodes.iter().map(|node| shape(node).len()).max().unwrap_or(0) + 2;
    writeln!(text, "\n{} activations, in the order of the forward pass:\n", nodes.len())?;
    let mut list = Vec::new();
    for node in nodes {
        let (name, shape, meaning) = (&node.name, format!("[{}]", shape(node)), node.meaning);
        writeln!(text, "{name:<widest$}  {shape:<longest$}  {meaning}")?;
        let axes: Vec<Value> =
            node.axes.iter().map(|axis| json!({ "name": axis.name, "length": length(axis) })).collect();
        list.push(json!({ "name": name, "short": node.short, "axes": axes, "meaning": meaning }));
    }
    text.push_str(
        "\nThese names are the keys of a dump: .safetensors, .npz, .pt, or a directory of .npy or .bin files. The k-th forward\n\
         after the first adds @k, and its token axis holds the new tokens only. Put the ids fed into the metadata\n\
         (input_ids, steps) or into an integer tensor input_ids. The names of TransformerLens and ggml are known, too.\n",
    );
    json["activations"] = Value::Array(list);
    Ok(())
}
