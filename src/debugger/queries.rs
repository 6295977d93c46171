//! The patterns of all queries so far: a decode step has one query, and what it looks at says little without those before.

use ndarray::{Array, IxDyn, s};

use super::full::masked_value;
use super::memo::{Full, Origin, Queries};
use super::state::Debugger;
use super::view::Witness;
use crate::engine::Site;

impl Queries {
    /// What a witness has of them.
    ///
    /// # Errors
    /// One sentence for the user: it lacks this forward.
    pub(super) fn of(debugger: &Debugger, site: Site, witness: Witness) -> Result<Self, String> {
        let now = debugger.pass.run.forward();
        let made_of: Vec<Origin> = (0..=now).map(|forward| debugger.origin(forward, site, witness)).collect();
        let kept = debugger.memos.queries.get(&made_of);
        if let Some(queries) = kept.clone().filter(|_| witness != Witness::Engine) {
            return Ok(queries);
        }
        // Ours are at hand, and looking at them is what a recording keeps.
        let mut parts = vec![debugger.full(site, witness)?];
        parts.extend((0..now).rev().map_while(|forward| debugger.full_in(forward, site, witness).ok()));
        if let Some(queries) = kept {
            return Ok(queries);
        }
        parts.reverse();
        let from = now + 1 - parts.len();
        let queries = Self { full: joined(debugger, site, from, parts), from, made_of: made_of[from..].to_vec() };
        debugger.memos.queries.keep(made_of, queries.clone());
        Ok(queries)
    }

    /// The same without the forwards before one.
    pub(super) fn since(self, from: usize, debugger: &Debugger) -> Self {
        let Some(fewer) = from.checked_sub(self.from).filter(|fewer| *fewer > 0) else { return self };
        let fed = &debugger.pass.fed;
        let above = fed.feed(from).first - fed.feed(self.from).first;
        let Self { full, made_of, .. } = self;
        let values = full.values.slice(s![.., above.., ..]).to_owned().into_dyn().into_shared();
        let rows = full.rows.iter().filter_map(|row| row.checked_sub(above)).collect();
        Self { full: Full { values, rows, ..full }, from, made_of: made_of[fewer..].to_vec() }
    }
}

/// Parts of forwards that follow each other, the last of which sees all keys.
fn joined(debugger: &Debugger, site: Site, from: usize, mut parts: Vec<Full>) -> Full {
    let last = parts.pop().expect("this forward");
    if parts.is_empty() {
        return last;
    }
    let first_of = |forward| debugger.pass.fed.feed(forward).first;
    let first = first_of(from);
    let [heads, queries, keys] = last.values.shape() else { unreachable!("patterns have three axes") };
    let hidden = masked_value(debugger.keyed(site)).unwrap_or(0.0);
    let rows = first_of(debugger.pass.run.forward()) - first + queries;
    let mut values = Array::from_elem(IxDyn(&[*heads, rows, *keys]), hidden);
    let mut joined = Full { rows: Vec::new(), notes: Vec::new(), ..last.clone() };
    for (part, forward) in parts.into_iter().chain([last]).zip(from..) {
        let above = first_of(forward) - first;
        let (rows, keys) = (part.values.shape()[1], part.values.shape()[2]);
        values.slice_mut(s![.., above..above + rows, ..keys]).assign(&part.values.slice(s![.., .., ..]));
        joined.rows.extend(part.rows.iter().map(|row| above + row));
        for note in part.notes {
            if !joined.notes.contains(&note) {
                joined.notes.push(note);
            }
        }
    }
    joined.values = values.into_shared();
    joined
}
