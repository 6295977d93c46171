//! Where models are found, and what their folders say about generation.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use layerstep::model::{GenerationDefaults, HubCache, locate};

fn cache_of(variables: &[(&str, &str)]) -> Option<PathBuf> {
    let read = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    HubCache::find(read).folder
}

#[test]
fn the_cache_is_where_huggingface_hub_has_it() {
    let home = ("HOME", "/home/me");
    let check = |variables: &[(&str, &str)], expected: Option<&str>| {
        assert_eq!(cache_of(variables), expected.map(PathBuf::from), "{variables:?}");
    };
    check(&[home], Some("/home/me/.cache/huggingface/hub"));
    check(&[home, ("XDG_CACHE_HOME", "/x")], Some("/x/huggingface/hub"));
    check(&[home, ("HF_HOME", "~/hf")], Some("/home/me/hf/hub"));
    check(&[home, ("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")], Some("/c"));
    check(&[home, ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "")], Some("/old"));
    check(&[], None);
}

/// A cache with three repositories.
fn cache(root: &Path) -> HubCache {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    };
    let (one, two) = ("a".repeat(40), "b".repeat(40));
    write("models--org--name/refs/main", &one);
    write("models--org--name/refs/refs/pr/1", &format!("{two}\n"));
    write(&format!("models--org--name/snapshots/{one}/config.json"), "{}");
    write(&format!("models--org--name/snapshots/{two}/config.json"), "{}");
    write(&format!("models--gpt--detached/snapshots/{two}/config.json"), "{}");
    write(&format!("models--solo/snapshots/{one}/tokenizer.json"), "{}");
    write("models--hostile--ref/refs/main", "../../../../etc");
    write("models--empty--one/refs/main", &one);
    HubCache { folder: Some(root.to_owned()) }
}

#[test]
fn repositories_are_found_in_the_cache() {
    let root = tempfile::tempdir().expect("a folder");
    let cache = cache(root.path());
    let check = |argument: &str, expected: &str| {
        let found = locate(argument, &cache).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found, root.path().join(expected), "{argument}");
    };
    let (one, two) = ("a".repeat(40), "b".repeat(40));
    let snapshot = format!("models--org--name/snapshots/{one}");
    check("org/name", &snapshot);
    check("org/name@main", &snapshot);
    check("org/name@refs/pr/1", &format!("models--org--name/snapshots/{two}"));
    check(&format!("org/name@{two}"), &format!("models--org--name/snapshots/{two}"));
    check("gpt/detached", &format!("models--gpt--detached/snapshots/{two}"));
    check(&root.path().join("models--org--name").to_string_lossy(), &snapshot);
    check(&root.path().join(&snapshot).to_string_lossy(), &snapshot);
}

#[test]
fn what_is_not_there_is_said_in_one_sentence() {
    let root = tempfile::tempdir().expect("a folder");
    let cache = cache(root.path());
    let check = |argument: &str, fragments: &[&str]| {
        let error = locate(argument, &cache).expect_err(argument).to_string();
        for fragment in fragments {
            assert!(error.contains(fragment), "{argument}: `{fragment}` is not in `{error}`");
        }
        assert!(!error.contains(['\n', '\u{1b}']), "{error}");
    };
    check("org/other", &["no repository org/other", "`hf download org/other`"]);
    check("org/other@v1", &["`hf download org/other --revision v1`"]);
    check("org/name@v1", &["no revision v1", "aaaa", "`hf download org/name --revision v1`"]);
    check("empty/one", &["no files of it", "`hf download empty/one`"]);
    check("hostile/ref", &["no files of it"]);
    check("solo", &["config.json", "`hf download solo`"]);
    for path in [
        "./nowhere",
        "/no/such/model",
        "a/b/c",
        "../no such folder",
        "org/..",
        "org/name@../../x",
        "org/name@/etc",
        "",
        "\u{1b}[2J",
        "org/\u{202e}",
    ] {
        check(path, &["there is no folder"]);
    }
    let file = |name: &str| {
        let path = root.path().join(name);
        fs::write(&path, "").expect("written");
        path.to_string_lossy().into_owned()
    };
    check(&file("m.gguf"), &["GGUF", "converted"]);
    check(&file("model.safetensors"), &["give the folder"]);
    check(&file("notes.txt"), &["no folder"]);
    check(&root.path().to_string_lossy(), &["has no config.json", "it holds GGUF weights"]);
    let empty = root.path().join("nothing");
    fs::create_dir(&empty).expect("made");
    check(&empty.to_string_lossy(), &["has no config.json", "the folder is empty"]);
    fs::write(empty.join("readme.md"), "").expect("written");
    check(&empty.to_string_lossy(), &["it holds readme.md"]);
    let none = HubCache { folder: None };
    assert!(locate("org/name", &none).expect_err("no cache").to_string().contains("HOME is not set"));
}

#[test]
fn generation_defaults_come_from_two_files() {
    let load = |config: &str, generation: Option<&str>| {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("config.json"), config).expect("written");
        if let Some(text) = generation {
            fs::write(dir.path().join("generation_config.json"), text).expect("written");
        }
        GenerationDefaults::load(dir.path()).map_err(|error| error.to_string())
    };
    let only = load(r#"{"eos_token_id": 2, "bos_token_id": 1, "temperature": 0.5}"#, None).expect("reads");
    assert_eq!((only.eos_token_ids, only.bos_token_id, only.temperature), (vec![2], Some(1), Some(0.5)));
    let both = load(
        r#"{"eos_token_id": 2, "bos_token_id": 1, "temperature": 0.5}"#,
        Some(
            r#"{"eos_token_id": [7, 8], "do_sample": true, "top_k": 20, "top_p": 0.8, "min_p": 0.05, "repetition_penalty": 1.1}"#,
        ),
    );
    let expected = GenerationDefaults {
        eos_token_ids: vec![7, 8],
        bos_token_id: Some(1),
        pad_token_id: None,
        do_sample: true,
        temperature: None,
        top_k: Some(20),
        top_p: Some(0.8),
        min_p: Some(0.05),
        repetition_penalty: Some(1.1),
    };
    assert_eq!(both, Ok(expected));
    assert_eq!(load(r#"{"eos_token_id": 2}"#, Some("{}")).expect("reads").eos_token_ids, [2]);
    assert_eq!(
        load(r#"{"eos_token_id": null}"#, Some("{\"eos_token_id\": -1}")).expect("reads").eos_token_ids,
        Vec::<u32>::new()
    );
    for (key, value) in [
        ("eos_token_id", "\"x\""),
        ("eos_token_id", "[1, -3]"),
        ("temperature", "-1"),
        ("top_p", "1.5"),
        ("top_k", "2.5"),
    ] {
        let error = load("{}", Some(&format!("{{\"{key}\": {value}}}"))).expect_err(key);
        assert!(error.contains(key) && error.contains("generation_config.json"), "{error}");
    }
    assert!(load("{}", Some("[")).expect_err("no JSON").contains("generation_config.json"));
}
