//! Lagrangian relaxation: prices on jobs (used at most once) and resources, a longest path over the slots for the rest.

use super::grid::Grid;
use super::{Draft, Meter, Task, greedy};

/// Prices: what using a job once more, or a unit of a resource, costs in the relaxation.
#[derive(Clone)]
pub(super) struct Prices {
    pub job: Vec<f64>,
    pub resource: Vec<f64>,
}

/// The state of a solve: grid, best plan, best bound with its prices.
pub(super) struct Search<'a> {
    pub task: &'a Task,
    pub grid: Grid,
    pub best: Draft,
    pub bound: f64,
    pub prices: Prices,
    /// Value granularity, 0 when unknown.
    pub unit: f64,
    /// True once the search has proved that nothing beats `best`.
    pub proved: bool,
    /// The grid only guides: no bound and no strike may come from it.
    guide: bool,
    lossy: bool,
    /// Jobs count in ones, resources in seconds or pieces: one over the typical amount makes their steps alike.
    scale: Vec<f64>,
    /// Best value still to be had from each slot on, under `prices` (length `slots + longest + 1`).
    pub ahead: Vec<f64>,
}

/// Numerical slack in comparisons of sums of values.
pub(super) const SLACK: f64 = 1e-6;

impl<'a> Search<'a> {
    pub fn new(task: &'a Task, grid: Grid, best: Draft) -> Self {
        let total: f64 = task.jobs.iter().filter(|j| !j.starts.is_empty()).map(|j| j.value).sum();
        let prices = Prices {
            job: vec![0.0; task.jobs.len()],
            resource: vec![0.0; task.capacities.len()],
        };
        let unit = task.unit();
        let mut uses = vec![(0.0, 0.0); task.capacities.len()];
        for (r, amount) in task.jobs.iter().flat_map(|j| &j.uses) {
            uses[*r] = (uses[*r].0 + *amount as f64, uses[*r].1 + 1.0);
        }
        let scale = uses
            .iter()
            .map(|(sum, n)| if *sum > 0.0 { n / sum } else { 1.0 })
            .collect();
        Self {
            task,
            grid,
            best,
            bound: total,
            prices,
            unit,
            proved: false,
            guide: false,
            lossy: task.is_lossy(),
            scale,
            ahead: Vec::new(),
        }
    }

    /// The same plan, bound and prices on a grid that guides.
    pub fn guide(&self, grid: Grid) -> Self {
        Self {
            grid,
            guide: true,
            ahead: Vec::new(),
            best: self.best.clone(),
            prices: self.prices.clone(),
            scale: self.scale.clone(),
            ..*self
        }
    }

    pub fn is_guide(&self) -> bool {
        self.guide
    }

    pub fn finish(self) -> (Draft, f64) {
        let bound = if self.proved { self.best.value } else { self.bound };
        (self.best, bound)
    }

    /// Some start is worth less than another.
    pub fn lossy(&self) -> bool {
        self.lossy
    }

    pub fn gap(&self) -> f64 {
        if self.proved || self.bound <= self.best.value + SLACK {
            return 0.0;
        }
        (self.bound - self.best.value) / self.bound.max(1e-9)
    }

    /// A plan worth keeping must reach this.
    pub fn goal(&self) -> f64 {
        self.best.value
            + if self.unit > 0.0 {
                self.unit - 0.5 * self.unit.min(1.0)
            } else {
                SLACK
            }
    }

    pub fn offer(&mut self, draft: Draft) -> bool {
        let better = draft.value > self.best.value + SLACK;
        if better {
            self.best = draft;
        }
        better
    }

    /// Reduced value of each job under prices.
    pub fn reduced(&self, prices: &Prices) -> Vec<f64> {
        let cost = |j: usize| {
            let uses = &self.task.jobs[j].uses;
            prices.job[j] + uses.iter().map(|(r, a)| prices.resource[*r] * *a as f64).sum::<f64>()
        };
        (0..self.task.jobs.len())
            .map(|j| self.task.jobs[j].value - cost(j))
            .collect()
    }

    pub fn price_total(&self, prices: &Prices) -> f64 {
        let resources = prices
            .resource
            .iter()
            .zip(&self.task.capacities)
            .map(|(p, c)| p * *c as f64);
        prices.job.iter().sum::<f64>() + resources.sum::<f64>()
    }

    fn padded(&self) -> usize {
        self.grid.slots + self.grid.length.iter().copied().max().unwrap_or(1) as usize + 1
    }

