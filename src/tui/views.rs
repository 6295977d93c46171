//! What the panes show: which head, which token, scrolled how far; and the pages that came for them.

use ratatui::layout::Rect;

use super::app::App;
use super::layout;
use super::message::Request;
use super::pane;
use super::slot::Slot;
use super::theme::Ink;
use crate::debugger::command::{Count, Pane};
use crate::debugger::view::{
    AttentionPage, AttentionRequest, CachePage, CacheRequest, Half, HistogramPage, HistogramRequest, LensPage,
    LensRequest, Page, PageRequest, Shown, TensorRequest, Witness,
};

/// What is shown beside the tensor.
#[derive(Debug, Default)]
pub(crate) struct Views {
    /// The token that is looked at: a row of the current forward; `None` is the last one.
    pub(crate) token: Option<usize>,
    /// The attention head.
    pub(crate) head: usize,
    /// The attention of the selected layer, and that of the other witness beside it.
    pub(crate) attention: Slot<AttentionRequest, AttentionPage>,
    /// The other witness beside it.
    pub(crate) beside: Slot<AttentionRequest, AttentionPage>,
    /// The logit lens.
    pub(crate) lens: Slot<LensRequest, LensPage>,
    /// The token that the lens follows.
    pub(crate) followed: Option<u32>,
    /// The row of the lens that the user has moved to; `None`: that of the selected op.
    pub(crate) lens_row: Option<usize>,
    /// The KV cache.
    pub(crate) cache: Slot<CacheRequest, CachePage>,
    /// Keys or values.
    pub(crate) half: Half,
    /// The layer of the cache that the user has moved to; `None`: that of the selected op.
    pub(crate) cache_layer: Option<usize>,
    /// The key and value head of the cache.
    pub(crate) kv_head: usize,
    /// The distribution of the selected activation.
    pub(crate) histogram: Slot<HistogramRequest, HistogramPage>,
    /// The head that it is of; `None`: all of them.
    pub(crate) plane: Option<usize>,
    /// The first token of the list that the user has scrolled to; `None`: those of this forward are shown.
    pub(crate) first_token: Option<usize>,
}

impl Views {
    /// The debugger has moved.
    pub(crate) fn stale(&mut self) {
        self.attention.stale = true;
        self.beside.stale = true;
        self.lens.stale = true;
        self.cache.stale = true;
        self.histogram.stale = true;
    }

    /// Looks at where the debugger stands now, not where the user had moved to.
    pub(crate) fn follow(&mut self) {
        self.lens_row = None;
        self.cache_layer = None;
        self.first_token = None;
    }

    /// Shows another head in the histogram; before the first one stand all of them.
    pub(crate) fn turn_plane(&mut self, count: Count) {
        let planes = self.histogram.shown().map_or(usize::MAX - 1, |page| page.planes);
        let now = self.plane.map_or(0, |plane| plane.saturating_add(1).min(planes));
        self.plane = match count {
            Count::To(_) => Some(count.of(0, planes)),
            Count::On(_) => count.of(now, planes + 1).checked_sub(1),
        };
    }
}

impl App {
    /// Tokens of the current forward.
    pub(crate) fn forward_tokens(&self) -> usize {
        self.header.forwards.get(self.listing.forward).copied().unwrap_or(1)
    }

    /// The token that is looked at: a row of the current forward.
    pub(crate) fn token_row(&self) -> usize {
        let last = self.forward_tokens().saturating_sub(1);
        self.views.token.map_or(last, |token| token.min(last))
    }

    /// Looks at another token.
    pub(crate) fn turn_token(&mut self, count: Count) {
        let count = match count {
            // As people count them: by their position in the sequence.
            Count::To(position) => Count::To(position.saturating_sub(self.first_position())),
            on @ Count::On(_) => on,
        };
        self.views.token = Some(count.of(self.token_row(), self.forward_tokens()));
        self.views.first_token = None;
    }

    /// Position in the sequence of the first token of the current forward.
    pub(crate) fn first_position(&self) -> usize {
        self.header.forwards.iter().take(self.listing.forward).sum()
    }

