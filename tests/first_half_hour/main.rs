//! What users meet in their first half hour: each situation as it is typed, and the first lines of the answer. The first line
//! says what is wrong, the second what to do, or what it does to the output.

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use layerstep::formats::{Archive, write_safetensors};
use ndarray::{ArrayD, ArrayViewD, Axis};
use support::repository;

/// The tiny model that everything happens to, and PyTorch's dump of it.
const MODEL: &str = "reference/tiny/llama";
const REFERENCE: &str = "reference/tiny/llama/reference.safetensors";

/// What is typed behind `layerstep`, `DIR` being a folder of the situation; the exit status; the first lines of the answer,
/// where digits of noise are `#`.
struct Situation {
    what: &'static str,
    make: fn(&Path),
    typed: &'static str,
    status: i32,
    says: &'static [&'static str],
}

const SITUATIONS: &[Situation] = &[
    Situation {
        what: "f16 overflows: NaN everywhere, and only blocks were dumped",
        make: |folder| {
            loud_model(&folder.join("model"));
            layerstep(&["capture", &name(folder, "model"), "--ids", IDS, "-o", &name(folder, "right.safetensors")]);
            rewrite(
                &folder.join("right.safetensors"),
                &folder.join("mine.safetensors"),
                |_| {},
                |key, values| {
                    let layer = key.strip_prefix("model.layers.").filter(|rest| !rest.contains('.'));
                    let late = layer.is_none_or(|layer| layer != "0") && key != "model.embed_tokens";
                    let kept = layer.is_some() || ["model.embed_tokens", "lm_head"].contains(&key);
                    kept.then(|| if late { nan_from(values, 2) } else { values })
                },
            );
        },
        typed: "diff --model DIR/model --candidate DIR/mine.safetensors",
        status: 1,
        says: &[
            "diverged: candidate: first non-finite: model.layers.1, token 2, channel 0: NaN; the right value is ",
            "fix: compute this op in bf16 or f32, or scale what enters it",
            "why: overflow_f16: a number beyond f16's range, 65,504, became infinite: ",
        ],
    },
    Situation {
        what: "another eps in every norm, and only blocks were dumped: as far off as bf16 products",
        make: |folder| {
            other_weights(&folder.join("model"), |_, _| ());
            let config = folder.join("model/config.json");
            let text = fs::read_to_string(&config).expect("a file");
            fs::write(&config, text.replace("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 0.01")).expect("written");
            layerstep(&["capture", &name(folder, "model"), "--ids", IDS, "-o", &name(folder, "all.safetensors")]);
            rewrite(
                &folder.join("all.safetensors"),
                &folder.join("mine.safetensors"),
                |_| {},
                |key, values| {
                    let is_block = key.strip_prefix("model.layers.").is_some_and(|rest| !rest.contains('.'));
                    (is_block || ["model.embed_tokens", "lm_head"].contains(&key)).then_some(values)
                },
            );
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 1,
        says: &[
            "diverged: candidate: norm_eps in layers 0-2: eps 1e-2",
            "fix: add rms_norm_eps of config.json to the mean square, under the root",
        ],
    },
    Situation {
        what: "one file of the dump is damaged",
        make: |folder| {
            rewrite(
                &repository(REFERENCE),
                &folder.join("mine.safetensors"),
                |_| {},
                |key, values| {
                    let damaged = key == "model.layers.1.mlp.down_proj";
                    Some(if damaged { nan_from(values, 12) } else { values })
                },
            );
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 1,
        says: &[
            "mislabelled: candidate: first non-finite: model.layers.1.mlp.down_proj, token 12, channel 0: NaN; the right value \
             is ",
            "output: candidate against engine: KL ",
        ],
    },
    Situation {
        what: "both decode, and from step 3 on they chose other tokens",
        make: |folder| {
            let other = |meta: &mut BTreeMap<String, String>| {
                let ids = meta["input_ids"].replace(" 77,", " 9,").replace(",77,", ",9,");
                meta.insert("input_ids".into(), ids);
            };
            rewrite(&repository(REFERENCE), &folder.join("mine.safetensors"), other, |_, values| Some(values));
        },
        typed: "diff --model reference/tiny/llama --reference reference/tiny/llama/reference.safetensors --candidate \
                DIR/mine.safetensors",
        status: 0,
        says: &[
            "match: 114 activations agree: largest error 0.0e0; from step 2 on they fed other tokens: the reference 77, the \
             candidate 9 (margin ",
            "output: candidate against reference: KL below 1e-8 nats, the same likeliest token at 14 of 14 positions",
        ],
    },
    Situation {
        what: "an engine with weights of four bits",
        make: |folder| {
            quantised_model(&folder.join("model"));
            let mine = name(folder, "mine.safetensors");
            layerstep(&["capture", &name(folder, "model"), "--ids", IDS, "-o", &mine]);
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 0,
        says: &[
            "rounding: 57 activations are as far off as rounding makes them: largest error ",
            "output: candidate against engine: KL 2.7e-1 nats, the same likeliest token at 11 of 13 positions",
            "note: candidate: weights of about 4 bits in q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj: ",
        ],
    },
    Situation {
        what: "two dumps alone, of which one rotates the wrong pairs",
        make: |_| (),
        typed: "diff --reference reference/demo/reference.safetensors --candidate reference/demo/candidate.safetensors",
        status: 1,
        says: &[
            "diverged: model.layers.2.self_attn.q_rope is the first activation out of line: error 8.6e-1, from token 1 on",
            "where: model.layers.2.self_attn.q_rope: after model.layers.2.self_attn.v_proj, in this op",
            "output: candidate against reference: KL ",
        ],
    },
    Situation {
        what: "a dump that was written before anything was computed",
        make: |folder| {
            let blank = |_: &str, values: ArrayD<f32>| Some(values * 0.0);
            rewrite(&repository(REFERENCE), &folder.join("mine.safetensors"), |_| {}, blank);
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 1,
        says: &["diverged: candidate: all 285 tensors of the dump are zeros", "why: unknown: nothing was copied"],
    },
    Situation {
        what: "a pass in f32 that is stored in f16",
        make: |folder| {
            let narrow = |_: &str, values: ArrayD<f32>| Some(values.mapv(|v| half::f16::from_f32(v).to_f32()));
            rewrite(&repository(REFERENCE), &folder.join("mine.safetensors"), |_| {}, narrow);
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 0,
        says: &[
            "rounding: 285 activations agree as far as f16 allows: largest error ",
            "output: candidate against engine: KL ",
        ],
    },
    Situation {
        what: "a key/value cache of q8_0, and only blocks were dumped",
        make: |_| (),
        typed: "diff --model tests/cases/models/plain --candidate tests/cases/p36/layers.safetensors",
        status: 0,
        says: &[
            "rounding: 35 activations agree: largest error 2.2e-2; products are rounded as the notes say",
            "output: candidate against engine: KL 1.4e-3 nats, the same likeliest token at 12 of 12 positions",
            "note: candidate: low_precision_cache: keys and values rounded to int8 in scores, context",
        ],
    },
    Situation {
        what: "names of SGLang, which calls act_fn what is multiplied already, and attn what attention gives",
        make: |folder| {
            let words = [("mlp.act_mul", "mlp.act_fn"), ("self_attn.context", "self_attn.attn")];
            let kept = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "model.embed_tokens", "lm_head"];
            rename(&folder.join("mine.safetensors"), |key| {
                let word = words.iter().find(|(own, _)| key.ends_with(own));
                let renamed = word.map(|(own, theirs)| key.replace(own, theirs));
                renamed.or_else(|| kept.iter().any(|own| key.ends_with(own)).then(|| key.into()))
            });
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 0,
        says: &[
            "match: 17 activations agree: largest error ",
            "output: candidate against engine: KL below 1e-8 nats, the same likeliest token at 13 of 13 positions",
            "note: candidate: ids recovered from the embedding rows of mine.safetensors",
            "note: candidate: model.layers.0.mlp.act_fn and its like are act_mul, as shape and values say, not act_fn",
        ],
    },
    Situation {
        what: "a padded batch, whose pads are seen",
        make: |_| (),
        typed: "diff --model tests/cases/models/plain --reference tests/cases/p13/reference.safetensors --candidate \
                tests/cases/p13/candidate.safetensors --ids 0,0,0,62,150,38,160,302,71,223 --batch 0",
        status: 1,
        says: &[
            "diverged: candidate: causal_mask_missing in layers 0-3: 3 pad keys are seen by the tokens, which give them up to 92 \
             % of their attention",
            "fix: hide the keys of pads from every query, as attention_mask says",
        ],
    },
    Situation {
        what: "the rows behind a cached prefix only, without embeddings",
        make: |_| (),
        typed: "diff --model tests/cases/models/plain --candidate tests/cases/p19/right.safetensors --ids \
                121,210,229,237,309,310,165,68,57,70,277,208",
        status: 0,
        says: &[
            "match: 74 activations agree: largest error 1.6e-6",
            "output: candidate against engine: KL below 1e-8 nats, the same likeliest token at 4 of 4 positions",
            "note: candidate: 4 of 12 rows are present: [8, 9, 10, 11]",
        ],
    },
    Situation {
        what: "logits of another row than the last",
        make: |folder| {
            let off_by_one = |key: &str, values: ArrayD<f32>| {
                let last = |values: ArrayD<f32>| values.slice_axis(Axis(0), (11..12).into()).to_owned();
                (!key.contains('@')).then(|| if key == "lm_head" { last(values) } else { values })
            };
            let prompt = |meta: &mut BTreeMap<String, String>| {
                *meta = [("input_ids".to_string(), format!("[{IDS}]"))].into();
            };
            rewrite(&repository(REFERENCE), &folder.join("mine.safetensors"), prompt, off_by_one);
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 1,
        says: &[
            "mislabelled: candidate: ref_token_rows: its row is that of token 11",
            "fix: dump all rows of the sequence in its order",
        ],
    },
    Situation {
        what: "an engine with AWQ's scales, which stand in a norm and are undone by the weights after it",
        make: |_| (),
        typed: "diff --model tests/cases/models/plain --candidate tests/cases/p22/candidate.safetensors",
        status: 0,
        says: &[
            "rounding: 75 activations agree: largest error 1.5e-6; 4 of them stand in another layout, which changes nothing",
            "output: candidate against engine: KL below 1e-8 nats, the same likeliest token at 12 of 12 positions",
            "note: candidate: model.layers.0.input_layernorm and 3 more: each channel is off by a factor of its own",
        ],
    },
    Situation {
        what: "names that nobody knows, and a name of two uses",
        make: |folder| {
            let words = [
                ("input_layernorm", "n1"),
                ("self_attn.q_rope", "q"),
                ("self_attn.k_rope", "k"),
                ("self_attn.v_proj", "v"),
                ("self_attn.probs", "att"),
                ("self_attn.context", "mix"),
                ("mlp.act_mul", "act"),
                ("mlp.down_proj", "second"),
            ];
            rename(&folder.join("mine.safetensors"), |key| {
                let whole = [("model.embed_tokens", "x_in"), ("model.norm", "fin"), ("lm_head", "logits")];
                let whole = whole.iter().find(|(own, _)| *own == key).map(|(_, mine)| (*mine).to_string());
                let (layer, rest) = key
                    .strip_prefix("model.layers.")
                    .map_or((key, ""), |key| key.split_once('.').unwrap_or((key, "block")));
                let word = words.iter().find(|(own, _)| *own == rest).map(|(_, mine)| format!("blk{layer}_{mine}"));
                let block = (rest == "block").then(|| format!("blk{layer}_out"));
                whole.or(word).or(block)
            });
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 0,
        says: &[
            "match: 30 activations agree: largest error ",
            "output: candidate against engine: KL below 1e-8 nats, the same likeliest token at 13 of 13 positions",
        ],
    },
    Situation {
        what: "a file for each tensor, with a counter before its name",
        make: |_| (),
        typed: "diff --model tests/cases/models/tied --candidate tests/cases/p34/dump --ids 291,9,262,193,3,62,222,232,220,251",
        status: 0,
        says: &[
            "match: 75 activations agree: largest error 1.5e-6",
            "output: candidate against engine: KL below 1e-8 nats, the same likeliest token at 10 of 10 positions",
            "note: candidate: the names begin with a counter, which was passed over",
        ],
    },
    Situation {
        what: "layers that are numbered from 1",
        make: |folder| {
            rename(&folder.join("mine.safetensors"), |key| {
                let (layer, rest) = key.strip_prefix("model.layers.")?.split_once('.')?;
                let layer: usize = layer.parse().ok()?;
                rest.starts_with("self_attn.").then(|| format!("layers.{}.{rest}", layer + 1))
            });
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors --ids \
                92,99,145,182,9,30,158,182,50,145,167,83,54",
        status: 0,
        says: &[
            "match: 27 activations agree: largest error ",
            "note: candidate: its layers are numbered from 1 to 3: read as 0 to 2",
        ],
    },
    Situation {
        what: "logarithms of probabilities in the place of logits",
        make: |folder| {
            let logs = |key: &str, mut values: ArrayD<f32>| {
                if key == "lm_head" {
                    for mut row in values.lanes_mut(Axis(1)) {
                        let sum: f32 = row.iter().map(|value| value.exp()).sum();
                        row.mapv_inplace(|value| value - sum.ln());
                    }
                }
                let renamed = if key == "lm_head" { "logprobs" } else { key };
                (!key.contains('@')).then(|| (renamed.to_string(), values))
            };
            write(&folder.join("mine.safetensors"), logs);
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 0,
        says: &["match: 56 activations agree: largest error "],
    },
    Situation {
        what: "decode steps in the dump, and only the prompt as ids",
        make: |folder| {
            let kept = |key: &str| !key.starts_with("model.embed_tokens");
            write(&folder.join("mine.safetensors"), |key, values| kept(key).then(|| (key.to_string(), values)));
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors --ids \
                92,99,145,182,9,30,158,182,50,145,167,83,54",
        status: 0,
        says: &["match: 56 activations agree: largest error "],
    },
    Situation {
        what: "decode steps in one file, under names that nobody knows",
        make: |folder| {
            write(&folder.join("mine.safetensors"), |key, values| {
                let (name, forward) = key.split_once('@').unwrap_or((key, "0"));
                let rest = name.strip_prefix("model.layers.")?;
                let (layer, rest) = rest.split_once('.').unwrap_or((rest, "stream"));
                let words = [
                    ("self_attn.q_proj", "aq"),
                    ("self_attn.v_proj", "av"),
                    ("mlp.down_proj", "second"),
                    ("stream", "z"),
                ];
                let (_, word) = words.iter().find(|(own, _)| *own == rest)?;
                Some((format!("step{forward}/blk{layer}_{word}"), values))
            });
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors --ids \
                92,99,145,182,9,30,158,182,50,145,167,83,54,149,77,11,85",
        status: 0,
        says: &[
            "match: 60 activations agree: largest error ",
            "note: candidate: the forward stands in the names: step4/blk2_z is read as blk2_z of forward 4",
        ],
    },
    Situation {
        what: "one forward under names of one's own, with a counter of forwards, and the final norm is missing",
        make: |folder| {
            write(&folder.join("mine.safetensors"), |key, values| {
                let layer = key.strip_prefix("model.layers.").filter(|rest| !rest.contains('.'));
                let whole = [("model.embed_tokens", "tokvec"), ("lm_head", "vocab")];
                let whole = whole.iter().find(|(own, _)| *own == key).map(|(_, mine)| format!("s0_{mine}"));
                let name = layer.map(|layer| format!("s0_laag{layer}")).or(whole)?;
                (!key.contains('@')).then(|| {
                    let values = if key == "lm_head" { unnormed() } else { values };
                    (name, values)
                })
            });
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 1,
        says: &["diverged: candidate: "],
    },
    Situation {
        what: "a dump of one tensor",
        make: |folder| {
            rename(&folder.join("mine.safetensors"), |key| (key == "lm_head").then(|| "vocab".to_string()));
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors --ids \
                92,99,145,182,9,30,158,182,50,145,167,83,54",
        status: 0,
        says: &["match: 1 activation agrees: largest error "],
    },
    Situation {
        what: "all hidden states in one tensor, under a name of one's own",
        make: |folder| {
            let archive = Archive::open(&repository(REFERENCE)).expect("a file of tensors");
            let names = ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.layers.2"];
            let states: Vec<ArrayD<f32>> =
                names.iter().map(|name| archive.read(name).expect("a tensor").into_f32()).collect();
            let views: Vec<ArrayViewD<f32>> = states.iter().map(|state| state.view()).collect();
            let hidden = ndarray::stack(Axis(0), &views).expect("of one shape");
            let tensors = [("hidden".to_string(), hidden.view())];
            write_safetensors(&folder.join("mine.safetensors"), &tensors, &BTreeMap::new()).expect("written");
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors --ids \
                92,99,145,182,9,30,158,182,50,145,167,83,54",
        status: 0,
        says: &["match: 4 activations agree: largest error "],
    },
    Situation {
        what: "rows that fill up a round number, and nothing tells",
        make: |folder| {
            write(&folder.join("mine.safetensors"), |key, values| {
                let room = |values: &ArrayD<f32>| ArrayD::from_elem(ndarray::IxDyn(&[3, values.shape()[1]]), 7.5f32);
                let kept = values.ndim() == 2 && !key.contains('@') && key != "model.embed_tokens";
                kept.then(|| {
                    let padded = ndarray::concatenate(Axis(0), &[values.view(), room(&values).view()]);
                    (key.to_string(), padded.expect("alike"))
                })
            });
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors --ids \
                92,99,145,182,9,30,158,182,50,145,167,83,54",
        status: 0,
        says: &[
            "match: 44 activations agree: largest error ",
            "output: candidate against engine: KL below 1e-8 nats, the same likeliest token at 13 of 13 positions",
            "note: candidate: 16 rows are stored for 13 ids: the 3 rows behind them are left out",
        ],
    },
    Situation {
        what: "ids of something else, and no embeddings in the dump",
        make: |folder| {
            rename(&folder.join("mine.safetensors"), |key| (key != "model.embed_tokens").then(|| key.to_string()));
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors --ids 1,2,3,4,5,6,7,8,9,10,11,12,13",
        status: 1,
        says: &[
            "diverged: candidate: model.layers.0.input_layernorm is not what the start gives: ",
            "fix: check the ids and the model: nothing of layer 0 agrees",
        ],
    },
    Situation {
        what: "queries that carry the scale of the scores",
        make: |folder| {
            let scaled = |key: &str, values: ArrayD<f32>| {
                let scale = if key.ends_with("q_rope") { (values.shape()[2] as f32).powf(-0.5) } else { 1.0 };
                (!key.contains('@')).then(|| (key.to_string(), values * scale))
            };
            write(&folder.join("mine.safetensors"), scaled);
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 0,
        says: &["rounding: 57 activations agree: largest error "],
    },
    Situation {
        what: "the demo",
        make: |_| (),
        typed: "diff --model reference/demo/model --reference reference/demo/reference.safetensors --candidate \
                reference/demo/candidate.safetensors",
        status: 1,
        says: &[
            "diverged: candidate: rope_interleaved in layer 2: pairs (2i, 2i + 1) where the model has (i, i + 16)",
            "fix: rotate channel i with channel i + d/2",
            "where: model.layers.2.self_attn.q_rope is not what its own inputs give",
            "proof: candidate: with rope_interleaved in layer 2 switched on, our engine gives all 184 activations",
        ],
    },
    Situation {
        what: "the candidate was fed a first token that its ids do not have",
        make: |folder| {
            let without_first = |meta: &mut BTreeMap<String, String>| {
                meta.insert("input_ids".into(), meta["input_ids"].replacen("92, ", "", 1));
                meta.insert("steps".into(), meta["steps"].replacen("13", "12", 1));
                meta.remove("positions");
            };
            rewrite(&repository(REFERENCE), &folder.join("mine.safetensors"), without_first, |_, values| Some(values));
        },
        typed: "diff --model reference/tiny/llama --candidate DIR/mine.safetensors",
        status: 1,
        says: &[
            "inputs_differ: mine.safetensors was fed other tokens than it says: its embedding rows have 92 in front of them",
            "fix: feed both the same ids, with --ids",
        ],
    },
    Situation {
        what: "two dumps without their model, of which one has more decode steps",
        make: |folder| {
            let shorter = |meta: &mut BTreeMap<String, String>| {
                meta.insert("input_ids".into(), meta["input_ids"].replacen(", 11, 85", "", 1));
                meta.insert("steps".into(), "[13, 1, 1]".into());
                meta.remove("positions");
            };
            rewrite(&repository(REFERENCE), &folder.join("right.safetensors"), shorter, |key, values| {
                (!key.ends_with("@3") && !key.ends_with("@4")).then_some(values)
            });
        },
        typed: "diff --reference DIR/right.safetensors --candidate reference/tiny/llama/reference.safetensors",
        status: 0,
        says: &[
            "match: 171 activations agree: largest error 0.0e0; decode steps 3 to 4 are in the candidate only, and not judged",
            "output: candidate against reference: KL below 1e-8 nats, the same likeliest token at 15 of 15 positions",
        ],
    },
];

/// Tokens that are fed.
const IDS: &str = "92,99,145,182,9,30,158,182,50,145,167,83,54";

#[test]
fn the_first_lines_say_what_matters() {
    for situation in SITUATIONS {
        let folder = tempfile::tempdir().expect("a folder");
        (situation.make)(folder.path());
        let typed = situation.typed.replace("DIR", &folder.path().display().to_string());
        let typed: Vec<&str> = typed.split_whitespace().collect();
        check(situation, &typed);
    }
}

fn check(situation: &Situation, typed: &[&str]) {
    let (status, text) = layerstep(typed);
    let what = format!("{}:\n{text}", situation.what);
    assert_eq!(status, situation.status, "{what}");
    // Lines of the terminal are joined to what they are lines of.
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        match (line.strip_prefix("    "), lines.last_mut()) {
            (Some(rest), Some(last)) => *last = format!("{last} {rest}"),
            _ => lines.push(line.to_string()),
        }
    }
    for (line, says) in lines.iter().zip(situation.says) {
        assert!(line.starts_with(says), "{says:?} does not begin {line:?} of {what}");
    }
    assert!(lines.len() >= situation.says.len(), "{what}");
    let narrow = text.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("next: "));
    assert!(narrow.clone().all(|line| line.chars().count() <= 80 || !line.trim().contains(' ')), "{what}");
    assert!(!text.contains("error inf") && !text.contains("error NaN"), "{what}");
}

fn layerstep(typed: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerstep"));
    let output = command.args(typed).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("text");
    (output.status.code().expect("it ends"), text + &String::from_utf8_lossy(&output.stderr))
}

fn name(folder: &Path, file: &str) -> String {
    folder.join(file).display().to_string()
}

/// The logits of a stream that no norm was applied to.
fn unnormed() -> ArrayD<f32> {
    let read = |file: &str, name: &str| {
        let archive = Archive::open(&repository(MODEL).join(file)).expect("a file of tensors");
        let values = archive.read(name).expect("a tensor").into_f32();
        values.into_dimensionality::<ndarray::Ix2>().expect("a matrix")
    };
    let stream = read("reference.safetensors", "model.layers.2");
    stream.dot(&read("model-00002-of-00002.safetensors", "lm_head.weight").t()).into_dyn()
}

/// NaN from a row on.
fn nan_from(mut values: ArrayD<f32>, row: usize) -> ArrayD<f32> {
    let rows = values.len_of(Axis(0));
    values.slice_axis_mut(Axis(0), (row.min(rows)..).into()).fill(f32::NAN);
    values
}

fn rewrite(
    from: &Path,
    to: &Path,
    meta: impl Fn(&mut BTreeMap<String, String>),
    change: impl Fn(&str, ArrayD<f32>) -> Option<ArrayD<f32>>,
) {
    let archive = Archive::open(from).expect("a file of tensors");
    let read = |name: &str| archive.read(name).expect("a tensor").into_f32();
    let entries = archive.entries().iter();
    let kept: Vec<(String, ArrayD<f32>)> =
        entries.filter_map(|entry| Some((entry.name.clone(), change(&entry.name, read(&entry.name))?))).collect();
    let views: Vec<(String, ArrayViewD<f32>)> = kept.iter().map(|(name, v)| (name.clone(), v.view())).collect();
    let mut metadata = archive.metadata().clone();
    meta(&mut metadata);
    write_safetensors(to, &views, &metadata).expect("written");
}

/// The prefill of PyTorch's dump under other names, without its metadata.
fn rename(to: &Path, name: impl Fn(&str) -> Option<String>) {
    write(to, |key, values| if key.contains('@') { None } else { Some((name(key)?, values)) });
}

/// PyTorch's dump with other names and values, without its metadata.
fn write(to: &Path, change: impl Fn(&str, ArrayD<f32>) -> Option<(String, ArrayD<f32>)>) {
    let archive = Archive::open(&repository(REFERENCE)).expect("a file of tensors");
    let names = archive.entries().iter().map(|entry| entry.name.as_str());
    let kept: Vec<(String, ArrayD<f32>)> =
        names.filter_map(|name| change(name, archive.read(name).expect("a tensor").into_f32())).collect();
    let views: Vec<(String, ArrayViewD<f32>)> = kept.iter().map(|(name, v)| (name.clone(), v.view())).collect();
    write_safetensors(to, &views, &BTreeMap::new()).expect("written");
}

/// The tiny model with other weights.
fn other_weights(folder: &Path, change: impl Fn(&str, &mut ArrayD<f32>)) {
    fs::create_dir(folder).expect("a folder");
    let mut tensors = Vec::new();
    for shard in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        let archive = Archive::open(&repository(MODEL).join(shard)).expect("a shard");
        for entry in archive.entries() {
            let mut values = archive.read(&entry.name).expect("a tensor").into_f32();
            change(&entry.name, &mut values);
            tensors.push((entry.name.clone(), values));
        }
    }
    let views: Vec<(String, ArrayViewD<f32>)> = tensors.iter().map(|(name, v)| (name.clone(), v.view())).collect();
    write_safetensors(&folder.join("model.safetensors"), &views, &BTreeMap::new()).expect("written");
    fs::copy(repository(MODEL).join("config.json"), folder.join("config.json")).expect("copied");
}

/// What enters `down_proj` of layer 1 has a channel beyond f16's range.
fn loud_model(folder: &Path) {
    other_weights(folder, |name, values| match name {
        "model.layers.1.mlp.up_proj.weight" => values.index_axis_mut(Axis(0), 7).mapv_inplace(|v| v * 1e9),
        "model.layers.1.mlp.down_proj.weight" => values.index_axis_mut(Axis(1), 7).mapv_inplace(|v| v * 1e-9),
        _ => (),
    });
}

/// Every projection in four bits, in blocks of 16 inputs.
fn quantised_model(folder: &Path) {
    other_weights(folder, |name, values| {
        if !name.contains("_proj") {
            return;
        }
        for mut row in values.lanes_mut(Axis(1)) {
            let row = row.as_slice_mut().expect("contiguous");
            for block in row.chunks_mut(16) {
                let scale = block.iter().fold(0.0f32, |most, weight| most.max(weight.abs())) / 7.0;
                for weight in block {
                    *weight = (*weight / scale).round() * scale;
                }
            }
        }
    });
}
