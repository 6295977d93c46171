//! A debugger made up for the screen: a small llama whose candidate goes wrong at `2.q_rope`, with everything a
//! screen must survive: NaN, masks, hostile tokens, many layers.

#[path = "fake/pages.rs"]
mod pages;

use std::sync::atomic::AtomicBool;

use layerstep::debugger::view::{
    ComparisonLine, Curve, Diagnosis, Header, LayerErrors, Listing, ListingRow, Page, PageRequest, Shown, Status, Stop,
    SuspectLine, TensorPage, TensorRequest, Token, Witness,
};
use layerstep::debugger::{Command, Motion};
use layerstep::diagnose::Local;
use layerstep::engine::{Node, Role};
use layerstep::metrics::Summary;
use layerstep::model::lower::lower;
use layerstep::model::spec::Spec;
use layerstep::session::Backend;

/// Tokens of the first forward.
const PREFILL: usize = 5;

/// The made-up debugger.
pub struct Fake {
    rows: Vec<ListingRow>,
    at: Option<usize>,
    tokens: Vec<&'static str>,
    compared: bool,
    /// The suspect that is on.
    on: Option<usize>,
    /// Lines that are answered otherwise than they were recorded.
    pub differing: &'static [&'static str],
    /// Where it is saved.
    saved: Option<String>,
    /// The line executed last.
    line: String,
}

impl Fake {
    /// A model of so many layers, with a reference and a candidate.
    pub fn new(layers: usize) -> Self {
        let config = format!(
            r#"{{"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": {},
            "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152}}"#,
            layers.max(1)
        );
        let (spec, _) = Spec::from_json(&config, "config.json").expect("a small llama");
        let row = |node: &Node| ListingRow {
            name: node.name.clone(),
            short: node.short.clone(),
            label: match node.layer {
                Some(layer) if node.role == Some(Role::Block) => format!("layer {layer}"),
                _ => node.label.clone(),
            },
            layer: node.layer,
            status: Status::Ahead,
            error: None,
            local: None,
            breakpoint: false,
            patched: false,
            computed: false,
        };
        // Models have layers, but the screen must survive one without.
        let asked = |node: &&Node| node.layer.is_none_or(|layer| layer < layers);
        let rows = lower(&spec).nodes().iter().filter(asked).map(row).collect();
        let tokens = vec!["The", " capital", " of", "\u{1b}]0;x\u{7}", " 日本", "."];
        Self { rows, at: None, tokens, compared: true, on: None, differing: &[], saved: None, line: String::new() }
    }

    /// The same without dumps.
    pub fn alone(layers: usize) -> Self {
        Self { compared: false, ..Self::new(layers) }
    }

    fn divergence(&self) -> Option<usize> {
        self.rows.iter().position(|row| row.name.ends_with("layers.2.self_attn.q_rope"))
    }

    fn error(&self, row: usize) -> Option<f64> {
        let label = &self.rows[row].label;
        if !self.compared || label == "act_fn" {
            return None;
        }
        let wobble = 1.0 + (row % 7) as f64 / 7.0;
        match self.divergence() {
            Some(first) if row >= first => Some(0.87 * wobble.min(1.2)),
            _ if label == "embed_tokens" => Some(0.0),
            _ => Some(2e-7 * wobble),
        }
    }

    /// What was made at an op, beside the noise: much at the divergence, and at nothing after it.
    fn local(&self, row: usize) -> Option<Local> {
        self.error(row)?;
        let wobble = 1.0 + (row % 5) as f64 / 5.0;
        let error = if self.divergence() == Some(row) { 0.87 } else { 9e-8 * wobble };
        Some(Local { error, floor: 1.2e-7, propagated: Some(if row.is_multiple_of(3) { 0.0 } else { 1.3e-7 }) })
    }

    fn go(&mut self, at: Option<usize>) {
        self.at = at;
        let first = self.divergence().filter(|_| self.compared);
        for index in 0..self.rows.len() {
            let computed = at.is_some_and(|at| index <= at);
            let error = self.error(index).filter(|_| computed);
            let status = match (computed, error, first) {
                (false, _, _) => Status::Ahead,
                (true, None, _) => Status::NotCompared,
                (true, Some(_), _) if self.rows[index].short == "2.k_proj" => Status::Equivalent,
                (true, Some(_), Some(first)) if index == first => Status::Diverges,
                (true, Some(_), Some(first)) if index > first => Status::Follows,
                _ => Status::Agrees,
            };
            let local = self.local(index).filter(|_| computed);
            let row = &mut self.rows[index];
            (row.computed, row.error, row.local, row.status) = (computed, error, local, status);
        }
    }

