#!/usr/bin/env python3
"""Compares the ephemerides of alidade-scheduling with astropy: random sites, epochs 2000 to 2027, targets with proper
motion.   compare_astropy.py [--n 1000] [--seed 1] [--out FILE] [--program PATH]

Exit 0 when every target agrees within 1 arcsec and the Moon within 10 arcsec, with the bundled Earth orientation.
Reported as well: the same with astropy's own Earth orientation given to both."""
import argparse
import json
import subprocess
import sys

import own_python

own_python.ensure("numpy", "astropy")

import astropy.units as u  # noqa: E402
import numpy as np  # noqa: E402
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body  # noqa: E402
from astropy.time import Time  # noqa: E402
from astropy.utils import iers  # noqa: E402

iers.conf.auto_download = False
iers.conf.auto_max_age = None
MAS_YR = u.mas / u.yr


def arcsec(alt1, az1, alt2, az2):
    """Angle between two directions, arcseconds."""
    def unit(alt, az):
        alt, az = np.radians(alt), np.radians(az)
        return np.array([np.cos(alt) * np.cos(az), np.cos(alt) * np.sin(az), np.sin(alt)])
    a, b = unit(alt1, az1), unit(alt2, az2)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a.T, b.T), axis=1), (a * b).sum(0))) * 3600


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--n", type=int, default=1000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out")
    p.add_argument("--program")
    args = p.parse_args()
    program = args.program or own_python.build("sky_table")
    rng = np.random.default_rng(args.seed)
    n = args.n
    t = Time(rng.uniform(51544.5, 61600.0, n), format="mjd", scale="utc")
    t = Time([s[:23] for s in t.isot], format="isot", scale="utc")
    lat, lon, height = rng.uniform(-75, 75, n), rng.uniform(-180, 180, n), rng.uniform(0, 5000, n)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    pm = rng.normal(0, 200, (2, n)) * (rng.random(n) < 0.5)

    table = iers.earth_orientation_table.get()
    dut1 = t.delta_ut1_utc
    xp, yp = (x.to_value(u.arcsec) for x in table.pm_xy(t))
    where = EarthLocation.from_geodetic(lon * u.deg, lat * u.deg, height * u.m)
    frame = AltAz(obstime=t, location=where)
    star = SkyCoord(ra * u.deg, dec * u.deg, pm_ra_cosdec=pm[0] * MAS_YR, pm_dec=pm[1] * MAS_YR,
                    distance=1e6 * u.pc, obstime=Time("J2000"))
    moved = star.apply_space_motion(new_obstime=t.tdb)
    star = SkyCoord(moved.ra, moved.dec).transform_to(frame)
    moon, sun = (get_body(name, t, where).transform_to(frame) for name in ("moon", "sun"))

    result = {"targets": n, "seed": args.seed}
    for name, eop in (("bundled_earth_orientation", False), ("equal_earth_orientation", True)):
        lines = []
        for k in range(n):
            extra = f" {dut1[k]:.9f} {xp[k]:.9f} {yp[k]:.9f}" if eop else ""
            lines.append(f"{t[k].isot}Z {lat[k]!r} {lon[k]!r} {height[k]!r} {ra[k]!r} {dec[k]!r} {pm[0][k]!r} {pm[1][k]!r}{extra}"
                         .replace("np.float64(", "").replace(")", ""))
        out = subprocess.run([program], input="\n".join(lines), capture_output=True, text=True, check=True).stdout
        got = np.array([line.split() for line in out.splitlines()], float).T
        rows = {"target": arcsec(got[0], got[1], star.alt.deg, star.az.deg),
                "sun": arcsec(got[2], got[3], sun.alt.deg, sun.az.deg),
                "moon": arcsec(got[4], got[5], moon.alt.deg, moon.az.deg)}
        result[name] = {what: {"max_arcsec": float(d.max()), "median_arcsec": float(np.median(d))} for what, d in rows.items()}
    worst = result["bundled_earth_orientation"]
    result["pass"] = worst["target"]["max_arcsec"] < 1 and worst["moon"]["max_arcsec"] < 10
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        open(args.out, "w").write(text + "\n")
    return 0 if result["pass"] else 1


if __name__ == "__main__":
    sys.exit(main())
