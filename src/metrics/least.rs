//! Where a function of one number is least.

/// The number between `low` and `high` for which `apart` is least: on a grid of so many steps, then by golden section.
pub fn least(low: f64, high: f64, grid: u32, apart: impl Fn(f64) -> f64) -> f64 {
    let step = (high - low) / f64::from(grid);
    let at = |index: u32| low + f64::from(index) * step;
    let nearest = (0..=grid).map(at).min_by(|a, b| apart(*a).total_cmp(&apart(*b))).unwrap_or(low);
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (nearest - step, nearest + step);
    for _ in 0..60 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if apart(a) < apart(b) {
            high = b;
        } else {
            low = a;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_of_several_valleys_is_found() {
        let found = least(-10.0, 10.0, 100, |x| (x - 3.3).powi(2).min((x + 5.0).powi(2) + 0.1));
        assert!((found - 3.3).abs() < 1e-7, "{found}");
    }
}