    /// Reduced value and length of each job, side by side: the passes below ask for both, arc by arc.
    fn weighed(&self, reduced: &[f64]) -> Vec<(f64, usize)> {
        let lengths = self.grid.length.iter().map(|length| *length as usize);
        reduced.iter().copied().zip(lengths).collect()
    }

    /// Backward pass: value from each slot on, and the job chosen there (`u32::MAX`: wait).
    pub fn backward(&self, reduced: &[f64], ahead: &mut Vec<f64>, choice: &mut Vec<u32>) {
        let g = &self.grid;
        let jobs = self.weighed(reduced);
        ahead.clear();
        ahead.resize(self.padded(), 0.0);
        choice.clear();
        choice.resize(g.slots, u32::MAX);
        for k in (0..g.slots).rev() {
            let from_here = &ahead[k..];
            let (mut best, mut pick) = (from_here[1], u32::MAX);
            let (arcs, losses) = (g.arcs(k), g.losses(k));
            for (n, &j) in arcs.iter().enumerate() {
                let (value, length) = jobs[j as usize];
                let mut v = value + from_here[length];
                if v > best {
                    if let Some(loss) = losses.get(n) {
                        v -= f64::from(*loss);
                        if v <= best {
                            continue;
                        }
                    }
                    (best, pick) = (v, j);
                }
            }
            ahead[k] = best;
            choice[k] = pick;
        }
    }

    /// Forward pass: best value before each slot.
    fn forward(&self, reduced: &[f64]) -> Vec<f64> {
        let g = &self.grid;
        let jobs = self.weighed(reduced);
        let mut before = vec![0.0f64; self.padded()];
        for k in 0..g.slots {
            let here = before[k];
            let from_here = &mut before[k..];
            from_here[1] = from_here[1].max(here);
            let losses = g.losses(k);
            for (n, &j) in g.arcs(k).iter().enumerate() {
                let (value, length) = jobs[j as usize];
                let v = here + value - losses.get(n).copied().map_or(0.0, f64::from);
                from_here[length] = from_here[length].max(v);
            }
        }
        before
    }

    /// Strikes out the starts that no plan better than the best known can use. Returns how many arcs remain.
    pub fn strike(&mut self) -> usize {
        let reduced = self.reduced(&self.prices);
        let (mut ahead, mut choice) = (std::mem::take(&mut self.ahead), Vec::new());
        self.backward(&reduced, &mut ahead, &mut choice);
        if self.guide {
            self.ahead = ahead;
            return self.grid.job.len();
        }
        let before = self.forward(&reduced);
        let base = self.price_total(&self.prices);
        let goal = self.goal() - base;
        let mut grid = std::mem::replace(&mut self.grid, Grid::empty());
        let length = std::mem::take(&mut grid.length);
        // The loss is left out: it only lowers an arc's worth, so that keeping the arc is safe.
        grid.retain(|k, j| before[k] + reduced[j] + ahead[k + length[j] as usize] >= goal);
        grid.length = length;
        grid.open(self.task);
        self.grid = grid;
        self.backward(&reduced, &mut ahead, &mut choice);
        self.set_bound(ahead[0] + base);
        self.ahead = ahead;
        self.grid.job.len()
    }

    fn set_bound(&mut self, bound: f64) {
        if self.guide {
            return;
        }
        let mut bound = bound;
        if self.unit > 0.0 {
            bound = ((bound + SLACK) / self.unit).floor() * self.unit;
        }
        // Struck arcs hold no better plan, so what remains bounds the better plans; the best plan bounds the rest.
        self.bound = self.bound.min(bound.max(self.best.value));
        if self.grid.job.is_empty() || self.bound < self.goal() {
            self.proved = true;
        }
    }

    /// Repairs the relaxed path (jobs may repeat on it) into a plan and fills its gaps.
    fn repaired(&self, choice: &[u32]) -> Draft {
        let g = &self.grid;
        let mut used = vec![false; self.task.jobs.len()];
        let mut left = self.task.capacities.clone();
        let mut placed = Vec::new();
        let mut free_from = i64::MIN / 4;
        let mut before = None;
        // The path knows no setups: what they cost pushes later jobs back.
        let patience = self.task.setup.as_ref().map_or(1, |_| g.slots);
        let mut k = 0;
        while k < g.slots {
            let j = choice[k];
            if j == u32::MAX {
                k += 1;
                continue;
            }
            let i = j as usize;
            let job = &self.task.jobs[i];
            let from_s = free_from.max(g.origin_s + k as i64 * g.slot_s);
            if !used[i]
                && let Some(s) = self.task.earliest(before, from_s, i)
                && g.slot(s) <= k + patience
                && self.task.affordable(i, &left)
            {
                used[i] = true;
                placed.push((i, s));
                before = Some((i, s));
                free_from = s + job.length_s;
                job.uses.iter().for_each(|(r, a)| left[*r] -= a);
            }
            k += g.length[i] as usize;
        }
        let mut draft = self.task.draft(placed);
        greedy::fill(self.task, &mut draft);
        draft
    }

