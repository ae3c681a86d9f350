//! The book as a planning problem: pure.
//!
//! What a sequence asks becomes a [`Request`]; what runs and what was promised becomes kept blocks; the ledger's balances
//! become quotas. Ties to sequences that are over are settled here: one that was executed leaves a window, one that never
//! will be leaves either nothing to wait for or no hope.

use crate::{
    After, Conditions, GroupRule, Icrs, KeptBlock, KeptKind, Problem, Request, Span, agent::SchedulingSettings,
};
use alidade_model::{
    book::{Book, Line},
    ledger::institute_account,
    request::{self, Album, Plan, Sequence},
    schedule::Schedule,
    states::SequenceState,
    time::UtcTime,
};
use std::collections::BTreeMap;

/// All that a problem is made of.
pub(crate) struct Posing<'a> {
    pub settings: &'a SchedulingSettings,
    pub book: &'a Book,
    /// The last schedule, whose starts are kept where that costs little.
    pub promised: Option<&'a Schedule>,
    pub conditions: &'a [Conditions],
    pub now: UtcTime,
    /// The whole night is planned, not only what is left of it.
    pub first: bool,
    pub night: Span,
}

type Window = (UtcTime, UtcTime);

/// Common parts of two lists of windows; an empty list stands for any time.
fn common(a: Vec<Window>, b: &[Window]) -> Vec<Window> {
    if a.is_empty() || b.is_empty() {
        return if a.is_empty() { b.to_vec() } else { a };
    }
    overlaps(&a, b)
}

/// The stretches that lie in a window of each list.
pub(crate) fn overlaps(a: &[Window], b: &[Window]) -> Vec<Window> {
    let pairs = a
        .iter()
        .flat_map(|x| b.iter().map(move |y| (x.0.max(y.0), x.1.min(y.1))));
    pairs.filter(|(start, end)| start < end).collect()
}

/// Why a sequence that still waits will never be observed; None while there is hope.
pub(crate) fn hopeless(line: &Line, book: &Book, now: UtcTime) -> Option<String> {
    let sequence = &line.sequence;
    if sequence.window.is_some_and(|(_, end)| end <= now) {
        return Some("its window is over".into());
    }
    let windows = &sequence.timing.windows;
    if !windows.is_empty() && windows.iter().all(|(_, end)| *end <= now) {
        return Some("its last window is over".into());
    }
    let after = sequence.timing.after.as_ref()?;
    let Some(other) = book.line(&after.sequence) else {
        return after
            .required
            .then(|| format!("it waits for {}, which does not exist", after.sequence));
    };
    match other.state {
        SequenceState::Executed => {
            let latest = other.moved_at.plus_seconds(after.max_gap_s?);
            (latest < now).then(|| {
                format!(
                    "it had to start at most {:.0} s after {}",
                    after.max_gap_s.unwrap_or_default(),
                    after.sequence
                )
            })
        }
        SequenceState::Cancelled | SequenceState::Expired | SequenceState::Rejected if after.required => {
            Some(format!("it waits for {}, which is {}", after.sequence, other.state))
        }
        _ => None,
    }
}

