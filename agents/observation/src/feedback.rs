//! What frames say back to the instruments: pure decisions over what the analysis measured, each of them bounded.
//!
//! Terms:
//! - *seen*: what one frame showed; the analysis publishes the last ones, newest last, and the observation looks.
//! - *correction*: what is added to the place that the mount is sent to, so that the target comes to the middle. It stays
//!   for the targets that follow, as a mount that is set on the stars would keep it.
//! - *trial*: the focus is moved one step each way, and the vertex of the parabola through the squared widths taken: blur
//!   and seeing add in squares.
//!
//! Only frames begun after the last change speak of what is now: a correction is never answered twice.

use alidade_model::time::UtcTime;
use std::{collections::BTreeMap, sync::Arc};

/// Frames that are remembered.
pub const MEMORY: usize = 48;

/// What one frame showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub exposure: String,
    pub channel: String,
    pub filter: String,
    pub sequence: Option<String>,
    /// The shutter was opened.
    pub started_at: UtcTime,
    pub exposure_s: f64,
    /// Where the middle of the frame is, minus where it was to be: arcseconds east and north.
    pub offset_arcsec: Option<(f64, f64)>,
    /// Width of the stars taken to the zenith, arcseconds.
    pub seeing_arcsec: Option<f64>,
    pub trailed: bool,
    /// The target, or the sky itself, fills the wells.
    pub saturated: bool,
}

/// Frames, newest last.
pub type Frames = Arc<Vec<Seen>>;

/// Bounds of what frames may change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The target is brought to the middle when it is off by more than this, arcseconds; 0 never does.
    pub recentre_arcsec: f64,
    /// The focus is moved by so many steps in a trial; 0 never moves it.
    pub focus_trial_steps: i64,
    /// Stars wider than this at the zenith put the focus in doubt, arcseconds.
    pub focus_doubt_arcsec: f64,
    /// Frames of a sequence and channel that are taken again because they are trailed or saturated.
    pub retakes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            recentre_arcsec: 30.0,
            focus_trial_steps: 0,
            focus_doubt_arcsec: 5.0,
            retakes: 0,
        }
    }
}

/// The whole correction is never larger, arcseconds: half a degree. What is farther off is no pointing error.
pub const MOST_ARCSEC: f64 = 1800.0;
/// Corrections of one sequence.
pub const CORRECTIONS: u32 = 3;

/// Added to the place of the target, arcseconds east and north.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Correction {
    pub east_arcsec: f64,
    pub north_arcsec: f64,
    /// Frames begun before say nothing of it.
    pub since: Option<UtcTime>,
}

/// Why nothing is corrected although a frame is off.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Beyond {
    #[error("the frame is {0:.0} arcsec off, more than a pointing error is")]
    Far(f64),
    #[error("the target is still {0:.0} arcsec off after {CORRECTIONS} corrections")]
    Often(f64),
}

/// The next correction of a sequence that has been corrected `times` already; `None` while the target is well placed.
pub fn recentre(
    now: &Correction,
    frames: &[Seen],
    sequence: &str,
    times: u32,
    limits: &Limits,
) -> Option<Result<Correction, Beyond>> {
    if limits.recentre_arcsec <= 0.0 {
        return None;
    }
    let own = |f: &&Seen| f.sequence.as_deref() == Some(sequence) && now.since.is_none_or(|s| f.started_at >= s);
    let (frame, (east, north)) = frames
        .iter()
        .rev()
        .filter(own)
        .find_map(|f| Some((f, f.offset_arcsec?)))?;
    let off = east.hypot(north);
    if off < limits.recentre_arcsec {
        return None;
    }
    let next = Correction {
        east_arcsec: now.east_arcsec - east,
        north_arcsec: now.north_arcsec - north,
        since: Some(frame.started_at),
    };
    Some(if times >= CORRECTIONS {
        Err(Beyond::Often(off))
    } else if off > MOST_ARCSEC || next.east_arcsec.hypot(next.north_arcsec) > MOST_ARCSEC {
        Err(Beyond::Far(off))
    } else {
        Ok(next)
    })
}

impl Correction {
    /// Where the mount is sent for a target, ICRS degrees.
    pub fn applied(&self, ra_deg: f64, dec_deg: f64) -> (f64, f64) {
        let dec = (dec_deg + self.north_arcsec / 3600.0).clamp(-90.0, 90.0);
        // Near the pole a step in right ascension is no step on the sky.
        let cos = dec_deg.to_radians().cos().max(1e-3);
        ((ra_deg + self.east_arcsec / 3600.0 / cos).rem_euclid(360.0), dec)
    }
}

