//! The made-up debugger's pages beside the tensor: attention, lens, cache, histogram; with what a screen must survive.

use layerstep::debugger::view::{
    AttentionPage, AttentionRequest, CacheHead, CacheLayer, CachePage, CacheRequest, Half, HeadLine, HistogramPage,
    HistogramRequest, KeyLine, LensBeside, LensPage, LensRequest, LensRow, Shown, Token, TokenLine, Witness,
};
use layerstep::metrics::{Channel, HeadNumbers, Histogram};

use super::{Fake, PREFILL};

const HEADS: usize = 9;
const KV_HEADS: usize = 3;
const CHANNELS: usize = 64;
const VOCAB: usize = 49_152;
/// What the lens says: words, what a terminal would obey, letters of two columns, nothing.
const SAID: [&str; 6] = [" Paris", " the", "\u{1b}[2J\u{202e}", " 日本語", "\n\n", ""];

fn wave(seed: usize) -> f32 {
    (seed as f32 * 0.37).sin()
}

fn said(index: usize, probability: f64) -> TokenLine {
    let index = index % SAID.len();
    let token = Token { id: 7042 + 1000 * index as u32, text: SAID[index].to_string() };
    TokenLine { token, probability, logit: 10.0 + probability }
}

/// `rows` by `columns` in at most so many cells, and how many are in one.
fn pooled(
    (rows, columns): (usize, usize),
    cells: (usize, usize),
    value: impl Fn(usize, usize) -> f32,
) -> (Vec<Vec<f32>>, (usize, usize)) {
    if cells.0 == 0 || cells.1 == 0 {
        return (Vec::new(), (1, 1));
    }
    let pooled = (rows.div_ceil(cells.0).max(1), columns.div_ceil(cells.1).max(1));
    let row = |row| (0..columns.div_ceil(pooled.1)).map(|column| value(row * pooled.0, column * pooled.1)).collect();
    ((0..rows.div_ceil(pooled.0)).map(row).collect(), pooled)
}

impl Fake {
    fn layers(&self) -> usize {
        self.rows.iter().filter_map(|row| row.layer).max().map_or(0, |last| last + 1)
    }

    fn against(&self, shown: Witness) -> Option<Witness> {
        let other = if shown == Witness::Reference { Witness::Engine } else { Witness::Reference };
        self.compared.then_some(other)
    }

    pub(super) fn attention(&self, request: &AttentionRequest) -> Result<AttentionPage, String> {
        let name = format!("model.layers.{}.self_attn.probs", request.layer);
        let op = self.rows.iter().find(|row| row.name == name).ok_or("there is no such layer")?;
        if !op.computed && request.shown == Shown::default() {
            return Err(format!("not computed yet: g {} goes there", op.short));
        }
        let head = request.head.min(HEADS - 1);
        let value = |head: usize, query: usize, key: usize| match (head, query, key) {
            _ if key > query => f32::NEG_INFINITY,
            (4, 3, 1) => f32::NAN,
            _ => wave(head * 7 + query * 3 + key).abs(),
        };
        let square = (PREFILL, PREFILL);
        let (heatmap, pooled_by) = pooled(square, request.heatmap, |query, key| value(head, query, key));
        let small = |head| pooled(square, request.small, |query, key| value(head, query, key)).0;
        let line = |head: usize| HeadLine {
            numbers: (head != 4).then_some(HeadNumbers {
                entropy: 1.02,
                spread: 0.55,
                sink: 0.43,
                own: 0.21,
                previous: 0.02,
                duplicate: f64::NAN,
                induction: f64::NAN,
            }),
            difference: self.compared.then_some((1e-7 * (head + 1) as f64, (3, 1))),
        };
        let query = request.query.min(PREFILL - 1);
        let key = |key: usize| KeyLine {
            key,
            probability: 0.6 / (key + 1) as f64,
            score: None,
            against: self.compared.then_some(0.5 / (key + 1) as f64),
        };
        Ok(AttentionPage {
            name,
            head,
            kv_head: head / 3,
            kv_heads: KV_HEADS,
            first_position: 0,
            query_count: PREFILL,
            key_count: PREFILL,
            window: (request.layer == 1).then_some(4096),
            queries: (0, PREFILL),
            keys: (0, PREFILL),
            heatmap,
            pooled: pooled_by,
            range: (0.0, 1.0),
            small: (0..HEADS).map(small).collect(),
            small_pooled: (1, 1),
            small_range: (0.0, 1.0),
            lines: (0..HEADS).map(line).collect(),
            against: self.compared.then_some(Witness::Reference),
            query,
            top: (0..=query).take(request.top).map(key).collect(),
            notes: Vec::new(),
        })
    }

