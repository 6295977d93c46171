//! Chat templates render what `apply_chat_template` of transformers renders. Expected texts: fixtures/model/chat.json.

use std::fs;
use std::time::{Duration, SystemTime};

use layerstep::model::chat::{ChatError, ChatTemplate, Message};
use serde_json::{Value, json};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn hello() -> Vec<Message> {
    vec![Message::new("user", "Hi")]
}

#[test]
fn templates_render_as_in_transformers() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/model/chat.json")).expect("a fixture");
    let mut count = 0;
    for case in fixture["cases"].as_array().expect("cases") {
        let name = text(case, "name");
        let template = ChatTemplate::from_text(text(case, "template"), &case["tokens"].to_string(), name);
        for rendered in case["rendered"].as_array().expect("texts") {
            count += 1;
            let messages: Vec<Message> = fixture["conversations"][text(rendered, "conversation")]
                .as_array()
                .expect("messages")
                .iter()
                .map(|message| Message::new(text(message, "role"), text(message, "content")))
                .collect();
            let result = template.as_ref().map(|template| template.render(&messages, rendered["prompt"] == true));
            match (result, rendered.get("error").and_then(Value::as_str)) {
                (Ok(Ok(ours)), None) => assert_eq!(ours, text(rendered, "expected"), "{name}: {rendered}"),
                (Ok(Err(ChatError::Refused { detail, .. })), Some("TemplateError")) => {
                    assert_eq!(detail, text(rendered, "message"), "{name}");
                }
                (Err(ChatError::Syntax { .. }), Some("TemplateSyntaxError"))
                | (Ok(Err(ChatError::Failed { .. })), Some("UndefinedError")) => {}
                (result, _) => panic!("{name}: {result:?} where {rendered} was expected"),
            }
        }
    }
    assert_eq!(count, 126);
}

#[test]
fn templates_are_found_where_models_keep_them() {
    let found = |files: &[(&str, Value)]| {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
            fs::write(dir.path().join(name), text).expect("written");
        }
        ChatTemplate::load(dir.path()).expect("readable").map(|t| t.render(&hello(), false).expect("renders"))
    };
    let settings = "tokenizer_config.json";
    assert_eq!(found(&[]), None);
    assert_eq!(found(&[(settings, json!({"bos_token": "<s>"}))]), None);
    assert_eq!(
        found(&[(settings, json!({"bos_token": "<s>", "chat_template": "{{ bos_token }}a"}))]).as_deref(),
        Some("<s>a")
    );
    let token = json!({"__type": "AddedToken", "content": "<s>", "lstrip": false});
    assert_eq!(
        found(&[(settings, json!({"bos_token": token, "chat_template": "{{ bos_token }}b"}))]).as_deref(),
        Some("<s>b")
    );
    let named = json!([{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]);
    assert_eq!(found(&[(settings, json!({"chat_template": named}))]).as_deref(), Some("yes"));
    let own = [
        ("chat_template.jinja", json!("own {{ eos_token }}")),
        (settings, json!({"eos_token": "</s>", "chat_template": "no"})),
    ];
    assert_eq!(found(&own).as_deref(), Some("own </s>"));
    let empty = tempfile::tempdir().expect("a folder");
    let error = ChatTemplate::require(empty.path()).expect_err("none").to_string();
    assert!(error.contains("has no chat template") && error.contains("without --chat"), "{error}");
}

#[test]
fn the_date_can_be_had() {
    let check = |format: &str, seconds: u64, expected: &str| {
        let template =
            ChatTemplate::from_text(&format!("{{{{ strftime_now('{format}') }}}}"), "{}", "t").expect("parses");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(template.render_at(&hello(), false, now).expect("renders"), expected);
    };
    check("%d %b %Y", 0, "01 Jan 1970");
    check("%Y-%m-%d %H:%M:%S %A %p %I", 951_782_400 + 13 * 3600 + 62, "2000-02-29 13:01:02 Tuesday PM 01");
    check("%-d %B %y 100%%", 1_709_164_800, "29 February 24 100%");
    check("%a", 4_102_444_799, "Thu");
}

#[test]
fn bombs_are_stopped() {
    for bomb in [
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 'x' * 1000000000 }}",
    ] {
        let template = ChatTemplate::from_text(bomb, "{}", "t").expect("parses");
        let error = template.render(&hello(), false).expect_err(bomb).to_string();
        assert!(error.starts_with("the chat template of t failed"), "{error}");
    }
    let deep = format!("{}1{}", "{{ ".to_owned() + &"(".repeat(50_000), ")".repeat(50_000) + " }}");
    assert!(matches!(ChatTemplate::from_text(&deep, "{}", "t"), Err(ChatError::Syntax { .. })));
}
