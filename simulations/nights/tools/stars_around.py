#!/usr/bin/env python3
"""Writes a night's stars.csv: the Tycho-2 stars around everything that the night points at.

    python3 stars_around.py INDEX NIGHT_FOLDER...

INDEX is index-tycho2-07.littleendian.fits of Debian's package astrometry-data-tycho2-07-littleendian (unpack it with
`dpkg -x`; nothing needs to be installed). It holds 1.87 million stars as a k-d tree of unit vectors in 32-bit integers
(table kdtree_data_stars; value / scale + minimum, from kdtree_range_stars) and their VT magnitudes in the same order
(table MAG_VT). The positions are those that Tycho observed, ICRS at epochs near 1991.25; proper motions are not in the index,
so a star of 0.1 arcsec a year stands 3 to 4 arcsec from where it is today. Nothing in a simulated sky minds.

Needs Python 3.11 or later with numpy and astropy (for reading FITS only). Prints the number of stars; the output is a function of
the inputs alone.
"""
import html
import json
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
from astropy.io import fits

RADIUS_DEG = 0.7  # a field of half a degree, its corners, and every dither and pointing error

HEADER = """\
# Stars of the Tycho-2 Catalogue (Hog et al. 2000, A&A 355, L27) around this night's fields: ICRS, epoch 1991.25, VT.
# Copyright 2000 E. Hog, C. Fabricius, V. V. Makarov, S. Urban, T. Corbin, G. Wycoff, U. Bastian, P. Schwekendiek,
# A. Wicenec; licence BSD-2-Clause, see ../tools/TYCHO2-LICENCE. Written by ../tools/stars_around.py.
"""


def unit(ra_deg, dec_deg):
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def directions(night: Path):
    """Everything the night points at: targets, counterparts, and positions in its packets."""
    found = []
    for name, reader in (("sequences.toml", lambda t: tomllib.loads(t)), ("sequences.json", json.loads)):
        if (night / name).exists():
            for request in reader((night / name).read_text())["requests"]:
                for sequence in request["sequences"]:
                    found.append((sequence["target"]["ra_deg"], sequence["target"]["dec_deg"]))
    if (night / "sequences.html").exists():
        rows = re.findall(r"<tr.*?</tr>", (night / "sequences.html").read_text(), re.S | re.I)
        cells = [[html.unescape(re.sub(r"<.*?>", "", c)).strip() for c in re.findall(r"<t[hd].*?</t[hd]>", r, re.S | re.I)] for r in rows]
        ra, dec = cells[0].index("ra_deg"), cells[0].index("dec_deg")
        found += [(float(row[ra]), float(row[dec])) for row in cells[1:]]
    scenario = tomllib.loads((night / "scenario.toml").read_text())
    found += [(t["ra_deg"], t["dec_deg"]) for t in scenario.get("transients", [])]
    for packet in sorted((night / "events").glob("*.xml")) if (night / "events").is_dir() else []:
        place = re.search(r"<C1>\s*([-+.\d]+)\s*</C1>\s*<C2>\s*([-+.\d]+)\s*</C2>", packet.read_text(errors="replace"))
        if place:
            found.append((float(place[1]), float(place[2])))
    return sorted(set((round(ra, 4), round(dec, 4)) for ra, dec in found))


def main(index: str, nights):
    with fits.open(index) as tables:
        by_name = {}
        for table in tables[1:]:
            by_name[table.columns.names[0]] = table
        bounds = np.frombuffer(by_name["kdtree_range_stars"].data.tobytes(), "<f8")
        low, scale = bounds[:3], bounds[6]
        raw = np.frombuffer(by_name["kdtree_data_stars"].data.tobytes(), "<u4").reshape(-1, 3)
        magnitude = np.array(by_name["MAG_VT"].data["MAG_VT"], float)
        vectors = raw / scale + low
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    for folder in nights:
        night = Path(folder)
        fields = directions(night)
        chosen = np.zeros(len(vectors), bool)
        for field in fields:
            chosen |= vectors @ unit(*field) > np.cos(np.radians(RADIUS_DEG))
        ra = np.degrees(np.arctan2(vectors[chosen, 1], vectors[chosen, 0])) % 360
        dec = np.degrees(np.arcsin(vectors[chosen, 2]))
        order = np.lexsort((ra, dec))
        with open(night / "stars.csv", "w") as out:
            out.write(HEADER)
            for field in fields:
                out.write(f"# field {field[0]:.4f} {field[1]:.4f} {RADIUS_DEG}\n")
            out.write("ra_deg,dec_deg,mag\n")
            for i in order:
                out.write(f"{ra[i]:.6f},{dec[i]:.6f},{magnitude[chosen][i]:.2f}\n")
        print(f"{night}: {chosen.sum()} stars in {len(fields)} fields")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
