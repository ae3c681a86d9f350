#!/usr/bin/env python3
"""Writes the Earth orientation table bundled with alidade-scheduling.

Source: IERS finals2000A (public), as packaged in PyPI `astropy-iers-data`.   make_eop.py > earth_orientation.txt
Every tenth day from 1999; columns MJD, UT1-TAI (s), x and y of the pole (arcsec)."""
from astropy.utils import iers
import numpy as np

iers.conf.auto_download = False
table = iers.IERS_A.open(iers.IERS_A_FILE)
mjd = table["MJD"].value
leap = iers.LeapSeconds.auto_open()
tai_utc = np.array([leap["tai_utc"][leap["mjd"] <= m][-1] for m in mjd], float)
print("# IERS finals2000A sampled every 10 days: MJD UT1-TAI_s xp_arcsec yp_arcsec")
last = None
for m, d, t, x, y in zip(mjd, table["UT1_UTC"].value, tai_utc, table["PM_x"].value, table["PM_y"].value):
    if m < 51179 or not np.all(np.isfinite([d, x, y])) or (last is not None and m - last < 10):
        continue
    last = m
    print(f"{m:.0f} {d - t:.4f} {x:.4f} {y:.4f}")
