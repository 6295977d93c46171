//! Where the arithmetic is another one, activations have other bits: what noise explains is as recorded, what it does not
//! explain differs.

use layerstep::debugger::view::Witness;
use layerstep::session::{DEFAULT_BUDGET, Places, Recorder, Recording, Tally, pack};

use super::root;
use super::screens::debugger;

/// What a check says of a recording that was made by another build, whose engine's values are off by so much each.
fn check(name: &str, off: f32) -> Tally {
    let opened = pack::open(&root().join("sessions").join(name)).expect("an example");
    let debugger = debugger(&opened.text);
    let mut recording = Recording::of(opened).expect("it is whole");
    recording.text.header.arithmetic = "of another processor".into();
    let values = recording.values.as_mut().expect("values");
    let mut up = false;
    for (_, seen) in values.seen.iter_mut().filter(|(look, _)| look.witness == Witness::Engine) {
        seen.part.values.mapv_inplace(|value| {
            up = !up;
            if up { value * (1.0 + off) } else { value * (1.0 - off) }
        });
    }
    let recorder = Recorder::new(debugger, Places::default(), DEFAULT_BUDGET);
    recorder.replaying(recording).check()
}

#[test]
fn noise_is_as_recorded_and_more_is_not() {
    for name in ["stale-cache", "two-bugs", "ablation"] {
        let same = check(name, 0.0);
        assert!(same.differences.is_empty() && same.within == 0 && same.identical > 10, "{name}: {same:?}");
        let noise = check(name, 6e-8);
        assert!(noise.differences.is_empty() && noise.within > 5, "{name}: {noise:?}");
        // A thousand units of the last place: no order of summation does that here.
        let wrong = check(name, 1.2e-4);
        let said = wrong.differences.iter().filter(|line| line.contains("noise explains")).count();
        assert_eq!(said, noise.within, "{name}: {wrong:?}");
    }
}
