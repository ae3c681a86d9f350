//! `alidade ephemeris`: night phases, the Moon, and a target's passage.

use alidade_scheduling::ephemeris::{RiseSet, SkyFrame, rise_transit_set};
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
    /// Machine output
    #[arg(long)]
    pub json: bool,
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
    let passage = target.map(|t| (t, rise_transit_set(site, &t, phases.night, 0.0)));
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

fn document(
    site: &Site,
    phases: &NightPhases,
    moon: &MoonState,
    passage: Option<&(Icrs, RiseSet)>,
    frame: &SkyFrame,
) -> serde_json::Value {
    let mut v = json!({
        "site": {"lat_deg": site.lat_deg, "lon_deg": site.lon_deg, "height_m": site.height_m},
        "night": phases,
        "moon_at_middle": moon,
        "lst_at_middle_deg": frame.lst_deg(),
    });
    if let Some((target, passage)) = passage {
        let samples: Vec<_> = hourly(phases.night)
            .map(|t| {
                let here = SkyFrame::new(site, t);
                let (a, m) = (here.altaz(target), here.moon());
                let moon_sep = separation_deg(a.az_deg, a.alt_deg, m.az_deg, m.alt_deg);
                json!({"utc": t, "alt_deg": a.alt_deg, "az_deg": a.az_deg, "hour_angle_deg": a.hour_angle_deg,
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

fn page(site: &Site, phases: &NightPhases, moon: &MoonState, passage: Option<&(Icrs, RiseSet)>) -> String {
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
    if let Some((target, p)) = passage {
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
            let a = alidade_scheduling::altaz(site, target, t);
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
