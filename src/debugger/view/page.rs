//! Pages of every kind.

use super::{
    AttentionPage, AttentionRequest, CachePage, CacheRequest, ExpertsPage, ExpertsRequest, HistogramPage,
    HistogramRequest, LensPage, LensRequest, TensorPage, TensorRequest,
};

/// A page that a pane wants.
#[derive(Clone, Debug, PartialEq)]
pub enum PageRequest {
    /// Of an activation.
    Tensor(TensorRequest),
    /// How an activation is distributed.
    Histogram(HistogramRequest),
    /// Of a layer's attention.
    Attention(AttentionRequest),
    /// Of the logit lens.
    Lens(LensRequest),
    /// Of the KV cache.
    Cache(CacheRequest),
    /// Of a layer's experts.
    Experts(ExpertsRequest),
}

/// A page.
#[derive(Clone, Debug)]
pub enum Page {
    /// Of an activation.
    Tensor(TensorPage),
    /// How an activation is distributed.
    Histogram(HistogramPage),
    /// Of a layer's attention.
    Attention(AttentionPage),
    /// Of the logit lens.
    Lens(LensPage),
    /// Of the KV cache.
    Cache(CachePage),
    /// Of a layer's experts.
    Experts(ExpertsPage),
}
