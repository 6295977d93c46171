//! Distributions of activations, counted again by sorting.

use layerstep::debugger::Debugger;
use layerstep::debugger::view::{HistogramPage, HistogramRequest, Shown, Witness};
use ndarray::{ArrayD, Axis, Slice};
use proptest::prelude::*;

use super::{any_size, close, finish_forward};
use crate::support::sessions::{changed, demo, tiny_session};
use crate::support::{Reference, tiny};

const REFERENCE: Shown = Shown::Values(Witness::Reference);

fn request(debugger: &Debugger, name: &str, shown: Shown) -> HistogramRequest {
    let row = debugger.model().graph.parse(name).expect("an op of the model").index();
    HistogramRequest { row, shown, plane: None, bins: 12, channels: 3 }
}

fn page(debugger: &Debugger, request: &HistogramRequest) -> HistogramPage {
    debugger.page(request).unwrap_or_else(|error| panic!("{request:?}: {error}"))
}

/// Against the sorted numbers, all of which are finite.
fn check(page: &HistogramPage, values: &ArrayD<f32>) {
    let mut sorted: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let histogram = &page.histogram;
    assert_eq!((histogram.count, histogram.nan, histogram.counts.len()), (n, 0, 12), "{}", page.name);
    let percentiles = histogram.percentiles.expect("numbers");
    for (found, share) in percentiles.iter().zip([0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0]) {
        close(*found, sorted[(share * (n - 1) as f64).round() as usize], 0.0, &page.name);
    }
    assert_eq!((histogram.edges[0], histogram.edges[12]), (sorted[0], sorted[n - 1]));
    for (bin, count) in histogram.counts.iter().enumerate() {
        let (from, to) = (histogram.edges[bin], histogram.edges[bin + 1]);
        // An element that lies on an edge but for rounding may be on either side.
        let width = (sorted[n - 1] - sorted[0]) * 1e-9;
        let within = |slack: f64| sorted.iter().filter(|v| **v >= from - slack && **v < to + slack).count();
        let last = usize::from(bin == 11) * sorted.iter().filter(|v| **v == to).count();
        assert!((within(-width)..=within(width) + last).contains(count), "{} bin {bin}: {count}", page.name);
    }
    let in_octaves: usize = histogram.magnitudes.iter().sum();
    assert_eq!(in_octaves, sorted.iter().filter(|value| **value != 0.0).count());
    let from = 2.0f64.powi(histogram.exponents[0]);
    let to = 2.0f64.powi(histogram.exponents[1]);
    assert_eq!(histogram.magnitudes[0], sorted.iter().filter(|v| (from..to).contains(&v.abs())).count());

    let last = Axis(values.ndim() - 1);
    let largest = |channel: usize| values.index_axis(last, channel).iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let mut all: Vec<f32> = (0..values.len_of(last)).map(largest).collect();
    for channel in &page.loudest {
        let mut index = channel.place.clone();
        index.push(channel.channel);
        assert_eq!(f64::from(values[index.as_slice()]), channel.value, "{}", page.name);
        close(channel.value.abs(), f64::from(largest(channel.channel)), 0.0, "its largest");
    }
    all.sort_by(f32::total_cmp);
    assert_eq!(page.median_channel, f64::from(all[(all.len() - 1) / 2]));
    close(page.loudest[0].ratio, f64::from(all[all.len() - 1]) / page.median_channel, 1e-9, "the ratio");
    assert!(page.loudest.is_sorted_by(|a, b| a.ratio >= b.ratio));
}

#[test]
fn distributions_of_a_dump() {
    let (model, reference) = (tiny("qwen3"), Reference::tiny("qwen3"));
    let mut debugger = tiny_session("qwen3");
    finish_forward(&mut debugger, 0);
    for name in ["1.q_rope", "1.probs", "2.act_mul", "2", "lm_head"] {
        let values = reference.read(model.graph.parse(name).expect("a name"), 0, &model.graph);
        let whole = request(&debugger, name, REFERENCE);
        check(&page(&debugger, &whole), &values);
        if values.ndim() == 3 {
            let last = values.shape()[0] - 1;
            let page = page(&debugger, &HistogramRequest { plane: Some(99), ..whole });
            assert_eq!((page.plane, page.planes), (Some(last), last + 1));
            check(&page, &values.index_axis_move(Axis(0), last));
        }
    }
    let page = page(&debugger, &request(&debugger, "1.q_rope", REFERENCE));
    assert_eq!((page.place_axes, page.channel_axis), (vec!["head", "token"], "head_dim"));
}

#[test]
fn masked_scores_and_differences() {
    let mut debugger = demo();
    finish_forward(&mut debugger, 0);
    let scores = page(&debugger, &request(&debugger, "0.scores", Shown::default()));
    assert_eq!((scores.histogram.negative_infinite, scores.histogram.nan), (4 * 15 * 14 / 2, 0));
    assert_eq!(scores.histogram.counts.iter().sum::<usize>(), 4 * 15 * 16 / 2);
    let shown = Shown::Difference(Witness::Candidate, Witness::Reference);
    let of = |name| page(&debugger, &request(&debugger, name, shown)).histogram.percentiles.expect("numbers");
    assert!(of("1.q_rope")[6] < 1e-4 && of("2.q_rope")[6] > 0.1);
}

#[test]
fn rows_that_a_dump_lacks_are_left_out() {
    let some = |name: &str, values: ArrayD<f32>| {
        let cut = name == "model.layers.1";
        Some(if cut { values.slice_axis(Axis(0), Slice::from(-1..)).to_owned() } else { values })
    };
    let mut debugger = changed("llama", some);
    finish_forward(&mut debugger, 0);
    let whole = page(&debugger, &request(&debugger, "1", REFERENCE));
    assert_eq!((whole.histogram.count, whole.histogram.nan), (48, 0));
    assert!(whole.loudest.iter().all(|channel| channel.place == [12]), "{:?}", whole.loudest);
    let note = "reference: 1 of 13 rows are there; NaN stands for the others";
    assert_eq!(whole.notes.last().map(String::as_str), Some(note));
    let missing = HistogramRequest { row: 999, ..HistogramRequest::default() };
    assert_eq!(debugger.page(&missing).expect_err("no such op"), "there is no such op");
}

#[test]
fn no_request_panics() {
    let mut debugger = demo();
    super::go(&mut debugger, 0, "2.k_rope");
    let witness = || prop::sample::select(vec![Witness::Engine, Witness::Reference, Witness::Candidate]);
    let shown = prop_oneof![
        witness().prop_map(Shown::Values),
        (witness(), witness()).prop_map(|(a, b)| Shown::Difference(a, b))
    ];
    let request = (0usize..90, shown, proptest::option::of(any_size()), any_size(), any_size());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 200, ..ProptestConfig::default() });
    let outcome = runner.run(&request, |(row, shown, plane, bins, channels)| {
        if let Ok(page) = debugger.page(&HistogramRequest { row, shown, plane, bins, channels }) {
            let histogram = &page.histogram;
            prop_assert!(histogram.counts.len() <= bins && histogram.magnitudes.len() <= bins);
            prop_assert!(histogram.counts.is_empty() || histogram.edges.len() == histogram.counts.len() + 1);
            prop_assert!(page.loudest.len() <= channels);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
