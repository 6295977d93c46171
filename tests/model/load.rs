//! Checkpoints on disk: a good one, and one for each way in which they are bad.

mod experts;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use layerstep::model::{Model, Op, Tensor};
use layerstep::ops::Words;
use safetensors::tensor::{Dtype, TensorView, serialize};

pub(crate) const CONFIG: &str = r#"{"model_type": "llama", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 10}"#;

/// A tensor before it is written.
#[derive(Clone)]
pub(crate) struct Raw {
    dtype: Dtype,
    shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) type Tensors = BTreeMap<String, Raw>;

/// f32 values 0, 1, 2 ... in this shape.
fn ramp(shape: &[usize]) -> Raw {
    let count: usize = shape.iter().product();
    let bytes = (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect();
    Raw { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
}

pub(crate) fn good() -> Tensors {
    [
        ("model.embed_tokens.weight", [10, 8].as_slice()),
        ("model.layers.0.input_layernorm.weight", &[8]),
        ("model.layers.0.self_attn.q_proj.weight", &[8, 8]),
        ("model.layers.0.self_attn.k_proj.weight", &[4, 8]),
        ("model.layers.0.self_attn.v_proj.weight", &[4, 8]),
        ("model.layers.0.self_attn.o_proj.weight", &[8, 8]),
        ("model.layers.0.post_attention_layernorm.weight", &[8]),
        ("model.layers.0.mlp.gate_proj.weight", &[12, 8]),
        ("model.layers.0.mlp.up_proj.weight", &[12, 8]),
        ("model.layers.0.mlp.down_proj.weight", &[8, 12]),
        ("model.norm.weight", &[8]),
        ("lm_head.weight", &[10, 8]),
    ]
    .into_iter()
    .map(|(name, shape)| (name.to_owned(), ramp(shape)))
    .collect()
}

pub(crate) fn bytes(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(name, raw)| {
        (name.as_str(), TensorView::new(raw.dtype, raw.shape.clone(), &raw.bytes).expect("a consistent tensor"))
    });
    serialize(views, None).expect("serialised")
}

/// A safetensors file with this header, word for word.
fn crafted(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

/// A matrix of the model.
fn matrix<'a>(model: &'a Model, name: &str) -> &'a Tensor {
    model.matrices().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("{name} is a matrix of the model"))
}

/// The tensor that the embedding takes its rows from.
fn embedding(model: &Model) -> String {
    model.matrices().next().expect("the table").name.clone()
}

/// The tensor that the head multiplies with.
fn head_of(model: &Model) -> String {
    model.matrices().last().expect("the head").name.clone()
}

/// The weight of a norm.
fn norm(model: &Model, name: &str) -> Vec<f32> {
    match &model.graph[model.graph.parse(name).expect("a name")].op {
        Op::Norm { weight, .. } => model.vector(weight).to_vec(),
        other => panic!("{name} is {other:?}"),
    }
}

/// The notes of the model whose folder `write` fills, or its error.
fn load(write: impl FnOnce(&Path)) -> Result<Model, String> {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("config.json"), CONFIG).expect("written");
    write(dir.path());
    Model::load(dir.path()).map_err(|error| error.to_string().replace(&*dir.path().to_string_lossy(), "DIR"))
}

/// The folder is refused, and the message holds every fragment.
fn check(what: &str, write: impl FnOnce(&Path), fragments: &[&str]) {
    let message = load(write).map(|model| model.notes).expect_err(what);
    for fragment in fragments {
        assert!(message.contains(fragment), "{what}: `{fragment}` is not in `{message}`");
    }
    assert!(!message.contains('\n') && !message.contains('\x1b'), "{what}: {message:?}");
}

fn save(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).expect("written");
}

/// The good checkpoint with one change, in one file.
fn changed(change: impl FnOnce(&mut Tensors)) -> impl FnOnce(&Path) {
    let mut tensors = good();
    change(&mut tensors);
    move |dir| save(dir, "model.safetensors", &bytes(&tensors))
}

