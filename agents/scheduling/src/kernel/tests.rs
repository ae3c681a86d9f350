//! The kernel against exhaustive search, and the properties every plan must have.

use super::rng::Rng;
use super::*;

impl Rng {
    /// Uniform in 0..n.
    fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }
}

fn run(task: &Task, iterations: u64, seed: u64) -> Solution {
    solve(
        task,
        &mut Budget {
            iterations,
            stop: &mut || false,
            seed,
            gap: 0.0,
        },
    )
}

/// A random task of `n` jobs; odd lengths and edges, so that the slot grid does not fit.
fn random_task(n: usize, rng: &mut Rng, quotas: bool, loss: bool, whole: i64) -> Task {
    let horizon = 6000;
    let jobs = (0..n).map(|_| {
        let length_s = (rng.below(1500) as i64 + 200) / whole * whole + whole;
        let a = rng.below(horizon as usize) as i64 - 500;
        let b = a + rng.below(2500) as i64;
        let c = b + 200 + rng.below(1500) as i64;
        let starts = if rng.unit() < 0.3 {
            vec![(a, b), (c, c + 300)]
        } else {
            vec![(a, b)]
        };
        let value = (1 + rng.below(10)) as f64 * length_s as f64;
        let loss = loss.then(|| (0..120).map(|_| (rng.unit() * value * 0.5) as f32).collect());
        let uses = if quotas {
            vec![(rng.below(2), length_s)]
        } else {
            Vec::new()
        };
        Job {
            value,
            length_s,
            starts,
            uses,
            loss,
        }
    });
    Task {
        jobs: jobs.collect(),
        capacities: if quotas { vec![2000, 3000] } else { Vec::new() },
        loss_step_s: 60,
        setup: None,
    }
}

/// Best value over all orders, each job at its earliest start (optimal without losses).
fn exhaustive(task: &Task, free: i64, used: u32, left: &[i64]) -> f64 {
    let mut best = 0.0;
    for (j, job) in task.jobs.iter().enumerate() {
        if used >> j & 1 == 1 || !task.affordable(j, left) {
            continue;
        }
        let Some(s) = job.next_start(free) else { continue };
        let mut rest = left.to_vec();
        job.uses.iter().for_each(|(r, a)| rest[*r] -= a);
        best = f64::max(
            best,
            job.value + exhaustive(task, s + job.length_s, used | 1 << j, &rest),
        );
    }
    best
}

#[test]
fn small_tasks_are_solved_to_the_optimum_and_never_bounded_below_it() {
    let mut rng = Rng::new(7);
    let mut proved = 0;
    for case in 0..60 {
        let task = random_task(8, &mut rng, case % 2 == 0, false, if case % 3 == 0 { 60 } else { 1 });
        let best = exhaustive(&task, i64::MIN / 4, 0, &task.capacities);
        let got = run(&task, 600, case);
        assert!(task.is_valid(&got.placed), "case {case}");
        assert!(
            got.upper_bound >= best - 1e-6,
            "case {case}: bound {} below {best}",
            got.upper_bound
        );
        assert!((got.value - best).abs() < 1e-6, "case {case}: {} of {best}", got.value);
        proved += usize::from(got.gap() < 1e-9);
    }
    assert!(proved >= 50, "only {proved} of 60 proved optimal");
}

#[test]
fn plans_with_losses_and_quotas_stay_valid_and_under_their_bound() {
    let mut rng = Rng::new(11);
    for case in 0..20 {
        let task = random_task(40, &mut rng, true, true, 1);
        let got = run(&task, 400, case);
        assert!(task.is_valid(&got.placed), "case {case}");
        assert!(got.value <= got.upper_bound + 1e-6, "case {case}");
        let sum: f64 = got.placed.iter().map(|(j, s)| task.worth(*j, *s)).sum();
        assert!((sum - got.value).abs() < 1e-6, "case {case}");
    }
}

#[test]
fn equal_seeds_give_equal_plans_and_more_work_never_a_worse_one() {
    let task = random_task(150, &mut Rng::new(3), true, false, 60);
    let short = run(&task, 320, 5);
    assert_eq!(short, run(&task, 320, 5));
    let long = run(&task, 900, 5);
    assert!(long.value >= short.value && long.upper_bound <= short.upper_bound + 1e-6);
}

#[test]
fn a_stopped_search_still_answers_with_a_valid_plan() {
    let task = random_task(300, &mut Rng::new(9), true, false, 60);
    let got = solve(
        &task,
        &mut Budget {
            iterations: u64::MAX,
            stop: &mut || true,
            seed: 1,
            gap: 0.0,
        },
    );
    assert!(task.is_valid(&got.placed) && !got.placed.is_empty());
}

#[test]
fn nothing_to_do_is_an_empty_plan() {
    assert_eq!(run(&Task::default(), 10, 1).placed, vec![]);
    let hopeless = Job {
        value: 1.0,
        length_s: 60,
        ..Job::default()
    };
    assert_eq!(
        run(
            &Task {
                jobs: vec![hopeless],
                ..Task::default()
            },
            10,
            1
        )
        .placed,
        vec![]
    );
}

