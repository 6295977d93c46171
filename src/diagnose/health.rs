//! Is our own engine sound? Prefill against token-by-token decode, one thread against many, f32 against f64; no dump needed.

use std::sync::Arc;

use super::forced::Forced;
use super::noise::{Expected, Terms, measure};
use super::part::{Part, Worst, compare_parts};
use super::precision::Precision;
use super::report::{ActivationRow, Culprit, Divergence, Local, Report, Source, Status, Verdict};
use super::tie::agree;
use crate::engine::{Compute, Counts, LogitRows, Node, Op, Run, Site, Value};
use crate::model::Model;

/// How many times the error of the prefill, or of a nudged one, the error of a decode step may be.
const CHAINED: f64 = 8.0;

/// Checks the engine on `ids`; at least two, so that something is decoded. `progress` is called with ops done and to do.
pub fn health(model: &Arc<Model>, ids: &[u32], progress: &mut dyn FnMut(usize, usize)) -> Report {
    let ops = model.graph.len();
    let total = ops * (ids.len() + 2);
    let mut health = Health {
        model: Arc::clone(model),
        ids: ids.to_vec(),
        prefill: Vec::with_capacity(ops),
        rows: Vec::with_capacity(ops),
        faults: Vec::new(),
        notes: Vec::new(),
    };
    health.prefill(&mut |done| progress(done, total));
    health.decode(&mut |done| progress(ops + done, total));
    health.threads();
    progress(total, total);
    health.report()
}

/// What is kept of one activation of the prefill.
struct Kept {
    site: Site,
    /// f64, chained.
    oracle: Value<f64>,
    /// The largest error that correct f32 arithmetic was seen to have here.
    noise: f64,
}

struct Health {
    model: Arc<Model>,
    ids: Vec<u32>,
    prefill: Vec<Kept>,
    rows: Vec<ActivationRow>,
    faults: Vec<Divergence>,
    notes: Vec<String>,
}

impl Health {
    /// f32 against f64: chained, and op by op on the same inputs.
    fn prefill(&mut self, progress: &mut dyn FnMut(usize)) {
        let run = |nudge| {
            let compute = Compute { nudge, ..Compute::default() };
            Run::with_compute(Arc::clone(&self.model), &self.ids, LogitRows::All, compute)
        };
        let (mut ours, mut nudged) = (run(None), run(Some(1)));
        let mut oracle: Run<f64> =
            Run::with_compute(Arc::clone(&self.model), &self.ids, LogitRows::All, Compute::default());
        let mut forced = Forced::new(&self.model, &self.ids, Precision::F32);
        let model = Arc::clone(&self.model);
        while let Some(site) = ours.step() {
            let node = &model.graph[site];
            nudged.step();
            oracle.step();
            forced.step_exact();
            forced.step_draws(Precision::F32);
            let (value, exact) = (taken(&ours, site), taken(&oracle, site));
            let part = Part::whole(value.clone(), node, self.ids.len());
            // The first draw is our engine itself: only the others are noise.
            let draws = &forced.expected().draws[1..];
            let terms = Terms::new(3.0, Precision::F32, node, exact.shape());
            let local = measure(site, &model.graph, 0, &part, Expected { draws, ..forced.expected() }, terms);
            // Rounding may choose other experts: the passes are compared with the same ones.
            for run in [&mut ours, &mut nudged] {
                agree(run, site, &exact, 0);
            }
            let part = Part::whole(taken(&ours, site), node, self.ids.len());
            forced.force(site, &part);
            let narrow = Part::whole(exact.mapv(|v| v as f32).into_shared(), node, self.ids.len());
            let (error, worst) = self.compare(site, 0, &part, &narrow);
            let nudge = Part::whole(taken(&nudged, site).clone(), node, self.ids.len());
            let noise = self.compare(site, 0, &nudge, &narrow).0.error.max(error.error);
            if !local.is_in_order() {
                let summary = format!("{} in f32 is {:.0} times the noise from f64", node.name, local.ratio());
                self.fault(site, 0, local.first_row.unwrap_or(0), summary);
            }
            let status = if local.is_in_order() { Status::Ok } else { Status::Bad };
            let local = Local { error: local.local_error, floor: local.floor, propagated: None };
            let place = (node.name.clone(), node.layer, 0);
            self.rows.push(ActivationRow::of(place, Some((&error, worst)), status, Some(local)));
            self.prefill.push(Kept { site, oracle: exact, noise });
            progress(self.prefill.len());
        }
        let largest = self.rows.iter().map(|row| row.error).fold(0.0, f64::max);
        self.notes.push(format!("f32 against f64: largest error {largest:.1e}, over the whole pass"));
    }

