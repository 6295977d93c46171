//! What a model holds.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Args, Findings};
use crate::cli::input::Loaded;
use crate::engine::{Axis, Program, Site};
use crate::model::{Config, Model};

/// Numbers and tensors of all weights; a tied head counts once.
fn parameters(model: &Model) -> (usize, usize) {
    let vectors = model.layers.iter().flat_map(|layer| {
        let biases = layer.linears().into_iter().filter_map(|linear| linear.bias.as_ref());
        let norms = [Some(&layer.input_layernorm), Some(&layer.post_attention_layernorm)];
        biases.chain(norms.into_iter().chain([layer.q_norm.as_ref(), layer.k_norm.as_ref()]).flatten())
    });
    let vectors: Vec<usize> = vectors.chain([&model.norm]).map(ndarray::Array1::len).collect();
    let mut matrices: Vec<usize> = model.matrices().map(|matrix| matrix.shape.iter().product()).collect();
    if model.config.tie_word_embeddings {
        matrices.pop();
    }
    (matrices.iter().chain(&vectors).sum(), matrices.len() + vectors.len())
}

pub(super) fn inspect(args: &Args, loaded: &Loaded) -> anyhow::Result<Findings> {
    let (model, c) = (&loaded.model, &loaded.model.config);
    let (parameters, tensors) = parameters(model);
    let windows: Vec<usize> = c.sliding_window.iter().copied().flatten().collect();
    let mut json = json!({
        "schema": "layerstep.inspect/1", "kind": "model", "name": model.name, "architecture": c.architecture.name(),
        "dtype": model.dtype_label, "bytes": model.bytes, "parameters": parameters, "tensors": tensors,
        "layers": c.num_hidden_layers, "hidden_size": c.hidden_size, "intermediate_size": c.intermediate_size,
        "heads": c.num_attention_heads, "kv_heads": c.num_key_value_heads, "head_dim": c.head_dim,
        "vocab_size": c.vocab_size, "context": c.max_position_embeddings, "rms_norm_eps": c.rms_norm_eps,
        "rope": { "theta": c.rope_theta, "type": c.rope_type }, "sliding_window": c.sliding_window,
        "biases": { "qkv": c.qkv_bias, "o": c.o_bias, "mlp": c.mlp_bias }, "qk_norm": c.qk_norm,
        "tied": c.tie_word_embeddings, "tokenizer": loaded.tokenizer.is_some(), "notes": model.notes,
    });
    let mut text = String::new();
    let mut line = |name: &str, value: String| writeln!(text, "{name:<14}{value}");
    line("model", model.name.clone())?;
    line("architecture", format!("{}, {} layers", c.architecture.name(), c.num_hidden_layers))?;
    line(
        "weights",
        format!("{}, {parameters} parameters in {tensors} tensors, {} bytes", model.dtype_label, model.bytes),
    )?;
    line("hidden", format!("{}, MLP {}", c.hidden_size, c.intermediate_size))?;
    let heads =
        format!("{} of {} channels, {} for keys and values", c.num_attention_heads, c.head_dim, c.num_key_value_heads);
    line("heads", heads)?;
    line(
        "vocabulary",
        format!("{}{}", c.vocab_size, if c.tie_word_embeddings { ", the head is the embedding table" } else { "" }),
    )?;
    let scaling = if c.rope_type == "default" { String::new() } else { format!(", scaled ({})", c.rope_type) };
    line("positions", format!("{}, RoPE theta {}{scaling}", c.max_position_embeddings, c.rope_theta))?;
    if let Some(window) = windows.first() {
        let layers = if windows.len() == c.num_hidden_layers { "all".into() } else { windows.len().to_string() };
        line("window", format!("{window} keys in {layers} layers"))?;
    }
    let parts = [
        (c.qkv_bias, "bias on q, k, v"),
        (c.o_bias, "bias on o"),
        (c.mlp_bias, "bias in the MLP"),
        (c.qk_norm, "q and k normalised"),
    ];
    let parts: Vec<&str> = parts.into_iter().filter_map(|(has, what)| has.then_some(what)).collect();
    if !parts.is_empty() {
        line("attention", parts.join(", "))?;
    }
    line("tokenizer", if loaded.tokenizer.is_some() { "tokenizer.json" } else { "none" }.into())?;
    if args.names {
        names(&mut text, &mut json, c, args.tokens)?;
    }
    Ok(Findings { text, json })
}

/// Every activation in the order of the forward pass.
fn names(text: &mut String, json: &mut Value, config: &Config, tokens: Option<usize>) -> std::fmt::Result {
    let length = |axis: Axis| -> Option<usize> {
        let rows = matches!(axis, Axis::Token | Axis::Query | Axis::Key);
        if rows { tokens } else { Some(axis.length(config, 1, 1)) }
    };
    let shape = |site: Site| -> Vec<String> {
        let size = |axis: &Axis| format!("{} {}", axis.name(), length(*axis).map_or("T".into(), |n| n.to_string()));
        site.activation.row().axes.iter().map(size).collect()
    };
    let program = Program::new(config);
    let widest = program.sites().iter().map(|site| site.to_string().len()).max().unwrap_or(0);
    let axes = program.sites().iter().map(|site| shape(*site).join(", ").len()).max().unwrap_or(0) + 2;
    writeln!(text, "\n{} activations, in the order of the forward pass:\n", program.sites().len())?;
    let mut list = Vec::new();
    for site in program.sites() {
        let row = site.activation.row();
        let shape = format!("[{}]", shape(*site).join(", "));
        writeln!(text, "{:<widest$}  {shape:<axes$}  {}", site.to_string(), row.meaning)?;
        let axes: Vec<Value> =
            row.axes.iter().map(|axis| json!({ "name": axis.name(), "length": length(*axis) })).collect();
        list.push(json!({ "name": site.to_string(), "short": site.short(), "axes": axes, "meaning": row.meaning }));
    }
    text.push_str(
        "\nThese names are the keys of a dump: .safetensors, .npz, .pt, or a directory of .npy or .bin files. The k-th forward\n\
         after the first adds @k, and its token axis holds the new tokens only. Put the ids fed into the metadata\n\
         (input_ids, steps) or into an integer tensor input_ids. The names of TransformerLens and ggml are known, too.\n",
    );
    json["activations"] = Value::Array(list);
    Ok(())
}
