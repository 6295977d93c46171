//! Pictures of the culprit, from a debugger that is taken there.

use std::sync::atomic::AtomicBool;

use super::clean::printable;
use super::document::Document;
use super::number;
use super::picture::{Figure, Picture, Plate, around_zero};
use crate::debugger::heat::Scale;
use crate::debugger::view::{
    AttentionPage, AttentionRequest, Page, PageRequest, Shown, TensorPage, TensorRequest, Token, Witness,
};
use crate::debugger::{Command, Debugger};
use crate::diagnose::Culprit;
use crate::diagnose::report::bare;
use crate::metrics::middle_range;

/// Cells of a heatmap at most: rows, columns.
const CELLS: (usize, usize) = (96, 240);
/// Pixels of the page that a heatmap of a tensor and one of a head may take.
const ROOM: (usize, usize) = (480, 256);
const SMALL_ROOM: (usize, usize) = (176, 176);
/// Cells of all patterns of heads together, so that the page stays light.
const PATTERN_CELLS: usize = 120_000;
/// Cells along each side of a pattern.
const PATTERN: (usize, usize) = (8, 48);
/// Heads whose patterns are shown at first.
const OPEN_HEADS: usize = 4;

impl Document {
    /// Adds the texts of the tokens, from a debugger of the same session.
    pub fn add_tokens(&mut self, debugger: &Debugger) {
        let token = |token: Token| Token { text: printable(&token.text), ..token };
        self.tokens = debugger.header().tokens.into_iter().map(token).collect();
    }

    /// Adds pictures of the first divergence, if there is one: `debugger`, which is of the same session, is taken there. What
    /// cannot be shown is said in a note.
    pub fn add_pictures(&mut self, debugger: &mut Debugger) {
        let witnesses = debugger.header().witnesses;
        if let Err(why) = self.take(debugger, &witnesses) {
            self.report.notes.push(format!("no pictures: {}", printable(&why)));
        }
    }

    fn take(&mut self, debugger: &mut Debugger, witnesses: &[Witness]) -> Result<(), String> {
        let Some(first) = self.report.first_divergence() else { return Ok(()) };
        let ((name, step), layer) = (bare(&first.name), first.layer());
        let head = self.report.activations.iter().find(|row| row.name == first.name).and_then(|row| row.worst.head);
        let wrong = match first.culprit {
            Culprit::Reference => Witness::Reference,
            Culprit::Candidate => Witness::Candidate,
            _ => Witness::Engine,
        };
        goto(debugger, name, step)?;
        let views = Views::of(witnesses, wrong);
        let row = debugger.listing().at.ok_or("nothing is computed")?;
        self.plates.push(tensor(debugger, &views, row, head.unwrap_or(0))?);
        if let Some(layer) = layer {
            // A layer whose patterns nobody dumped has none to compare.
            if goto(debugger, &format!("{layer}.probs"), step).is_ok() {
                self.plates.extend(attention(debugger, &views, layer));
            }
        }
        Ok(())
    }
}

fn goto(debugger: &mut Debugger, name: &str, step: usize) -> Result<(), String> {
    let there = Command::Goto(format!("{name}@{step}"));
    debugger.execute(&there, &AtomicBool::new(false), &mut |_| {}).map(drop)
}

/// What is shown, in this order.
struct Views {
    shown: Vec<Shown>,
    /// The witness whose values make the scale of all: not one that is wrong.
    measure: Witness,
}

impl Views {
    fn of(witnesses: &[Witness], wrong: Witness) -> Self {
        let has = |witness| witnesses.contains(&witness);
        let difference = match (has(Witness::Candidate), has(Witness::Reference)) {
            (true, true) => Some((Witness::Candidate, Witness::Reference)),
            (true, false) => Some((Witness::Candidate, Witness::Engine)),
            (false, true) => Some((Witness::Reference, Witness::Engine)),
            (false, false) => None,
        };
        let mut shown: Vec<Shown> = witnesses.iter().map(|witness| Shown::Values(*witness)).collect();
        shown.extend(difference.map(|(of, against)| Shown::Difference(of, against)));
        let measure =
            if has(Witness::Reference) && wrong != Witness::Reference { Witness::Reference } else { Witness::Engine };
        Self { shown, measure }
    }

