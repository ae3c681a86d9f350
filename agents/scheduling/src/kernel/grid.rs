//! The slot grid: for each slot, the jobs that may start in it.
//!
//! Rounding is outward: a range covers every slot it touches and a length is cut to whole slots. Flooring the starts of
//! any real plan then gives a path on the grid, so the grid's optimum bounds every plan to the second.

use super::Task;

/// Arcs of the relaxation, slot by slot.
pub(super) struct Grid {
    /// Second of slot 0.
    pub origin_s: i64,
    pub slot_s: i64,
    pub slots: usize,
    /// Length of each job in slots (at least 1).
    pub length: Vec<u32>,
    /// Jobs that may start in slot k: `job[first[k]..first[k + 1]]`.
    pub first: Vec<u32>,
    pub job: Vec<u32>,
    /// Least loss of a start anywhere in the arc's slot, arc by arc; empty where no start is worth less than another. A plan
    /// asks each of them hundreds of times.
    loss: Vec<f32>,
    /// Where a range opens, among the arcs that are left: (slot, job, second), ascending.
    pub opening: Vec<(u32, u32, i64)>,
}

/// Finest and coarsest slot, seconds.
const FINE_S: i64 = 10;
const COARSE_S: i64 = 60;
/// Arcs beyond which the grid is made coarser; about 40 MB.
const MOST_ARCS: i64 = 8_000_000;

impl Grid {
    pub fn new(task: &Task) -> Self {
        let slot_s = Self::fitting(task);
        Self::of(task, slot_s, |length_s, slot_s| length_s / slot_s)
    }

    /// A coarse grid on which every job is longer by `extra_s`, and lengths are rounded: it guides and bounds nothing.
    pub fn guide(task: &Task, extra_s: i64) -> Self {
        Self::of(task, COARSE_S, |length_s, slot_s| {
            (length_s + extra_s + slot_s / 2) / slot_s
        })
    }

    /// Slot that suits the jobs' lengths, seconds.
    fn fitting(task: &Task) -> i64 {
        let usable = task.jobs.iter().filter(|j| !j.starts.is_empty());
        let slot_s = usable.fold(0, |g, j| super::gcd(g, j.length_s.unsigned_abs())) as i64;
        // A common divisor makes the cut lengths exact; otherwise a fine grid keeps the loss small.
        if slot_s >= COARSE_S {
            largest_divisor_up_to(slot_s, COARSE_S)
        } else {
            slot_s.max(FINE_S)
        }
    }

    fn of(task: &Task, mut slot_s: i64, slots_of: impl Fn(i64, i64) -> i64) -> Self {
        let usable = || task.jobs.iter().filter(|j| !j.starts.is_empty());
        let origin_s = usable()
            .filter_map(|j| j.starts.first())
            .map(|r| r.0)
            .min()
            .unwrap_or(0);
        let end_s = usable()
            .filter_map(|j| j.starts.last().map(|r| r.1 + j.length_s))
            .max()
            .unwrap_or(origin_s);
        let reach: i64 = usable().flat_map(|j| &j.starts).map(|(a, b)| b - a + slot_s).sum();
        while reach / slot_s > MOST_ARCS {
            slot_s *= 2;
        }
        let slots = usize::try_from((end_s - origin_s).max(0) / slot_s + 1).unwrap_or(0);
        let slots = if usable().next().is_none() { 0 } else { slots };
        let length = task
            .jobs
            .iter()
            .map(|j| slots_of(j.length_s, slot_s).max(1) as u32)
            .collect();
        let mut grid = Self {
            origin_s,
            slot_s,
            slots,
            length,
            first: Vec::new(),
            job: Vec::new(),
            loss: Vec::new(),
            opening: Vec::new(),
        };
        grid.index(task);
        if task.is_lossy() {
            grid.weigh(task);
        }
        grid.open(task);
        grid
    }