    /// The layer that is looked at: that of the selected op; without one, that of the op computed last.
    pub(crate) fn layer(&self) -> usize {
        let layer = |row: Option<usize>| row.and_then(|row| super::outline::layer_of(&self.listing, row));
        layer(self.selected_row()).or_else(|| layer(self.listing.at)).unwrap_or(0)
    }

    /// Takes in a page.
    pub(crate) fn receive(&mut self, request: &PageRequest, page: Result<Page, String>) {
        let visible = self.tensor_parts().map(|parts| parts.numbers());
        let views = &mut self.views;
        // A page of another kind than was asked for does not come.
        macro_rules! only {
            ($kind:ident) => {
                page.and_then(|page| if let Page::$kind(page) = page { Ok(page) } else { Err(String::new()) })
            };
        }
        match request {
            PageRequest::Tensor(request) => self.tensor.receive(request, only!(Tensor), visible),
            PageRequest::Histogram(request) => drop(views.histogram.receive(request, only!(Histogram))),
            PageRequest::Attention(request) => {
                let page: Result<AttentionPage, String> = only!(Attention);
                // Both may have been asked for with the same words.
                let beside = views.beside.is_asked(request);
                if views.attention.is_asked(request) {
                    views.attention.receive(request, page);
                } else if beside {
                    views.beside.receive(request, page);
                } else {
                    views.attention.receive(request, page.clone());
                    views.beside.receive(request, page);
                }
            }
            PageRequest::Lens(request) => drop(views.lens.receive(request, only!(Lens))),
            PageRequest::Cache(request) => drop(views.cache.receive(request, only!(Cache))),
        }
    }

    /// Whether pages are on their way.
    pub(crate) fn awaits_pages(&self) -> bool {
        let views = &self.views;
        self.tensor.slot.waiting
            || views.attention.waiting
            || views.beside.waiting
            || views.lens.waiting
            || views.cache.waiting
            || views.histogram.waiting
    }

    /// Asks for the pages that are now to be shown.
    pub(crate) fn ask_pages(&mut self, requests: &mut Vec<Request>) {
        self.tensor.turn_to(self.listing.forward, self.selected_row());
        let tensor = self.wanted_tensor();
        let (attention, beside) = self.wanted_attention();
        let (lens, cache, histogram) = (self.wanted_lens(), self.wanted_cache(), self.wanted_histogram());
        let pages = [
            self.tensor.slot.ask(tensor).map(PageRequest::Tensor),
            self.views.attention.ask(attention).map(PageRequest::Attention),
            self.views.beside.ask(beside).map(PageRequest::Attention),
            self.views.lens.ask(lens).map(PageRequest::Lens),
            self.views.cache.ask(cache).map(PageRequest::Cache),
            self.views.histogram.ask(histogram).map(PageRequest::Histogram),
        ];
        requests.extend(pages.into_iter().flatten().map(Request::Page));
    }

    fn inside(&self, pane: Pane) -> Option<Rect> {
        self.areas().of(pane).map(layout::inside)
    }

    /// Values in the height of a cell.
    fn per_cell(&self) -> usize {
        if self.theme.ink() == Ink::HalfBlocks { 2 } else { 1 }
    }

    fn wanted_tensor(&self) -> Option<TensorRequest> {
        let parts = self.tensor_parts()?;
        let (rows, columns) = parts.numbers();
        let heatmap_columns = parts.heatmap.width.saturating_sub(parts.gutter);
        Some(TensorRequest {
            row: self.selected_row()?,
            shown: self.tensor.shown(&self.header),
            plane: self.tensor.plane,
            rows: (self.tensor.row, rows),
            columns: (self.tensor.column, columns),
            heatmap: (usize::from(parts.heatmap.height) * self.per_cell(), usize::from(heatmap_columns)),
            magnify: self.tensor.magnify,
        })
    }

