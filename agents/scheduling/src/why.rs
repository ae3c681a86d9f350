//! Why a request is not in the plan: the sky first, then time, quota and group, then competition.

use crate::constraints::{Cause, Exclusion, SKY_CAUSES};
use crate::ephemeris::Span;
use crate::kernel::Task;
use crate::plan::{LOSS_STEP_S, Planner, weather_limits};
use crate::posing::account_title;
use crate::problem::Request;
use crate::reason::Reason;
use crate::stretches::{complement, intersect, longest, merged};
use std::collections::BTreeMap;

fn highest_is_worst(cause: Cause) -> bool {
    matches!(cause, Cause::SunTooHigh | Cause::SeeingTooPoor | Cause::CloudTooThick)
}

impl Planner<'_> {
    /// Excluded intervals: the sky's, and where no window is open.
    pub(crate) fn exclusions(&self, r: &Request) -> Vec<Exclusion> {
        let p = self.problem;
        let mut out = self
            .sky
            .exclusions(&r.target, &r.constraints, &p.horizon, p.sun_max_alt_deg);
        let cause = Cause::WindowClosed;
        for (a, b) in complement(&self.windows(r), self.sky.length_s()) {
            let span = Span::new(self.at(a), self.at(b));
            out.push(Exclusion {
                cause,
                span,
                worst: None,
                limit: None,
            });
        }
        for (cause, limit) in weather_limits(r) {
            out.extend(self.weather(r, cause).into_iter().map(|(a, b, worst)| Exclusion {
                cause,
                span: Span::new(self.at(a), self.at(b)),
                worst: Some(worst),
                limit: Some(limit),
            }));
        }
        out.sort_by_key(|e| (e.span.start, e.cause));
        out
    }

    pub(crate) fn reason(
        &self,
        task: &Task,
        j: usize,
        starts: &BTreeMap<usize, i64>,
        used: &BTreeMap<String, f64>,
    ) -> Reason {
        let (r, p) = (&self.problem.requests[j], &self.prepared[j]);
        if longest(&p.good) < r.duration_s {
            return self.sky_reason(r);
        }
        if p.starts.is_empty() {
            let last = p
                .good
                .iter()
                .rev()
                .find(|(a, b)| b - a >= r.duration_s)
                .map(|(_, b)| self.at(b - r.duration_s));
            return Reason::NoTimeLeft { last_start: last };
        }
        for account in self.payers(r) {
            let Some(quota) = self.problem.quotas_s.get(account) else {
                continue;
            };
            let used_s = used.get(account).copied().unwrap_or(0.0);
            if used_s + r.duration_s > *quota {
                return Reason::QuotaExhausted {
                    user: account_title(account),
                    quota_s: *quota,
                    used_s,
                    needed_s: r.duration_s,
                };
            }
        }
        if let Some((name, most)) = self.group_limit(r) {
            let same = |k: &&usize| self.problem.requests[**k].group.as_deref() == Some(name);
            let by: Vec<String> = starts
                .keys()
                .filter(same)
                .map(|k| self.problem.requests[*k].id.clone())
                .collect();
            if by.len() >= most {
                return Reason::GroupFull {
                    group: name.to_owned(),
                    at_most: most,
                    by,
                };
            }
        }
        self.displaced(task, j, starts)
    }

    fn group_limit<'r>(&self, r: &'r Request) -> Option<(&'r str, usize)> {
        let name = r.group.as_deref()?;
        Some((name, self.problem.groups.get(name)?.at_most?))
    }

    /// Adds the constraints one after the other; the one after which nothing fits is the reason.
    fn sky_reason(&self, r: &Request) -> Reason {
        let needed_s = r.duration_s;
        let night_s = self.sky.length_s();
        if night_s < needed_s {
            return Reason::LongerThanNight { needed_s, night_s };
        }
        let mut left = intersect(&self.windows(r), &[(0.0, night_s)]);
        if longest(&left) < needed_s {
            let next_window = r
                .windows
                .iter()
                .filter(|w| w.start >= self.problem.night.end)
                .min()
                .copied();
            return Reason::WindowClosed {
                needed_s,
                longest_s: longest(&left),
                next_window,
            };
        }
        let highest_deg = self.sky.highest_deg(&r.target);
        let needed_deg = r.constraints.floor_deg();
        if highest_deg < needed_deg {
            return Reason::NeverRises {
                highest_deg,
                needed_deg,
            };
        }
        let exclusions = self.exclusions(r);
        for cause in SKY_CAUSES
            .into_iter()
            .chain([Cause::SeeingTooPoor, Cause::CloudTooThick])
        {
            let of: Vec<&Exclusion> = exclusions.iter().filter(|e| e.cause == cause).collect();
            let bad = merged(
                of.iter()
                    .map(|e| (self.offset(e.span.start), self.offset(e.span.end)))
                    .collect(),
            );
            left = intersect(&left, &complement(&bad, night_s));
            if longest(&left) < needed_s {
                let low = |a: f64, b: f64| {
                    if highest_is_worst(cause) { a.max(b) } else { a.min(b) }
                };
                let worst = of.iter().filter_map(|e| e.worst).reduce(low);
                let limit = of.iter().find_map(|e| e.limit);
                return Reason::Constraint {
                    cause,
                    needed_s,
                    longest_s: longest(&left),
                    worst,
                    limit,
                };
            }
        }
        Reason::NoTimeLeft { last_start: None }
    }

    /// The cheapest place it could take, and who holds it.
    fn displaced(&self, task: &Task, j: usize, starts: &BTreeMap<usize, i64>) -> Reason {
        let p = &self.prepared[j];
        let busy: Vec<(usize, i64, i64)> = starts
            .iter()
            .map(|(k, s)| (*k, s - self.prepared[*k].overhead_s, s + self.prepared[*k].duration_s))
            .collect();
        // Conflicts change only where a block's edge meets the job's: try those starts and the ranges' ends.
        let mut candidates: Vec<i64> = Vec::new();
        for (a, b) in &p.starts {
            candidates.extend([*a, *b]);
            let edges = busy
                .iter()
                .flat_map(|(_, from, to)| [to + p.overhead_s, from - p.duration_s]);
            candidates.extend(edges.filter(|s| (*a..=*b).contains(s)));
        }
        candidates.sort_unstable();
        candidates.dedup();
        let value_of = |k: usize, from: i64| task.jobs[k].worth(from, LOSS_STEP_S);
        let cost = |s: i64| -> (f64, Vec<usize>) {
            let (from, to) = (s - p.overhead_s, s + p.duration_s);
            let hit = busy.iter().filter(|(_, a, b)| *a < to && from < *b);
            let (mut sum, mut who) = (0.0, Vec::new());
            for (k, a, _) in hit {
                sum += value_of(*k, *a);
                who.push(*k);
            }
            (sum, who)
        };
        let best = candidates
            .iter()
            .map(|s| (cost(*s), *s))
            .min_by(|a, b| a.0.0.total_cmp(&b.0.0));
        let Some(((their_value, who), s)) = best else {
            return Reason::NoTimeLeft { last_start: None };
        };
        Reason::Displaced {
            by: who.iter().map(|k| self.problem.requests[*k].id.clone()).collect(),
            at: self.at(self.axis.time(s) as f64),
            value: value_of(j, s - p.overhead_s),
            their_value,
        }
    }
}