    fn diagnosis(&self) -> Diagnosis {
        let row = self.divergence().expect("something diverges");
        let line =
            |index, id: &'static str, explained, summary: &str, fix: &'static str, symptom: &'static str| SuspectLine {
                id: id.into(),
                explained,
                residual: 2.4e-7,
                summary: summary.into(),
                fix: fix.into(),
                symptom: symptom.into(),
                can_be_switched: index < 2,
                on: self.on == Some(index),
            };
        Diagnosis {
            row,
            forward: 0,
            name: self.rows[row].short.clone(),
            local: self.rows[row].local,
            suspects: vec![
                line(
                    0,
                    "rope_interleaved",
                    0.999_999_9,
                    "channels (2i, 2i + 1) are rotated together where the model pairs (i, i + d/2): pairs (2i, 2i + 1) where \
                     the model has (i, i + 32)",
                    "rotate channel i with channel i + d/2",
                    "token 0 is right, later tokens are wrong in all heads; one or two tokens are generated well, then loops",
                ),
                line(
                    1,
                    "rope_theta",
                    0.991,
                    "another theta: theta 10000 where the model has 1000000",
                    "read rope_theta of config.json",
                    "token 0 is right; the fastest pair is right everywhere, slower ones drift",
                ),
                line(2, "unknown", 0.0, "no known mistake makes it: the error is in channels 3-7", "", ""),
            ],
        }
    }

    fn axes(&self, row: usize) -> Vec<(&'static str, usize)> {
        let tokens = PREFILL;
        match self.rows[row].label.as_str() {
            "q_proj" | "context" => vec![("token", tokens), ("head*head_dim", 576)],
            "k_proj" | "v_proj" => vec![("token", tokens), ("kv_head*head_dim", 192)],
            "q_rope" => vec![("head", 9), ("token", tokens), ("head_dim", 64)],
            "k_rope" => vec![("kv_head", 3), ("token", tokens), ("head_dim", 64)],
            "scores" | "probs" => vec![("head", 9), ("query", tokens), ("key", tokens)],
            "gate_proj" | "up_proj" | "act_fn" | "act_mul" => vec![("token", tokens), ("intermediate", 1536)],
            "lm_head" => vec![("token", tokens), ("vocab", 49152)],
            _ => vec![("token", tokens), ("hidden", 576)],
        }
    }

    fn value(&self, request: &TensorRequest, plane: usize, row: usize, column: usize) -> f32 {
        let label = self.rows[request.row].label.as_str();
        if matches!(label, "scores" | "probs") && column > row {
            return if label == "scores" { f32::NEG_INFINITY } else { 0.0 };
        }
        if label == "v_proj" && row == 3 && column % 50 == 7 {
            return if column > 60 { f32::INFINITY } else { f32::NAN };
        }
        let wave =
            ((request.row * 31 + plane * 17 + row * 7 + column) as f32 * 0.37).sin() * (1.0 + column as f32 * 0.01);
        match request.shown {
            Shown::Values(Witness::Engine) => wave,
            Shown::Values(_) => wave + 1e-7,
            Shown::Difference(..) => wave * 1e-7,
            Shown::Ratio(..) => 1.0 + wave * 1e-7,
        }
    }
}