/// Frames that make one measurement of the focus.
pub const FOCUS_FRAMES: usize = 3;
/// Stars wider than the best of the night by this factor put the focus in doubt.
const WIDER: f64 = 1.3;
/// Steps, in units of a trial's, that the focus is moved in all.
pub const MOST_TRIAL_STEPS: i64 = 12;
/// Trials of one night.
pub const TRIALS: u32 = 8;
/// Between the end of a trial and the next, seconds: seeing comes and goes.
pub const TRIAL_PAUSE_S: f64 = 1200.0;

/// After so long a pause another night has begun, seconds.
const NIGHT_S: f64 = 36_000.0;

/// Channel and filter: widths compare only within one of them.
type Light = (String, String);

/// A trial that runs.
#[derive(Debug, Clone, PartialEq)]
struct Trial {
    light: Light,
    /// Offsets and the widths measured there; the first is where it began.
    points: Vec<(i64, f64)>,
}

/// What is known of the focus.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Focus {
    /// Added to where temperature wants it, steps.
    pub offset_steps: i64,
    /// Frames begun before say nothing of it.
    pub since: Option<UtcTime>,
    /// Least widths of the night, arcseconds at the zenith.
    best: BTreeMap<Light, f64>,
    trial: Option<Trial>,
    trials: u32,
    ended_at: Option<UtcTime>,
    /// The last trial ended at its reach: the focus is farther away.
    unfinished: bool,
}

/// The light of a frame.
fn light(frame: &Seen) -> Light {
    (frame.channel.clone(), frame.filter.clone())
}

impl Focus {
    pub fn on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Looks at the frames; what becomes of the focus, if they say anything new. A changed offset wants the focuser to
    /// be moved, and `since` to be set when it has arrived.
    pub fn judge(&self, frames: &[Seen], now: UtcTime, limits: &Limits) -> Option<Focus> {
        if limits.focus_trial_steps <= 0 {
            return None;
        }
        let fresh = |f: &&Seen| self.since.is_none_or(|s| f.started_at >= s) && !f.trailed;
        let widths: Vec<(Light, f64)> = frames
            .iter()
            .rev()
            .filter(fresh)
            .filter_map(|f| Some((light(f), f.seeing_arcsec?)))
            .collect();
        let newest = widths.first().map(|w| w.0.clone())?;
        let wanted = self.trial.as_ref().map_or(&newest, |t| &t.light);
        let of = |wanted: &Light| {
            let own = widths.iter().filter(|w| w.0 == *wanted).map(|w| w.1);
            own.take(FOCUS_FRAMES).collect::<Vec<f64>>()
        };
        let mut own = of(wanted);
        let mut next = self.clone();
        next.since = Some(now);
        if own.len() < FOCUS_FRAMES {
            // The sequence went on to another filter: a trial cannot be finished, and ends where it began.
            let abandoned = self.trial.as_ref().filter(|_| of(&newest).len() >= FOCUS_FRAMES)?;
            next.offset_steps = abandoned.points[0].0;
            (next.trial, next.ended_at) = (None, Some(now));
            return Some(next);
        }
        own.sort_by(f64::total_cmp);
        let width = own[FOCUS_FRAMES / 2];
        if let Some(trial) = &mut next.trial {
            trial.points.push((self.offset_steps, width));
            next.proceed(now, limits);
            return Some(next);
        }
        // A new night: the best of another one says little of this one.
        if self.ended_at.is_some_and(|at| now.seconds_since(at) > NIGHT_S) {
            (next.trials, next.ended_at) = (0, None);
            next.best.clear();
        }
        let best = next.best.entry(newest.clone()).or_insert(width);
        let doubted = self.unfinished || width > limits.focus_doubt_arcsec || width > WIDER * *best;
        *best = best.min(width);
        let rested = next.ended_at.is_none_or(|at| now.seconds_since(at) > TRIAL_PAUSE_S);
        if doubted && rested && next.trials < TRIALS {
            next.trials += 1;
            next.unfinished = false;
            next.trial = Some(Trial {
                light: newest,
                points: vec![(self.offset_steps, width)],
            });
            next.offset_steps = bounded(self.offset_steps + limits.focus_trial_steps, limits);
            return Some(next);
        }
        // Nothing moves: the same frames may be looked at again with the next one.
        next.since = self.since;
        (next.best != self.best).then_some(next)
    }

