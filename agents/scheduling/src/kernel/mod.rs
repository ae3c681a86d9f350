//! The planner's kernel: choose jobs and their starts on one machine. It knows intervals and seconds, no astronomy.
//!
//! Terms: a **job** occupies the machine for `length_s` seconds from a start inside one of its **start ranges** and
//! brings a **value**. A **resource** has a capacity; a placed job takes its amount (a user's quota in seconds, or 1 of
//! a group of which at most one is wanted). A **slot** is the grid of the relaxation; plans are exact to the second.
//!
//! Method (each stage improves on the last and can be stopped at any moment):
//!
//! 1. `greedy`: densest value first into the earliest free place. Always an answer.
//! 2. `relax`: Lagrangian relaxation of "each job once" and of the resources. What is left is a longest path over the
//!    slots; its subgradient gives prices, an upper bound, and reduced costs that strike out starts which cannot be in
//!    a better plan (Fisher 1981, Management Science 27, 1; Tanaka, Fujikuma & Araki 2009, J. Scheduling 12, 575).
//! 3. `beam`: forward search over labels (time, set of jobs), ranked by reduced value and cut by the bound; when it
//!    never had to drop a label it has proved its plan optimal.
//! 4. `improve`: large neighbourhood search: free a stretch of the plan, re-solve it by the same search with shaken
//!    prices, accept by annealing.
//!
//! A **setup** is time that a change from one job to the next takes beyond what the next one's length already holds; it
//! depends on both and on when they run. The relaxation ignores it, so that the bound stays valid; every plan keeps it.
//!
//! No clock: the caller gives a number of iterations, or a closure that says when to stop, or both. Everything random
//! comes from the seed.

mod beam;
mod greedy;
mod grid;
mod improve;
mod relax;
mod rng;

use grid::Grid;
use rng::Rng;
use std::rc::Rc;

/// Sequence-dependent setup times.
pub trait Setup: std::fmt::Debug {
    /// Seconds that must pass, at least, between the end of `from` (job, start) and the start `at_s` of `to`; never
    /// negative. The least over all neighbours belongs into [`Job::length_s`], so that the bound knows it.
    fn extra_s(&self, from: (usize, i64), to: usize, at_s: i64) -> i64;

    /// No setup is longer than this, seconds.
    fn most_s(&self) -> i64;
}

/// One job.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// Gained when the job is placed; positive and finite.
    pub value: f64,
    /// Machine time, seconds (overhead included).
    pub length_s: i64,
    /// Inclusive ranges of allowed starts, seconds, ascending and disjoint.
    pub starts: Vec<(i64, i64)>,
    /// (resource, amount) taken when placed.
    pub uses: Vec<(usize, i64)>,
    /// Value lost by starting in slot k, counted from second 0 in steps of [`Task::loss_step_s`]; None: no loss
    /// anywhere. Beyond the end the last entry holds.
    pub loss: Option<Vec<f32>>,
}

impl Job {
    /// Value of starting at `s`.
    pub fn worth(&self, s: i64, loss_step_s: i64) -> f64 {
        self.value - self.loss_at(s, loss_step_s)
    }

    fn loss_at(&self, s: i64, loss_step_s: i64) -> f64 {
        let Some(loss) = &self.loss else { return 0.0 };
        let k = usize::try_from(s.div_euclid(loss_step_s)).unwrap_or(0);
        loss.get(k).or(loss.last()).copied().map_or(0.0, f64::from)
    }

    fn allows(&self, s: i64) -> bool {
        self.starts.iter().any(|(a, b)| (*a..=*b).contains(&s))
    }

    /// Earliest allowed start at or after `s`.
    fn next_start(&self, s: i64) -> Option<i64> {
        self.starts.iter().find(|(_, b)| *b >= s).map(|(a, _)| (*a).max(s))
    }
}

/// A whole problem.
#[derive(Debug, Clone, Default)]
pub struct Task {
    pub jobs: Vec<Job>,
    /// Capacity of each resource.
    pub capacities: Vec<i64>,
    /// Step of the `loss` tables, seconds, positive.
    pub loss_step_s: i64,
    /// Setups between neighbours; None: lengths hold everything.
    pub setup: Option<Rc<dyn Setup>>,
}