    fn label(shown: Shown) -> String {
        match shown {
            Shown::Values(witness) => witness.name().into(),
            Shown::Difference(of, against) | Shown::Ratio(of, against) => {
                format!("{} \u{2212} {}", of.name(), against.name())
            }
        }
    }

    /// The pages that there are.
    fn pages<P>(&self, mut page: impl FnMut(Shown) -> Option<P>) -> Vec<(Shown, P)> {
        self.shown.iter().filter_map(|shown| page(*shown).map(|page| (*shown, page))).collect()
    }

    /// The range of the witness that is not wrong, else of the first that there is.
    fn range<P>(&self, pages: &[(Shown, P)], range: impl Fn(&P) -> (f32, f32)) -> (f32, f32) {
        let measure = pages.iter().find(|(shown, _)| *shown == Shown::Values(self.measure)).or(pages.first());
        measure.map_or((0.0, 0.0), |(_, page)| range(page))
    }
}

/// The culprit's tensor by each witness.
fn tensor(debugger: &Debugger, views: &Views, row: usize, plane: usize) -> Result<Plate, String> {
    let page = |shown: Shown| {
        let request = TensorRequest { row, shown, plane, heatmap: CELLS, ..TensorRequest::default() };
        match debugger.page(&PageRequest::Tensor(request)) {
            Ok(Page::Tensor(page)) => Ok(page),
            Ok(_) => Err("another page came".to_string()),
            Err(why) => Err(why),
        }
    };
    let engine = page(Shown::Values(Witness::Engine))?;
    let pages = views.pages(|shown| page(shown).ok());
    let (low, high) = views.range(&pages, seen_range);
    let scale = Scale::between(low, high);
    let plane = plane.min(engine.planes.saturating_sub(1));
    let picture = |(shown, page): &(Shown, TensorPage)| {
        let scale = match shown {
            Shown::Values(_) => scale,
            _ => around_zero(seen_range(page), &page.heatmap),
        };
        let axis = |(name, length): (&str, usize)| {
            let first = if matches!(name, "token" | "query") { page.first_position } else { 0 };
            (name.to_string(), first, first + length.saturating_sub(1))
        };
        Picture {
            rows: axis(page.row_axis),
            columns: axis(page.column_axis),
            ..Picture::new(&Views::label(*shown), &page.heatmap, scale, ROOM)
        }
    };
    let mut caption = format!("Rows are {}s, columns {}. ", engine.row_axis.0, engine.column_axis.0);
    if engine.planes > 1 {
        let word = if engine.plane_word == "head" { "Head" } else { "Slot" };
        caption = format!("{word} {plane} of {}. {caption}", engine.planes);
    }
    let of = if engine.pooled == (1, 1) { "elements" } else { "cells" };
    caption += &scale_words(views.measure, of);
    caption += &cell_words(engine.pooled);
    let line = |line: &crate::debugger::view::ComparisonLine| {
        let (of, against, error) = (line.of.name(), line.against.name(), number::error(Some(line.error)));
        let (cosine, most) = (line.cosine, number::error(Some(line.max_abs)));
        let place = if line.worst.is_empty() { String::new() } else { format!(" at {}", line.worst) };
        match line.nonfinite {
            0 => format!("{of} against {against}: error {error}, cosine {cosine:.6}, largest difference {most}{place}"),
            odd => {
                let rest = if line.error.is_nan() { String::new() } else { format!("; error of the others {error}") };
                format!("{of} against {against}: {odd} elements are finite on one side only, the first{place}{rest}")
            }
        }
    };
    let lines = engine.comparisons.iter().map(line).chain(engine.notes.iter().map(|note| printable(note)));
    Ok(Plate {
        title: engine.name.clone(),
        meaning: engine.meaning.into(),
        caption,
        lines: lines.collect(),
        open: 1,
        figures: vec![Figure { caption: String::new(), pictures: pages.iter().map(picture).collect() }],
    })
}

