//! From a night to a plan: start ranges from the sky, the kernel's choice, slacks, and a reason for every "no".

mod prepare;
mod report;

use crate::constraints::{Cause, Exclusion, ObservabilityRequest, Sky, verify_block};
use crate::ephemeris::{Span, seconds_between};
use crate::links;
use crate::pointing::{self, Setups};
use crate::problem::{Problem, ProblemError};
use crate::reason::Reason;
use crate::units::Axis;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) use prepare::weather_limits;

/// How long to plan, and with which seed.
pub struct PlanOptions<'a> {
    /// Units of kernel work; plans with equal iterations, seed and input are equal.
    pub iterations: u64,
    pub seed: u64,
    /// Relative gap at which the planner is content.
    pub gap: f64,
    /// True ends the work with the best plan so far: a deadline, a cancel.
    pub stop: Option<&'a mut dyn FnMut() -> bool>,
    /// Keep the excluded intervals of every unplanned request.
    pub explain: bool,
}

impl Default for PlanOptions<'_> {
    fn default() -> Self {
        Self {
            iterations: 600,
            seed: 1,
            gap: 0.0,
            stop: None,
            explain: true,
        }
    }
}

/// A planned request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub id: String,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    /// How much earlier it could start, and later it could end, its neighbours staying (seconds).
    pub delta_tl_s: f64,
    pub delta_tr_s: f64,
    /// Its own constraints and windows allow no start before this one.
    pub earliest: DateTime<Utc>,
    /// Its part of the objective.
    pub value: f64,
    /// Name of its unit; None where the problem names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What the telescope needs before the start, after the block before it: the setup where overheads are modelled,
    /// else the request's constant overhead, seconds.
    #[serde(default)]
    pub setup_s: f64,
}

/// A request left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unplanned {
    pub id: String,
    pub reason: Reason,
    pub sentence: String,
    /// Where and why the sky or the windows exclude it, interval by interval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<Exclusion>,
}

/// A night's plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// In time order.
    pub planned: Vec<Planned>,
    /// In the order of the requests.
    pub unplanned: Vec<Unplanned>,
    /// Sum of the values; see [`crate::problem::Weights`].
    pub objective: f64,
    /// No plan of this problem is worth more.
    pub upper_bound: f64,
    /// (bound - objective) / bound.
    pub gap: f64,
    /// Observing seconds planned by user, fixed blocks with a charge included.
    pub used_s: BTreeMap<String, f64>,
    pub iterations: u64,
}

/// A request with its seconds.
pub(crate) struct Prepared {
    pub(crate) duration_s: i64,
    /// Time before the exposure that the machine is busy in any case.
    pub(crate) overhead_s: i64,
    /// Good stretches (sky and windows), seconds from the start of the night.
    pub(crate) good: Vec<(f64, f64)>,
    /// Allowed starts of the exposure, axis time, ascending.
    pub(crate) starts: Vec<(i64, i64)>,
}

pub(crate) struct Planner<'a> {
    pub(crate) problem: &'a Problem,
    pub(crate) sky: Arc<Sky>,
    pub(crate) axis: Axis,
    setups: Option<Rc<Setups>>,
    pub(crate) prepared: Vec<Prepared>,
    /// Free stretches of each unit, seconds from the start of the night, with the request that ends before.
    free: Vec<Vec<prepare::Free>>,
}

/// Slot of the loss tables, seconds.
pub(crate) const LOSS_STEP_S: i64 = 60;

/// Plans one night.
pub fn plan(problem: &Problem, options: PlanOptions) -> Result<Plan, ProblemError> {
    problem.check()?;
    let sky = Arc::new(sky_of(problem));
    plan_under(&sky, problem, options)
}

/// The tabulated sky of a problem's night: it depends on the site and the span only, and serves every plan of the night.
pub fn sky_of(problem: &Problem) -> Sky {
    Sky::new(&problem.site, problem.night, 60.0)
}