impl Backend for Fake {
    fn execute(
        &mut self,
        command: &Command,
        line: &str,
        _: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        self.line = line.to_string();
        let last = self.rows.len() - 1;
        let next = self.at.map_or(0, |at| at + 1);
        let per_layer = self.rows.iter().filter(|row| row.layer == Some(0)).count();
        match command {
            Command::Step(_) | Command::Next(_) | Command::Finish(_) | Command::Continue(_) if next > last => {
                return Ok(Stop::End);
            }
            Command::Step(times) => self.go(Some((next + times - 1).min(last))),
            Command::Next(times) => self.go(Some(((next + per_layer * times).saturating_sub(1)).min(last))),
            Command::Back(..) if self.at.is_none() => return Ok(Stop::Start),
            Command::Back(Motion::Step, times) => self.go(self.at.and_then(|at| at.checked_sub(*times))),
            Command::Back(Motion::Next, times) => self.go(self.at.and_then(|at| at.checked_sub(times * per_layer))),
            Command::Finish(_) => {
                let end = (next..last).find(|row| self.rows[*row].label.starts_with("layer ")).unwrap_or(last);
                self.go(Some(end));
            }
            Command::Continue(_) => {
                let stop = (next..=last).find(|row| self.rows[*row].breakpoint || Some(*row) == self.divergence());
                self.go(Some(stop.unwrap_or(last)));
                progress(self.listing());
                return Ok(match stop {
                    Some(row) if self.rows[row].breakpoint => {
                        let line = format!("break {}", self.rows[row].short);
                        Stop::Breakpoint { number: 1, line }
                    }
                    Some(_) => Stop::Divergence,
                    None => Stop::End,
                });
            }
            Command::Goto(name) => match self.rows.iter().position(|row| row.name == *name || row.short == *name) {
                Some(row) => self.go(Some(row)),
                None if name == "panic" => panic!("asked for by name"),
                None => return Err(format!("no activation is called {name}: g and Tab list them")),
            },
            Command::Toggle(name) | Command::Break { pattern: name, .. } => {
                let part = name.trim_start_matches("*.");
                let hit =
                    |row: &ListingRow| row.name == *name || row.short == *name || (part != name && row.label == part);
                for row in &mut self.rows {
                    row.breakpoint ^= hit(row);
                }
                if let Command::Break { pattern, .. } = command {
                    let ops = self.rows.iter().filter(|row| row.breakpoint).count();
                    return Ok(Stop::said(format!("breakpoint 1: break {pattern} ({ops} ops)")));
                }
            }
            Command::Restart => self.go(None),
            Command::Diagnose(name) => {
                let wrong =
                    |row: &ListingRow| [&row.name, &row.short].contains(&name) && row.status == Status::Diverges;
                if !self.rows.iter().any(wrong) {
                    return Err("it does not diverge by itself: there is nothing to diagnose".into());
                }
                return Ok(Stop::Diagnosed(self.diagnosis()));
            }
            Command::Switch(index) => {
                self.on = Some(*index).filter(|index| self.on != Some(*index));
                progress(self.listing());
                return Ok(Stop::Diagnosed(self.diagnosis()));
            }
            Command::Info(_) => {
                return Ok(Stop::Said((0..40).map(|line| format!("line {line} of what is known")).collect()));
            }
            Command::Reload => {
                let sentence = "reloaded candidate: 2.q_rope was bad, agrees now; first divergence moves from 2.q_rope to \
                                5.down_proj";
                return Ok(Stop::Reloaded { sentence: sentence.into(), changed: true });
            }
            Command::Save { name, .. } => self.saved.clone_from(name),
            Command::Mark(text) | Command::Note(text) => return Ok(Stop::said(text)),
            other => return Ok(Stop::said(format!("{other:?} is done"))),
        }
        Ok(Stop::Done)
    }

    fn header(&self) -> Header {
        let token = |(id, text): (usize, &&str)| Token { id: 500 + id as u32 * 37, text: (*text).to_string() };
        Header {
            model: "SmolLM2-135M".into(),
            facts: "llama · 4 layers · bf16 weights · f32".into(),
            tokens: self.tokens.iter().enumerate().map(token).collect(),
            forwards: vec![PREFILL, 1],
            witnesses: if self.compared {
                vec![Witness::Engine, Witness::Reference, Witness::Candidate]
            } else {
                vec![Witness::Engine]
            },
            suspect: self.on.map(|on| format!("with {} in layers 2, 5", self.diagnosis().suspects[on].id)),
            patches: 0,
            recording: self.saved.clone(),
            notes: vec!["the reference was computed in bf16: every value has 16 zero bits".into()],
        }
    }

    fn listing(&self) -> Listing {
        let first = self.divergence().filter(|first| self.compared && self.at.is_some_and(|at| at >= *first));
        Listing {
            forward: 0,
            at: self.at,
            rows: self.rows.clone(),
            first_divergence: first,
            compared: self.compared,
            done: None,
        }
    }

    fn page(&self, request: &PageRequest) -> Result<Page, String> {
        match request {
            PageRequest::Tensor(request) => self.tensor(request).map(Page::Tensor),
            PageRequest::Attention(request) => self.attention(request).map(Page::Attention),
            PageRequest::Lens(request) => self.lens(request).map(Page::Lens),
            PageRequest::Cache(request) => Ok(Page::Cache(self.cache(request))),
            PageRequest::Experts(_) => Err("this model has no experts".into()),
            PageRequest::Histogram(request) => self.histogram(request).map(Page::Histogram),
        }
    }