    /// The next place of a trial, or its end.
    fn proceed(&mut self, now: UtcTime, limits: &Limits) {
        let Some(trial) = &self.trial else { return };
        let (step, points) = (limits.focus_trial_steps, &trial.points);
        let (start, first) = points[0];
        if points.len() < 3 {
            self.offset_steps = bounded(start - step, limits);
            return;
        }
        let lowest = points.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let (at, width) = lowest.unwrap_or(points[0]);
        // Widths that differ by chance alone move nothing.
        let told = first > 1.03 * width;
        // Not far beyond the outermost place: a flat parabola sees anything.
        let reach = 4.0 * step as f64;
        let by = vertex(points).map(|v| v - start as f64);
        let (next, far) = match by {
            Some(by) if told || by.abs() < step as f64 => {
                (start + by.clamp(-reach, reach).round() as i64, by.abs() > reach)
            }
            _ if told => (at + (at - start).signum() * step, true),
            _ => (start, false),
        };
        self.offset_steps = bounded(next, limits);
        // The seeing may have changed: what is best is learnt anew.
        self.best.clear();
        self.trial = None;
        // One that ended at its reach goes on at once.
        self.unfinished = far;
        self.ended_at = (!far).then_some(now);
    }
}

fn bounded(steps: i64, limits: &Limits) -> i64 {
    let most = MOST_TRIAL_STEPS * limits.focus_trial_steps;
    steps.clamp(-most, most)
}

/// Where the parabola through three squared widths is lowest; `None` where it has no lowest place.
fn vertex(points: &[(i64, f64)]) -> Option<f64> {
    let [a, b, c] = points else { return None };
    let (x1, x2, x3) = (a.0 as f64, b.0 as f64, c.0 as f64);
    let (y1, y2, y3) = (a.1 * a.1, b.1 * b.1, c.1 * c.1);
    let bottom = (x1 - x2) * (x1 - x3) * (x2 - x3);
    if bottom == 0.0 {
        return None;
    }
    let curve = (x3 * (y2 - y1) + x2 * (y1 - y3) + x1 * (y3 - y2)) / bottom;
    let slope = (x3 * x3 * (y1 - y2) + x2 * x2 * (y3 - y1) + x1 * x1 * (y2 - y3)) / bottom;
    (curve > 0.0).then(|| -slope / (2.0 * curve))
}

/// Shortest exposure that a retake is given, seconds, and how much shorter one of a saturated frame is.
const SHORTEST_S: f64 = 0.5;
const SHORTER: f64 = 0.25;

/// Why a frame is taken again, and how long it is exposed then.
#[derive(Debug, Clone, PartialEq)]
pub struct Retake {
    pub exposure: String,
    pub filter: String,
    pub exposure_s: f64,
    pub cause: &'static str,
}