    /// Subgradient descent on the prices, from the prices it has, for at most `most` steps; strikes arcs as it goes.
    pub fn descend(&mut self, meter: &mut Meter, most: usize, target_gap: f64) {
        let mut prices = self.prices.clone();
        let (mut ahead, mut choice) = (Vec::new(), Vec::new());
        let mut lowest = f64::MAX;
        let mut direction: Prices = Prices {
            job: vec![0.0; prices.job.len()],
            resource: vec![0.0; prices.resource.len()],
        };
        let mut count = vec![0i32; prices.job.len()];
        let (mut theta, mut stale) = (1.0, 0);
        for step in 0..most {
            let reduced = self.reduced(&prices);
            self.backward(&reduced, &mut ahead, &mut choice);
            let bound = ahead[0] + self.price_total(&prices);
            if bound < lowest - 1e-5 * bound.abs() {
                stale = 0;
            } else {
                stale += 1;
                if stale % 12 == 0 {
                    theta *= 0.6;
                }
            }
            if bound < lowest {
                lowest = bound;
                self.prices.clone_from(&prices);
                self.ahead.clone_from(&ahead);
                self.set_bound(bound);
            }
            if step % 10 == 0 || bound <= lowest {
                let draft = self.repaired(&choice);
                self.offer(draft);
            }
            if self.gap() <= target_gap || !meter.go_on() || theta < 0.003 || stale > 90 {
                break;
            }
            self.move_prices(&mut prices, &mut direction, &choice, &mut count, bound, theta);
            if step % 40 == 39 {
                self.strike();
                if self.proved {
                    break;
                }
            }
        }
        self.strike();
    }

    /// One projected, deflected Polyak step.
    fn move_prices(
        &self,
        prices: &mut Prices,
        direction: &mut Prices,
        choice: &[u32],
        count: &mut [i32],
        bound: f64,
        theta: f64,
    ) {
        /// Share of the old direction kept, which damps the zigzag of the plain subgradient.
        const MEMORY: f64 = 0.3;
        count.fill(0);
        let mut left: Vec<f64> = self.task.capacities.iter().map(|c| *c as f64).collect();
        let mut k = 0;
        while k < self.grid.slots {
            let j = choice[k];
            if j == u32::MAX {
                k += 1;
                continue;
            }
            let i = j as usize;
            count[i] += 1;
            self.task.jobs[i].uses.iter().for_each(|(r, a)| left[*r] -= *a as f64);
            k += self.grid.length[i] as usize;
        }
        let scale = &self.scale;
        let mut norm = 0.0;
        for (i, d) in direction.job.iter_mut().enumerate() {
            let g = f64::from(count[i] - 1);
            *d = if g < 0.0 && prices.job[i] <= 0.0 {
                0.0
            } else {
                g + MEMORY * *d
            };
            norm += *d * *d;
        }
        for (r, d) in direction.resource.iter_mut().enumerate() {
            let g = -left[r] * scale[r];
            *d = if g < 0.0 && prices.resource[r] <= 0.0 {
                0.0
            } else {
                g + MEMORY * *d
            };
            norm += *d * *d;
        }
        if norm <= 0.0 {
            return;
        }
        let gap = (bound - self.best.value).max(1e-4 * bound.abs());
        let step = theta * gap / norm;
        prices
            .job
            .iter_mut()
            .zip(&direction.job)
            .for_each(|(p, d)| *p = (*p + step * d).max(0.0));
        for (r, p) in prices.resource.iter_mut().enumerate() {
            *p = (*p + step * direction.resource[r] * scale[r]).max(0.0);
        }
    }

    /// The first pass: prices and bound, then one narrow search.
    pub fn tighten(&mut self, meter: &mut Meter, gap: f64) {
        self.descend(meter, 300, gap);
        if self.gap() > gap && meter.go_on() && self.sweep(16, meter) {
            self.strike();
        }
    }
}