/// How long to work.
pub struct Budget<'a> {
    /// Units of work: one subgradient step, or one neighbourhood. The only limit that keeps runs reproducible.
    pub iterations: u64,
    /// Asked after every unit; true stops.
    pub stop: &'a mut dyn FnMut() -> bool,
    pub seed: u64,
    /// Stop when (bound - value) / bound falls to this; 0 works until proved optimal or out of budget.
    pub gap: f64,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Solution {
    /// (job, start) in time order.
    pub placed: Vec<(usize, i64)>,
    pub value: f64,
    /// No plan, on any start times to the second, is worth more.
    pub upper_bound: f64,
    /// Units of work spent.
    pub iterations: u64,
}

impl Solution {
    /// Relative gap to the bound, 0 to 1.
    pub fn gap(&self) -> f64 {
        if self.upper_bound > 0.0 {
            ((self.upper_bound - self.value) / self.upper_bound).max(0.0)
        } else {
            0.0
        }
    }
}

/// Work account shared by the stages.
struct Meter<'a, 'b> {
    budget: &'a mut Budget<'b>,
    spent: u64,
    stopped: bool,
}

impl Meter<'_, '_> {
    /// One unit done; false when the work must end.
    fn go_on(&mut self) -> bool {
        self.spent += 1;
        if self.spent >= self.budget.iterations || (self.budget.stop)() {
            self.stopped = true;
        }
        !self.stopped
    }
    /// Books work that was more than one unit.
    fn spend(&mut self, units: u64) {
        self.spent = self.spent.saturating_add(units);
        if self.spent >= self.budget.iterations {
            self.stopped = true;
        }
    }
    /// Looks at the clock without spending a unit.
    fn out_of_time(&mut self) -> bool {
        if !self.stopped && (self.budget.stop)() {
            self.stopped = true;
        }
        self.stopped
    }
}

/// A plan under construction, with what its resources still hold.
#[derive(Debug, Clone, Default)]
struct Draft {
    /// Sorted by start.
    placed: Vec<(usize, i64)>,
    left: Vec<i64>,
    value: f64,
}

impl Task {
    fn draft(&self, mut placed: Vec<(usize, i64)>) -> Draft {
        placed.sort_by_key(|p| p.1);
        let mut left = self.capacities.clone();
        let mut value = 0.0;
        for (j, s) in &placed {
            value += self.worth(*j, *s);
            for (r, amount) in &self.jobs[*j].uses {
                left[*r] -= amount;
            }
        }
        Draft { placed, left, value }
    }

    fn worth(&self, job: usize, s: i64) -> f64 {
        self.jobs[job].worth(s, self.loss_step_s.max(1))
    }

    fn affordable(&self, job: usize, left: &[i64]) -> bool {
        self.jobs[job].uses.iter().all(|(r, amount)| left[*r] >= *amount)
    }

    /// Some start of some job is worth less than another.
    fn is_lossy(&self) -> bool {
        self.jobs.iter().any(|j| j.loss.is_some())
    }

    /// The value's granularity: plans differ by multiples of it (0: unknown). It sharpens bounds.
    fn unit(&self) -> f64 {
        let whole = |j: &Job| j.value.fract() == 0.0 && j.value <= 1e12;
        if self.is_lossy() || !self.jobs.iter().all(whole) {
            return 0.0;
        }
        self.jobs.iter().fold(0u64, |g, j| gcd(g, j.value as u64)) as f64
    }

    /// Seconds between the end of a placed job and the start of the next, at least.
    pub fn extra_s(&self, from: (usize, i64), to: usize, at_s: i64) -> i64 {
        self.setup.as_ref().map_or(0, |setup| setup.extra_s(from, to, at_s))
    }

    /// Earliest allowed start of a job from `from_s` on, when it follows `before`.
    pub fn earliest(&self, before: Option<(usize, i64)>, from_s: i64, j: usize) -> Option<i64> {
        /// A setup changes slowly with the start: more rounds than this and the longest setup decides.
        const ROUNDS: usize = 5;
        let job = &self.jobs[j];
        let mut s = job.next_start(from_s)?;
        let (Some(setup), Some((k, at))) = (&self.setup, before) else {
            return Some(s);
        };
        let end = at + self.jobs[k].length_s;
        for _ in 0..ROUNDS {
            let needed = end + setup.extra_s((k, at), j, s);
            if s >= needed {
                return Some(s);
            }
            s = job.next_start(needed)?;
        }
        job.next_start(s.max(end + setup.most_s()))
    }

