//! Opening the dumps, and agreeing on the tokens: from the command line, else from the dumps.

mod outgrown;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use ndarray::{Axis, Slice};

use super::input::{Loaded, TokenArgs, check_ids};
use super::memory::check_rows;
use crate::diagnose::{Apart, Witnesses};
use crate::dump::{
    Dump, MAP_HELP, Map, Options, Pair, difference, doubt_names, ends_a_forward, find_pads, name_by_values,
    says_other_positions, settle_uses, strip_pads, take_pads, take_rows_of,
};
use crate::engine::{Compute, Role, Span, evaluate};
use crate::model::Model;
use crate::model::generation::GenerationDefaults;

/// The dumps, as named on the command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct DumpArgs {
    /// What is right: PyTorch's dump (.safetensors, .npz, .pt, or a directory of .npy or .bin).
    #[arg(long, value_name = "DUMP")]
    pub(super) reference: Option<PathBuf>,
    /// What is under suspicion: the dump of your engine.
    #[arg(long, value_name = "DUMP")]
    pub(super) candidate: Option<PathBuf>,
    /// Names for the tensors of the dumps, where no rule knows them (TOML).
    #[arg(long, value_name = "FILE", long_help = MAP_HELP)]
    pub(super) map: Option<PathBuf>,
}

/// The tokens of a session and who fed them.
#[derive(Debug)]
pub(super) enum Tokens {
    /// Everybody fed these: ids, and how many to each forward; and where the dumps went apart behind them.
    Agreed { ids: Vec<u32>, steps: Vec<usize>, apart: Option<Apart> },
    /// They did not: one sentence.
    Differ {
        sentence: String,
        ids: Vec<u32>,
        /// The ids are said to be the same, and the dumped embedding rows are of others.
        embedded: bool,
    },
}

/// The dumps, opened and checked against the model.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) dumps: Witnesses,
    pub(super) tokens: Tokens,
}

impl DumpArgs {
    /// Opens the dumps, the row `batch` of them; `loaded` gives shapes, vocabulary and embedding rows.
    pub(super) fn open(&self, batch: Option<usize>, loaded: &Loaded, tokens: &TokenArgs) -> anyhow::Result<Opened> {
        let map = self.map.as_deref().map(Map::open).transpose()?;
        let open = |path: &Option<PathBuf>| -> anyhow::Result<Option<Dump>> {
            let Some(path) = path else { return Ok(None) };
            let options = Options { map: map.clone(), batch };
            Ok(Some(Dump::open(path, &loaded.model.graph, &options)?))
        };
        let (reference, candidate) = (open(&self.reference)?, open(&self.candidate)?);
        let opened = agree(&loaded.model, loaded.ids(tokens)?, reference, candidate)?;
        check_batch(batch, &[opened.dumps.reference.as_deref(), opened.dumps.candidate.as_deref()])?;
        Ok(opened)
    }

    /// Opens both dumps without their model; `typed` is the number of ids on the command line.
    pub(super) fn open_pair(&self, batch: Option<usize>, typed: Option<usize>) -> anyhow::Result<Pair> {
        let (Some(reference), Some(candidate)) = (&self.reference, &self.candidate) else {
            bail!("which model is the dump of? give --model DIRECTORY, or the other dump: two can do without a model");
        };
        let map = self.map.as_deref().map(Map::open).transpose()?;
        let pair = Pair::open(reference, candidate, &Options { map, batch }, typed)?;
        check_batch(batch, &[Some(&pair.reference), Some(&pair.candidate)])?;
        Ok(pair)
    }
}

/// A row of a batch was asked for: whether there is one.
fn check_batch(batch: Option<usize>, dumps: &[Option<&Dump>]) -> anyhow::Result<()> {
    let Some(row) = batch.filter(|_| !dumps.iter().flatten().any(|dump| dump.is_of_batch())) else { return Ok(()) };
    bail!(
        "--batch {row} asks for a row of a batch, and no dump holds one: its tensors are of one sequence; leave --batch out"
    )
}

