//! RoPE in config.json: speeds, factors, and what is refused.

use serde_json::{Value, json};

use super::{check, read, rope};

/// Speeds of the first four pairs and of the last, after `length` tokens, and the factor of cosines and sines.
#[expect(clippy::needless_pass_by_value, reason = "callers write the value on the spot")]
fn speeds(changes: Value, kind: &str, length: usize, first: [f32; 4], last: f32, factor: f64) {
    let (spec, _) = read("llama", changes.clone());
    let frequencies = rope(&spec).frequencies(length);
    let found = frequencies.speeds();
    for (speed, expected) in found[..4].iter().zip(&first).chain([(&found[7], &last)]) {
        let near = if *expected == 0.0 { *speed == 0.0 } else { (speed / expected - 1.0).abs() < 3e-7 };
        assert!(near, "{changes}: {speed} is not {expected}");
    }
    assert_eq!(rope(&spec).scaling.name(), kind);
    assert!((rope(&spec).factor / factor - 1.0).abs() < 1e-12, "{changes}: {}", rope(&spec).factor);
}

#[test]
fn rotation_speeds_are_those_of_transformers() {
    let llama3 = |extra: Value| {
        let mut keys = json!({"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0});
        keys.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        keys
    };
    let long = json!({"original_max_position_embeddings": 32});
    let linear = json!({"type": "linear", "factor": 2.5});
    let cases = [
        (json!({}), "default", [1.0, 0.316_227_76, 0.1, 0.031_622_78], 0.000_316_227_8),
        (
            json!({"rope_theta": 500.0, "rope_scaling": llama3(long.clone())}),
            "llama3",
            [1.0, 0.269_257_34, 0.056_941, 0.024_312_312],
            0.001_087_279_6,
        ),
        (
            json!({"rope_theta": 500.0, "rope_scaling": llama3(long), "original_max_position_embeddings": 64}),
            "llama3",
            [1.0, 0.459_863_28, 0.113_882, 0.024_312_312],
            0.001_087_279_6,
        ),
        (
            json!({"rope_theta": 500.0, "rope_scaling": llama3(json!({})), "max_position_embeddings": 64}),
            "llama3",
            [1.0, 0.459_863_28, 0.113_882, 0.024_312_312],
            0.001_087_279_6,
        ),
        (
            json!({"rope_theta": 500.0, "rope_parameters":
                llama3(json!({"original_max_position_embeddings": 32, "rope_theta": 700.0}))}),
            "llama3",
            [1.0, 0.247_534_4, 0.048_603_27, 0.021_430_3],
            0.000_809_989_23,
        ),
        (
            json!({"rope_theta": 500.0, "rope_scaling": linear, "rope_parameters": {"rope_theta": 900.0}}),
            "linear",
            [0.4, 0.183_945_31, 0.084_589_7, 0.038_899_697],
            0.001_739_647_5,
        ),
    ];
    for (changes, kind, first, last) in cases {
        speeds(changes, kind, 13, first, last, 1.0);
    }
    let nested = json!({"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 77.0}}});
    assert_eq!(rope(&read("qwen3", nested).0).theta, 77.0);
}

/// `LlamaRotaryEmbedding` of transformers, after a forward that ends at that length.
#[test]
fn speeds_of_longer_contexts_are_those_of_transformers() {
    let short = [1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 1.9, 2.0];
    let long = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 9.0];
    let scaled = |kind: &str, extra: Value| {
        let mut keys = json!({"rope_type": kind, "factor": 4.0});
        if kind == "longrope" {
            keys = json!({"rope_type": kind, "short_factor": short, "long_factor": long});
        }
        keys.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        json!({"max_position_embeddings": 64, "rope_scaling": keys})
    };
    let with = |mut changes: Value, key: &str, value: Value| {
        changes[key] = value;
        changes
    };
    let original = json!({"original_max_position_embeddings": 16});
    let yarn = [1.0, 0.079_056_94, 0.025, 0.007_905_695];
    speeds(scaled("yarn", original.clone()), "yarn", 13, yarn, 7.905_695e-5, 1.138_629_436_111_989);
    let ratio = json!({"original_max_position_embeddings": 16, "factor": null});
    speeds(scaled("yarn", ratio), "yarn", 13, yarn, 7.905_695e-5, 1.138_629_436_111_989);
    let whole = json!({"original_max_position_embeddings": 16, "truncate": false, "beta_fast": 8, "beta_slow": 2});
    let first = [1.0, 0.114_965_82, 0.052_868_56, 0.024_312_312];
    let changes = with(scaled("yarn", whole), "rope_theta", json!(500.0));
    speeds(changes, "yarn", 13, first, 0.001_087_279_6, 1.138_629_436_111_989);
    let scales = json!({"original_max_position_embeddings": 16, "beta_fast": 2, "beta_slow": 0.5, "mscale": 1.0,
        "mscale_all_dim": 0.5});
    let first = [1.0, 0.344_897_45, 0.105_737_12, 0.024_312_312];
    let changes = with(scaled("yarn", scales), "rope_theta", json!(500.0));
    speeds(changes, "yarn", 13, first, 0.001_087_279_6, 1.064_821_625_369_571_5);
    let changes = with(scaled("yarn", json!({"attention_factor": 1.5})), "original_max_position_embeddings", json!(32));
    speeds(changes, "yarn", 13, [1.0, 0.197_642_36, 0.025, 0.007_905_695], 7.905_695e-5, 1.5);

    let dynamic = || with(scaled("dynamic", json!({})), "max_position_embeddings", json!(16));
    let plain = [1.0, 0.316_227_76, 0.1, 0.031_622_78];
    speeds(dynamic(), "dynamic", 13, plain, 0.000_316_227_8, 1.0);
    speeds(dynamic(), "dynamic", 16, plain, 0.000_316_227_8, 1.0);
    speeds(dynamic(), "dynamic", 20, [1.0, 0.286_414_95, 0.082_033_54, 0.023_495_633], 0.000_158_113_9, 1.0);

    let few = [1.0, 0.287_479_76, 0.083_333_336, 0.024_325_214];
    let many = [1.0, 0.210_818_5, 0.05, 0.010_540_925];
    let factor = 1.224_744_871_391_589;
    speeds(scaled("longrope", original.clone()), "longrope", 16, few, 0.000_158_113_9, factor);
    speeds(scaled("longrope", original), "longrope", 17, many, 3.513_642e-5, factor);
    let outside = with(scaled("longrope", json!({"factor": 8.0})), "original_max_position_embeddings", json!(32));
    speeds(outside.clone(), "longrope", 32, few, 0.000_158_113_9, 1.264_911_064_067_351_8);
    speeds(outside, "longrope", 33, many, 3.513_642e-5, 1.264_911_064_067_351_8);
    let given = scaled("longrope", json!({"original_max_position_embeddings": 16, "attention_factor": 1.25}));
    speeds(given, "longrope", 13, few, 0.000_158_113_9, 1.25);

    let proportional = |factor: f64, share: f64, theta: f64| {
        let keys =
            json!({"rope_type": "proportional", "factor": factor, "partial_rotary_factor": share, "rope_theta": theta});
        json!({"rope_parameters": keys})
    };
    speeds(proportional(1.0, 0.25, 1e6), "proportional", 13, [1.0, 0.177_827_94, 0.0, 0.0], 0.0, 1.0);
    let four = [0.125, 0.039_528_47, 0.012_5, 0.003_952_847_3];
    speeds(proportional(8.0, 0.5, 1e4), "proportional", 13, four, 0.0, 1.0);
}

#[test]
fn other_kinds_of_rope_are_refused_by_name() {
    for kind in ["su", "mrope", "axial"] {
        let scaling = json!({"rope_type": kind, "factor": 2.0});
        check(
            "llama",
            json!({"rope_scaling": scaling}),
            &["rope_scaling.rope_type", kind, "default, linear, dynamic, yarn, longrope, llama3 and proportional"],
        );
        check("qwen2", json!({"rope_parameters": {"type": kind}}), &["rope_parameters.type", kind]);
    }
    let numbers = json!({"type": "longrope", "short_factor": [1.0, 2.0], "long_factor": [1.0, 2.0]});
    check("llama", json!({"rope_scaling": numbers}), &["rope_scaling.short_factor", "a list of 8 numbers"]);
    check("llama", json!({"rope_scaling": {"type": "yarn"}}), &["rope_scaling.factor", "above 0"]);
    let foreign = json!({"type": "linear", "factor": 2.0, "attention_factor": 1.1});
    check("llama", json!({"rope_scaling": foreign}), &["rope_scaling.attention_factor", "RoPE type linear"]);
    check("llama", json!({"rope_scaling": {"type": "linear"}}), &["rope_scaling.factor", "null", "above 0"]);
    check("llama", json!({"rope_scaling": {"type": "linear", "factor": 0}}), &["rope_scaling.factor"]);
    check("llama", json!({"rope_scaling": "linear"}), &["rope_scaling", "an object or null"]);
    check(
        "llama",
        json!({"rope_parameters": {"partial_rotary_factor": 0.5}}),
        &["rope_parameters.partial_rotary_factor", "0.5"],
    );
    check("llama", json!({"rope_theta": 0}), &["rope_theta"]);
    check("llama", json!({"rope_scaling": {"mrope_section": [1, 2]}}), &["rope_scaling.mrope_section"]);
    let two = json!({"full_attention": {"rope_theta": 1.0}, "sliding_attention": {"rope_theta": 2.0}});
    check("llama", json!({"rope_parameters": two}), &["rope_parameters", "no attention types"]);
    let both = json!(["full_attention", "sliding_attention", "full_attention", "full_attention"]);
    let mixed = json!({"rope_parameters": two, "layer_types": both, "use_sliding_window": true});
    check("qwen3", mixed, &["rope_parameters", "one RoPE for all layers"]);
    let full = json!({"rope_parameters": two, "layer_types": ["full_attention", "full_attention", "full_attention", "full_attention"]});
    assert_eq!(rope(&read("qwen3", full).0).theta, 1.0);
}

#[test]
fn classes_have_rope_of_their_own_where_nothing_is_said() {
    let of = |name: &str, changes: Value| rope(&read(name, changes).0).clone();
    let apertus = of("apertus", json!({}));
    assert_eq!((apertus.theta, apertus.scaling.name()), (12e6, "llama3"));
    assert_eq!(of("apertus", json!({"rope_theta": 5.0})), apertus, "the class has said it all");
    let linear = json!({"rope_theta": 5.0, "rope_scaling": {"type": "linear", "factor": 2.0}});
    assert_eq!((of("apertus", linear.clone()).theta, of("apertus", linear).scaling.name()), (5.0, "linear"));
    let growth = of("ministral3", json!({})).growth.expect("it grows");
    assert_eq!((growth.by, growth.every), (0.1, 16_384.0));
    assert_eq!([0, 16_383, 16_384].map(|position| growth.of(position)), [1.0, 1.0, 1.0 + 0.1 * 2f32.ln()]);
    check("ministral3", json!({"rope_scaling": {"type": "yarn", "factor": 2.0}}), &["llama_4_scaling_beta"]);
    let alpha =
        |alpha: f64| json!({"rope_theta": 100.0, "rope_scaling": {"type": "dynamic", "factor": 1.0, "alpha": alpha}});
    assert_eq!(of("hunyuan_v1_dense", alpha(0.0)).scaling.limit(), Some(2048), "dynamic as it is");
    let stretched = of("hunyuan_v1_dense", alpha(8.0));
    assert_eq!(stretched.scaling.limit(), None);
    let expected = (100.0f64 * 8.0f64.powf(16.0 / 14.0)).powf(-0.125) as f32;
    assert!((stretched.frequencies(9).speeds()[1] / expected - 1.0).abs() < 1e-6);
    check("llama", alpha(8.0), &["rope_scaling.alpha"]);
}
