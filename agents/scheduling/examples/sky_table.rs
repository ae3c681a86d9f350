//! Positions for comparisons: reads lines `utc lat lon height ra dec pmra pmdec [dut1 xp yp]` on standard input, writes
//! `alt az  sun_alt sun_az  moon_alt moon_az moon_illumination lst parallactic` (degrees) per line.

use alidade_scheduling::ephemeris::{Eop, Icrs, Site, SkyFrame};
use std::io::{BufRead, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_ascii_whitespace();
        let utc: chrono::DateTime<chrono::Utc> = words.next().ok_or("a time is missing")?.parse()?;
        let x: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>()?;
        let [lat, lon, height, ra, dec, pm_ra, pm_dec, eop @ ..] = x.as_slice() else {
            return Err(format!("too few numbers: {line}").into());
        };
        let mut site = Site::new(*lat, *lon, *height);
        if let [dut1, xp, yp] = eop {
            site = site.with_earth_orientation(Eop {
                dut1_s: *dut1,
                xp_arcsec: *xp,
                yp_arcsec: *yp,
            });
        }
        let frame = SkyFrame::new(&site, utc);
        let mut target = Icrs::new(*ra, *dec);
        target.pm_ra_cosdec_mas_yr = *pm_ra;
        target.pm_dec_mas_yr = *pm_dec;
        let (star, sun, moon) = (frame.altaz(&target), frame.sun_altaz(), frame.moon());
        writeln!(
            out,
            "{:.12} {:.12} {:.12} {:.12} {:.12} {:.12} {:.9} {:.9} {:.9}",
            star.alt_deg,
            star.az_deg,
            sun.alt_deg,
            sun.az_deg,
            moon.alt_deg,
            moon.az_deg,
            moon.illumination,
            frame.lst_deg(),
            star.parallactic_deg
        )?;
    }
    Ok(())
}
