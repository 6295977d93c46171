//! Fingerprints: the same however a model lies in files, another with every change, remembered while files stay.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use layerstep::model::Model;
use layerstep::model::fingerprint::{Cache, Fingerprint, digest};

use super::load::{CONFIG, Tensors, bytes, good};

/// The model of these tensors, written to a folder in one file.
fn write(folder: &Path, tensors: &Tensors) -> Model {
    fs::create_dir_all(folder).expect("made");
    fs::write(folder.join("config.json"), CONFIG).expect("written");
    fs::write(folder.join("model.safetensors"), bytes(tensors)).expect("written");
    Model::load(folder).expect("loads")
}

fn of(model: &Model) -> Fingerprint {
    Fingerprint::of(model, |_| true).expect("not interrupted")
}

#[test]
fn sharding_makes_no_difference() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = write(folder.path(), &good());
    let split = folder.path().join("split");
    fs::create_dir(&split).expect("made");
    fs::write(split.join("config.json"), CONFIG).expect("written");
    let (mut one, mut two) = (good(), good());
    one.retain(|name, _| name.contains("layers"));
    two.retain(|name, _| !name.contains("layers"));
    fs::write(split.join("a.safetensors"), bytes(&one)).expect("written");
    fs::write(split.join("b.safetensors"), bytes(&two)).expect("written");
    let index =
        r#"{"weight_map": {"lm_head.weight": "b.safetensors", "model.layers.0.mlp.up_proj.weight": "a.safetensors"}}"#;
    fs::write(split.join("model.safetensors.index.json"), index).expect("written");
    let split = Model::load(&split).expect("loads");
    let (whole, bytes) = (of(&whole), Model::from_bytes(CONFIG, &bytes(&good())).expect("loads"));
    assert_eq!(whole, of(&split));
    assert_eq!(whole, of(&bytes));
    assert_eq!(whole.tensors.len(), good().len());
    assert_eq!(whole.config, digest(CONFIG.as_bytes()));
    assert_eq!(whole.weights(), of(&split).weights());
}

