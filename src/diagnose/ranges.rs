//! Lists of layers, tokens and heads as people write them.

/// `2-5, 7`; of more than six runs the first, and `...`.
pub fn ranges(numbers: &[usize]) -> String {
    let (mut runs, most) = (all_ranges(numbers), 6);
    if let Some((end, _)) = runs.match_indices(", ").nth(most - 1) {
        runs.truncate(end);
        runs.push_str(", ...");
    }
    runs
}

/// `2-5, 7`, however many there are.
pub(super) fn all_ranges(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let shown =
        |(first, last): &(usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.iter().map(shown).collect::<Vec<String>>().join(", ")
}

/// The numbers of a text that [`all_ranges`] has made.
pub fn numbers(text: &str) -> Vec<usize> {
    let run = |run: &str| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // Texts come from files; nobody has more layers than that.
        (first <= last && last < 100_000_usize).then_some(first..=last)
    };
    text.split(',').filter_map(run).flatten().collect()
}
