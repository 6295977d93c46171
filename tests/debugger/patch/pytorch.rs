//! The logits of patched models against those of PyTorch with hooks: reference/patching.py; and the values of masked scores.

use layerstep::debugger::Debugger;
use layerstep::formats::Archive;

use super::subject::{CHAINED, CHANGED, alone, apart, finish, go, logits, patch, row_of, session, values};
use crate::support::repository;

/// Families of which reference/patching.py has written logits.
const DENSE: [&str; 5] = ["llama", "llama_bias", "mistral", "qwen2", "qwen3"];
const SPARSE: [&str; 1] = ["qwen3_moe"];

/// The commands, and the case of reference/patching.py that they stand for.
const CASES: &[(&str, &[&str])] = &[
    ("head", &["ablate head 1.2"]),
    ("head@1", &["ablate head 1.2"]),
    ("heads", &["ablate head 0.0-1 2.3 step=0"]),
    ("mlp", &["ablate 0.mlp"]),
    ("mlp@1", &["patch 0.mlp zero"]),
    ("mlp_mean", &["patch 2.mlp mean"]),
    ("mlp_mean_of_some", &["patch 1.down_proj token=7-10 mean"]),
    ("channel", &["patch layers.1 channel=7 zero"]),
    ("channel@1", &["patch 1 channel=7:8 set 0"]),
    ("set", &["patch 0.up_proj token=-1 channel=0:8 set 1.5"]),
    ("scale", &["patch 1.act_mul scale -2"]),
    ("add", &["patch 0 token=3 add 1"]),
    ("add@1", &["patch 0 token=3 add 1"]),
    ("resid_mid", &["patch 1.resid_mid token=6-9 add 0.25"]),
    ("key", &["patch 1.k_proj token=9 zero"]),
    ("key@1", &["patch 1.k_proj token=9 zero"]),
    ("value", &["patch 0.v_proj token=3 head=1 scale 4"]),
    ("value@1", &["patch 0.v_proj token=3 head=1 scale 4"]),
    ("values_of_all", &["patch *.v_proj token=10 zero"]),
    ("values_of_all@1", &["patch *.v_proj token=10 zero"]),
    ("later", &["patch 1.mlp step=1 zero"]),
    ("later@1", &["patch 1.mlp token=13 zero"]),
    ("queries", &["patch 1.q_rope head=1 zero"]),
    ("scores", &["patch 1.scores token=4-12 key=2 set -inf"]),
    ("probs", &["patch 2.probs head=0-1 scale 0.5"]),
    ("embedding", &["patch embed_tokens token=5 scale 0.5"]),
    ("norm", &["patch norm token=12 channel=0-9 scale -1"]),
    ("logits", &["patch lm_head channel=5 add 3"]),
    ("two", &["ablate 0.mlp", "patch 1 token=8-9 scale 2"]),
    ("q_norm", &["patch 1.q_norm token=5-12 head=1 zero"]),
    ("k_norm", &["patch 0.k_norm token=2 channel=4-5 scale 3"]),
];

/// The same for models with experts.
const EXPERTS: &[(&str, &[&str])] = &[
    ("expert", &["ablate expert 0.3"]),
    ("expert@1", &["patch 0.routing channel=3 zero"]),
    ("forced", &["force 0.1 token=5-12"]),
    ("forced@1", &["force 0.1 token=5-12 step=0"]),
];

/// Cases that are what they are without the patch in the first forward.
const WITHOUT_EFFECT: &[&str] = &["later"];

