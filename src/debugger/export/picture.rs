//! A plane as cells of colour, and as a PNG.

use std::io::{self, Write};

use ndarray::ArrayView2;

use crate::debugger::expression::number::significant;
use crate::debugger::heat::{Rgb, Scale, write_png};
use crate::metrics::{middle_range, pool};

/// A plane in cells.
pub(super) struct Picture {
    /// Rows of cells.
    pub(super) cells: Vec<Vec<Rgb>>,
    /// Elements of the plane: rows, columns.
    pub(super) elements: (usize, usize),
    /// Elements of a cell: rows, columns.
    pub(super) pooled: (usize, usize),
    /// The colours.
    pub(super) scale: Scale,
}

impl Picture {
    /// A plane in at most so many cells along each side.
    pub(super) fn new(plane: ArrayView2<f32>, cells: usize) -> Self {
        let (low, high) = middle_range(plane.iter());
        let scale = Scale::between(low, high);
        let (pooled, values) = pool(plane, (cells, cells));
        let cells = values.iter().map(|row| row.iter().map(|value| scale.color(*value)).collect()).collect();
        Self { cells, elements: plane.dim(), pooled, scale }
    }

    /// Rows and columns of cells.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.cells.len(), self.cells.first().map_or(0, Vec::len))
    }

    /// The values at both ends of the scale.
    pub(super) fn ends(&self) -> (String, String) {
        let (low, high) = self.scale.ends();
        (significant(f64::from(low), 3), significant(f64::from(high), 3))
    }

    /// What its colours and cells mean.
    pub(super) fn describe(&self) -> String {
        let (low, high) = self.ends();
        let cells = match self.pooled {
            (1, 1) => String::new(),
            (rows, columns) => format!("; a cell is the largest magnitude of {rows} x {columns} elements"),
        };
        format!("colours from {low} to {high}, where 98 % of the elements lie{cells}")
    }

    /// Writes it as a PNG, each cell a square of pixels.
    pub(super) fn write_png(&self, out: &mut dyn Write, title: &str) -> io::Result<()> {
        /// Pixels along the longer side, where few cells allow it.
        const WANTED: usize = 512;
        let (rows, columns) = self.size();
        let side = (WANTED / rows.max(columns)).max(1);
        write_png(out, &self.cells, side, &[("Title", title), ("Description", &self.describe())])
    }
}