/// Finds the ids that everybody fed, and tells the dumps.
pub(super) fn agree(
    model: &Arc<Model>,
    mut typed: Option<Vec<u32>>,
    mut reference: Option<Dump>,
    mut candidate: Option<Dump>,
) -> anyhow::Result<Opened> {
    check_memory(model, typed.as_deref(), [reference.as_ref(), candidate.as_ref()])?;
    recover(model, &mut typed, [&mut reference, &mut candidate])?;
    let mut others = None;
    let mut claims: Vec<(String, Vec<u32>, Vec<usize>)> = Vec::new();
    for (role, dump) in [("reference", &mut reference), ("candidate", &mut candidate)] {
        let Some(dump) = dump else { continue };
        if let Some(found) = dump.ids() {
            let origin = format!("the {role} {}", dump.name());
            check_ids(&found.ids, model, &origin)?;
            let (ids, steps) = (found.ids.clone(), found.steps.clone());
            others = others.or(fed_before(model, dump, &ids)?.map(|sentence| (sentence, ids.clone())));
            claims.push((origin, ids, steps));
        }
    }
    if let Some((sentence, ids)) = others {
        return Ok(opened(reference, candidate, Tokens::Differ { sentence, ids, embedded: true }));
    }
    if let Some(apart) = go_apart(model, typed.as_deref(), [reference.as_ref(), candidate.as_ref()])
        && let Some((ids, steps)) = until(&apart, reference.as_ref())
    {
        // Rows of all forwards in one tensor cannot be taken apart without the later ones.
        if [&mut reference, &mut candidate].into_iter().flatten().all(|dump| dump.bind(&ids, &steps).is_ok()) {
            return settled(model, ids, steps, Some(apart), reference, candidate);
        }
    }
    if let Some(ids) = typed {
        let steps = steps_of(&ids, [&mut reference, &mut candidate]);
        claims.insert(0, ("the command line".into(), ids, steps));
    }
    // A shorter list that begins the longest one is fewer decode steps of the same session.
    let Some(longest) = claims.iter().max_by_key(|(_, ids, steps)| (ids.len(), steps.len())).cloned() else {
        bail!("no dump says which tokens were fed, and its embedding rows do not tell: give --ids or --prompt");
    };
    let (origin, ids, steps) = longest;
    for (other, other_ids, other_steps) in &claims {
        if let Some(sentence) = difference((&origin, &ids), (other, other_ids)) {
            return Ok(opened(reference, candidate, Tokens::Differ { sentence, ids, embedded: false }));
        }
        // A beginning that ends inside a forward is another prompt, not fewer decode steps.
        if !ends_a_forward(&steps, other_ids.len()) {
            let sentence = format!(
                "the token ids differ in number: {origin} fed {} in forwards of {steps:?}, {other} {}, which begin them",
                ids.len(),
                other_ids.len()
            );
            return Ok(opened(reference, candidate, Tokens::Differ { sentence, ids, embedded: false }));
        }
        let typed = other == "the command line";
        if !typed && !steps.starts_with(other_steps) && other_steps.iter().sum::<usize>() != other_steps[0] {
            bail!(
                "{origin} fed its tokens in steps of {steps:?}, {other} in steps of {other_steps:?}: dump both alike"
            );
        }
    }
    for dump in [&mut reference, &mut candidate].into_iter().flatten() {
        settle_uses(dump, model, &ids, &steps)?;
        name_by_values(dump, model, &ids, &steps)?;
        dump.bind(&ids, &steps).with_context(|| format!("{} does not fit the model", dump.path().display()))?;
    }
    let steps = outgrown::forwards(model, &ids, steps, [&mut reference, &mut candidate])?;
    settled(model, ids, steps, None, reference, candidate)
}

/// Whether a dump has embedding rows of tokens in front of those that it says were fed: one sentence.
fn fed_before(model: &Model, dump: &Dump, told: &[u32]) -> anyhow::Result<Option<String>> {
    if dump.pads().is_some() || dump.stored_rows().is_none_or(|rows| rows <= told.len()) {
        return Ok(None);
    }
    let Some((embedded, _)) = dump.embedded_ids(model)? else { return Ok(None) };
    let before = embedded.strip_suffix(told).filter(|before| !before.is_empty());
    Ok(before.map(|before| {
        let listed: Vec<String> = before.iter().map(u32::to_string).collect();
        let (name, listed) = (dump.name(), listed.join(", "));
        format!("{name} was fed other tokens than it says: its embedding rows have {listed} in front of them")
    }))
}