#[test]
fn a_digest_is_what_other_programs_compute() {
    // sha256sum of the line "f32 [8]" and of the words 0 to 7
    let model = Model::from_bytes(CONFIG, &bytes(&good())).expect("loads");
    let text = "f32 [8]\n".bytes().chain((0..8).flat_map(|word| (word as f32).to_le_bytes())).collect::<Vec<u8>>();
    assert_eq!(of(&model).tensors["model.norm.weight"], format!("f32 [8] {}", digest(&text)));
    assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn differences_are_named_and_counted() {
    let change = |tensors: &mut Tensors, name: &str| {
        tensors.get_mut(name).expect("there").bytes[0] ^= 1;
    };
    let original = of(&Model::from_bytes(CONFIG, &bytes(&good())).expect("loads"));
    let check = |change: &dyn Fn(&mut Fingerprint), expected: &[&str]| {
        let mut other = original.clone();
        change(&mut other);
        assert_eq!(original.differences(&other), expected);
        assert_eq!(expected.iter().all(|line| line.contains("config")), original.weights() == other.weights());
    };
    let mut tensors = good();
    change(&mut tensors, "model.norm.weight");
    change(&mut tensors, "lm_head.weight");
    let two = of(&Model::from_bytes(CONFIG, &bytes(&tensors)).expect("loads"));
    check(&|_| (), &[]);
    check(
        &|other| other.tensors = two.tensors.clone(),
        &["2 tensors have other values: lm_head.weight, model.norm.weight"],
    );
    check(&|other| other.config.clear(), &["config.json is another"]);
    check(
        &|other| {
            other.tensors.values_mut().for_each(|tensor| tensor.push('0'));
        },
        &["all 12 tensors have other values"],
    );
    check(
        &|other| {
            let norm = other.tensors.remove("model.norm.weight").expect("there");
            other.tensors.insert("\u{1b}norm".into(), norm);
            other.tensors.insert("lm_head.weight".into(), "bf16 [10, 4] 00".into());
        },
        &[
            "1 tensor has another shape or dtype: lm_head.weight (bf16 [10, 4], was f32 [10, 8])",
            "1 tensor is gone: model.norm.weight",
            "1 tensor is new: \\u{1b}norm",
        ],
    );
    check(
        &|other| other.tensors.retain(|name, _| !name.contains("self_attn") && name != "lm_head.weight"),
        &["5 tensors are gone: lm_head.weight, model.layers.0.self_attn.k_proj.weight, \
             model.layers.0.self_attn.o_proj.weight and 2 more"],
    );
}

#[test]
fn progress_is_told_and_may_end_it() {
    let model = Model::from_bytes(CONFIG, &bytes(&good())).expect("loads");
    let read = AtomicU64::new(0);
    let count = |bytes| {
        read.fetch_add(bytes, Ordering::Relaxed);
        true
    };
    assert!(Fingerprint::of(&model, count).is_some());
    assert_eq!(read.into_inner(), model.bytes);
    assert_eq!(Fingerprint::of(&model, |_| false), None);
}

#[test]
fn weights_are_read_once_while_their_files_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache { path: folder.path().join("deep/cache.json") };
    let dir = folder.path().join("model");
    let model = write(&dir, &good());
    let fingerprint = of(&model);
    let first = cache.fingerprint(&model, |_| true);
    assert_eq!(first.as_ref(), Some(&fingerprint));
    let known = |model: &Model| cache.fingerprint(model, |_| false);
    assert_eq!(known(&model).as_ref(), Some(&fingerprint));
    let place = |fingerprint: &Fingerprint| cache.folder_of(&fingerprint.config, &fingerprint.weights());
    assert_eq!(place(&fingerprint), Some(dir.canonicalize().expect("there")));
    assert_eq!(cache.folder_of(&fingerprint.config, "other"), None);

    // Another configuration beside the same weights.
    let config = CONFIG.replace('{', "{ ");
    fs::write(dir.join("config.json"), &config).expect("written");
    let changed = known(&Model::load(&dir).expect("loads")).expect("weights are known");
    assert_eq!((changed.config == digest(config.as_bytes()), &changed.tensors), (true, &fingerprint.tensors));

    // The same weights, written again; and a damaged cache.
    let weights = fs::File::options().write(true).open(dir.join("model.safetensors")).expect("opens");
    let later = weights.metadata().and_then(|about| about.modified()).expect("a time") + Duration::from_secs(1);
    weights.set_modified(later).expect("set");
    assert_eq!(known(&model), None);
    assert_eq!(place(&changed), None);
    assert!(cache.fingerprint(&model, |_| true).is_some());
    assert!(known(&model).is_some());
    for damaged in ["", "{", "[]", "{\"version\": 7, \"models\": []}", "{\"version\": 1}"] {
        fs::write(&cache.path, damaged).expect("written");
        assert_eq!(known(&model), None, "{damaged}");
    }
    // A cache that cannot be written.
    let nowhere = Cache { path: dir.join("config.json/cache.json") };
    assert_eq!(nowhere.fingerprint(&model, |_| true).map(|found| found.tensors), Some(fingerprint.tensors));
}

#[test]
fn the_cache_forgets_the_models_seen_longest_ago() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache { path: folder.path().join("cache.json") };
    let models: Vec<Model> = (0..34).map(|k| write(&folder.path().join(k.to_string()), &good())).collect();
    for model in &models {
        assert!(cache.fingerprint(model, |_| true).is_some());
    }
    let known: Vec<bool> = [0, 1, 2, 33].iter().map(|k| cache.fingerprint(&models[*k], |_| false).is_some()).collect();
    assert_eq!(known, [false, false, true, true]);
    let fingerprint = of(&models[0]);
    let last = cache.folder_of(&fingerprint.config, &fingerprint.weights());
    assert_eq!(last, folder.path().join("33").canonicalize().ok());
}
