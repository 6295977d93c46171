//! What the comparison that runs ahead tells, and that it is what the debugger then finds.

use std::cell::{Cell, RefCell};
use std::sync::atomic::AtomicBool;

use layerstep::debugger::view::Stop;
use layerstep::debugger::{Command, Debugger, Outlook};

use super::support::sessions::demo_of;

/// All that is told while the dumps are compared for so many ops at most.
fn told(candidate: &str, ops: usize) -> Vec<Outlook> {
    let (told, left) = (RefCell::new(Vec::new()), Cell::new(ops));
    let go_on = || {
        left.set(left.get().saturating_sub(1));
        left.get() > 0
    };
    Outlook::look(&demo_of(candidate), &go_on, &|outlook| told.borrow_mut().push(outlook)).expect("compared");
    told.into_inner()
}

#[test]
fn the_first_divergence_is_told_when_it_is_met_and_the_verdict_at_the_end() {
    let outlook = |verdict: &str, place: Option<&str>, agrees| Outlook {
        verdict: verdict.into(),
        place: place.map(String::from),
        stops: place.is_some(),
        agrees,
    };
    let first = || outlook("first divergence", Some("2.q_rope"), false);
    for (candidate, ops, expected) in [
        ("candidate.safetensors", usize::MAX, vec![first(), first()]),
        ("reference.safetensors", usize::MAX, vec![outlook("match", None, true)]),
        ("candidate.safetensors", 10, vec![]),
        ("candidate.safetensors", 70, vec![first()]),
    ] {
        assert_eq!(told(candidate, ops), expected, "{candidate}, {ops} ops");
    }
}

#[test]
fn continue_goes_where_it_says() {
    let place = told("candidate.safetensors", usize::MAX).pop().and_then(|outlook| outlook.place);
    let mut debugger = Debugger::new(demo_of("candidate.safetensors"));
    let stop = debugger.execute(&Command::Continue(1), &AtomicBool::new(false), &mut |_| {});
    assert_eq!(stop, Ok(Stop::Divergence));
    let listing = debugger.listing();
    assert_eq!(listing.at.map(|row| listing.rows[row].short.clone()), place);
}
