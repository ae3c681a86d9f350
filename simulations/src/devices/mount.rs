//! A mount: slews at a rate, settles, tracks, parks, and refuses what is too low.

use super::{
    Responder,
    sphere::{self, Memo},
};
use alidade_drivers::lx200::{angle, right_ascension, sexagesimal};
use alidade_model::{states::MountState, time::UtcTime, units::separation_deg};
use alidade_scheduling::Site;
use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MountConfig {
    /// Degrees per second on the sky.
    pub slew_deg_s: f64,
    /// Acceleration and settling of every slew together, seconds.
    pub settle_s: f64,
    /// Slews and tracking end here, degrees above the horizon.
    pub lowest_deg: f64,
    pub park_alt_deg: f64,
    pub park_az_deg: f64,
    /// True pointing minus what the mount believes, arcseconds in altitude and azimuth on the sky.
    pub pointing_error_arcsec: (f64, f64),
    /// Speaks Meade's dialect of LX200 instead of the Gemini's.
    pub meade: bool,
}

impl Default for MountConfig {
    fn default() -> Self {
        Self {
            slew_deg_s: 6.0,
            settle_s: 3.0,
            lowest_deg: 12.0,
            park_alt_deg: 40.0,
            park_az_deg: 0.0,
            pointing_error_arcsec: (14.0, -9.0),
            meade: false,
        }
    }
}

/// What the axes are doing.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Motion {
    /// Stands at altitude and azimuth.
    Fixed { alt: f64, az: f64 },
    /// Follows equatorial coordinates of date.
    Sidereal { ra: f64, dec: f64 },
    /// On the way along the great circle.
    Slew { from: (f64, f64), since: UtcTime, to: Goal },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Goal {
    Sky {
        ra: f64,
        dec: f64,
    },
    /// A fixed direction, without tracking there.
    Stand {
        alt: f64,
        az: f64,
    },
    Park,
}

/// See the module's text.
#[derive(Debug, Clone)]
pub struct MountModel {
    config: MountConfig,
    site: Site,
    motion: Motion,
    parked: bool,
    now: UtcTime,
    target: (f64, f64),
    stuck: bool,
    seen: Memo,
    placed: Memo,
    /// Slews that begin now end so far from their target, degrees towards the equator.
    pub misses_deg: f64,
}

impl MountModel {
    pub fn new(config: MountConfig, site: Site, now: UtcTime) -> Self {
        let motion = Motion::Fixed {
            alt: config.park_alt_deg,
            az: config.park_az_deg,
        };
        Self {
            config,
            site,
            motion,
            parked: true,
            now,
            target: (0.0, 0.0),
            stuck: false,
            seen: Memo::default(),
            placed: Memo::default(),
            misses_deg: 0.0,
        }
    }

    /// Brings the model to `now`; `stuck` axes do not move.
    pub fn advance(&mut self, now: UtcTime, stuck: bool) {
        self.now = now;
        self.stuck = stuck;
        if let Motion::Slew { from, since, to } = self.motion {
            let goal = self.goal_direction(to);
            let elapsed = now.seconds_since(since);
            let arc = separation_deg((from.1, from.0), (goal.1, goal.0));
            if stuck {
                // The drive has lost the time; it goes on from where it stands.
                let here = self.direction_from(from, goal, arc, elapsed);
                self.motion = Motion::Slew {
                    from: here,
                    since: now,
                    to,
                };
            } else if elapsed >= arc / self.config.slew_deg_s + self.config.settle_s {
                self.motion = match to {
                    Goal::Sky { ra, dec } => Motion::Sidereal { ra, dec },
                    Goal::Stand { alt, az } => Motion::Fixed { alt, az },
                    Goal::Park => {
                        self.parked = true;
                        Motion::Fixed {
                            alt: self.config.park_alt_deg,
                            az: self.config.park_az_deg,
                        }
                    }
                };
            }
        }
        // The mount's own limit: it stops rather than point into the ground.
        if let Motion::Sidereal { .. } = self.motion {
            let (alt, az) = self.direction();
            if alt < self.config.lowest_deg {
                self.motion = Motion::Fixed { alt, az };
            }
        }
    }