    fn wanted_attention(&self) -> (Option<AttentionRequest>, Option<AttentionRequest>) {
        let Some(inside) = self.inside(Pane::Attention) else { return (None, None) };
        let parts = pane::attention_parts(inside, self);
        let cells = |area: Rect| (usize::from(area.height) * self.per_cell(), usize::from(area.width));
        let shown = self.tensor.shown(&self.header).without_ratio();
        let query = self.token_row();
        // Magnified, the selected query stays in sight, and so do the keys next to it.
        let magnify = self.tensor.magnify.max(1);
        let window = |at: usize, of: usize| {
            let count = of.div_ceil(magnify);
            ((at + 1).saturating_sub(count.div_ceil(2)).min(of.saturating_sub(count)), count)
        };
        let (tokens, keys) = (self.forward_tokens(), self.first_position() + self.forward_tokens());
        let request = AttentionRequest {
            queries: window(query, tokens),
            keys: window(self.first_position() + query, keys),
            layer: self.layer(),
            shown,
            head: self.views.head,
            heatmap: cells(parts.heatmap),
            small: (usize::from(parts.small.1) * self.per_cell(), usize::from(parts.small.0)),
            query,
            top: usize::from(parts.keys.height),
            ..AttentionRequest::default()
        };
        let other = match shown {
            Shown::Values(Witness::Engine) => self.header.witnesses.get(1).copied(),
            Shown::Values(Witness::Reference) => {
                self.header.witnesses.last().copied().filter(|w| *w != Witness::Reference)
            }
            Shown::Values(Witness::Candidate) => {
                self.header.witnesses.get(1).copied().filter(|w| *w != Witness::Candidate)
            }
            Shown::Difference(..) | Shown::Ratio(..) => None,
        };
        let beside = parts.beside.zip(other).map(|(area, other)| AttentionRequest {
            shown: Shown::Values(other),
            heatmap: cells(area),
            small: (0, 0),
            top: 0,
            ..request.clone()
        });
        (Some(request), beside)
    }

    /// Whose residual stream the lens reads: of a difference, that of the one that is looked at.
    pub(crate) fn lens_witness(&self) -> Witness {
        match self.tensor.shown(&self.header) {
            Shown::Values(witness) | Shown::Difference(witness, _) | Shown::Ratio(witness, _) => witness,
        }
    }

    fn wanted_lens(&self) -> Option<LensRequest> {
        self.inside(Pane::Lens)?;
        let (shown, token, chosen) = (self.lens_witness(), self.token_row(), self.views.followed);
        Some(LensRequest { token, shown, top: pane::LENS_TOKENS, chosen, mid: false })
    }

    fn wanted_cache(&self) -> Option<CacheRequest> {
        let inside = self.inside(Pane::Cache)?;
        let parts = pane::cache_parts(inside, self);
        let cells = |area: Rect| (usize::from(area.height) * self.per_cell(), usize::from(area.width));
        Some(CacheRequest {
            half: self.views.half,
            cells: cells(parts.grid),
            head: Some((pane::cache_selected(self), self.views.kv_head)),
            head_cells: cells(parts.head),
        })
    }

    fn wanted_histogram(&self) -> Option<HistogramRequest> {
        let inside = self.inside(Pane::Histogram)?;
        Some(HistogramRequest {
            row: self.selected_row()?,
            shown: self.tensor.shown(&self.header).without_ratio(),
            plane: self.views.plane,
            bins: pane::histogram_bins(inside),
            channels: pane::LOUDEST,
        })
    }

    /// Follows a token by its id or its text; without one, the likeliest.
    pub(crate) fn follow(&mut self, token: Option<&str>) {
        let Some(text) = token else {
            self.views.followed = None;
            return;
        };
        let bare = text.trim_matches('"');
        let said = self.views.lens.shown().into_iter().flat_map(|page| &page.rows).flat_map(|row| &row.top);
        let known = self.header.tokens.iter().chain(said.map(|line| &line.token));
        let found = known.filter(|token| token.text == bare || token.text.trim() == bare).map(|token| token.id).next();
        match found.or_else(|| text.parse().ok()) {
            Some(id) => self.views.followed = Some(id),
            None => {
                self.complain(format!("no token on the screen is {text}: give its id, or a text that the lens shows"));
            }
        }
    }
}
