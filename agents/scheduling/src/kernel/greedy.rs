//! The always-available answer: densest value first, each into the best free place.

use super::{Draft, Task};

/// Builds a plan from nothing.
pub(super) fn build(task: &Task) -> Draft {
    let mut draft = task.draft(Vec::new());
    fill(task, &mut draft);
    draft
}

/// Adds jobs that still fit, in order of value per second.
pub(super) fn fill(task: &Task, draft: &mut Draft) {
    let mut used = vec![false; task.jobs.len()];
    for (j, _) in &draft.placed {
        used[*j] = true;
    }
    let density = |j: usize| task.jobs[j].value / task.jobs[j].length_s as f64;
    let mut order: Vec<usize> = (0..task.jobs.len())
        .filter(|j| !used[*j] && !task.jobs[*j].starts.is_empty())
        .collect();
    // A narrow choice of starts goes before a wide one of equal density: the wide one finds another place.
    let choice = |j: usize| task.jobs[j].starts.iter().map(|(a, b)| b - a).sum::<i64>();
    order.sort_by(|a, b| {
        density(*b)
            .total_cmp(&density(*a))
            .then(choice(*a).cmp(&choice(*b)))
            .then(a.cmp(b))
    });
    for j in order {
        if task.affordable(j, &draft.left)
            && let Some((at, s)) = best_place(task, draft, j)
        {
            draft.placed.insert(at, (j, s));
            draft.value += task.worth(j, s);
            for (r, amount) in &task.jobs[j].uses {
                draft.left[*r] -= amount;
            }
        }
    }
}

/// The free place where the job is worth most (earliest among equals): index in the plan, and start.
fn best_place(task: &Task, draft: &Draft, j: usize) -> Option<(usize, i64)> {
    let job = &task.jobs[j];
    let mut best: Option<(f64, usize, i64)> = None;
    let mut before: Option<(usize, i64)> = None;
    for at in 0..=draft.placed.len() {
        let after = draft.placed.get(at).copied();
        let free_from = before.map_or(i64::MIN / 4, |(k, s)| s + task.jobs[k].length_s);
        let until = after.map_or(i64::MAX / 4, |p| p.1);
        if until - free_from >= job.length_s {
            let latest = task.latest(j, after);
            for (a, b) in &job.starts {
                let (low, to) = ((*a).max(free_from), (*b).min(latest));
                let Some(from) = (low <= to).then(|| task.earliest(before, low, j)).flatten() else {
                    continue;
                };
                if from > to {
                    continue;
                }
                let (worth, s) = best_start(task, j, from, to);
                // Setups differ along a range: its earliest start is the one that was worked out.
                let fits = |s: i64| task.setup.is_none() || task.fits_between(before, (j, s), after);
                let found = if fits(s) {
                    Some((worth, s))
                } else {
                    fits(from).then(|| (task.worth(j, from), from))
                };
                if let Some((worth, s)) = found
                    && best.is_none_or(|x| worth > x.0)
                {
                    best = Some((worth, at, s));
                }
                if job.loss.is_none() && best.is_some() {
                    return best.map(|x| (x.1, x.2));
                }
            }
        }
        before = after;
    }
    best.filter(|x| x.0 > 0.0).map(|x| (x.1, x.2))
}

/// Best start in a range: its ends, or a slot of the loss table between them.
fn best_start(task: &Task, j: usize, from: i64, to: i64) -> (f64, i64) {
    let mut best = (task.worth(j, from), from);
    if task.jobs[j].loss.is_some() {
        let step = task.loss_step_s.max(1);
        let mut s = (from.div_euclid(step) + 1) * step;
        while s <= to {
            let worth = task.worth(j, s);
            if worth > best.0 {
                best = (worth, s);
            }
            s += step;
        }
    }
    best
}
