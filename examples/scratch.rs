//! scratch
use layerstep::engine::*;
use layerstep::model::Model;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    s.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}
fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().unwrap();
    let model = Arc::new(Model::load(std::path::Path::new(&std::env::args().nth(1).unwrap())).unwrap());
    for n in [128usize, 128, 128, 128, 4, 5, 8, 16, 32] {
        let ids: Vec<u32> = (0..n).map(|t| ((t * 7919 + 1) % model.config.vocab_size) as u32).collect();
        let mut run = Run::new(model.clone(), &ids, LogitRows::All);
        let t = Instant::now();
        let c = cpu();
        let mut by: BTreeMap<Activation, f64> = BTreeMap::new();
        loop {
            let s = cpu();
            let Some(site) = run.step() else { break };
            *by.entry(site.activation).or_default() += cpu() - s;
        }
        eprint!("prefill {n} wall {:?} cpu {:.0}   ", t.elapsed(), cpu() - c);
        for (a, v) in by {
            if v > 15.0 {
                eprint!("{a:?} {v:.1}  ");
            }
        }
        eprintln!();
    }
}