/// The patterns of a layer's heads by each witness; none where only our engine has them.
fn attention(debugger: &Debugger, views: &Views, layer: usize) -> Option<Plate> {
    let request = |shown, small| AttentionRequest { layer, shown, small, ..AttentionRequest::default() };
    let page = |shown, small| match debugger.page(&PageRequest::Attention(request(shown, small))) {
        Ok(Page::Attention(page)) => Some(page),
        _ => None,
    };
    let heads = page(Shown::Values(Witness::Engine), (0, 0))?.lines.len();
    let side = ((PATTERN_CELLS / (heads * views.shown.len()).max(1)) as f64).sqrt() as usize;
    let side = side.clamp(PATTERN.0, PATTERN.1);
    let pages = views.pages(|shown| page(shown, (side, side)));
    // The engine has them always.
    let (_, last) = pages.last().filter(|_| pages.len() > 1)?;
    let scale = Scale::Sequential(0.0, views.range(&pages, |page: &AttentionPage| page.small_range).1);
    let mut order: Vec<usize> = (0..heads).collect();
    let difference = |head: &usize| last.lines.get(*head).and_then(|line| line.difference);
    order.sort_by(|a, b| {
        let size = |head| difference(head).map_or(-1.0, |(size, _)| size);
        size(b).total_cmp(&size(a)).then(a.cmp(b))
    });
    let figure = |head: usize| {
        let picture = |(shown, page): &(Shown, AttentionPage)| {
            let cells = page.small.get(head)?;
            let scale = match shown {
                Shown::Values(_) => scale,
                _ => around_zero(page.small_range, cells),
            };
            let queries = ("query".into(), page.first_position, page.first_position + page.query_count - 1);
            let keys = ("key".into(), 0, page.key_count.saturating_sub(1));
            let picture = Picture::new(&Views::label(*shown), cells, scale, SMALL_ROOM);
            Some(Picture { rows: queries, columns: keys, ..picture })
        };
        let far = difference(&head).map_or_else(String::new, |(size, (query, key))| {
            let query = last.first_position + query;
            format!(": largest difference {} at query {query}, key {key}", number::error(Some(size)))
        });
        Figure { caption: format!("head {head}{far}"), pictures: pages.iter().filter_map(picture).collect() }
    };
    let caption = format!(
        "Rows are queries, columns keys; grey is masked. Heads in the order of their differences. {}{}",
        scale_words(views.measure, "cells"),
        cell_words(last.small_pooled)
    );
    Some(Plate {
        title: last.name.clone(),
        meaning: format!("attention patterns of layer {layer}: what each query attends to"),
        caption,
        lines: last.notes.iter().map(|note| printable(note)).collect(),
        open: OPEN_HEADS.min(heads),
        figures: order.into_iter().map(figure).collect(),
    })
}

/// Values that 98 % of what is to be seen lies between: a cell that stands for many elements is louder than most of them.
fn seen_range(page: &TensorPage) -> (f32, f32) {
    if page.pooled == (1, 1) {
        return page.range;
    }
    let cells: Vec<f32> = page.heatmap.iter().flatten().copied().collect();
    middle_range(cells.iter())
}

fn scale_words(measure: Witness, of: &str) -> String {
    format!(
        "All witnesses have the scale of the {}, in which 98 % of its {of} lie; the difference has its own. \
         Magenta is not a number.",
        measure.name()
    )
}

fn cell_words(pooled: (usize, usize)) -> String {
    match pooled {
        (1, 1) => String::new(),
        (rows, columns) => format!(" A cell is the largest magnitude of {rows} × {columns} elements."),
    }
}
