//! Requests tied to each other: "after another", "at least n of a group".
//!
//! The kernel knows only limits from above. Ties are met by passes: plan, see which ties the plan breaks, narrow the
//! starts of the followers to what the plan leaves them (and hold the ones they follow in place), plan again. What is
//! still broken after the last pass is taken out. The bound of the first pass, which ignores the ties, stays valid.

use crate::ephemeris::seconds_between;
use crate::kernel::{self, Budget, Solution, Task};
use crate::plan::PlanOptions;
use crate::problem::{After, KeptKind, Problem};
use crate::reason::Reason;
use std::collections::BTreeMap;

/// A solution that keeps every tie, and the requests left out for one.
pub(crate) struct Linked {
    pub solution: Solution,
    pub dropped: BTreeMap<usize, Reason>,
}

const PASSES: u64 = 4;

struct Ties<'a> {
    problem: &'a Problem,
    /// Seconds between the kernel's start (machine busy) and the exposure's.
    overhead_s: Vec<i64>,
    /// Position of each id among the requests.
    index: BTreeMap<&'a str, usize>,
    /// Ends of fixed blocks, seconds from the start of the night.
    fixed_end: BTreeMap<&'a str, f64>,
}

/// Solves the task with the problem's ties.
pub(crate) fn solve(problem: &Problem, task: &Task, overhead_s: Vec<i64>, options: &mut PlanOptions) -> Linked {
    let mut never = || false;
    let stop: &mut dyn FnMut() -> bool = match options.stop.take() {
        Some(stop) => stop,
        None => &mut never,
    };
    let tied = problem.requests.iter().any(|r| r.after.is_some()) || problem.groups.values().any(|g| g.at_least > 0);
    let passes = if tied { PASSES } else { 1 };
    let ties = Ties::new(problem, overhead_s);
    let mut narrowed = task.clone();
    let mut dropped = BTreeMap::new();
    let mut bound = f64::MAX;
    let mut spent = 0;
    let mut solution = Solution::default();
    for pass in 0..passes {
        let iterations = (options.iterations / passes).max(1);
        let mut budget = Budget {
            iterations,
            stop: &mut *stop,
            seed: options.seed.wrapping_add(pass),
            gap: options.gap,
        };
        solution = kernel::solve(&narrowed, &mut budget);
        spent += solution.iterations;
        bound = bound.min(if pass == 0 { solution.upper_bound } else { f64::MAX });
        if ties.broken(task, &solution).is_empty() {
            break;
        }
        ties.narrow(&mut narrowed, &solution, &mut dropped);
    }
    // Taking one out can break another: repeat until the plan stands.
    loop {
        let broken = ties.broken(task, &solution);
        if broken.is_empty() {
            break;
        }
        solution.placed.retain(|(j, _)| !broken.contains_key(j));
        dropped.extend(broken);
    }
    solution.value = solution
        .placed
        .iter()
        .map(|(j, s)| task.jobs[*j].worth(*s, task.loss_step_s))
        .sum();
    solution.upper_bound = bound.max(solution.value);
    solution.iterations = spent;
    dropped.retain(|j, _| solution.placed.iter().all(|p| p.0 != *j));
    Linked { solution, dropped }
}

impl<'a> Ties<'a> {
    fn new(problem: &'a Problem, overhead_s: Vec<i64>) -> Self {
        let index = problem
            .requests
            .iter()
            .enumerate()
            .map(|(k, r)| (r.id.as_str(), k))
            .collect();
        let fixed = problem.kept.iter().filter(|k| k.kind == KeptKind::Fixed);
        let fixed_end = fixed
            .map(|k| (k.id.as_str(), seconds_between(problem.night.start, k.end)))
            .collect();
        Self {
            problem,
            overhead_s,
            index,
            fixed_end,
        }
    }