/// More ids than rows are run in full: whether that is possible.
fn check_memory(model: &Model, typed: Option<&[u32]>, dumps: [Option<&Dump>; 2]) -> anyhow::Result<()> {
    let ids = typed.map_or(0, <[u32]>::len);
    dumps.into_iter().flatten().try_for_each(|dump| check_rows(dump, ids, model))
}

/// The tokens before the two sides went apart, and how many each forward was given.
fn until(apart: &Apart, dump: Option<&Dump>) -> Option<(Vec<u32>, Vec<usize>)> {
    let fed = dump?.ids()?;
    let steps = fed.steps[..apart.step].to_vec();
    Some((fed.ids[..steps.iter().sum()].to_vec(), steps))
}

/// The dumps are bound: whether their embedding rows are those of the ids.
fn settled(
    model: &Model,
    ids: Vec<u32>,
    steps: Vec<usize>,
    apart: Option<Apart>,
    reference: Option<Dump>,
    candidate: Option<Dump>,
) -> anyhow::Result<Opened> {
    let opened = opened(reference, candidate, Tokens::Agreed { ids: ids.clone(), steps, apart });
    let mut others = None;
    for (role, dump) in opened.dumps.named() {
        if let (Some(dump), None) = (dump, &others) {
            others = embeds_others(model, dump, &ids, role)?;
        }
    }
    Ok(match others {
        Some(sentence) => Opened { tokens: Tokens::Differ { sentence, ids, embedded: true }, ..opened },
        None => opened,
    })
}

/// The ids of a dump, and the tokens of each forward.
pub(super) type Told = (Vec<u32>, Vec<usize>);

/// Finds the ids of one dump as a comparison finds them, and tells them to it.
pub(super) fn tell(
    model: &Arc<Model>,
    mut typed: Option<Vec<u32>>,
    dump: Dump,
) -> anyhow::Result<(Dump, Option<Told>)> {
    let mut alone = Some(dump);
    recover(model, &mut typed, [&mut alone, &mut None])?;
    let mut dump = alone.expect("nobody takes it away");
    let known = dump.ids().map(|ids| (ids.ids.clone(), ids.steps.clone()));
    let typed = typed.map(|ids| (ids.clone(), dump.steps_for(ids.len())));
    let told = typed.or(known);
    if let Some((ids, steps)) = &told {
        settle_uses(&mut dump, model, ids, steps)?;
        name_by_values(&mut dump, model, ids, steps)?;
        dump.bind(ids, steps)?;
    }
    Ok((dump, told))
}

/// Finds the ids of dumps that do not name them by their embedding rows, which may be padded, or some of those that were
/// fed.
fn recover(model: &Arc<Model>, typed: &mut Option<Vec<u32>>, mut dumps: [&mut Option<Dump>; 2]) -> anyhow::Result<()> {
    for dump in dumps.iter_mut().filter_map(|dump| dump.as_mut()) {
        if dump.ids().is_none() {
            dump.recover_ids(model)?;
        }
    }
    let [one, other] = &mut dumps;
    take_pads([one, other], typed.as_deref())?;
    let folder = model.files.first().and_then(|file| file.parent());
    let generation = folder.and_then(|folder| GenerationDefaults::load(folder).ok()).unwrap_or_default();
    for dump in dumps.iter_mut().filter_map(|dump| dump.as_mut()) {
        find_pads(dump, model, typed.as_deref(), |id| generation.fills_up(id))?;
    }
    if let Some(dump) = dumps.iter().filter_map(|dump| dump.as_ref()).find(|dump| says_other_positions(dump))
        && model.spec.embed.learned.is_some()
    {
        bail!(
            "{} is padded, and counts the pads as positions, which are learned here: that is not supported; dump the prompt \
             alone, or give position_ids that begin with 0 at its first token",
            dump.path().display()
        );
    }
    if let Some(typed) = typed {
        strip_pads([dumps[0], dumps[1]], typed);
    }
    let told = dumps.iter().filter_map(|dump| dump.as_ref()?.ids()).map(|ids| (ids.ids.clone(), ids.steps.clone()));
    let typed = typed.as_ref().map(|ids| (ids.clone(), vec![ids.len()]));
    let longest = told.chain(typed).max_by_key(|(ids, steps)| (ids.len(), steps.len()));
    if let Some((fed, steps)) = longest {
        for dump in dumps.iter_mut().filter_map(|dump| dump.as_mut()) {
            take_rows_of(dump, model, &fed, &steps)?;
        }
    }
    Ok(())
}

