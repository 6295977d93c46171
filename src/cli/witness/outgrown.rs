//! Forwards that nobody tells, of a model whose RoPE has other speeds for longer sequences: whether one forward computed all
//! rows, or a prefill and decode steps that crossed the limit, is told by the values.

use std::sync::Arc;

use crate::diagnose::{Status, Walk, Witnesses};
use crate::dump::Dump;
use crate::model::Model;

/// The reference and the candidate.
type Dumps<'a> = [&'a mut Option<Dump>; 2];

/// Tokens per forward: `steps`, else one by one beyond the limit, where fewer activations are wrong that way.
pub(super) fn forwards(
    model: &Arc<Model>,
    ids: &[u32],
    steps: Vec<usize>,
    mut dumps: Dumps,
) -> anyhow::Result<Vec<usize>> {
    let ropes = model.spec.layers.iter().filter_map(|layer| layer.attn.rope.as_ref());
    let limit = ropes.filter_map(|rope| rope.scaling.limit()).min();
    let Some(limit) = limit.filter(|limit| steps.len() == 1 && ids.len() > *limit) else { return Ok(steps) };
    if dumps.iter().any(|dump| dump.as_ref().is_some_and(Dump::tells_steps)) {
        return Ok(steps);
    }
    let others = [vec![limit], vec![1; ids.len() - limit]].concat();
    let whole = wrong(model, ids, &steps, &mut dumps)?;
    if whole == 0 {
        return Ok(steps);
    }
    let mut each = dumps.iter_mut().filter_map(|dump| dump.as_mut());
    if each.all(|dump| dump.bind(ids, &others).is_ok()) && wrong(model, ids, &others, &mut dumps)? < whole {
        for dump in dumps.into_iter().flatten() {
            dump.note(format!(
                "rows of {} beyond token {limit} have the speeds of decode steps: each is taken for a forward of its own",
                dump.name()
            ));
        }
        return Ok(others);
    }
    for dump in dumps.into_iter().flatten() {
        dump.bind(ids, &steps)?;
    }
    Ok(steps)
}

/// How many activations are not what their inputs give, where the dumps are bound to these forwards.
fn wrong(model: &Arc<Model>, ids: &[u32], steps: &[usize], dumps: &mut Dumps) -> anyhow::Result<usize> {
    let [reference, candidate] = dumps.each_mut().map(|dump| dump.take().map(Arc::new));
    let witnesses = Witnesses { reference: reference.clone(), candidate: candidate.clone() };
    let mut walk = Walk::new(model, ids, steps, witnesses)?;
    walk.to_end(&mut |_| ())?;
    let count = walk.rows().iter().filter(|row| row.status == Status::Bad).count();
    drop(walk);
    for (dump, held) in dumps.iter_mut().zip([reference, candidate]) {
        **dump = held.map(|dump| Arc::into_inner(dump).expect("the walk that shared it is gone"));
    }
    Ok(count)
}