    /// When the followed request's exposure ends, if it is in the plan or fixed; with its job when it is one.
    fn end_of(&self, task: &Task, solution: &Solution, id: &str) -> Option<(f64, Option<usize>)> {
        if let Some(end) = self.fixed_end.get(id) {
            return Some((*end, None));
        }
        let j = *self.index.get(id)?;
        let (_, s) = solution.placed.iter().find(|p| p.0 == j)?;
        Some(((s + task.jobs[j].length_s) as f64, Some(j)))
    }

    /// First and last exposure start a tie allows after an end.
    fn allowed(after: &After, end: f64) -> (i64, i64) {
        let first = (end + after.min_gap_s).ceil() as i64;
        (
            first,
            after.max_gap_s.map_or(i64::MAX / 4, |gap| (end + gap).floor() as i64),
        )
    }

    /// Requests in the plan that break a tie.
    fn broken(&self, task: &Task, solution: &Solution) -> BTreeMap<usize, Reason> {
        let mut out = BTreeMap::new();
        for (j, s) in &solution.placed {
            let Some(after) = &self.problem.requests[*j].after else {
                continue;
            };
            let other = after.id.clone();
            let start = s + self.overhead_s[*j];
            match self.end_of(task, solution, &after.id) {
                None => drop(out.insert(
                    *j,
                    Reason::AfterOther {
                        other,
                        other_planned: false,
                    },
                )),
                Some((end, _)) => {
                    let (first, last) = Self::allowed(after, end);
                    if !(first..=last).contains(&start) {
                        out.insert(
                            *j,
                            Reason::AfterOther {
                                other,
                                other_planned: true,
                            },
                        );
                    }
                }
            }
        }
        for (name, rule) in &self.problem.groups {
            let member = |j: &usize| self.problem.requests[*j].group.as_deref() == Some(name.as_str());
            let inside: Vec<usize> = solution.placed.iter().map(|p| p.0).filter(member).collect();
            if !inside.is_empty() && inside.len() < rule.at_least {
                let reason = |possible| Reason::GroupIncomplete {
                    group: name.clone(),
                    at_least: rule.at_least,
                    possible,
                };
                out.extend(inside.iter().map(|j| (*j, reason(inside.len()))));
            }
        }
        out
    }

    /// Narrows the task to what the plan leaves the tied requests.
    fn narrow(&self, task: &mut Task, solution: &Solution, dropped: &mut BTreeMap<usize, Reason>) {
        for (j, r) in self.problem.requests.iter().enumerate() {
            let Some(after) = &r.after else { continue };
            let other = after.id.clone();
            let Some((end, followed)) = self.end_of(task, solution, &after.id) else {
                task.jobs[j].starts.clear();
                dropped.insert(
                    j,
                    Reason::AfterOther {
                        other,
                        other_planned: false,
                    },
                );
                continue;
            };
            let (first, last) = Self::allowed(after, end);
            let o = self.overhead_s[j];
            let starts = task.jobs[j]
                .starts
                .iter()
                .map(|(a, b)| ((*a).max(first - o), (*b).min(last - o)));
            let starts: Vec<(i64, i64)> = starts.filter(|(a, b)| a <= b).collect();
            if starts.is_empty() {
                dropped.insert(
                    j,
                    Reason::AfterOther {
                        other,
                        other_planned: true,
                    },
                );
            } else if let Some(f) = followed {
                let held = solution.placed.iter().find(|p| p.0 == f).map(|p| (p.1, p.1));
                task.jobs[f].starts = held.into_iter().collect();
            }
            task.jobs[j].starts = starts;
        }
        for (j, reason) in self.broken(task, solution) {
            if let Reason::GroupIncomplete { group, .. } = &reason {
                for (k, r) in self.problem.requests.iter().enumerate() {
                    if r.group.as_ref() == Some(group) {
                        task.jobs[k].starts.clear();
                        dropped.insert(k, reason.clone());
                    }
                }
                dropped.insert(j, reason);
            }
        }
    }
}