impl Posing<'_> {
    pub fn problem(&self) -> Problem {
        let mut problem = Problem::new(self.settings.site, self.night, -0.833);
        problem.now = (!self.first || self.now.chrono() > self.night.start).then(|| self.now.chrono());
        problem.weights = self.settings.weights;
        problem.horizon = self.settings.horizon.clone();
        problem.conditions = self.conditions.to_vec();
        problem.overheads = Some(self.settings.overheads);
        problem.quotas_s = self.quotas();
        problem.granted_s = self.granted();
        for line in self.book.lines() {
            match line.state {
                SequenceState::Observable | SequenceState::Planned => {
                    problem.requests.push(self.request(line));
                    if let Some(shared) = self.book.shared_account(&line.sequence.user) {
                        problem.pools.insert(line.sequence.user.clone(), shared);
                    }
                }
                SequenceState::Executing => problem.kept.push(self.running(line, &mut problem.quotas_s)),
                _ => {}
            }
        }
        problem.groups = self.groups();
        problem.kept.extend(self.promises());
        problem
    }

    /// Seconds every account may still be given: what is reserved for sequences that are planned anew counts as free.
    fn quotas(&self) -> BTreeMap<String, f64> {
        let balances = self.book.ledger().balances().iter();
        balances
            .map(|(account, b)| (account.clone(), (b.free_us + b.reserved_us) as f64 / 1e6))
            .collect()
    }

    /// The whole quota of every account.
    fn granted(&self) -> BTreeMap<String, f64> {
        let balances = self.book.ledger().balances().iter();
        balances
            .map(|(account, b)| (account.clone(), -b.granted_us as f64 / 1e6))
            .collect()
    }

    fn running(&self, line: &Line, quotas_s: &mut BTreeMap<String, f64>) -> KeptBlock {
        let id = line.sequence.id.clone();
        // Its time is reserved already and no longer free for others.
        for account in self.book.payers(line) {
            if let Some(left) = quotas_s.get_mut(&account) {
                *left = (*left - self.book.ledger().of_sequence(&id, &account).0 as f64 / 1e6).max(0.0);
            }
        }
        KeptBlock {
            id,
            kind: KeptKind::Fixed,
            start: self.now.chrono(),
            end: self.now.plus_seconds(self.remaining_s(line)).chrono(),
            overhead_s: 0.0,
            charge: None,
            unit: None,
        }
    }

    fn promises(&self) -> Vec<KeptBlock> {
        let still = |id: &str| self.book.line(id).is_some_and(|l| l.state == SequenceState::Planned);
        let places = self.promised.iter().flat_map(|schedule| &schedule.placed);
        places
            .filter(|p| p.start > self.now && still(&p.sequence))
            .map(|p| KeptBlock {
                id: p.sequence.clone(),
                kind: KeptKind::Promised,
                start: p.start.plus_seconds(p.setup_s).chrono(),
                end: p.end.chrono(),
                overhead_s: p.setup_s,
                charge: None,
                unit: None,
            })
            .collect()
    }

    /// The limits of each group, less what its executed and running members fill already.
    fn groups(&self) -> BTreeMap<String, GroupRule> {
        let mut rules: BTreeMap<String, GroupRule> = BTreeMap::new();
        let mut filled: BTreeMap<String, usize> = BTreeMap::new();
        for line in self.book.lines() {
            let Some(group) = &line.sequence.timing.group else {
                continue;
            };
            let name = group_name(&line.sequence, group);
            rules.entry(name.clone()).or_insert_with(|| GroupRule {
                at_least: group.at_least as usize,
                at_most: group.at_most.map(|most| most as usize),
            });
            if matches!(line.state, SequenceState::Executed | SequenceState::Executing) {
                *filled.entry(name).or_default() += 1;
            }
        }
        for (name, rule) in &mut rules {
            let filled = filled.get(name).copied().unwrap_or_default();
            rule.at_least = rule.at_least.saturating_sub(filled);
            rule.at_most = rule.at_most.map(|most| most.saturating_sub(filled));
        }
        rules
    }

    /// Open-shutter and read-out time that is left of a sequence, seconds.
    fn remaining_s(&self, line: &Line) -> f64 {
        let readout_s = self.settings.readout_s;
        let full = line.sequence.duration_s(readout_s);
        let left = line.sequence.albums.iter().map(|album| {
            let mut skip = line.done.get(&album.channel).copied().unwrap_or(0);
            let plans = album.plans.iter().map(|plan| {
                let skipped = skip.min(plan.count);
                skip -= skipped;
                f64::from(plan.count - skipped) * (plan.exposure_s + readout_s)
            });
            plans.sum::<f64>()
        });
        left.fold(0.0, f64::max).clamp(1.0, full.max(1.0))
    }

    fn request(&self, line: &Line) -> Request {
        let sequence = &line.sequence;
        let target = Icrs::new(sequence.target.ra_deg, sequence.target.dec_deg);
        // Whole minutes keep the planner on its coarse, fast grid; what is left of the last one is slack.
        let duration_s = (self.remaining_s(line) / 60.0).ceil() * 60.0;
        let (id, user) = (sequence.id.clone(), sequence.user.clone());
        let mut request = Request::new(id, user, target, duration_s, sequence.priority.max(1e-3));
        request.overhead_s = self.settings.overhead_s;
        let asked = &sequence.constraints;
        request.constraints = asked.into();
        // The mount's own limit holds for everybody.
        request.constraints.min_alt_deg = asked.min_alt_deg.max(self.settings.lowest_alt_deg);
        request.max_seeing_arcsec = asked.max_seeing_arcsec;
        request.max_cloud_cover = asked.max_cloud_cover;
        request.windows = self.windows(sequence);
        request.after = self.after(sequence);
        request.filters = filters(sequence);
        request.group = sequence.timing.group.as_ref().map(|group| group_name(sequence, group));
        request.preferred = sequence.t_prefered.map(UtcTime::chrono);
        request.charged = line.from_alert.is_none();
        request
    }

    /// When it may be observed, by everything that is known in advance.
    fn windows(&self, sequence: &Sequence) -> Vec<Span> {
        let timing = &sequence.timing;
        let life: Vec<Window> = sequence.window.into_iter().collect();
        let mut windows = common(life, &timing.windows);
        let asked = !windows.is_empty();
        let mut next = None;
        let night = (UtcTime::new(self.night.start), UtcTime::new(self.night.end));
        if let Some(phase) = &timing.phase {
            let tonight = phase.windows(night.0, night.1);
            next = phase
                .windows(night.1, night.1.plus_seconds(2.0 * phase.period_s))
                .first()
                .copied();
            windows = if tonight.is_empty() {
                Vec::new()
            } else {
                common(windows, &tonight)
            };
        }
        if let Some(gap) = self.gap(sequence) {
            next = Some(gap);
            let none = windows.is_empty() && (asked || timing.phase.is_some());
            windows = if none { Vec::new() } else { common(windows, &[gap]) };
        }
        // Nothing in common tonight: a window that is not tonight says when the next one is, and an empty list would
        // mean any time.
        if windows.is_empty() && (asked || timing.phase.is_some() || next.is_some()) {
            let never = (night.1, night.1.plus_seconds(1.0));
            windows.push(next.filter(|w| w.0 >= night.1).unwrap_or(never));
        }
        windows
            .iter()
            .map(|(start, end)| Span::new(start.chrono(), end.chrono()))
            .collect()
    }

    /// What an executed predecessor leaves.
    fn gap(&self, sequence: &Sequence) -> Option<Window> {
        const LONG_S: f64 = 400.0 * 86_400.0;
        let after = sequence.timing.after.as_ref()?;
        let other = self
            .book
            .line(&after.sequence)
            .filter(|l| l.state == SequenceState::Executed)?;
        let first = other.moved_at.plus_seconds(after.min_gap_s);
        // The gap ends where the sequence must start: it may go on after it.
        let most = after.max_gap_s.map_or(LONG_S, |most| {
            most + sequence.duration_s(self.settings.readout_s) + 60.0
        });
        Some((first, other.moved_at.plus_seconds(most)))
    }

    /// The tie to a predecessor that can still be observed, or whose loss it does not survive.
    fn after(&self, sequence: &Sequence) -> Option<After> {
        let after = sequence.timing.after.as_ref()?;
        let other = self.book.line(&after.sequence).map(|l| l.state);
        let waits = match other {
            Some(SequenceState::Executed) => false,
            Some(SequenceState::Cancelled | SequenceState::Expired | SequenceState::Rejected) | None => after.required,
            Some(_) => true,
        };
        waits.then(|| After {
            id: after.sequence.clone(),
            min_gap_s: after.min_gap_s,
            max_gap_s: after.max_gap_s,
        })
    }
}

/// What is in the beams at the first and at the last frame.
fn filters(sequence: &Sequence) -> Option<(String, String)> {
    let beams = |plan: fn(&[Plan]) -> Option<&Plan>| {
        let beam = |album: &Album| Some(format!("{}:{}", album.channel, plan(&album.plans)?.filter));
        sequence.albums.iter().filter_map(beam).collect::<Vec<_>>().join(" ")
    };
    let (first, last) = (beams(|plans| plans.first()), beams(|plans| plans.last()));
    (!first.is_empty()).then_some((first, last))
}

/// Groups belong to their request: two users may use the same name.
fn group_name(sequence: &Sequence, group: &request::Group) -> String {
    format!("{}/{}", sequence.request, group.name)
}

/// A quota's account as people call it.
pub(crate) fn account_title(account: &str) -> String {
    match account.strip_prefix(&institute_account("")) {
        Some(institute) => format!("the institute {institute}"),
        None => account.to_owned(),
    }
}

#[cfg(test)]
mod tests;
