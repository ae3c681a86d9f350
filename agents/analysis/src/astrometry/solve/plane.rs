//! The catalogue on a plane about a hint, and how a frame may lie on it.

use crate::astrometry::stars::Star;

/// Catalogue stars on the plane that touches the sky at a hint, degrees, in cells.
pub(super) struct Plane {
    pub(super) stars: Vec<(Star, f64, f64)>,
    cell: f64,
    left: f64,
    bottom: f64,
    columns: usize,
    cells: Vec<Vec<u32>>,
}

impl Plane {
    pub(super) fn new(stars: Vec<(Star, f64, f64)>, cell: f64) -> Self {
        let bound = |of: fn(&(Star, f64, f64)) -> f64, pick: fn(f64, f64) -> f64| {
            stars.iter().map(of).fold(of(&stars[0]), pick)
        };
        let (left, right) = (bound(|s| s.1, f64::min), bound(|s| s.1, f64::max));
        let (bottom, top) = (bound(|s| s.2, f64::min), bound(|s| s.2, f64::max));
        let cell = cell.max((right - left).max(top - bottom) / 500.0).max(1e-9);
        let columns = ((right - left) / cell) as usize + 1;
        let rows = ((top - bottom) / cell) as usize + 1;
        let mut cells = vec![Vec::new(); columns * rows];
        for (at, star) in stars.iter().enumerate() {
            let place = ((star.2 - bottom) / cell) as usize * columns + ((star.1 - left) / cell) as usize;
            cells[place].push(at as u32);
        }
        Self {
            stars,
            cell,
            left,
            bottom,
            columns,
            cells,
        }
    }

    pub(super) fn nearest(&self, xi: f64, eta: f64, radius: f64) -> Option<(usize, f64)> {
        let rows = self.cells.len() / self.columns;
        let range = |value: f64, count: usize| {
            let low = ((value - radius) / self.cell).floor().max(0.0) as usize;
            let high = (value + radius) / self.cell;
            (high >= 0.0 && low < count).then(|| (low, (high as usize).min(count - 1)))
        };
        let (x0, x1) = range(xi - self.left, self.columns)?;
        let (y0, y1) = range(eta - self.bottom, rows)?;
        let mut best: Option<(usize, f64)> = None;
        for row in y0..=y1 {
            for cell in &self.cells[row * self.columns + x0..=row * self.columns + x1] {
                for at in cell {
                    let star = &self.stars[*at as usize];
                    let squared = (star.1 - xi).powi(2) + (star.2 - eta).powi(2);
                    if squared <= radius * radius && best.is_none_or(|b| squared < b.1) {
                        best = Some((*at as usize, squared));
                    }
                }
            }
        }
        best.map(|(at, squared)| (at, squared.sqrt()))
    }
}

/// Position, scale and turn: side xi + i eta = c (x + i y) + t.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) side: f64,
    pub(super) c: (f64, f64),
    pub(super) t: (f64, f64),
}

impl Turn {
    pub(super) fn plane(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.side * (self.c.0 * x - self.c.1 * y + self.t.0),
            self.c.1 * x + self.c.0 * y + self.t.1,
        )
    }

    pub(super) fn rotation_deg(&self) -> f64 {
        (-self.side * self.c.1).atan2(self.c.0).to_degrees()
    }
}
