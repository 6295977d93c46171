//! Going back: the same ops on the same inputs, so the same bits.

use super::Run;
use crate::model::graph::Site;
use crate::ops::Real;

impl<T: Real> Run<T> {
    /// Goes back so that `counter` ops of the current forward are computed, by replaying from a block's entry: the same ops
    /// on the same inputs, so the same bits.
    ///
    /// # Panics
    /// When `counter` lies ahead.
    pub fn rewind(&mut self, counter: usize) {
        assert!(counter <= self.counter, "a rewind goes back");
        if counter == self.counter {
            return;
        }
        let layers = self.graph().layers();
        // The entry of the block that holds the op computed last, so that all slots of that block are filled again.
        let block = (0..self.checkpoints.len().min(layers)).rev().find(|at| self.checkpoints[*at].counter < counter);
        // An alteration may read the layer before: its slots have to be there, too.
        let block = block.map(|block| if self.alterations.is_empty() { block } else { block.saturating_sub(1) });
        let Some(block) = block else {
            self.forget(0, self.first_position());
            self.restart_forward();
            while self.counter < counter {
                self.step();
            }
            return;
        };
        self.forget(self.checkpoints[block].counter, self.first_position());
        self.counter = self.checkpoints[block].counter;
        let live = self.checkpoints[block].live.clone();
        self.checkpoints.truncate(block);
        self.stale.clear();
        self.slots = live.into_iter().collect();
        while self.counter < counter {
            self.step();
        }
    }

    /// Takes from the cache what ops from `counter` on have put there of positions from `first` on.
    fn forget(&mut self, counter: usize, first: usize) {
        let kept: Vec<Site> = self.graph().cached().collect();
        for site in kept {
            if self.graph().first_past_reader(site).is_some_and(|reader| reader >= counter) {
                self.cache.truncate(site, first);
            }
        }
        for site in self.cache.beside().to_vec().into_iter().filter(|site| site.index() >= counter) {
            self.cache.truncate(site, first);
        }
    }

    /// Goes back to the start of an earlier forward (0 is the prefill), before its first op.
    ///
    /// # Panics
    /// When there is no such forward.
    pub fn rewind_to_forward(&mut self, forward: usize) {
        let start = self.fed.span(forward).first;
        self.fed.truncate(forward + 1);
        self.forget(0, start);
        self.restart_forward();
    }
}