#[test]
fn at_most_one_of_a_group_is_placed() {
    let job = |value, a| Job {
        value,
        length_s: 100,
        starts: vec![(a, a + 1000)],
        uses: vec![(0, 1)],
        loss: None,
    };
    let task = Task {
        jobs: vec![job(5.0, 0), job(9.0, 200), job(7.0, 400)],
        capacities: vec![1],
        loss_step_s: 60,
        setup: None,
    };
    let got = run(&task, 300, 1);
    assert_eq!(got.placed.len(), 1);
    assert_eq!(got.placed[0].0, 1);
}

/// Setups that depend on the pair, and twice a period jump with the start, as a meridian flip does.
#[derive(Debug)]
struct Table {
    extra_s: Vec<Vec<i64>>,
    jump_s: i64,
}

impl Table {
    fn random(n: usize, jump_s: i64, rng: &mut Rng) -> Self {
        let row = |rng: &mut Rng| (0..n).map(|_| rng.below(240) as i64).collect();
        let extra_s = (0..n).map(|_| row(rng)).collect();
        Self { extra_s, jump_s }
    }
}

impl Setup for Table {
    fn extra_s(&self, (from, _): (usize, i64), to: usize, at_s: i64) -> i64 {
        let late = at_s.rem_euclid(3000) > 1500;
        self.extra_s[from][to] + if late { self.jump_s } else { 0 }
    }

    fn most_s(&self) -> i64 {
        240 + self.jump_s
    }
}

/// Best value over all orders under setups that do not depend on time.
fn exhaustive_with_setups(task: &Task, before: Option<(usize, i64)>, used: u32) -> f64 {
    let mut best = 0.0;
    let free = before.map_or(i64::MIN / 4, |(j, s)| s + task.jobs[j].length_s);
    for (j, job) in task.jobs.iter().enumerate().filter(|(j, _)| used >> j & 1 == 0) {
        if let Some(s) = task.earliest(before, free, j) {
            best = f64::max(
                best,
                job.value + exhaustive_with_setups(task, Some((j, s)), used | 1 << j),
            );
        }
    }
    best
}

#[test]
fn setups_between_neighbours_are_kept_and_small_tasks_come_close_to_the_optimum() {
    let mut rng = Rng::new(23);
    let (mut sum, mut optimum) = (0.0, 0.0);
    for case in 0..30 {
        let mut task = random_task(7, &mut rng, false, false, 1);
        task.setup = Some(std::rc::Rc::new(Table::random(7, 0, &mut rng)));
        let best = exhaustive_with_setups(&task, None, 0);
        let got = run(&task, 500, case);
        assert!(task.is_valid(&got.placed), "case {case}");
        assert!(
            got.value <= best + 1e-6 && got.upper_bound >= best - 1e-6,
            "case {case}"
        );
        (sum, optimum) = (sum + got.value, optimum + best);
    }
    assert!(sum >= 0.995 * optimum, "{sum} of {optimum}");
}

#[test]
fn plans_under_setups_that_jump_with_time_quotas_and_losses_stay_valid() {
    let mut rng = Rng::new(29);
    for case in 0..24 {
        let mut task = random_task(
            60,
            &mut rng,
            case % 2 == 0,
            case % 3 == 0,
            if case % 4 == 0 { 60 } else { 1 },
        );
        let without = run(&task, 300, case);
        task.setup = Some(std::rc::Rc::new(Table::random(60, 180, &mut rng)));
        let got = run(&task, 300, case);
        assert!(task.is_valid(&got.placed), "case {case}");
        assert!(
            got.value <= got.upper_bound + 1e-6 && got.value <= without.upper_bound + 1e-6,
            "case {case}"
        );
        let ends = got.placed.iter().map(|(j, s)| s + task.jobs[*j].length_s);
        for (end, (j, s)) in ends.zip(got.placed.iter().skip(1)) {
            assert!(end <= *s, "case {case}: job {j}");
        }
        assert_eq!(got, run(&task, 300, case));
    }
}

#[test]
fn choosing_neighbours_by_their_setups_beats_paying_the_average() {
    // Two clusters of jobs: staying in one costs nothing, changing costs ten minutes.
    let n = 24;
    let extra_s = (0..n)
        .map(|a| (0..n).map(|b| if a % 2 == b % 2 { 0 } else { 600 }).collect())
        .collect();
    let job = Job {
        value: 600.0,
        length_s: 600,
        starts: vec![(0, 12_000)],
        ..Job::default()
    };
    let task = Task {
        jobs: vec![job; n],
        capacities: Vec::new(),
        loss_step_s: 60,
        setup: Some(std::rc::Rc::new(Table { extra_s, jump_s: 0 })),
    };
    // 21 starts fit into the range; one change of cluster costs one of them.
    assert_eq!(run(&task, 400, 1).placed.len(), 20);
}