    fn curve(&self) -> Curve {
        self.errors_of_layers()
    }

    fn reset(&mut self) -> Result<(), String> {
        self.rows.iter_mut().for_each(|row| row.breakpoint = false);
        self.on = None;
        self.go(None);
        Ok(())
    }

    fn replayed(&mut self) -> Option<String> {
        let differs = self.differing.contains(&self.line.as_str());
        differs.then(|| "here token 3 has 0.12345, recorded was 0.54321: another build of the weights".to_string())
    }
}

impl Fake {
    fn tensor(&self, request: &TensorRequest) -> Result<TensorPage, String> {
        let op = &self.rows[request.row];
        if !op.computed {
            return Err(format!("not computed yet: g {} goes there", op.short));
        }
        let axes = self.axes(request.row);
        let (row_axis, column_axis) = (axes[axes.len() - 2], axes[axes.len() - 1]);
        let planes = if axes.len() == 3 { axes[0].1 } else { 1 };
        // The place that the comparisons name.
        let worst = request.worst.map(|_| (2.min(planes - 1), 3.min(row_axis.1 - 1), 17.min(column_axis.1 - 1)));
        let (plane, row, column) = worst.unwrap_or((request.plane, request.rows.0, request.columns.0));
        let plane = plane.min(planes - 1);
        let end = |first: usize, shown: usize, length: usize| match worst {
            Some(_) => first.min(length.saturating_sub(shown)),
            None => first,
        };
        let rows = (end(row, request.rows.1, row_axis.1), request.rows.1);
        let columns = (end(column, request.columns.1, column_axis.1), request.columns.1);
        let span = |(start, count): (usize, usize), length: usize| start.min(length)..(start + count).min(length);
        let numbers = span(rows, row_axis.1)
            .map(|row| span(columns, column_axis.1).map(|column| self.value(request, plane, row, column)).collect());
        let pool = |length: usize, cells: usize| length.div_ceil(cells.max(1)).max(1);
        let pooled = (pool(row_axis.1, request.heatmap.0), pool(column_axis.1, request.heatmap.1));
        let cell = |row: usize, column: usize| self.value(request, plane, row * pooled.0, column * pooled.1);
        let heatmap = (0..row_axis.1.div_ceil(pooled.0))
            .map(|row| (0..column_axis.1.div_ceil(pooled.1)).map(|column| cell(row, column)).collect());
        let comparison = |of, error: f64| ComparisonLine {
            of,
            against: Witness::Reference,
            error,
            nonfinite: 0,
            cosine: 1.0 - error / 2.0,
            max_abs: error * 4.0,
            worst: "head 2 token 3 channel 17".into(),
        };
        let error = self.error(request.row).unwrap_or(1e-7);
        Ok(TensorPage {
            vocabulary: Vec::new(),
            name: op.name.clone(),
            meaning: "queries, rotated by their position",
            planes,
            place: (plane, rows.0, columns.0),
            plane_word: "head",
            row_axis,
            column_axis,
            first_position: 0,
            numbers: numbers.collect(),
            heatmap: heatmap.collect(),
            pooled,
            heat_from: (0, 0),
            range: (-1.4, 1.3),
            summary: Summary {
                count: 2880,
                finite: 2879,
                min: -1.63,
                max: 1.62,
                mean: -0.002_31,
                rms: 0.913,
                absmax: Some((1.63, vec![0; axes.len()])),
                nan: usize::from(op.label == "v_proj"),
                positive_infinite: 0,
                negative_infinite: if op.label == "scores" { 90 } else { 0 },
            },
            comparisons: if self.compared {
                vec![comparison(Witness::Candidate, error), comparison(Witness::Engine, 3e-7)]
            } else {
                Vec::new()
            },
            notes: Vec::new(),
            axes,
        })
    }

    fn errors_of_layers(&self) -> Curve {
        let layers = self.rows.iter().filter_map(|row| row.layer).max().map_or(0, |last| last + 1);
        let mut curve = Curve { layers: vec![LayerErrors::default(); layers] };
        for row in &self.rows {
            let local = row.local.as_ref();
            let errors = LayerErrors { error: row.error, local: local.map(|l| l.error), floor: local.map(|l| l.floor) };
            if let Some(layer) = row.layer {
                curve.layers[layer] = curve.layers[layer].worst(errors);
            }
        }
        curve
    }
}
