//! A value as lines of text: for a log, and for stdout.

use super::number::significant;
use super::value::{Elements, Tensor, Value};

/// Digits of a number alone: enough to tell any two f32 apart.
const DIGITS: usize = 9;
/// Digits of an element among others.
const FEW: usize = 4;
/// Rows and planes shown at each end of a long axis.
const EDGE: usize = 3;

impl Value {
    /// The value as text of at most `width` columns, where its numbers allow it. Tensors show what lies at the ends of
    /// their axes, as numpy does.
    pub fn lines(&self, width: usize) -> Vec<String> {
        match self {
            Self::Number(value) => vec![significant(*value, DIGITS)],
            Self::Truth(value) => vec![value.to_string()],
            Self::Tensor(tensor) => tensor_lines(tensor, width),
            Self::Axes(axes) => {
                let numbers: Vec<usize> = axes.iter().map(|(_, number)| *number).collect();
                let words: Vec<String> = axes.iter().map(|(name, number)| format!("{name} {number}")).collect();
                vec![format!("{numbers:?}  {}", words.join(", "))]
            }
            Self::Top(_, elements) => {
                let places: Vec<String> = elements.iter().map(|(place, _)| place_text(place)).collect();
                let longest = places.iter().map(String::len).max().unwrap_or(0);
                let values = elements.iter().map(|(_, value)| significant(*value, DIGITS));
                places.iter().zip(values).map(|(place, value)| format!("{place:>longest$}  {value}")).collect()
            }
        }
    }
}

fn place_text(place: &[usize]) -> String {
    if let [only] = place { only.to_string() } else { format!("{place:?}") }
}

impl Tensor {
    /// `[9 head, 15 token, 64 head_dim]`
    pub fn describe(&self) -> String {
        let axes = self.elements.shape().iter().zip(&self.axes);
        let words: Vec<String> = axes.map(|(length, name)| format!("{length} {name}")).collect();
        format!("[{}]", words.join(", "))
    }
}

fn tensor_lines(tensor: &Tensor, width: usize) -> Vec<String> {
    let shape = tensor.elements.shape();
    let mut lines = vec![tensor.describe()];
    if shape.contains(&0) {
        return lines;
    }
    let (outer, columns) = (&shape[..shape.len() - 1], shape[shape.len() - 1]);
    let picked: Vec<Vec<Option<usize>>> =
        outer.iter().map(|length| ends(*length, if *length > 2 * EDGE + 1 { 2 * EDGE } else { *length })).collect();
    // Brackets at both ends, and one column at least.
    let room = width.saturating_sub(2 * shape.len()).max(1);
    let candidates = ends(columns, columns.min((room / 2).max(2)));
    let mut grid = Grid { elements: &tensor.elements, picked, columns: candidates, cell: 0 };
    grid.cell = grid.widest(&mut Vec::new());
    let fits = |cell: usize| (room + 1) / (cell + 1);
    let all = fits(grid.cell) >= columns;
    grid.cell = if all { grid.cell } else { grid.cell.max(3) };
    // One of them says that others are left out.
    let count = if all { columns } else { fits(grid.cell).saturating_sub(1).max(1) };
    grid.columns = ends(columns, count.min(columns));
    lines.extend(grid.lines(&mut Vec::new()));
    lines
}

/// `count` of the indices below `length`, half of them from each end; none stands for those between.
fn ends(length: usize, count: usize) -> Vec<Option<usize>> {
    if count >= length {
        return (0..length).map(Some).collect();
    }
    let last = count / 2;
    (0..count - last).map(Some).chain([None]).chain((length - last..length).map(Some)).collect()
}

/// What is shown of a tensor.
struct Grid<'a> {
    elements: &'a Elements,
    picked: Vec<Vec<Option<usize>>>,
    columns: Vec<Option<usize>>,
    cell: usize,
}

impl Grid<'_> {
    fn text(&self, row: &[usize], column: usize) -> String {
        let index: Vec<usize> = row.iter().copied().chain([column]).collect();
        significant(self.elements.at(&index), FEW)
    }

    /// Columns that the widest cell takes.
    fn widest(&self, row: &mut Vec<usize>) -> usize {
        if row.len() == self.picked.len() {
            return self.columns.iter().flatten().map(|column| self.text(row, *column).len()).max().unwrap_or(0);
        }
        let mut widest = 0;
        for index in self.picked[row.len()].iter().flatten() {
            row.push(*index);
            widest = widest.max(self.widest(row));
            row.pop();
        }
        widest
    }

    fn lines(&self, row: &mut Vec<usize>) -> Vec<String> {
        let width = self.cell;
        if row.len() == self.picked.len() {
            let cell = |column: &Option<usize>| {
                column.map_or_else(
                    || format!("{:>width$}", "..."),
                    |column| format!("{:>width$}", self.text(row, column)),
                )
            };
            return vec![format!("[{}]", self.columns.iter().map(cell).collect::<Vec<_>>().join(" "))];
        }
        let mut inside = Vec::new();
        for index in &self.picked[row.len()] {
            match index {
                Some(index) => {
                    row.push(*index);
                    inside.extend(self.lines(row));
                    row.pop();
                }
                None => inside.push("...".into()),
            }
        }
        let last = inside.len() - 1;
        let around = |(at, line): (usize, String)| {
            format!("{}{line}{}", if at == 0 { "[" } else { " " }, if at == last { "]" } else { "" })
        };
        inside.into_iter().enumerate().map(around).collect()
    }
}
