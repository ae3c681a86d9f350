//! Large neighbourhood search (Shaw 1998, CP'98, 417): free a stretch of the plan, solve it again by the label search
//! under shaken prices, keep the result if it is better or not much worse (annealing), start again from the best plan
//! when nothing came of it.

use super::beam::{self, Room};
use super::relax::{SLACK, Search};
use super::rng::Rng;
use super::{Draft, Meter};

/// Shortest and longest stretch freed, seconds.
const SHORTEST_S: f64 = 1800.0;
const LONGEST_S: f64 = 16_000.0;
/// Longest wait for a range to open that a neighbourhood looks at, seconds.
const LONGEST_WAIT_S: i64 = 1800;
/// Neighbourhoods without a new best plan after which the walk returns to the best.
const PATIENCE: u32 = 150;

pub(super) fn run(search: &mut Search, meter: &mut Meter, rng: &mut Rng, gap: f64) {
    rounds(search, meter, rng, gap, usize::MAX);
}

/// At most `most` neighbourhoods.
pub(super) fn rounds(search: &mut Search, meter: &mut Meter, rng: &mut Rng, gap: f64, most: usize) {
    let mut walk = Walk {
        current: search.best.clone(),
        ahead: Vec::new(),
        fruitless: 0,
    };
    let mut width = 64;
    let mut next_sweep = 150;
    let mut rounds = 0u32;
    while (rounds as usize) < most && search.gap() > gap && meter.go_on() {
        rounds += 1;
        if walk.step(search, meter, rng) {
            search.strike();
        }
        // A wide search now and then finds what neighbourhoods cannot, and may prove the plan optimal.
        if rounds == next_sweep && width <= 2048 {
            let before = search.best.value;
            search.sweep(width, meter);
            meter.spend(width as u64 / 16);
            if search.best.value > before + SLACK {
                search.strike();
                walk.current = search.best.clone();
            } else {
                width *= 2;
            }
            next_sweep = rounds * 2;
        }
    }
}

struct Walk {
    current: Draft,
    ahead: Vec<f64>,
    fruitless: u32,
}

impl Walk {
    /// One neighbourhood; true when it gave a new best plan.
    fn step(&mut self, search: &mut Search, meter: &mut Meter, rng: &mut Rng) -> bool {
        let Some((first, last, room)) = self.hole(search, rng) else {
            return false;
        };
        let task = search.task;
        let freed: Vec<(usize, i64)> = self.current.placed[first..last].to_vec();
        let freed_value: f64 = freed.iter().map(|(j, s)| task.worth(*j, *s)).sum();
        let mut left = self.current.left.clone();
        for (j, _) in &freed {
            task.jobs[*j].uses.iter().for_each(|(r, a)| left[*r] += a);
        }
        let mut blocked = vec![false; task.jobs.len()];
        for (j, _) in self.current.placed[..first].iter().chain(&self.current.placed[last..]) {
            blocked[*j] = true;
        }
        let reduced = shaken(search, rng);
        let (from_s, until_s, begin, end) = room;
        fill_ahead(search, &reduced, &blocked, (begin, end, until_s), &mut self.ahead);
        // Labels this far below the relaxation's best are not worth a look.
        let depth = self.ahead[begin] * (0.02 + 0.2 * rng.unit());
        let room = Room {
            from_s,
            until_s,
            before: first.checked_sub(1).map(|k| self.current.placed[k]),
            after: self.current.placed.get(last).copied(),
            first: begin,
            end,
            allowed: &|j| !blocked[j],
            left: &left,
            reduced: &reduced,
            ahead: &self.ahead,
            patience: (LONGEST_WAIT_S / search.grid.slot_s) as usize,
            cut: self.ahead[begin] - depth,
        };
        let width = if rng.unit() < 0.2 { 32 } else { 8 };
        let found = beam::run(search, &room, width, meter);
        let heat = 0.002 * search.best.value * (1.0 - f64::from(self.fruitless) / f64::from(PATIENCE)).max(0.0);
        let lost = freed_value - found.value;
        self.fruitless += 1;
        if lost > SLACK && rng.unit() >= (-lost / heat.max(1e-9)).exp() {
            return self.maybe_return(search);
        }
        let mut placed = self.current.placed[..first].to_vec();
        placed.extend(found.placed);
        placed.extend_from_slice(&self.current.placed[last..]);
        // An emptied stretch makes neighbours of two that were none.
        if task.setup.is_some() && !task.is_valid(&placed) {
            return self.maybe_return(search);
        }
        self.current = task.draft(placed);
        let better = search.offer(self.current.clone());
        if better {
            self.fruitless = 0;
            return true;
        }
        self.maybe_return(search)
    }

