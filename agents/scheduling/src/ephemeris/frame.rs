//! The sky at one instant: ICRS to topocentric and back.

use super::earth::Eop;
use super::site::Site;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sofars::astro::{IauAstrom, apco, atciq, aticq, atioq, atoiq, refco};
use sofars::consts::{DAS2R, DD2R, DMAS2R, DR2D};
use sofars::vm::{anp, anpm, seps};

/// A star-like target: ICRS position at J2000.0 and its motion.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Icrs {
    pub ra_deg: f64,
    pub dec_deg: f64,
    /// Proper motion in right ascension times cos(dec), milliarcseconds per year.
    #[serde(default)]
    pub pm_ra_cosdec_mas_yr: f64,
    #[serde(default)]
    pub pm_dec_mas_yr: f64,
    #[serde(default)]
    pub parallax_mas: f64,
    /// Positive when receding.
    #[serde(default)]
    pub radial_velocity_km_s: f64,
}

impl Icrs {
    pub fn new(ra_deg: f64, dec_deg: f64) -> Self {
        Self {
            ra_deg,
            dec_deg,
            ..Self::default()
        }
    }
}

/// A direction in the sky of the site.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AltAz {
    pub alt_deg: f64,
    /// From north through east, 0 to 360.
    pub az_deg: f64,
    /// Local, -180 to 180, positive west of the meridian.
    pub hour_angle_deg: f64,
    /// Apparent (topocentric, of date) declination.
    pub dec_apparent_deg: f64,
    /// Angle at the target from the pole to the zenith, positive towards the east, -180 to 180.
    pub parallactic_deg: f64,
}

impl AltAz {
    /// Relative air mass; None below the horizon.
    pub fn airmass(&self) -> Option<f64> {
        airmass(self.alt_deg)
    }
}

/// Relative air mass at an altitude in degrees (Pickering 2002, DIO 12, 20); None below the horizon.
pub fn airmass(alt_deg: f64) -> Option<f64> {
    (alt_deg >= 0.0).then(|| 1.0 / ((alt_deg + 244.0 / (165.0 + 47.0 * alt_deg.powf(1.1))) * DD2R).sin())
}

/// Star-independent astrometry of a site at an instant; about 85 us to make, 0.4 us per target to use.
#[derive(Clone)]
pub struct SkyFrame {
    pub(crate) astrom: IauAstrom,
    /// Equation of the origins (ERA - GST), radians.
    pub(crate) eo: f64,
    /// TT as a two-part Julian Date.
    pub(crate) tt: (f64, f64),
    /// Earth, heliocentric and barycentric position and velocity, au and au/day.
    pub(crate) earth_helio: [[f64; 3]; 2],
    pub(crate) earth_bary: [[f64; 3]; 2],
    lat_rad: f64,
    at: DateTime<Utc>,
}

/// UTC as a two-part quasi Julian Date.
fn utc_jd(t: DateTime<Utc>) -> (f64, f64) {
    let s = t.timestamp();
    let frac = (s.rem_euclid(86400) as f64 + f64::from(t.timestamp_subsec_nanos()) * 1e-9) / 86400.0;
    (2_440_587.5 + s.div_euclid(86400) as f64, frac)
}

/// Earth, heliocentric and barycentric (position, velocity). SOFA's series covers 1900 to 2100; another date takes the
/// Earth of the same season inside that span (a whole number of sidereal years away).
fn earth(tt: (f64, f64)) -> ([[f64; 3]; 2], [[f64; 3]; 2]) {
    const SIDEREAL_YEAR_D: f64 = 365.256_363;
    let days = (tt.0 - 2_451_545.0) + tt.1;
    let whole_years = if days.abs() < 36_520.0 {
        0.0
    } else {
        (days / SIDEREAL_YEAR_D).trunc()
    };
    sofars::eph::epv00(tt.0, tt.1 - whole_years * SIDEREAL_YEAR_D)
        .expect("invariant: the date was folded into the span of the series")
}