    pub(super) fn lens(&self, request: &LensRequest) -> Result<LensPage, String> {
        let dumped = request.shown != Witness::Engine;
        let wanted = |name: &str, label: &str| {
            ["embed_tokens", "lm_head"].contains(&label) || label.starts_with("layer ") && !name.is_empty()
        };
        let there =
            self.rows.iter().enumerate().filter(|(_, op)| wanted(&op.name, &op.label) && (op.computed || dumped));
        let there: Vec<_> = there.collect();
        if there.is_empty() {
            return Err("not computed yet: g embed_tokens goes there".into());
        }
        let against = self.against(request.shown);
        let all = there.len();
        let row = |(index, (row, op)): (usize, &(usize, &layerstep::debugger::view::ListingRow))| {
            let nan = op.short == "3";
            let share = (index + 1) as f64 / all as f64;
            let probability = if nan { f64::NAN } else { share.powi(6) };
            let rank = ((VOCAB as f64).powf(1.0 - share) as usize).max(1);
            let start = (all - 1 - index) / 3;
            LensRow {
                row: *row,
                name: op.short.clone(),
                layer: op.layer,
                top: (0..request.top.min(SAID.len())).map(|n| said(start + n, probability / (n + 1) as f64)).collect(),
                rank,
                probability,
                logit: 18.2 * share,
                entropy: if nan { f64::NAN } else { 10.8 * (1.0 - share) },
                divergence: (all > 2).then_some(14.0 * (1.0 - share)),
                against: against.map(|_| LensBeside {
                    top: (!nan).then(|| said(start + usize::from(index % 4 == 2), probability)),
                    rank: rank + index % 2,
                    probability,
                }),
            }
        };
        Ok(LensPage {
            token: request.token,
            position: request.token,
            shown: request.shown,
            against,
            chosen: request.chosen.map_or(said(0, 1.0).token, |id| {
                let known = (0..SAID.len()).map(|index| said(index, 1.0).token).find(|token| token.id == id);
                known.unwrap_or(Token { id, text: String::new() })
            }),
            rows: there.iter().enumerate().map(row).collect(),
            vocab: VOCAB,
            notes: if dumped { vec!["the reference does not have layer 5, and 3 more".into()] } else { Vec::new() },
        })
    }

    pub(super) fn cache(&self, request: &CacheRequest) -> CachePage {
        let layers = self.layers();
        let wrote = |layer: usize| self.rows.iter().any(|row| row.computed && row.short == format!("{layer}.k_rope"));
        let filled = (0..layers).take_while(|layer| wrote(*layer)).count();
        let norm = |layer: usize, position: usize| match (layer, position) {
            _ if layer >= filled => f32::NEG_INFINITY,
            (1, 3) => f32::NAN,
            _ => 12.0 + 4.0 * wave(layer * 5 + position * 11),
        };
        let (grid, pooled_by) = pooled((layers, PREFILL), request.cells, norm);
        let half = if request.half == Half::Keys { 0 } else { 3 };
        let layer = |layer: usize| CacheLayer {
            positions: if layer < filled { PREFILL } else { 0 },
            window: (layer == 1).then_some(4096),
            error: (self.compared && layer < filled).then_some(if layer == 2 { 0.87 } else { 2e-7 }),
        };
        let head = request.head.filter(|(layer, _)| *layer < layers).map(|(layer, head)| {
            let kv_head = head.min(KV_HEADS - 1);
            let held = if layer < filled { PREFILL } else { 0 };
            let value = |position: usize, channel: usize| wave(half + layer * 3 + position * 5 + channel);
            let (grid, pooled) = pooled((held, CHANNELS), request.head_cells, value);
            let range = if held > 0 { (-1.0, 1.0) } else { (0.0, 0.0) };
            CacheHead { layer, kv_head, readers: kv_head * 3..(kv_head + 1) * 3, grid, pooled, range }
        });
        CachePage {
            positions: PREFILL,
            new: 0..PREFILL,
            filled,
            kv_heads: KV_HEADS,
            head_dim: CHANNELS,
            bytes: filled * PREFILL * KV_HEADS * CHANNELS * 8,
            grid,
            pooled: pooled_by,
            range: (8.0, 16.0),
            layers: (0..layers).map(layer).collect(),
            against: self.compared.then_some(Witness::Reference),
            head,
        }
    }

    pub(super) fn histogram(&self, request: &HistogramRequest) -> Result<HistogramPage, String> {
        let op = &self.rows[request.row];
        if !op.computed {
            return Err(format!("not computed yet: g {} goes there", op.short));
        }
        let axes = self.axes(request.row);
        let planes = if axes.len() == 3 { axes[0].1 } else { 1 };
        let plane = request.plane.filter(|_| axes.len() == 3).map(|plane| plane.min(planes - 1));
        let place_axes: Vec<_> = axes[usize::from(plane.is_some())..axes.len() - 1].iter().map(|axis| axis.0).collect();
        let bins = request.bins.min(1024);
        let bell = |bin: usize| (1000.0 * (-((bin as f64 / bins as f64 - 0.5) * 6.0).powi(2)).exp()) as usize;
        let powers = bins.min(14);
        let channel = |index: usize| Channel {
            channel: 138 + index * 7,
            value: -33.125 / (index + 1) as f64,
            place: place_axes.iter().map(|_| index % PREFILL).collect(),
            ratio: if index == 3 { f64::INFINITY } else { 140.0 / (index + 1) as f64 },
        };
        let odd = op.label == "v_proj";
        Ok(HistogramPage {
            name: op.name.clone(),
            plane,
            planes,
            plane_word: "head",
            histogram: Histogram {
                count: 2880,
                zeros: 17,
                nan: if odd { 2 } else { 0 },
                positive_infinite: usize::from(odd),
                negative_infinite: if op.label == "scores" { 90 } else { 0 },
                counts: (0..bins).map(bell).collect(),
                edges: (0..=bins).map(|bin| -33.125 + bin as f64 * 50.0 / bins.max(1) as f64).collect(),
                magnitudes: (0..powers).map(|power| power * power * 5).collect(),
                exponents: (-9..).map(|power| if power == -9 { -127 } else { power }).take(powers + 1).collect(),
                percentiles: (op.label != "norm").then_some([-33.125, -1.41, -0.52, 0.01, 0.53, 1.4, 16.875]),
            },
            loudest: (0..request.channels).map(channel).collect(),
            median_channel: 0.236,
            place_axes,
            channel_axis: axes[axes.len() - 1].0,
            first_position: 0,
            notes: Vec::new(),
        })
    }
}
