//! Going back: the same ops on the same inputs, so the same bits.

use super::super::activation::Activation;
use super::Run;
use crate::ops::Real;

impl<T: Real> Run<T> {
    /// Goes back so that `counter` ops of the current forward are computed, by replaying from the residual at the
    /// block's entry: the same ops on the same inputs, so the same bits.
    ///
    /// # Panics
    /// When `counter` lies ahead.
    pub fn rewind(&mut self, counter: usize) {
        assert!(counter <= self.counter, "a rewind goes back");
        if counter == self.counter {
            return;
        }
        let layers = self.program.layers();
        let first = self.first_position();
        // The entry of the block that holds the op computed last, so that all slots of that block are filled again.
        let block = (0..self.checkpoints.len().min(layers)).rev().find(|l| self.program.block_start(*l) < counter);
        for layer in block.unwrap_or(0)..layers {
            self.cache.truncate(layer, first);
        }
        // An alteration may read the layer before: its slots have to be there, too.
        let block = block.map(|block| if self.alterations.is_empty() { block } else { block.saturating_sub(1) });
        let Some(block) = block else {
            self.restart_forward();
            while self.counter < counter {
                self.step();
            }
            return;
        };
        self.counter = self.program.block_start(block);
        let residual = self.checkpoints[block].clone();
        self.checkpoints.truncate(block);
        self.slots.clear();
        self.stale.clear();
        self.slots.insert(if block == 0 { Activation::EmbedTokens } else { Activation::Block }, residual);
        while self.counter < counter {
            self.step();
        }
    }

    /// Goes back to the start of an earlier forward (0 is the prefill), before its first op.
    ///
    /// # Panics
    /// When there is no such forward.
    pub fn rewind_to_forward(&mut self, forward: usize) {
        let start = self.starts[forward];
        let end = self.starts.get(forward + 1).copied().unwrap_or(self.ids.len());
        self.ids.truncate(end);
        self.starts.truncate(forward + 1);
        for layer in 0..self.program.layers() {
            self.cache.truncate(layer, start);
        }
        self.restart_forward();
    }
}