/// Where both dumps were fed the same prompt, and other tokens from some decode step on.
fn go_apart(model: &Model, typed: Option<&[u32]>, dumps: [Option<&Dump>; 2]) -> Option<Apart> {
    let [a, b] = dumps.map(|dump| dump?.ids());
    let (a, b) = a.zip(b)?;
    let apart = Apart::of(a, b)?;
    let shared = &a.ids[..a.steps[..apart.step].iter().sum()];
    if typed.is_some_and(|ids| !ids.starts_with(shared) && !shared.starts_with(ids)) {
        return None;
    }
    let listed = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<String>>().join(",");
    let folder = model.files.first().and_then(|file| file.parent()).map(|folder| folder.display().to_string());
    let (prompt, decoded) = b.ids.split_at(b.steps[0]);
    let remedy = format!(
        "python reference/capture.py {} --ids {} --force-ids {} -o ref.safetensors",
        folder.as_deref().unwrap_or("MODEL"),
        listed(prompt),
        listed(decoded)
    );
    Some(Apart { remedy, ..apart })
}

/// Whether the dumped embedding rows are those of other ids than the dump says were fed: one sentence.
fn embeds_others(model: &Model, dump: &Dump, ids: &[u32], role: &str) -> anyhow::Result<Option<String>> {
    let Some(site) = model.graph.whole(Role::EmbedTokens) else { return Ok(None) };
    let span = Span { ids, first: 0 };
    let expected = evaluate::<f32>(model, site, span, &[], Compute::default());
    let Some(found) =
        dump.read(0, site, Some(expected.slice_axis(Axis(0), Slice::from(..dump_rows(dump))).into_dyn()))?
    else {
        return Ok(None);
    };
    let differs = |(index, row): (usize, &usize)| {
        let (found, expected) = (found.part.values.index_axis(Axis(0), index), expected.index_axis(Axis(0), *row));
        let apart: f32 = found.iter().zip(&expected).map(|(a, b)| (a - b).powi(2)).sum();
        apart > 1e-3 * expected.iter().map(|v| v * v).sum::<f32>()
    };
    if !found.part.rows.iter().enumerate().any(differs) {
        return Ok(None);
    }
    // Rows of the table, but of other ids: only then were other tokens fed. Anything else is a wrong embedding.
    let Some((embedded, _)) = dump.embedded_ids(model)? else { return Ok(None) };
    let mut placed = embedded.iter().zip(&found.part.rows).filter_map(|(id, row)| Some((*id, *row, *ids.get(*row)?)));
    Ok(placed.find(|(embedded, _, fed)| embedded != fed).map(|(embedded, place, fed)| {
        format!(
            "the embedding rows of the {role} {} are those of other tokens: row {place} is that of {embedded}, where {fed} \
             was fed",
            dump.name()
        )
    }))
}

/// Tokens of a dump's prefill.
fn dump_rows(dump: &Dump) -> usize {
    dump.steps().first().copied().unwrap_or_default()
}

fn opened(reference: Option<Dump>, candidate: Option<Dump>, tokens: Tokens) -> Opened {
    Opened { dumps: Witnesses { reference: reference.map(Arc::new), candidate: candidate.map(Arc::new) }, tokens }
}

/// Tokens per forward, for ids that were typed: a dump that does not name its ids still shows its decode steps.
fn steps_of(ids: &[u32], dumps: [&mut Option<Dump>; 2]) -> Vec<usize> {
    let silent = dumps.into_iter().flatten().filter(|dump| dump.ids().is_none());
    let fitting = silent.filter_map(|dump| {
        let steps = dump.steps_for(ids.len());
        doubt_names(dump, &steps);
        dump.bind(ids, &steps).is_ok().then_some(steps)
    });
    fitting.max_by_key(Vec::len).unwrap_or_else(|| vec![ids.len()])
}