    /// Latest start of a job that leaves room for the setup of `after`.
    pub fn latest(&self, j: usize, after: Option<(usize, i64)>) -> i64 {
        let Some((k, at)) = after else { return i64::MAX / 4 };
        let s = at - self.jobs[j].length_s;
        s - self.extra_s((j, s), k, at)
    }

    /// The setups before and after a job are kept.
    pub fn fits_between(
        &self,
        before: Option<(usize, i64)>,
        (j, s): (usize, i64),
        after: Option<(usize, i64)>,
    ) -> bool {
        let follows =
            |a: (usize, i64), (k, at): (usize, i64)| a.1 + self.jobs[a.0].length_s + self.extra_s(a, k, at) <= at;
        before.is_none_or(|b| follows(b, (j, s))) && after.is_none_or(|a| follows((j, s), a))
    }

    /// Mean setup of a plan, seconds, waiting left out.
    fn mean_extra_s(&self, placed: &[(usize, i64)]) -> i64 {
        let extra = |w: &[(usize, i64)]| self.extra_s(w[0], w[1].0, w[1].1);
        let sum: i64 = placed.windows(2).map(extra).sum();
        sum / (placed.len() as i64 - 1).max(1)
    }

    /// Every rule a plan must keep; used by tests and as a last check.
    pub fn is_valid(&self, placed: &[(usize, i64)]) -> bool {
        let mut seen = vec![false; self.jobs.len()];
        let mut before = None;
        for (j, s) in placed {
            let repeated = std::mem::replace(&mut seen[*j], true);
            if repeated || !self.jobs[*j].allows(*s) || !self.fits_between(before, (*j, *s), None) {
                return false;
            }
            before = Some((*j, *s));
        }
        self.draft(placed.to_vec()).left.iter().all(|l| *l >= 0)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Solves the task within the budget.
pub fn solve(task: &Task, budget: &mut Budget) -> Solution {
    let mut rng = Rng::new(budget.seed);
    let gap = budget.gap;
    let mut meter = Meter {
        budget,
        spent: 0,
        stopped: false,
    };
    let best = greedy::build(task);
    let grid = Grid::new(task);
    if grid.slots == 0 {
        return Solution::default();
    }
    let (best, upper_bound) = if task.setup.is_some() {
        under_setups(task, grid, best, &mut meter, &mut rng, gap)
    } else {
        let mut search = relax::Search::new(task, grid, best);
        search.tighten(&mut meter, gap);
        if !meter.stopped && search.gap() > gap {
            improve::run(&mut search, &mut meter, &mut rng, gap);
        }
        search.finish()
    };
    let spent = meter.spent;
    Solution {
        placed: best.placed,
        value: best.value,
        upper_bound: upper_bound.max(best.value),
        iterations: spent,
    }
}

/// With setups the relaxation that bounds the plans is a poor guide to them: it knows none. Once the bound is had, the
/// search follows a second one, in which every job is longer by what a setup cost on average in the plan so far.
fn under_setups(task: &Task, grid: Grid, best: Draft, meter: &mut Meter, rng: &mut Rng, gap: f64) -> (Draft, f64) {
    /// Steps for the bound, then neighbourhoods; the guide is built anew with what the better plan says, and the bound goes
    /// on where it stood.
    const TURNS: [(usize, usize); 2] = [(120, 60), (300, usize::MAX)];
    let share = usize::try_from(meter.budget.iterations / 3)
        .unwrap_or(usize::MAX)
        .max(1);
    let mut bounding = relax::Search::new(task, grid, best);
    for (steps, neighbourhoods) in TURNS {
        bounding.descend(meter, steps.min(share), gap);
        if meter.stopped || bounding.gap() <= gap {
            break;
        }
        let extra_s = task.mean_extra_s(&bounding.best.placed);
        let mut guide = bounding.guide(Grid::guide(task, extra_s));
        guide.tighten(meter, gap);
        if !meter.stopped {
            improve::rounds(&mut guide, meter, rng, gap, neighbourhoods);
        }
        bounding.offer(guide.finish().0);
    }
    bounding.finish()
}

#[cfg(test)]
mod tests;