#[test]
fn patches_give_the_logits_that_pytorchs_hooks_give() {
    let (mut worst, mut least) = ((0.0, String::new()), (f64::INFINITY, String::new()));
    let dense = DENSE.iter().map(|name| (*name, CASES));
    for (name, cases) in dense.chain(SPARSE.iter().map(|name| (*name, EXPERTS))) {
        let path = repository("reference/patched").join(format!("{name}.safetensors"));
        let expected = Archive::open(&path).expect("the logits of reference/patching.py");
        let mut seen = 0;
        for (case, commands) in cases {
            if case.contains("_norm") && name != "qwen3" {
                continue;
            }
            seen += 1;
            let expected = expected.read(case).expect("a case").into_f32().into_raw_vec_and_offset().0;
            let forward = usize::from(case.ends_with("@1"));
            let (mut clean, mut debugger) = (alone(name), alone(name));
            for command in *commands {
                patch(&mut debugger, command).unwrap_or_else(|error| panic!("{command}: {error}"));
            }
            for debugger in [&mut clean, &mut debugger] {
                finish(debugger, forward);
            }
            let ours = logits(&debugger);
            let error = apart(&ours, &expected);
            assert!(error <= CHAINED, "{name}: {case} is off by {error:.2e}");
            let change = apart(&ours, &logits(&clean));
            assert_eq!(change > CHANGED, !WITHOUT_EFFECT.contains(case), "{name}: {case} changes {change:.2e}");
            if change > 0.0 && change < least.0 {
                least = (change, format!("{name} {case}"));
            }
            if error > worst.0 {
                worst = (error, format!("{name} {case}"));
            }
        }
        let stored = expected.entries().iter().filter(|entry| !["other_token", "put"].contains(&&*entry.name)).count();
        assert_eq!(stored, seen, "{name}: every case is checked");
    }
    println!(
        "largest error of patched logits {:.2e}, of {}; smallest change {:.2e}, of {}",
        worst.0, worst.1, least.0, least.1
    );
}

#[test]
fn values_of_another_run_give_the_logits_that_pytorch_gives() {
    for name in DENSE {
        let expected =
            Archive::open(&repository("reference/patched").join(format!("{name}.safetensors"))).expect("logits");
        let expected = |case| expected.read(case).expect("a case").into_f32().into_raw_vec_and_offset().0;
        let clean = repository("reference/tiny").join(name).join("reference.safetensors");
        let mut debugger = session(name, Some(7));
        finish(&mut debugger, 0);
        let other = logits(&debugger);
        assert!(apart(&other, &expected("other_token")) <= CHAINED, "{name}");
        patch(&mut debugger, &format!("patch layers.1 step=0 token=8 from {}", clean.display())).expect("a patch");
        let put = logits(&debugger);
        assert!(apart(&put, &expected("put")) <= CHAINED, "{name}");
        assert!(apart(&put, &other) > CHANGED, "{name}");
    }
}

#[test]
fn what_the_mask_hides_stays_hidden() {
    for name in ["llama", "mistral"] {
        let masked = |debugger: &Debugger, name: &str, hidden: f32| -> Vec<Vec<bool>> {
            let scores = values(debugger, row_of(debugger, name), 1);
            scores.iter().map(|row| row.iter().map(|value| *value == hidden).collect()).collect()
        };
        let mut clean = alone(name);
        finish(&mut clean, 0);
        go(&mut clean, "1.context");
        let hidden = masked(&clean, "1.scores", f32::NEG_INFINITY);
        for change in ["zero", "mean", "scale 0", "set 3", "add inf"] {
            let mut debugger = alone(name);
            finish(&mut debugger, 0);
            go(&mut debugger, "1.context");
            patch(&mut debugger, &format!("patch 1.scores {change}")).expect("a patch");
            assert!(masked(&debugger, "1.scores", f32::NEG_INFINITY) == hidden, "{name}: {change}");
            patch(&mut debugger, "unpatch all").expect("a change");
            patch(&mut debugger, &format!("patch 1.probs {change}")).expect("a patch");
            assert!(
                masked(&debugger, "1.probs", 0.0) == hidden || change == "zero" || change == "scale 0",
                "{name}: {change}"
            );
        }
        // The mean of a key is that over the queries that see it.
        let mut debugger = alone(name);
        finish(&mut debugger, 0);
        go(&mut debugger, "1.context");
        let before = values(&debugger, row_of(&debugger, "1.scores"), 1);
        patch(&mut debugger, "patch 1.scores mean").expect("a patch");
        let after = values(&debugger, row_of(&debugger, "1.scores"), 1);
        for key in 0..13 {
            let seen: Vec<usize> = (0..13).filter(|row| !hidden[*row][key]).collect();
            let mean = seen.iter().map(|row| f64::from(before[*row][key])).sum::<f64>() / seen.len() as f64;
            assert!(seen.iter().all(|row| after[*row][key] == mean as f32), "{name}: key {key}");
        }
    }
}