    fn goal_direction(&self, goal: Goal) -> (f64, f64) {
        match goal {
            Goal::Sky { ra, dec } => self.horizontal(ra, dec),
            Goal::Stand { alt, az } => (alt, az),
            Goal::Park => (self.config.park_alt_deg, self.config.park_az_deg),
        }
    }

    fn horizontal(&self, ra: f64, dec: f64) -> (f64, f64) {
        let turn = || sphere::horizontal(&self.site, self.now, ra, dec);
        self.seen.or(self.now, (ra, dec), turn)
    }

    fn equatorial(&self, alt: f64, az: f64) -> (f64, f64) {
        let turn = || sphere::equatorial(&self.site, self.now, alt, az);
        self.placed.or(self.now, (alt, az), turn)
    }

    /// The point of a slew after `elapsed` seconds: each axis goes straight, altitude never below the lower end.
    fn direction_from(&self, from: (f64, f64), goal: (f64, f64), arc: f64, elapsed: f64) -> (f64, f64) {
        let needed = (arc / self.config.slew_deg_s).max(1e-6);
        let fraction = (elapsed / needed).clamp(0.0, 1.0);
        let turn = (goal.1 - from.1 + 180.0).rem_euclid(360.0) - 180.0;
        (
            from.0 + (goal.0 - from.0) * fraction,
            (from.1 + turn * fraction).rem_euclid(360.0),
        )
    }

    /// Altitude and azimuth the mount believes to point at, degrees.
    pub fn direction(&self) -> (f64, f64) {
        match self.motion {
            Motion::Fixed { alt, az } => (alt, az),
            Motion::Sidereal { ra, dec } => self.horizontal(ra, dec),
            Motion::Slew { from, since, to } => {
                let goal = self.goal_direction(to);
                let arc = separation_deg((from.1, from.0), (goal.1, goal.0));
                let elapsed = if self.stuck { 0.0 } else { self.now.seconds_since(since) };
                self.direction_from(from, goal, arc, elapsed)
            }
        }
    }

    /// Where light really comes from: altitude and azimuth with the pointing error, degrees.
    pub fn true_direction(&self) -> (f64, f64) {
        let (alt, az) = self.direction();
        let (d_alt, d_az) = self.config.pointing_error_arcsec;
        (
            alt + d_alt / 3600.0,
            az + d_az / 3600.0 / alt.to_radians().cos().max(0.05),
        )
    }

    pub fn is_parked(&self) -> bool {
        self.parked
    }

    pub fn state(&self) -> MountState {
        match self.motion {
            _ if self.parked => MountState::Parked,
            Motion::Fixed { .. } => MountState::Idle,
            Motion::Sidereal { .. } => MountState::Tracking,
            Motion::Slew { to: Goal::Park, .. } => MountState::Parking,
            Motion::Slew { .. } => MountState::Slewing,
        }
    }

