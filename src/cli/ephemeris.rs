//! `alidade ephemeris`: night phases, the Moon, and a target's passage.

use alidade_scheduling::ephemeris::{MinorBody, RiseSet, SkyFrame, minor_body, rise_transit_set};
use alidade_scheduling::report::CommandError;
use alidade_scheduling::{Icrs, MoonState, NightPhases, Site, Span, SunBelow, night_phases, separation_deg};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// Night phases, Moon, and rise, transit, set and air mass of a target.
#[derive(Debug, Clone, clap::Args)]
pub struct EphemerisArgs {
    /// Configuration that names the site
    #[arg(long)]
    pub config: PathBuf,
    /// Evening date of the night, such as 2026-12-15
    #[arg(long)]
    pub date: String,
    /// Target as RA,DEC in degrees (ICRS)
    #[arg(long, allow_hyphen_values = true)]
    pub target: Option<String>,
    /// Minor body by its elements: perihelion distance (au), eccentricity, inclination, node, argument of perihelion
    /// (degrees, ecliptic J2000), perihelion passage (Julian Date TT)
    #[arg(
        long,
        value_name = "Q,E,I,NODE,PERI,TP",
        allow_hyphen_values = true,
        conflicts_with = "target"
    )]
    pub elements: Option<String>,
    /// Machine output
    #[arg(long)]
    pub json: bool,
}

/// What is looked at: a fixed direction, or a body that moves during the night.
struct Aim {
    at_middle: Icrs,
    body: Option<MinorBody>,
}

impl Aim {
    fn at(&self, site: &Site, t: chrono::DateTime<chrono::Utc>) -> Icrs {
        let moved = self.body.and_then(|b| minor_body(site, &b, t).ok());
        moved.unwrap_or(self.at_middle)
    }
}

/// Years for which the series behind the ephemerides hold.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2099;

pub fn run(args: &EphemerisArgs, site: &Site, stdout: &mut dyn Write) -> Result<(), CommandError> {
    let bad = |what: String| CommandError::BadInput(what);
    let date: chrono::NaiveDate = args.date.parse().map_err(|_| {
        bad(format!(
            "--date: expected a date such as 2026-12-15, found \"{}\"",
            args.date
        ))
    })?;
    if !YEARS.contains(&chrono::Datelike::year(&date)) {
        return Err(bad(format!(
            "--date: the year is outside {} to {}",
            YEARS.start(),
            YEARS.end()
        )));
    }
    site.check()
        .map_err(|what| bad(format!("{}: site {what} is out of range", args.config.display())))?;
    let target = args.target.as_deref().map(parse_target).transpose().map_err(bad)?;
    let phases = night_phases(site, date);
    let middle = phases.sun_lowest_at;
    let frame = SkyFrame::new(site, middle);
    let moon = frame.moon();
    let body = args.elements.as_deref().map(parse_elements).transpose().map_err(bad)?;
    let aim = match body {
        Some(b) => {
            let at_middle = minor_body(site, &b, middle).map_err(|e| bad(format!("--elements: {e}")))?;
            Some(Aim {
                at_middle,
                body: Some(b),
            })
        }
        None => target.map(|at_middle| Aim { at_middle, body: None }),
    };
    let passage = aim.map(|aim| {
        let passage = rise_transit_set(site, &aim.at_middle, phases.night, 0.0);
        (aim, passage)
    });
    let text = if args.json {
        document(site, &phases, &moon, passage.as_ref(), &frame).to_string()
    } else {
        page(site, &phases, &moon, passage.as_ref())
    };
    writeln!(stdout, "{text}").map_err(|e| CommandError::Failed(format!("standard output: {e}")))
}

fn parse_target(text: &str) -> Result<Icrs, String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|p| p.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some([ra, dec]) if (0.0..=360.0).contains(ra) && (-90.0..=90.0).contains(dec) => Ok(Icrs::new(*ra, *dec)),
        Some([_, _]) => Err(format!("--target: \"{text}\" is outside 0..360, -90..90 degrees")),
        _ => Err(format!("--target: expected RA,DEC in degrees, found \"{text}\"")),
    }
}

fn parse_elements(text: &str) -> Result<MinorBody, String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|p| p.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some([q, e, i, node, peri, tp]) => Ok(MinorBody {
            perihelion_au: *q,
            eccentricity: *e,
            inclination_deg: *i,
            node_deg: *node,
            perihelion_arg_deg: *peri,
            perihelion_jd_tt: *tp,
        }),
        _ => Err(format!(
            "--elements: expected six numbers Q,E,I,NODE,PERI,TP, found \"{text}\""
        )),
    }
}

fn document(
    site: &Site,
    phases: &NightPhases,
    moon: &MoonState,
    passage: Option<&(Aim, RiseSet)>,
    frame: &SkyFrame,
) -> serde_json::Value {
    let mut v = json!({
        "site": {"lat_deg": site.lat_deg, "lon_deg": site.lon_deg, "height_m": site.height_m},
        "night": phases,
        "moon_at_middle": moon,
        "lst_at_middle_deg": frame.lst_deg(),
    });
    if let Some((aim, passage)) = passage {
        let target = &aim.at_middle;
        let samples: Vec<_> = hourly(phases.night)
            .map(|t| {
                let here = SkyFrame::new(site, t);
                let place = aim.at(site, t);
                let (a, m) = (here.altaz(&place), here.moon());
                let moon_sep = separation_deg(a.az_deg, a.alt_deg, m.az_deg, m.alt_deg);
                json!({"utc": t, "ra_deg": place.ra_deg, "dec_deg": place.dec_deg, "alt_deg": a.alt_deg, "az_deg": a.az_deg, "hour_angle_deg": a.hour_angle_deg,
                    "airmass": a.airmass(), "parallactic_deg": a.parallactic_deg, "moon_separation_deg": moon_sep})
            })
            .collect();
        v["target"] =
            json!({"ra_deg": target.ra_deg, "dec_deg": target.dec_deg, "passage": passage, "samples": samples});
    }
    v
}