    fn index(&mut self, task: &Task) {
        let mut count = vec![0u32; self.slots + 1];
        let ranges = |grid: &Self, j: usize| -> Vec<(usize, usize)> {
            let mut out: Vec<(usize, usize)> = Vec::new();
            for (a, b) in &task.jobs[j].starts {
                let (a, b) = (grid.slot(*a), grid.slot(*b));
                match out.last_mut() {
                    Some(last) if last.1 >= a => last.1 = b.max(last.1),
                    _ => out.push((a, b)),
                }
            }
            out
        };
        for j in 0..task.jobs.len() {
            for (a, b) in ranges(self, j) {
                (a..=b).for_each(|k| count[k + 1] += 1);
            }
        }
        for k in 0..self.slots {
            count[k + 1] += count[k];
        }
        let mut next = count.clone();
        let mut job = vec![0u32; count.last().copied().unwrap_or(0) as usize];
        for j in 0..task.jobs.len() {
            for (a, b) in ranges(self, j) {
                for k in a..=b {
                    job[next[k] as usize] = j as u32;
                    next[k] += 1;
                }
            }
        }
        (self.first, self.job) = (count, job);
    }

    fn weigh(&mut self, task: &Task) {
        let step = task.loss_step_s.max(1);
        let mut loss = Vec::with_capacity(self.job.len());
        for k in 0..self.slots {
            let from_s = self.origin_s + k as i64 * self.slot_s;
            let least = |table: &Vec<f32>| {
                let index =
                    |s: i64| (usize::try_from(s.div_euclid(step)).unwrap_or(0)).min(table.len().saturating_sub(1));
                let within = table.get(index(from_s)..=index(from_s + self.slot_s - 1));
                within.map_or(0.0, |losses| losses.iter().copied().fold(f32::MAX, f32::min))
            };
            let of = |j: &u32| task.jobs[*j as usize].loss.as_ref().map_or(0.0, least);
            loss.extend(self.arcs(k).iter().map(of));
        }
        self.loss = loss;
    }

    pub fn slot(&self, s: i64) -> usize {
        usize::try_from((s - self.origin_s).div_euclid(self.slot_s))
            .unwrap_or(0)
            .min(self.slots.saturating_sub(1))
    }

    pub fn arcs(&self, k: usize) -> &[u32] {
        &self.job[self.first[k] as usize..self.first[k + 1] as usize]
    }

    /// The losses of [`Grid::arcs`], none where nothing is lost.
    pub fn losses(&self, k: usize) -> &[f32] {
        if self.loss.is_empty() {
            return &[];
        }
        &self.loss[self.first[k] as usize..self.first[k + 1] as usize]
    }

    /// Keeps the arcs for which `keep(slot, job)`.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, usize) -> bool) {
        let mut write = 0;
        let mut read = 0;
        for k in 0..self.slots {
            let end = self.first[k + 1] as usize;
            self.first[k] = write as u32;
            while read < end {
                let j = self.job[read];
                if keep(k, j as usize) {
                    self.job[write] = j;
                    if !self.loss.is_empty() {
                        self.loss[write] = self.loss[read];
                    }
                    write += 1;
                }
                read += 1;
            }
        }
        self.first[self.slots] = write as u32;
        self.job.truncate(write);
        self.loss.truncate(write);
    }
}

fn largest_divisor_up_to(n: i64, most: i64) -> i64 {
    (1..=most).rev().find(|d| n % d == 0).unwrap_or(1)
}

impl Grid {
    pub fn empty() -> Self {
        Self {
            origin_s: 0,
            slot_s: 1,
            slots: 0,
            length: Vec::new(),
            first: vec![0],
            job: Vec::new(),
            loss: Vec::new(),
            opening: Vec::new(),
        }
    }

    /// Lists the openings anew, after [`Grid::retain`].
    pub fn open(&mut self, task: &Task) {
        let mut opening = Vec::new();
        for (j, job) in task.jobs.iter().enumerate() {
            for (a, _) in &job.starts {
                let k = self.slot(*a);
                if self.arcs(k).binary_search(&(j as u32)).is_ok() {
                    opening.push((k as u32, j as u32, *a));
                }
            }
        }
        opening.sort_unstable();
        self.opening = opening;
    }
}