    fn maybe_return(&mut self, search: &Search) -> bool {
        if self.fruitless >= PATIENCE {
            self.fruitless = 0;
            self.current = search.best.clone();
        }
        false
    }

    /// A random stretch between blocks: indices of the blocks freed, and (free from, free until, first slot, end slot).
    #[allow(clippy::type_complexity)]
    fn hole(&self, search: &Search, rng: &mut Rng) -> Option<(usize, usize, (i64, i64, usize, usize))> {
        let (g, placed) = (&search.grid, &self.current.placed);
        let span = (g.slots as i64 * g.slot_s) as f64;
        let length = (SHORTEST_S * (LONGEST_S / SHORTEST_S).powf(rng.unit())).min(span);
        let begin_s = g.origin_s + ((span + length) * rng.unit() - length) as i64;
        let end_s = begin_s + length as i64;
        let ends = |k: usize| placed[k].1 + search.task.jobs[placed[k].0].length_s;
        let first = (0..placed.len()).find(|k| ends(*k) > begin_s).unwrap_or(placed.len());
        let last = (first..placed.len())
            .find(|k| placed[*k].1 >= end_s)
            .unwrap_or(placed.len());
        let from_s = if first == 0 { g.origin_s } else { ends(first - 1) };
        let until_s = placed.get(last).map_or(i64::MAX / 4, |p| p.1);
        let begin = g.slot(from_s);
        let end = if until_s > g.origin_s + g.slots as i64 * g.slot_s {
            g.slots
        } else {
            g.slot(until_s - 1) + 1
        };
        (begin < end).then_some((first, last, (from_s, until_s, begin, end)))
    }
}

/// Reduced values under prices scaled at random: a hole is less contended than the whole night.
fn shaken(search: &Search, rng: &mut Rng) -> Vec<f64> {
    let mut prices = search.prices.clone();
    let level = rng.unit();
    let noise = 0.6 * rng.unit();
    prices
        .job
        .iter_mut()
        .filter(|p| **p > 0.0)
        .for_each(|p| *p *= level * (1.0 + noise * (2.0 * rng.unit() - 1.0)));
    let level = 0.3 + 0.9 * rng.unit();
    prices
        .resource
        .iter_mut()
        .for_each(|p| *p *= level * (1.0 + noise * (2.0 * rng.unit() - 1.0)));
    search.reduced(&prices)
}

/// Best continuation inside a hole, by slot; beyond its end nothing.
fn fill_ahead(
    search: &Search,
    reduced: &[f64],
    blocked: &[bool],
    (begin, end, until_s): (usize, usize, i64),
    ahead: &mut Vec<f64>,
) {
    let g = &search.grid;
    let longest = g.length.iter().copied().max().unwrap_or(1) as usize;
    ahead.clear();
    ahead.resize(end + longest + 2, 0.0);
    // The last slot may be entered late: compare lengths with the slots that are left whole or in part.
    let reach = if until_s > g.origin_s + g.slots as i64 * g.slot_s {
        end + longest + 1
    } else {
        end
    };
    for k in (begin..end).rev() {
        let mut best = ahead[k + 1];
        for &j in g.arcs(k) {
            let i = j as usize;
            let to = k + g.length[i] as usize;
            if to <= reach && !blocked[i] {
                best = best.max(reduced[i] + ahead[to]);
            }
        }
        ahead[k] = best;
    }
}