    /// Token by token with the cache, against the same oracle.
    fn decode(&mut self, progress: &mut dyn FnMut(usize)) {
        if !self.model.graph.is_causal() {
            self.notes.push("prefill against token-by-token decode: not checked, an encoder has one forward".into());
            return;
        }
        if self.model.graph.nodes().iter().any(|node| matches!(node.op, Op::AtLeast(_))) {
            self.notes.push(
                "prefill against token-by-token decode: not checked, a constant holds in forwards of several tokens only".into(),
            );
            return;
        }
        let mut run = Run::new(Arc::clone(&self.model), &self.ids[..1], LogitRows::All);
        let (mut done, mut largest, mut ratio) = (0, 0.0f64, 0.0f64);
        let model = Arc::clone(&self.model);
        for position in 0..self.ids.len() {
            if position > 0 {
                run.begin_forward(&self.ids[position..=position]);
            }
            let mut index = 0;
            while let Some(site) = run.step() {
                let node = &model.graph[site];
                if node.is_pooled() {
                    // One row of all tokens: of fewer it is another.
                    index += 1;
                    continue;
                }
                agree(&mut run, site, &self.prefill[index].oracle, position);
                let part = Part::whole(taken(&run, site).clone(), node, 1);
                let expected = row_of(&self.prefill[index].oracle, node, position);
                let (found, _) = self.compare(site, position, &part, &expected);
                let least = Precision::F32.least(node, part.values.shape());
                let over = found.error / self.prefill[index].noise.max(least);
                (largest, ratio) = (largest.max(found.error), ratio.max(over));
                if over.is_nan() || over > CHAINED * (1.0 + 4.0 / (found.count as f64).sqrt()) {
                    let error = found.error;
                    let name = &node.name;
                    let summary =
                        format!("{name} decoded at token {position} is not what the prefill has: {error:.1e}");
                    self.fault(site, position, position, summary);
                }
                index += 1;
                done += 1;
                progress(done);
            }
        }
        self.notes.push(format!(
            "prefill against token-by-token decode: largest error {largest:.1e}, {ratio:.1} times that of the prefill"
        ));
    }

    /// One thread against the threads of this program: the same bits.
    fn threads(&mut self) {
        let threads = rayon::current_num_threads();
        let run = || {
            let mut run = Run::new(Arc::clone(&self.model), &self.ids, LogitRows::All);
            run.finish_forward();
            run.graph().output().and_then(|output| run.get(output)).map(|values| values.iter().copied().collect())
        };
        let Ok(one) = rayon::ThreadPoolBuilder::new().num_threads(1).build() else {
            self.notes.push("one thread against many: not checked, no thread could be started".into());
            return;
        };
        let bits = |values: Option<Vec<f32>>| values.map(|all| all.into_iter().map(f32::to_bits).collect::<Vec<_>>());
        if bits(one.install(run)) == bits(run()) {
            self.notes.push(format!("one thread against {threads}: the same bits"));
        } else {
            let site = self.prefill.last().expect("a program has ops").site;
            let last = self.ids.len() - 1;
            let name = self.model.graph.name(site);
            self.fault(site, 0, last, format!("{name} has other bits with one thread than with {threads}"));
        }
    }

    fn compare(&self, site: Site, first: usize, a: &Part, b: &Part) -> (crate::metrics::Comparison, Worst) {
        let compared = compare_parts(site, &self.model.graph, first, a, b);
        let (comparison, worst, _) = compared.expect("both have all rows");
        (comparison, worst)
    }

    fn fault(&mut self, site: Site, step: usize, token: usize, summary: String) {
        self.faults.push(Divergence {
            name: self.model.graph.key(site, step),
            layers: self.model.graph[site].layer.into_iter().collect(),
            token: Some(token),
            exact: true,
            culprit: Culprit::Engine,
            summary,
            ..Divergence::default()
        });
    }

    fn report(mut self) -> Report {
        self.faults.truncate(1);
        let first = self.faults.first();
        Report {
            verdict: if first.is_some() { Verdict::Diverged } else { Verdict::Match },
            sentence: first.map_or_else(
                || format!("the engine agrees with itself on {} tokens", self.ids.len()),
                |fault| fault.summary.clone(),
            ),
            divergences: self.faults,
            activations: self.rows,
            notes: self.notes,
            sources: vec![Source::engine(&self.model.name, &self.ids)],
            ..Report::default()
        }
    }
}

fn taken<T: crate::ops::Real>(run: &Run<T>, site: Site) -> Value<T> {
    run.get(site).expect("the op was just computed").clone()
}

/// One row of the oracle's prefill, as the decode step at `position` has it: keys up to its own.
fn row_of(oracle: &Value<f64>, node: &Node, position: usize) -> Part {
    let mut values = oracle.view();
    for (index, axis) in node.axes.iter().enumerate() {
        let index = ndarray::Axis(index);
        match axis.counts {
            Counts::Rows => values.slice_axis_inplace(index, ndarray::Slice::from(position..=position)),
            Counts::Keys => values.slice_axis_inplace(index, ndarray::Slice::from(..=position)),
            _ => {}
        }
    }
    Part { values: values.mapv(|v| v as f32).into_shared(), rows: vec![0], first_key: 0 }
}
