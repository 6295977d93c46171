//! A missing key stands for what the configuration class of the family says: `fixtures/model/defaults.json`, which
//! `reference/defaults.py` writes from transformers.

use layerstep::model::spec::Mlp;
use layerstep::model::{Family, Spec};
use layerstep::ops::Activation;
use serde_json::{Value, json};

/// What the fixture says of a family, of ours.
fn facts(spec: &Spec, of_class: &Value) -> Value {
    let attn = &spec.layers[0].attn;
    // Layers with a window may have a RoPE of their own.
    let attns = || spec.layers.iter().map(|layer| &layer.attn);
    let rotated = attns().find(|attn| attn.window.is_none() && attn.rope.is_some());
    let rope = rotated.or_else(|| attns().next()).and_then(|attn| attn.rope.as_ref());
    let function = |act: Activation| {
        let names = Activation::NAMES.iter().filter(|(_, known)| *known == act).map(|(name, _)| Value::from(*name));
        names.into_iter().find(|name| *name == of_class["function"]).unwrap_or_else(|| format!("{act:?}").into())
    };
    // What no key says is not compared.
    let said = |key: &str, own: Value| if of_class[key].is_null() { Value::Null } else { own };
    let windows: Vec<Option<usize>> = spec.layers.iter().take(6).map(|layer| layer.attn.window).collect();
    let (act, width) = match &spec.layers[0].mlp {
        Mlp::Plain(feed) | Mlp::Gated(feed) => (Some(feed.act).filter(|_| !feed.xielu), json!(feed.width)),
        // Their own width has a key of its own.
        Mlp::Experts(experts) => (Some(experts.feed.act), of_class["width"].clone()),
    };
    let of_layer = spec.layers[0].attn_norms;
    let eps = spec.norm.or(of_layer.pre).or(of_layer.post).map(|norm| norm.eps);
    json!({
        "vocab": spec.vocab, "hidden": spec.hidden, "width": width, "layers": spec.layers.len(), "heads": attn.heads,
        "key_heads": attn.kv_heads, "head_dim": attn.head_dim, "positions": said("positions", json!(spec.positions)),
        "eps": said("eps", json!(eps)), "function": said("function", act.map_or("xielu".into(), function)), "tied": said("tied", json!(spec.head.is_some_and(|head| head.tied))),
        "theta": said("theta", json!(rope.map(|rope| rope.theta))), "rotated": rope.map(|rope| rope.dims),
        "windows": windows,
    })
}

#[test]
fn every_family_has_the_defaults_of_its_class() {
    let fixture: Value =
        serde_json::from_str(include_str!("../../fixtures/model/defaults.json")).expect("a fixture of defaults.py");
    for family in Family::ALL {
        let mut keys = fixture[family.name].get("given").cloned().unwrap_or_else(|| json!({}));
        keys["model_type"] = family.name.into();
        let text = keys.to_string();
        let (spec, notes) = Spec::from_json(&text, "f").unwrap_or_else(|error| panic!("{}: {error}", family.name));
        assert_eq!(notes, Vec::<String>::new(), "{}", family.name);
        let mut of_class = fixture[family.name].clone();
        assert!(of_class.is_object(), "{}: run reference/defaults.py", family.name);
        if let Some(facts) = of_class.as_object_mut() {
            facts.remove("given");
        }
        if let Some(eps) = of_class["eps"].as_f64() {
            of_class["eps"] = json!(eps as f32);
        }
        assert_eq!(facts(&spec, &of_class), of_class, "{}", family.name);
    }
}