/// Every half hour of the night.
fn hourly(night: Span) -> impl Iterator<Item = chrono::DateTime<chrono::Utc>> {
    (0..=48).map(move |k| night.start + chrono::TimeDelta::minutes(30 * k))
}

fn page(site: &Site, phases: &NightPhases, moon: &MoonState, passage: Option<&(Aim, RiseSet)>) -> String {
    let clock =
        |t: Option<chrono::DateTime<chrono::Utc>>| t.map_or("-".to_owned(), |t| t.format("%m-%d %H:%M:%S").to_string());
    let mut lines = vec![format!("night of {} (UTC)", phases.date)];
    let rows = [
        ("Sun below the horizon", phases.sun_down),
        ("Sun below -6", phases.civil),
        ("Sun below -12", phases.nautical),
        ("Sun below -18", phases.astronomical),
    ];
    for (name, below) in rows {
        lines.push(match below {
            SunBelow::Between { dusk, dawn } => {
                format!("  {name:<22} {} - {}", clock(Some(dusk)), clock(Some(dawn)))
            }
            SunBelow::AllNight => format!("  {name:<22} all night"),
            SunBelow::Never => format!("  {name:<22} never"),
        });
    }
    let (rise, set) = (clock(phases.moonrise), clock(phases.moonset));
    lines.push(format!(
        "  Moon {:.0} % lit, rises {rise}, sets {set}",
        moon.illumination * 100.0
    ));
    if let Some((aim, p)) = passage {
        let target = &aim.at_middle;
        lines.push(format!("target {:.5}, {:.5}", target.ra_deg, target.dec_deg));
        lines.push(format!(
            "  rises {}, transits {}, sets {}",
            clock(p.rise),
            clock(p.transit),
            clock(p.set)
        ));
        let airmass = alidade_scheduling::ephemeris::airmass(p.max_alt_deg);
        let airmass = airmass.map_or("-".to_owned(), |x| format!("{x:.2}"));
        lines.push(format!(
            "  highest {:.2} deg at {}, air mass {airmass}",
            p.max_alt_deg,
            clock(Some(p.max_alt_at))
        ));
        for t in hourly(phases.night).filter(|t| phases.sun_down.span(phases.night).is_some_and(|s| s.contains(*t))) {
            let a = alidade_scheduling::altaz(site, &aim.at(site, t), t);
            if let Some(x) = a.airmass() {
                let t = clock(Some(t));
                lines.push(format!(
                    "  {t}  alt {:6.2}  az {:6.2}  air mass {x:.2}",
                    a.alt_deg, a.az_deg
                ));
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(elements: Option<&str>, date: &str, lat_deg: f64) -> Result<serde_json::Value, String> {
        let args = EphemerisArgs {
            config: "site.toml".into(),
            date: date.into(),
            target: None,
            elements: elements.map(str::to_owned),
            json: true,
        };
        let mut out = Vec::new();
        run(&args, &Site::new(lat_deg, 5.7, 650.0), &mut out).map_err(|e| e.to_string())?;
        serde_json::from_slice(&out).map_err(|e| e.to_string())
    }

    #[test]
    fn a_minor_body_moves_among_the_stars_during_the_night() {
        // Ceres, J2000-like elements: a = 2.7691 au, e = 0.0760.
        let ceres = "2.5586,0.0760,10.594,80.305,73.597,2459920.5";
        let v = asked(Some(ceres), "2023-03-20", 43.9).unwrap();
        let samples = v["target"]["samples"].as_array().unwrap();
        let ra = |k: usize| samples[k]["ra_deg"].as_f64().unwrap();
        let hourly_deg = (ra(samples.len() - 1) - ra(0)).abs() / 24.0;
        // Near its opposition of March 2023 Ceres moved by about a quarter of a degree a day.
        assert!((0.003..0.03).contains(&hourly_deg), "{hourly_deg}");
    }

    #[test]
    fn faulty_elements_are_one_clear_line() {
        let few = asked(Some("1,2,3"), "2023-03-20", 43.9).unwrap_err();
        assert!(few.starts_with("--elements: expected six numbers"), "{few}");
        let inside = asked(Some("-1,0,0,0,0,2459920.5"), "2023-03-20", 43.9).unwrap_err();
        assert_eq!(inside, "--elements: the perihelion distance must be positive");
    }

    #[test]
    fn polar_day_and_polar_night_are_told_apart() {
        let summer = asked(None, "2027-06-21", 80.0).unwrap();
        let winter = asked(None, "2027-12-21", 80.0).unwrap();
        assert_eq!(summer["night"]["sun_down"]["state"], "never");
        assert_eq!(winter["night"]["sun_down"]["state"], "all_night");
    }
}