impl SkyFrame {
    /// Times outside 1900 to 2100 are served at lower accuracy (arcminutes).
    pub fn new(site: &Site, t: DateTime<Utc>) -> Self {
        let (u1, u2) = utc_jd(t);
        let Eop {
            dut1_s,
            xp_arcsec,
            yp_arcsec,
        } = site.eop(t);
        // SOFA refuses only dates before -4799, where UTC means nothing: the uncorrected date then stands.
        let tai = sofars::ts::utctai(u1, u2).unwrap_or((u1, u2));
        let tt = sofars::ts::taitt(tai.0, tai.1).unwrap_or(tai);
        let ut1 = sofars::ts::utcut1(u1, u2, dut1_s).unwrap_or((u1, u2));
        let (earth_helio, earth_bary) = earth(tt);
        let npb = sofars::pnp::pnm06a(tt.0, tt.1);
        let (x, y) = sofars::pnp::bpn2xy(&npb);
        let s = sofars::pnp::s06(tt.0, tt.1, x, y);
        let theta = sofars::erst::era00(ut1.0, ut1.1);
        let sp = sofars::pnp::sp00(tt.0, tt.1);
        let (refa, refb) = match site.atmosphere {
            Some(a) => refco(a.pressure_hpa, a.temperature_c, a.humidity, a.wavelength_um),
            None => (0.0, 0.0),
        };
        let mut astrom = IauAstrom::default();
        apco(
            tt.0,
            tt.1,
            &earth_bary,
            &earth_helio[0],
            x,
            y,
            s,
            theta,
            site.lon_deg * DD2R,
            site.lat_deg * DD2R,
            site.height_m,
            xp_arcsec * DAS2R,
            yp_arcsec * DAS2R,
            sp,
            refa,
            refb,
            &mut astrom,
        );
        let eo = sofars::pnp::eors(&npb, s);
        Self {
            astrom,
            eo,
            tt,
            earth_helio,
            earth_bary,
            lat_rad: site.lat_deg * DD2R,
            at: t,
        }
    }

    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// CIRS right ascension and declination, radians.
    pub(crate) fn cirs(&self, target: &Icrs) -> (f64, f64) {
        let (ra, dec) = (target.ra_deg * DD2R, target.dec_deg * DD2R);
        let cos_dec = dec.cos();
        // SOFA wants the coordinate rate dRA/dt, not its great-circle component.
        let pr = if cos_dec.abs() > 1e-12 {
            target.pm_ra_cosdec_mas_yr * DMAS2R / cos_dec
        } else {
            0.0
        };
        let pd = target.pm_dec_mas_yr * DMAS2R;
        let px = target.parallax_mas * 1e-3;
        atciq(ra, dec, pr, pd, px, target.radial_velocity_km_s, &mut { self.astrom })
    }

    /// Alt/az of a CIRS direction (radians).
    pub(crate) fn altaz_of_cirs(&self, ri: f64, di: f64) -> AltAz {
        let (az, zd, ha, dec, _ra) = atioq(ri, di, &self.astrom);
        AltAz {
            alt_deg: 90.0 - zd * DR2D,
            az_deg: anp(az) * DR2D,
            hour_angle_deg: anpm(ha) * DR2D,
            dec_apparent_deg: dec * DR2D,
            parallactic_deg: sofars::coords::hd2pa(ha, dec, self.lat_rad) * DR2D,
        }
    }

    pub fn altaz(&self, target: &Icrs) -> AltAz {
        let (ri, di) = self.cirs(target);
        self.altaz_of_cirs(ri, di)
    }

    /// The ICRS place (no proper motion) of a star seen at this alt/az.
    pub fn radec_from_altaz(&self, alt_deg: f64, az_deg: f64) -> Icrs {
        let (ri, di) = atoiq("A", az_deg * DD2R, (90.0 - alt_deg) * DD2R, &self.astrom);
        self.icrs_of_cirs(ri, di)
    }

    pub(crate) fn icrs_of_cirs(&self, ri: f64, di: f64) -> Icrs {
        let (ra, dec) = aticq(ri, di, &mut { self.astrom });
        Icrs::new(anp(ra) * DR2D, dec * DR2D)
    }

