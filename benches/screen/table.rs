//! Times, and the table that they are printed as.

use std::time::Instant;

/// Rows of the table, in the order in which they were measured.
pub(crate) struct Table {
    rows: Vec<(String, String, f64, Vec<f64>)>,
}

/// Milliseconds that some work takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed().as_secs_f64() * 1e3
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds the times of something that is to take at most `target` milliseconds.
    pub(crate) fn row(&mut self, session: &str, what: &str, target: f64, times: Vec<f64>) {
        self.rows.push((session.to_string(), what.to_string(), target, times));
    }

    /// A row is within its target if 95 of 100 times are.
    #[expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
    pub(crate) fn print(&self) {
        println!("{:<20} {:<26} {:>9} {:>9} {:>9}", "session", "pane, keys", "median ms", "p95 ms", "target");
        for (session, what, target, times) in &self.rows {
            let (median, p95) = (quantile(times, 0.5), quantile(times, 0.95));
            let verdict = if p95 <= *target { "pass" } else { "MISS" };
            println!("{session:<20} {what:<26} {median:>9.2} {p95:>9.2} {target:>9} {verdict}");
        }
    }
}

/// The smallest time that is not exceeded by so large a share of them.
fn quantile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