/// A frame of this sequence and channel that is to be taken again: trailed, or saturated (then shorter). `retaken` are
/// those that have been.
pub fn retake(frames: &[Seen], sequence: &str, channel: &str, retaken: &[String], limits: &Limits) -> Option<Retake> {
    if retaken.len() >= limits.retakes as usize {
        return None;
    }
    let own = |f: &&Seen| f.sequence.as_deref() == Some(sequence) && f.channel == channel;
    frames
        .iter()
        .filter(own)
        .filter(|f| !retaken.contains(&f.exposure))
        .find_map(|f| {
            let (exposure_s, cause) = match f {
                f if f.trailed => (f.exposure_s, "its stars are trails"),
                f if f.saturated && f.exposure_s > SHORTEST_S => {
                    ((f.exposure_s * SHORTER).max(SHORTEST_S), "it is saturated")
                }
                _ => return None,
            };
            Some(Retake {
                exposure: f.exposure.clone(),
                filter: f.filter.clone(),
                exposure_s,
                cause,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> UtcTime {
        let start: UtcTime = "2026-03-14T22:00:00Z".parse().unwrap();
        start.plus_seconds(seconds)
    }

    fn seen(seconds: f64) -> Seen {
        Seen {
            exposure: format!("e{seconds}"),
            channel: "vis".into(),
            filter: "r".into(),
            sequence: Some("s1".into()),
            started_at: at(seconds),
            exposure_s: 30.0,
            offset_arcsec: Some((0.0, 0.0)),
            seeing_arcsec: Some(2.0),
            trailed: false,
            saturated: false,
        }
    }

    #[test]
    fn a_pointing_error_is_taken_out_once_and_old_frames_do_not_take_it_out_twice() {
        let limits = Limits::default();
        let off = Seen {
            offset_arcsec: Some((120.0, -80.0)),
            ..seen(0.0)
        };
        let first = recentre(&Correction::default(), std::slice::from_ref(&off), "s1", 0, &limits)
            .unwrap()
            .unwrap();
        assert_eq!((first.east_arcsec, first.north_arcsec), (-120.0, 80.0));
        let moved = Correction {
            since: Some(at(40.0)),
            ..first
        };
        assert_eq!(recentre(&moved, std::slice::from_ref(&off), "s1", 1, &limits), None);
        let now = Seen {
            offset_arcsec: Some((3.0, 2.0)),
            ..seen(60.0)
        };
        assert_eq!(recentre(&moved, &[off.clone(), now], "s1", 1, &limits), None);
        assert_eq!(recentre(&Correction::default(), &[off], "another", 0, &limits), None);
        let (ra, dec) = first.applied(10.0, 60.0);
        assert!((ra - (10.0 - 120.0 / 3600.0 / 0.5)).abs() < 1e-9 && (dec - 60.0 - 80.0 / 3600.0).abs() < 1e-9);
    }

    #[test]
    fn a_correction_never_runs_away() {
        let limits = Limits::default();
        let far = Seen {
            offset_arcsec: Some((4000.0, 0.0)),
            ..seen(0.0)
        };
        assert!(matches!(
            recentre(&Correction::default(), &[far], "s1", 0, &limits),
            Some(Err(Beyond::Far(_)))
        ));
        // A mount that does not do what it is told: the same error every time.
        let (mut correction, mut times) = (Correction::default(), 0);
        for n in 0..20 {
            let frame = Seen {
                offset_arcsec: Some((400.0, 0.0)),
                ..seen(60.0 * f64::from(n))
            };
            match recentre(&correction, &[frame], "s1", times, &limits) {
                Some(Ok(next)) => (correction, times) = (next, times + 1),
                Some(Err(_)) => break,
                None => {}
            }
        }
        assert!(times <= CORRECTIONS && correction.east_arcsec.abs() <= MOST_ARCSEC);
        let off = Limits {
            recentre_arcsec: 0.0,
            ..limits
        };
        let wide = Seen {
            offset_arcsec: Some((90.0, 0.0)),
            ..seen(0.0)
        };
        assert_eq!(recentre(&Correction::default(), &[wide], "s1", 0, &off), None);
    }

    /// Runs a night of frames a minute apart on optics whose best focus is `best` steps from where it begins.
    fn night(best: f64, seeing: impl Fn(u32) -> f64, minutes: u32) -> (Focus, Vec<i64>) {
        let limits = Limits {
            focus_trial_steps: 200,
            ..Limits::default()
        };
        let (mut focus, mut frames, mut places) = (Focus::default(), Vec::new(), Vec::new());
        for minute in 0..minutes {
            let blur = 0.004 * (focus.offset_steps as f64 - best);
            frames.push(Seen {
                seeing_arcsec: Some(seeing(minute).hypot(blur)),
                ..seen(60.0 * f64::from(minute))
            });
            if let Some(mut next) = focus.judge(&frames, at(60.0 * f64::from(minute) + 31.0), &limits) {
                if next.offset_steps != focus.offset_steps {
                    next.since = Some(at(60.0 * f64::from(minute) + 40.0));
                }
                focus = next;
                places.push(focus.offset_steps);
            }
        }
        (focus, places)
    }

    #[test]
    fn a_defocused_telescope_comes_to_its_focus_and_stays_there() {
        for best in [1500.0, -1500.0, 1900.0] {
            let (focus, places) = night(best, |_| 2.0, 240);
            assert!((focus.offset_steps as f64 - best).abs() < 150.0, "{best}: {places:?}");
        }
        let (focus, places) = night(0.0, |_| 2.0, 240);
        assert!(focus.offset_steps == 0 && places.iter().all(|p| *p == 0), "{places:?}");
    }

    #[test]
    fn bad_seeing_costs_a_few_trials_and_no_focus() {
        let (focus, places) = night(0.0, |minute| if minute < 60 { 2.0 } else { 6.0 }, 480);
        assert!(focus.offset_steps.abs() <= 100, "{places:?}");
        assert!(places.iter().all(|p| p.abs() <= MOST_TRIAL_STEPS * 200));
        assert!(places.len() < 4 * TRIALS as usize + 20, "{places:?}");
    }

    #[test]
    fn a_trailed_frame_is_taken_again_and_a_saturated_one_shorter_but_not_for_ever() {
        let limits = Limits {
            retakes: 2,
            ..Limits::default()
        };
        let trailed = Seen {
            trailed: true,
            ..seen(0.0)
        };
        let full = Seen {
            saturated: true,
            ..seen(40.0)
        };
        let frames = [trailed, full];
        let first = retake(&frames, "s1", "vis", &[], &limits).unwrap();
        assert_eq!((first.exposure.as_str(), first.exposure_s), ("e0", 30.0));
        let second = retake(&frames, "s1", "vis", &["e0".into()], &limits).unwrap();
        assert_eq!((second.exposure.as_str(), second.exposure_s), ("e40", 7.5));
        assert_eq!(
            retake(&frames, "s1", "vis", &["e0".into(), "e40".into()], &limits),
            None
        );
        assert_eq!(retake(&frames, "s1", "nir", &[], &limits), None);
        assert_eq!(retake(&[seen(0.0)], "s1", "vis", &[], &limits), None);
    }
}