    /// Local apparent sidereal time, degrees, 0 to 360.
    pub fn lst_deg(&self) -> f64 {
        anp(self.astrom.eral - self.eo) * DR2D
    }
}

/// Topocentric place of a target. Make one [`SkyFrame`] instead when several targets share the instant.
pub fn altaz(site: &Site, target: &Icrs, t: DateTime<Utc>) -> AltAz {
    SkyFrame::new(site, t).altaz(target)
}

/// The ICRS place that a star at this altitude and azimuth has.
pub fn radec_from_altaz(site: &Site, alt_deg: f64, az_deg: f64, t: DateTime<Utc>) -> Icrs {
    SkyFrame::new(site, t).radec_from_altaz(alt_deg, az_deg)
}

/// Local apparent sidereal time, degrees, 0 to 360.
pub fn lst_deg(site: &Site, t: DateTime<Utc>) -> f64 {
    SkyFrame::new(site, t).lst_deg()
}

/// Great-circle distance of two directions given as longitude-like and latitude-like angles, degrees.
pub fn separation_deg(lon1_deg: f64, lat1_deg: f64, lon2_deg: f64, lat2_deg: f64) -> f64 {
    seps(lon1_deg * DD2R, lat1_deg * DD2R, lon2_deg * DD2R, lat2_deg * DD2R) * DR2D
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn la_silla() -> Site {
        Site::new(-29.2567, -70.7346, 2375.0)
    }

    #[test]
    fn alt_az_and_back_gives_the_same_icrs_place() {
        let t = Utc.with_ymd_and_hms(2027, 3, 15, 3, 0, 0).unwrap();
        for refraction in [false, true] {
            let mut site = la_silla();
            if refraction {
                site = site.with_atmosphere(Atmosphere::standard(2375.0));
            }
            let target = Icrs::new(150.0, -40.0);
            let there = altaz(&site, &target, t);
            let back = radec_from_altaz(&site, there.alt_deg, there.az_deg, t);
            let off = separation_deg(back.ra_deg, back.dec_deg, target.ra_deg, target.dec_deg) * 3600.0;
            assert!(off < 1e-3, "{off} arcsec");
        }
    }

    #[test]
    fn refraction_lifts_a_star_by_about_one_arcminute_at_45_degrees() {
        let t = Utc.with_ymd_and_hms(2027, 3, 15, 3, 0, 0).unwrap();
        let sea = Site::new(-29.2567, -70.7346, 0.0);
        let bare = radec_from_altaz(&sea, 45.0, 100.0, t);
        let lifted = altaz(&sea.with_atmosphere(Atmosphere::standard(0.0)), &bare, t);
        let lift = (lifted.alt_deg - 45.0) * 3600.0;
        assert!((50.0..65.0).contains(&lift), "{lift} arcsec");
    }

    #[test]
    fn hour_angle_is_positive_in_the_west_and_the_parallactic_angle_follows_it() {
        let t = Utc.with_ymd_and_hms(2027, 3, 15, 3, 0, 0).unwrap();
        let site = la_silla();
        let lst = lst_deg(&site, t);
        let west = altaz(&site, &Icrs::new(lst - 30.0, 0.0), t);
        assert!(west.az_deg > 180.0 && west.hour_angle_deg > 29.0 && west.parallactic_deg > 0.0);
        let east = altaz(&site, &Icrs::new(lst + 30.0, 0.0), t);
        assert!(east.az_deg < 180.0 && east.hour_angle_deg < -29.0 && east.parallactic_deg < 0.0);
    }

    #[test]
    fn air_mass_is_one_at_zenith_and_about_38_on_the_horizon() {
        assert!((airmass(90.0).unwrap() - 1.0).abs() < 1e-3);
        assert!((airmass(30.0).unwrap() - 2.0).abs() < 0.01);
        assert!((30.0..45.0).contains(&airmass(0.0).unwrap()));
        assert!(airmass(-0.1).is_none());
    }

    use super::super::site::Atmosphere;
}