    fn slew(&mut self) -> &'static [u8] {
        let (ra, dec) = self.target;
        if self.parked {
            return b"5Mount is parked#";
        }
        if self.horizontal(ra, dec).0 < self.config.lowest_deg {
            return b"1Object below horizon#";
        }
        let dec = dec - self.misses_deg.copysign(dec);
        self.motion = Motion::Slew {
            from: self.direction(),
            since: self.now,
            to: Goal::Sky { ra, dec },
        };
        b"0"
    }

    /// Slews to coordinates of date, woken first; false where it cannot look.
    pub fn go_to(&mut self, ra: f64, dec: f64) -> bool {
        (self.parked, self.target) = (false, (ra, dec));
        self.slew() == b"0"
    }

    /// Slews to a fixed direction, woken first; false below the lower end.
    pub fn go_to_horizontal(&mut self, alt: f64, az: f64) -> bool {
        if alt < self.config.lowest_deg {
            return false;
        }
        self.parked = false;
        self.motion = Motion::Slew {
            from: self.direction(),
            since: self.now,
            to: Goal::Stand { alt, az },
        };
        true
    }

    pub fn is_slewing(&self) -> bool {
        matches!(self.motion, Motion::Slew { .. })
    }

    /// Tracks, or will when it has arrived.
    pub fn is_tracking(&self) -> bool {
        matches!(
            self.motion,
            Motion::Sidereal { .. }
                | Motion::Slew {
                    to: Goal::Sky { .. },
                    ..
                }
        )
    }

    /// Right ascension and declination of date, degrees.
    pub fn coordinates(&self) -> (f64, f64) {
        match self.motion {
            Motion::Sidereal { ra, dec } => (ra, dec),
            _ => {
                let (alt, az) = self.direction();
                self.equatorial(alt, az)
            }
        }
    }

    /// Tracks where it stands, or stands where it is.
    pub fn track(&mut self, on: bool) {
        if on {
            self.wake();
        } else if let Motion::Sidereal { .. } = self.motion {
            let (alt, az) = self.direction();
            self.motion = Motion::Fixed { alt, az };
        }
    }

    /// Ends a slew where it is.
    pub fn stop(&mut self) {
        if let Motion::Slew { .. } = self.motion {
            let (alt, az) = self.direction();
            self.motion = Motion::Fixed { alt, az };
        }
    }

    /// Awake, and stands where it is.
    pub fn unpark(&mut self) {
        self.parked = false;
    }

    fn wake(&mut self) {
        self.parked = false;
        if let Motion::Fixed { alt, az } = self.motion {
            let (ra, dec) = self.equatorial(alt, az);
            self.motion = Motion::Sidereal { ra, dec };
        }
    }
}

/// An answer with its end.
fn closed(mut text: String) -> Vec<u8> {
    text.push('#');
    text.into_bytes()
}

impl Responder for MountModel {
    fn terminator(&self) -> u8 {
        b'#'
    }

    fn answer(&mut self, question: &[u8]) -> Vec<u8> {
        let question = String::from_utf8_lossy(question);
        let Some(command) = question.trim_start_matches('\u{6}').strip_prefix(':') else {
            return Vec::new();
        };
        if self.config.meade
            && let Some(said) = super::meade::answer(self, command)
        {
            return said;
        }
        match command {
            "GVP" => b"Alidade simulated mount#".to_vec(),
            "GVN" => b"1.0#".to_vec(),
            "Gv" => match self.motion {
                Motion::Fixed { .. } => b"N".to_vec(),
                Motion::Sidereal { .. } => b"T".to_vec(),
                Motion::Slew { .. } => b"S".to_vec(),
            },
            "h?" => match self.state() {
                MountState::Parked => b"1".to_vec(),
                MountState::Parking => b"2".to_vec(),
                _ => b"0".to_vec(),
            },
            "GR" | "GD" => {
                let (ra, dec) = self.coordinates();
                closed(if command == "GR" {
                    right_ascension(ra)
                } else {
                    angle(dec)
                })
            }
            "GA" => closed(angle(self.direction().0)),
            "GZ" => closed(angle(self.direction().1).trim_start_matches('+').to_owned()),
            "MS" => self.slew().to_vec(),
            "hP" => {
                self.motion = Motion::Slew {
                    from: self.direction(),
                    since: self.now,
                    to: Goal::Park,
                };
                Vec::new()
            }
            "hW" => {
                self.track(true);
                Vec::new()
            }
            "hN" => {
                self.track(false);
                Vec::new()
            }
            "Q" => {
                self.stop();
                Vec::new()
            }
            other => {
                let value = other.get(2..).and_then(sexagesimal);
                match (other.get(..2), value) {
                    (Some("Sr"), Some(hours)) if (0.0..24.0).contains(&hours) => self.target.0 = hours * 15.0,
                    (Some("Sd"), Some(degrees)) if (-90.0..=90.0).contains(&degrees) => self.target.1 = degrees,
                    _ => return b"0".to_vec(),
                }
                b"1".to_vec()
            }
        }
    }

