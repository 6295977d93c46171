//! What is fed: token ids, forward after forward.

use super::patch::Feed;
use super::step::Span;

/// Every id that is fed, and where each forward starts: the first is the prefill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    ids: Vec<u32>,
    starts: Vec<usize>,
}

impl Sequence {
    /// The ids, and how many of them each forward is fed.
    ///
    /// # Panics
    /// When the forwards do not feed every id once.
    pub fn new(ids: Vec<u32>, tokens: &[usize]) -> Self {
        let (mut starts, mut end) = (Vec::new(), 0);
        for tokens in tokens {
            starts.push(end);
            end += tokens;
        }
        assert_eq!(end, ids.len(), "every id is fed once");
        Self { ids, starts }
    }

    /// Adds a forward.
    pub fn push(&mut self, ids: &[u32]) {
        self.starts.push(self.ids.len());
        self.ids.extend_from_slice(ids);
    }

    /// Forgets the forwards after the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.ids.truncate(self.starts.get(count).copied().unwrap_or(self.ids.len()));
        self.starts.truncate(count);
    }

    /// Every id.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many forwards there are.
    pub fn forwards(&self) -> usize {
        self.starts.len()
    }

    /// How many ids each forward is fed.
    pub fn tokens(&self) -> Vec<usize> {
        self.feeds().map(|feed| feed.tokens).collect()
    }

    /// What a forward is fed.
    ///
    /// # Panics
    /// When there is no such forward.
    pub fn span(&self, forward: usize) -> Span<'_> {
        let (first, end) = (self.starts[forward], self.starts.get(forward + 1).copied().unwrap_or(self.ids.len()));
        Span { ids: &self.ids[first..end], first }
    }

    /// The places of what a forward is fed.
    ///
    /// # Panics
    /// As [`Self::span`].
    pub fn feed(&self, forward: usize) -> Feed {
        let span = self.span(forward);
        Feed { forward, first: span.first, tokens: span.ids.len() }
    }

    /// The places of what all forwards are fed, in order.
    pub fn feeds(&self) -> impl Iterator<Item = Feed> + use<'_> {
        (0..self.forwards()).map(|forward| self.feed(forward))
    }
}
