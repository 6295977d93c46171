//! Tokenizers encode and decode as transformers does. Expected ids and texts: fixtures/model/tokens.json.

use std::fs;

use layerstep::model::Tokenizer;
use layerstep::model::tokenizer::{LONGEST_PROMPT, check_ids};
use serde_json::Value;

const BYTE_LEVEL: &str = include_str!("../fixtures/model/byte_level.json");
const SENTENCEPIECE: &str = include_str!("../fixtures/model/sentencepiece.json");

fn tokenizer(text: &str) -> Tokenizer {
    Tokenizer::from_bytes(text.as_bytes(), "tokenizer.json").unwrap_or_else(|error| panic!("{error}"))
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// What a stream says, put together.
fn streamed(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> String {
    let mut stream = tokenizer.stream(skip_special);
    let mut text: String = ids.iter().filter_map(|id| stream.push(*id).expect("decodes")).collect();
    text += &stream.finish().expect("decodes").unwrap_or_default();
    text
}

#[test]
fn texts_become_the_tokens_of_transformers_and_come_back() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/model/tokens.json")).expect("a fixture");
    for (name, file) in [("byte_level", BYTE_LEVEL), ("sentencepiece", SENTENCEPIECE)] {
        let tokenizer = tokenizer(file);
        for case in fixture[name].as_array().expect("cases") {
            let text = case["text"].as_str().expect("a text");
            let all = ids(&case["ids"]);
            assert_eq!(tokenizer.encode(text, true).expect("encodes"), all, "{name}: {text:?}");
            assert_eq!(tokenizer.encode(text, false).expect("encodes"), ids(&case["plain"]), "{name}: {text:?}");
            for (skip, key) in [(false, "decoded"), (true, "skipped")] {
                assert_eq!(tokenizer.decode(&all, skip).expect("decodes"), case[key], "{name}: {text:?}");
                assert_eq!(streamed(&tokenizer, &all, skip), case[key], "{name}, streamed: {text:?}");
            }
        }
    }
}

#[test]
fn a_character_of_several_tokens_comes_when_it_is_whole() {
    for (file, token_count) in [(BYTE_LEVEL, 3), (SENTENCEPIECE, 5)] {
        let tokenizer = tokenizer(file);
        let crab = tokenizer.encode("🦀", false).expect("encodes");
        assert!(crab.len() >= token_count, "{crab:?}");
        let mut stream = tokenizer.stream(true);
        let (last, first) = crab.split_last().expect("tokens");
        for id in first {
            assert_eq!(stream.push(*id).expect("decodes"), None);
        }
        assert_eq!(stream.push(*last).expect("decodes").as_deref(), Some("🦀"));
        assert_eq!(stream.finish().expect("decodes"), None);
        // Cut off, and interrupted by other text.
        assert!(streamed(&tokenizer, first, true).trim_start().starts_with('\u{FFFD}'));
        let the = tokenizer.encode("the", false).expect("encodes");
        let text = streamed(&tokenizer, &[first, &the].concat(), true);
        assert!(text.contains('\u{FFFD}') && text.ends_with("the"), "{text:?}");
    }
}

#[test]
fn bytes_that_never_become_text_are_not_held_for_ever() {
    for (file, byte) in [(BYTE_LEVEL, "\u{fd}"), (SENTENCEPIECE, "<0xFD>")] {
        let tokenizer = tokenizer(file);
        let id = tokenizer.id(byte).expect("a byte token");
        let mut stream = tokenizer.stream(true);
        let said = (0..20).filter(|_| stream.push(id).expect("decodes").is_some()).count();
        assert!(said > 0, "{byte}");
        assert_eq!(streamed(&tokenizer, &[id; 20], true), "\u{FFFD}".repeat(20));
    }
}

#[test]
fn pieces_show_what_a_token_is() {
    let bytes = tokenizer(BYTE_LEVEL);
    let crab: Vec<String> = bytes.encode("🦀", false).expect("encodes").iter().map(|id| bytes.piece(*id)).collect();
    assert!(crab.iter().all(|piece| piece.starts_with("\\x")), "{crab:?}");
    assert_eq!(crab.concat(), "\\xF0\\x9F\\xA6\\x80");
    let space = bytes.encode(" the", false).expect("encodes");
    assert_eq!(bytes.piece(space[0]), " the");
    assert_eq!(bytes.piece(bytes.encode("\n", false).expect("encodes")[0]), "\n");
    assert_eq!((bytes.piece(0).as_str(), bytes.is_special(0), bytes.is_special(space[0])), ("<|start|>", true, false));
    assert_eq!(bytes.piece(100_000), "<id 100000>");
    let words = tokenizer(SENTENCEPIECE);
    let the = words.encode("the", false).expect("encodes");
    assert_eq!(the.iter().map(|id| words.piece(*id)).collect::<String>(), " the");
    assert_eq!(words.piece(words.id("<0xF0>").expect("a byte")), "\\xF0");
    assert_eq!(words.piece(words.id("<0x0A>").expect("a byte")), "\n");
}

#[test]
fn settings_beside_the_tokenizer_decide_what_frames_a_text() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(Tokenizer::load(dir.path()).expect("readable").is_none());
    let error = Tokenizer::require(dir.path()).expect_err("none").to_string();
    assert!(error.contains("has no tokenizer.json") && error.contains("--ids"), "{error}");
    fs::write(dir.path().join("tokenizer.json"), SENTENCEPIECE).expect("written");
    let framed = |settings: &str| {
        fs::write(dir.path().join("tokenizer_config.json"), settings).expect("written");
        let tokenizer = Tokenizer::require(dir.path()).expect("readable");
        assert_eq!(tokenizer.encode("", false).expect("encodes"), Vec::<u32>::new());
        tokenizer.encode("", true).expect("encodes")
    };
    assert_eq!(framed("{}"), [1], "tokenizer.json puts <s> in front");
    assert_eq!(framed(r#"{"add_bos_token": false, "bos_token": "<s>"}"#), Vec::<u32>::new());
    assert_eq!(framed(r#"{"add_bos_token": true, "bos_token": {"content": "<|start|>"}}"#), [3]);
    assert_eq!(framed(r#"{"add_bos_token": true, "bos_token": null}"#), Vec::<u32>::new());
    assert_eq!(framed(r#"{"add_eos_token": true, "eos_token": "</s>", "bos_token": "<s>"}"#), [2]);
    fs::write(dir.path().join("tokenizer_config.json"), "{").expect("written");
    assert!(Tokenizer::require(dir.path()).expect_err("no JSON").to_string().contains("tokenizer_config.json"));
}

#[test]
fn what_cannot_be_is_refused() {
    let bytes = tokenizer(BYTE_LEVEL);
    let error = bytes.encode(&"a".repeat(LONGEST_PROMPT + 1), true).expect_err("too long").to_string();
    assert!(error.contains("500001 characters"), "{error}");
    for text in ["", "{}", "[]", "{\"model\": {\"type\": \"BPE\"}}"] {
        let error = Tokenizer::from_bytes(text.as_bytes(), "DIR/tokenizer.json").expect_err(text).to_string();
        assert!(error.starts_with("DIR/tokenizer.json is not a tokenizer"), "{error}");
    }
    assert!(check_ids(&[0, 9], 10).is_ok());
    let error = check_ids(&[0, 10], 10).expect_err("outside").to_string();
    assert_eq!(error, "token id 10, number 1 of the ids, is outside the vocabulary of 10 tokens (0 to 9)");
}