/// Plans one night under a sky made before by [`sky_of`]; a sky of another site or night is replaced.
pub fn plan_under(sky: &Arc<Sky>, problem: &Problem, mut options: PlanOptions) -> Result<Plan, ProblemError> {
    problem.check()?;
    let fits = *sky.site() == problem.site && sky.track.span() == problem.night;
    let sky = if fits {
        Arc::clone(sky)
    } else {
        Arc::new(sky_of(problem))
    };
    let planner = Planner::new(problem, sky);
    let task = planner.task();
    let overhead_s = planner.prepared.iter().map(|p| p.overhead_s).collect();
    let mut linked = links::solve(problem, &task, overhead_s, planner.axis, &mut options);
    planner.hold_promises(&task, &mut linked.solution);
    planner.keep_setups(&task, &mut linked.solution);
    Ok(planner.report(&task, &linked, options.explain))
}

/// Where and why the sky and the windows exclude some of a problem's requests, interval by interval.
pub fn exclusions_under(
    sky: &Arc<Sky>,
    problem: &Problem,
    wanted: impl Fn(&str) -> bool,
) -> BTreeMap<String, Vec<Exclusion>> {
    let planner = Planner {
        problem,
        sky: Arc::clone(sky),
        axis: Axis::new(1, sky.length_s(), 0),
        setups: None,
        prepared: Vec::new(),
        free: Vec::new(),
    };
    let asked = problem.requests.iter().filter(|r| wanted(&r.id));
    asked.map(|r| (r.id.clone(), planner.exclusions(r))).collect()
}

/// What [`verify`] found: a block, an instant, and what is wrong there.
pub type Fault = (String, DateTime<Utc>, Broken);

/// A rule that a block breaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Broken {
    /// The sky does not give what it asks.
    Sky(Cause),
    /// The block before leaves too little time for the change between the two.
    Setup { needed_s: f64, left_s: f64 },
}

impl Broken {
    pub fn describe(&self) -> String {
        match self {
            Self::Sky(cause) => cause.describe().to_owned(),
            Self::Setup { needed_s, left_s } => {
                format!("the change of target takes {needed_s:.1} s, the block before leaves {left_s:.1} s")
            }
        }
    }
}

/// Confirms every planned block with the full ephemeris chain, and the setup between neighbours of a unit where overheads
/// are modelled; the first failure is returned with its instant.
pub fn verify(problem: &Problem, plan: &Plan) -> Result<(), Fault> {
    let index: BTreeMap<&str, usize> = problem
        .requests
        .iter()
        .enumerate()
        .map(|(k, r)| (r.id.as_str(), k))
        .collect();
    for block in &plan.planned {
        let Some(r) = index.get(block.id.as_str()).map(|k| &problem.requests[*k]) else {
            continue;
        };
        let request = ObservabilityRequest {
            target: r.target,
            constraints: r.constraints,
            horizon: problem.horizon.clone(),
        };
        verify_block(
            &problem.site,
            &request,
            problem.sun_max_alt_deg,
            Span::new(block.start, block.end),
            300.0,
        )
        .map_err(|(t, cause)| (block.id.clone(), t, Broken::Sky(cause)))?;
    }
    let Some(overheads) = pointing::modelled(problem) else {
        return Ok(());
    };
    let axis = Axis::new(1, problem.night.length_s(), 0);
    let setups = Setups::new(problem, &sky_of(problem), axis, overheads);
    let at = |t| seconds_between(problem.night.start, t);
    for (n, block) in plan.planned.iter().enumerate() {
        let before = plan.planned[..n].iter().rev().find(|b| b.unit == block.unit);
        let unit = problem
            .units
            .iter()
            .position(|u| Some(&u.name) == block.unit.as_ref())
            .unwrap_or(0);
        if let Some(before) = before
            && let (Some(a), Some(b)) = (index.get(before.id.as_str()), index.get(block.id.as_str()))
        {
            let needed_s = setups.between_s(unit, *a, (at(before.start), at(before.end)), *b, at(block.start));
            let left_s = at(block.start) - at(before.end);
            // A millisecond is less than the instants are told to.
            if needed_s > left_s + 1e-3 {
                return Err((block.id.clone(), block.start, Broken::Setup { needed_s, left_s }));
            }
        }
    }
    Ok(())
}