    fn refusal(&self, question: &[u8]) -> Option<Vec<u8>> {
        match question.get(..3) {
            Some(b":MS") => Some(b"4Position unreachable#".to_vec()),
            // A mount has no word for a park that it does not begin.
            Some(b":hP") => Some(Vec::new()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::sphere::local_sidereal_deg;

    fn at(second: f64) -> UtcTime {
        "2026-03-14T22:00:00Z".parse::<UtcTime>().unwrap().plus_seconds(second)
    }

    fn mount() -> MountModel {
        MountModel::new(MountConfig::default(), Site::new(43.9308, 5.7133, 650.0), at(0.0))
    }

    fn say(mount: &mut MountModel, question: &str) -> String {
        String::from_utf8(mount.answer(question.as_bytes())).unwrap()
    }

    /// Coordinates of date that stand at this altitude and azimuth now.
    fn aim(mount: &mut MountModel, alt: f64, az: f64) -> String {
        let (ra, dec) = mount.equatorial(alt, az);
        say(mount, &format!(":Sr{}", right_ascension(ra)));
        say(mount, &format!(":Sd{}", angle(dec)));
        say(mount, ":MS")
    }

    #[test]
    fn its_clock_is_the_sidereal_clock_to_a_third_of_an_arcminute() {
        let site = Site::new(43.9308, 5.7133, 650.0);
        for day in [0.0, 40.0, 4000.0] {
            let now = at(day * 86_400.0 + 1234.5);
            let exact = alidade_scheduling::lst_deg(&site, now.chrono());
            let error = (local_sidereal_deg(&site, now) - exact + 180.0).rem_euclid(360.0) - 180.0;
            assert!(error.abs() < 20.0 / 3600.0, "{error}");
        }
    }

    #[test]
    fn a_slew_takes_its_time_and_ends_tracking_on_the_target() {
        let mut mount = mount();
        assert_eq!(aim(&mut mount, 60.0, 120.0), "5Mount is parked#");
        say(&mut mount, ":hW");
        assert_eq!(aim(&mut mount, 60.0, 120.0), "0");
        mount.advance(at(5.0), false);
        assert_eq!(mount.state(), MountState::Slewing);
        mount.advance(at(60.0), false);
        assert_eq!(mount.state(), MountState::Tracking);
        let (alt, az) = mount.direction();
        assert!((alt - 60.0).abs() < 0.5 && (az - 120.0).abs() < 0.5, "{alt} {az}");
    }

    #[test]
    fn a_stopped_slew_stays_where_it_was_stopped() {
        let mut mount = mount();
        say(&mut mount, ":hW");
        aim(&mut mount, 60.0, 180.0);
        mount.advance(at(3.0), false);
        say(&mut mount, ":Q");
        let here = mount.direction();
        mount.advance(at(100.0), false);
        assert_eq!((mount.state(), mount.direction()), (MountState::Idle, here));
        assert!(here.0 > 40.0 && here.0 < 60.0);
    }

    #[test]
    fn what_is_too_low_is_refused_and_tracking_ends_at_the_limit() {
        let mut mount = mount();
        say(&mut mount, ":hW");
        assert_eq!(aim(&mut mount, 5.0, 270.0), "1Object below horizon#");
        aim(&mut mount, 15.0, 270.0);
        mount.advance(at(120.0), false);
        assert_eq!(mount.state(), MountState::Tracking);
        for minute in 3..60 {
            mount.advance(at(f64::from(minute) * 60.0), false);
        }
        assert_eq!(mount.state(), MountState::Idle);
        assert!(mount.direction().0 > 11.0);
    }

    #[test]
    fn a_mount_that_misses_says_where_it_really_is() {
        let mut mount = mount();
        say(&mut mount, ":hW");
        (mount.target, mount.misses_deg) = (mount.equatorial(60.0, 180.0), 0.2);
        assert_eq!(say(&mut mount, ":MS"), "0");
        mount.advance(at(60.0), false);
        assert_eq!(mount.state(), MountState::Tracking);
        let dec = sexagesimal(say(&mut mount, ":GD").trim_end_matches('#')).unwrap();
        assert!((mount.target.1 - dec - 0.2).abs() < 0.001, "{dec}");
    }

    #[test]
    fn a_stuck_axis_never_arrives() {
        let mut mount = mount();
        say(&mut mount, ":hW");
        aim(&mut mount, 60.0, 180.0);
        for second in 1..100 {
            mount.advance(at(f64::from(second)), true);
        }
        assert_eq!(mount.state(), MountState::Slewing);
    }
}