fn file(bytes: Vec<u8>) -> impl FnOnce(&Path) {
    move |dir| save(dir, "model.safetensors", &bytes)
}

fn index(map: &str) -> impl FnOnce(&Path) {
    let index = format!("{{\"metadata\": {{\"total_size\": 1}}, \"weight_map\": {map}}}");
    move |dir| {
        let (mut one, mut two) = (good(), good());
        one.retain(|name, _| name.contains("layers"));
        two.retain(|name, _| !name.contains("layers"));
        save(dir, "a.safetensors", &bytes(&one));
        save(dir, "b.safetensors", &bytes(&two));
        save(dir, "model.safetensors.index.json", index.as_bytes());
    }
}

#[test]
fn a_checkpoint_is_read_whole() {
    let model = load(changed(|_| ())).expect("loads");
    assert_eq!(model.graph.layers(), 1);
    assert_eq!(matrix(&model, "model.layers.0.self_attn.k_proj.weight").shape, [4, 8]);
    assert_eq!(norm(&model, "norm"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    assert_eq!(model.dtype_label, "f32");
    assert_eq!(model.bytes, good().values().map(|raw| raw.bytes.len() as u64).sum::<u64>());
    assert_eq!(model.notes, Vec::<String>::new());
}

#[test]
fn shards_and_names_without_the_prefix_are_read() {
    let map = r#"{"lm_head.weight": "b.safetensors", "model.norm.weight": "b.safetensors",
        "model.layers.0.mlp.up_proj.weight": "a.safetensors"}"#;
    assert_eq!(load(index(map)).expect("loads").files.len(), 2);
    let bare = |tensors: &mut Tensors| {
        *tensors = tensors.iter().map(|(k, v)| (k.strip_prefix("model.").unwrap_or(k).to_owned(), v.clone())).collect();
    };
    assert_eq!(embedding(&load(changed(bare)).expect("loads")), "embed_tokens.weight");
}

#[test]
fn misaligned_tensors_are_copied() {
    let mut end = 0;
    let entries: Vec<String> = good()
        .iter()
        .map(|(name, raw)| {
            let start = end;
            end += raw.bytes.len();
            format!(r#""{name}": {{"dtype": "F32", "shape": {:?}, "data_offsets": [{start}, {end}]}}"#, raw.shape)
        })
        .collect();
    let mut header = format!("{{{}}}", entries.join(","));
    while (header.len() + 8).is_multiple_of(4) {
        header.push(' ');
    }
    let data: Vec<u8> = good().values().flat_map(|raw| raw.bytes.clone()).collect();
    let mut whole = crafted(&header, 0);
    whole.extend(data);
    let model = load(file(whole)).expect("loads");
    assert!(
        model.notes.iter().any(|note| note.contains("12 tensor(s)") && note.contains("not aligned")),
        "{:?}",
        model.notes
    );
    let Words::F32(words) = matrix(&model, "model.layers.0.self_attn.q_proj.weight").words() else {
        panic!("f32 words")
    };
    assert_eq!(words[..4], [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn half_precision_stays_as_it_is() {
    let half = |tensors: &mut Tensors| {
        for raw in tensors.values_mut() {
            let keep = raw.bytes.chunks(4).flat_map(|word| word[2..].to_vec()).collect();
            (raw.dtype, raw.bytes) = (Dtype::BF16, keep);
        }
        tensors.insert("model.norm.weight".to_owned(), ramp(&[8]));
    };
    let model = load(changed(half)).expect("loads");
    assert_eq!(model.dtype_label, "bf16 and f32");
    assert!(matches!(matrix(&model, "lm_head.weight").words(), Words::Bf16(_)));
    assert_eq!(norm(&model, "0.input_layernorm")[7], 7.0);
}

#[test]
fn a_head_that_is_tied_may_stand_in_the_file_when_it_is_equal() {
    let tied = |change: fn(&mut Tensors)| {
        move |dir: &Path| {
            changed(change)(dir);
            save(dir, "config.json", CONFIG.replace('}', r#", "tie_word_embeddings": true}"#).as_bytes());
        }
    };
    let both = load(tied(|_| ())).expect("loads");
    assert!(both.notes[0].contains("both are equal"), "{:?}", both.notes);
    let table = load(tied(|tensors| drop(tensors.remove("lm_head.weight")))).expect("loads");
    assert_eq!(head_of(&table), "model.embed_tokens.weight");
    let head = load(tied(|tensors| drop(tensors.remove("model.embed_tokens.weight")))).expect("loads");
    assert_eq!(embedding(&head), "lm_head.weight");
    let differ = |tensors: &mut Tensors| tensors.get_mut("lm_head.weight").expect("there").bytes[3] = 9;
    check("two heads", tied(differ), &["lm_head.weight that differs", "set `tie_word_embeddings` to false"]);
}

#[test]
fn every_tensor_is_accounted_for() {
    let remove = |name: &'static str| changed(move |tensors| drop(tensors.remove(name)));
    check("missing", remove("model.norm.weight"), &["1 missing: model.norm.weight [8]", "llama, 1 layers"]);
    check("untied head missing", remove("lm_head.weight"), &["1 missing: lm_head.weight [10, 8]"]);
    let add = |name: &'static str, shape: &'static [usize]| {
        changed(move |tensors| drop(tensors.insert(name.into(), ramp(shape))))
    };
    check("shape", add("lm_head.weight", &[10, 9]), &["lm_head.weight is [10, 9] where [10, 8] was expected"]);
    check("rank", add("model.norm.weight", &[8, 1]), &["model.norm.weight is [8, 1] where [8] was expected"]);
    let bias = "model.layers.0.self_attn.q_proj.bias";
    check("unused", add(bias, &[8]), &["1 not used: model.layers.0.self_attn.q_proj.bias [8]"]);
    check("a second layer", add("model.layers.1.input_layernorm.weight", &[8]), &["not used: model.layers.1."]);
    check("both names", add("norm.weight", &[8]), &["1 not used: norm.weight"]);
    check("a hostile name", add("\u{1b}[2J\u{202e}", &[1]), &["\\u{1b}[2J\\u{202e} [1]"]);
    let many = |tensors: &mut Tensors| {
        tensors.clear();
        (0..20).for_each(|i| drop(tensors.insert(format!("x{i:02}"), ramp(&[1]))));
    };
    check("many", changed(many), &["12 missing: ", "20 not used: x00 [1], x01", "x11 [1] and 8 more"]);
    let buffers = add("model.layers.0.self_attn.rotary_emb.inv_freq", &[2]);
    assert!(load(buffers).expect("loads").notes[0].contains("rotary_emb.inv_freq"));
}

#[test]
fn files_that_are_not_what_they_say_are_refused() {
    let whole = bytes(&good());
    check("cut off", file(whole[..whole.len() - 1].to_vec()), &["DIR/model.safetensors is", "cut off"]);
    check("cut off in the header", file(whole[..100].to_vec()), &["100 bytes long", "cut off"]);
    check("longer", file([whole.as_slice(), &[0]].concat()), &["bytes behind its end"]);
    check("empty", file(Vec::new()), &["0 bytes"]);
    check("no JSON", file(crafted("hello", 0)), &["header does not parse"]);
    check("long header", file(u64::MAX.to_le_bytes().to_vec()), &["18446744073709551615 bytes long"]);
    check("Git LFS", file(b"version https://git-lfs.github.com/spec/v1\n".to_vec()), &["git lfs pull"]);
    check("GGUF", file(b"GGUF....".to_vec()), &["GGUF"]);
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"a": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}"#)
    };
    check("fp8", file(crafted(&tensor("F8_E4M3", "[4]", "[0, 4]"), 4)), &["a of dtype F8_E4M3", "quantised"]);
    check("a dtype of the future", file(crafted(&tensor("F3", "[4]", "[0, 4]"), 4)), &["a of dtype F3"]);
    let wrap = "[4194305, 4194305, 211106198978564]";
    check("a product that wraps", file(crafted(&tensor("F32", wrap, "[0, 16]"), 16)), &["overflow"]);
    check("a shape that lies", file(crafted(&tensor("F32", "[3]", "[0, 16]"), 16)), &["invalid shape"]);
    check("a hole", file(crafted(&tensor("F32", "[2]", "[8, 16]"), 16)), &["invalid offset for tensor `a`"]);
    let a = r#""a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}"#;
    check("twice", file(crafted(&format!("{{{a}, {a}}}"), 4)), &["the tensor a twice"]);
}

#[test]
fn folders_without_weights_say_what_is_there() {
    check("nothing", |_| (), &["DIR has no model.safetensors"]);
    check("GGUF", |dir| save(dir, "m.gguf", b"GGUF"), &["m.gguf", "converted to safetensors"]);
    check("PyTorch", |dir| save(dir, "pytorch_model.bin", b""), &["pytorch_model.bin", "save_pretrained"]);
    check("LoRA", |dir| save(dir, "adapter_model.safetensors", b""), &["LoRA adapter"]);
    check("a folder", |dir| fs::create_dir(dir.join("model.safetensors")).expect("made"), &["not a regular file"]);
    check("no config", |dir| fs::remove_file(dir.join("config.json")).expect("gone"), &["cannot read DIR/config.json"]);
}

#[test]
fn an_index_stays_in_its_folder() {
    for name in [
        "../a.safetensors",
        "/etc/passwd",
        "x/a.safetensors",
        "..",
        "",
        ".",
        "a.safetensors/",
        "x\\\\a.safetensors",
        "a.bin",
        "a\\u0000.safetensors",
    ] {
        check(name, index(&format!("{{\"lm_head.weight\": \"{name}\"}}")), &["plain name"]);
    }
    check("no such file", index(r#"{"lm_head.weight": "c.safetensors"}"#), &["cannot read DIR/c.safetensors"]);
    check("wrong file", index(r#"{"no.such": "a.safetensors"}"#), &["says that no.such is in a.safetensors"]);
    check("empty", index("{}"), &["weight_map is empty"]);
    check("no map", index("3"), &["weight_map was expected"]);
    check("a part", index(r#"{"lm_head.weight": "b.safetensors"}"#), &["9 missing: model.layers.0."]);
    let twice = |dir: &Path| {
        index(r#"{"lm_head.weight": "b.safetensors", "model.norm.weight": "c.safetensors"}"#)(dir);
        fs::copy(dir.join("b.safetensors"), dir.join("c.safetensors")).expect("copied");
    };
    check("a tensor in two files", twice, &["is also in another file"]);
}

#[test]
fn the_built_in_model_comes_from_bytes() {
    let whole = [bytes(&good()).as_slice()].concat();
    let model = Model::from_bytes(CONFIG, &whole).expect("loads");
    assert_eq!(model.matrices().last().expect("the head").shape, [10, 8]);
    assert!(Model::from_bytes(CONFIG, &whole[..50]).is_err());
}

#[test]
fn the_tiny_models_load_at_once() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/tiny");
    for (name, dtype, layers) in [
        ("llama", "f32", 3),
        ("llama_bias", "f32", 3),
        ("mistral", "f16", 3),
        ("qwen2", "bf16", 3),
        ("qwen3", "f32", 3),
        ("gemma2", "bf16", 4),
        ("gpt2", "f32", 3),
        ("mixtral", "bf16", 2),
        ("qwen3_moe", "bf16", 3),
        ("qwen3_moe_plain", "bf16", 3),
    ] {
        let start = Instant::now();
        let model = Model::load(&tiny.join(name)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((model.name.as_str(), model.dtype_label.as_str(), model.graph.layers()), (name, dtype, layers));
        assert_eq!(model.notes, Vec::<String>::new());
        assert!(start.elapsed().as_secs() < 5);
    }
}
