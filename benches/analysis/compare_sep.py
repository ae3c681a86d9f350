"""Sources of alidade beside those of sep: counts, matches both ways, positions, aperture fluxes, seconds."""

import json
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import sep
from astropy.io import fits

warnings.simplefilter("ignore")
THRESHOLD = 5.0
APERTURE = 5.0


def simulated(folder):
    """Three fields of Gaussian stars on a sloping sky, seeds 1 to 3."""
    for seed in (1, 2, 3):
        rng = np.random.default_rng(seed)
        size = 1024
        image = rng.normal(1000, 10, (size, size)) + np.arange(size) * 0.05
        y, x = np.mgrid[-12:13, -12:13]
        for _ in range(300 * seed**2):
            cx, cy = rng.uniform(13, size - 14, 2)
            flux = 500 * rng.uniform(0.001, 1) ** -1.0
            px, py = int(cx), int(cy)
            star = np.exp(-((x - cx + px) ** 2 + (y - cy + py) ** 2) / (2 * 1.6**2)) / (2 * np.pi * 1.6**2)
            image[py - 12 : py + 13, px - 12 : px + 13] += flux * star
        path = f"{folder}/simulated-{seed}.fits"
        fits.writeto(path, image.astype(np.float32), overwrite=True)
        yield path


def peer(path):
    with fits.open(path) as hdus:
        data = next(h.data for h in hdus if h.data is not None and h.data.ndim == 2)
    data = np.ascontiguousarray(data, dtype=np.float32)
    cell = 32 if min(data.shape) < 256 else 64
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        sky = sep.Background(data, bw=cell, bh=cell)
        flat = data - sky
        found = sep.extract(flat, THRESHOLD * sky.globalrms, minarea=5)
        # alidade's time holds all of these measures as well
        flux = sep.sum_circle(flat, found["x"], found["y"], APERTURE)[0]
        kron, _ = sep.kron_radius(flat, found["x"], found["y"], found["a"], found["b"], found["theta"], 6.0)
        radius = np.nan_to_num(np.maximum(kron, 1e-3))
        sep.sum_ellipse(flat, found["x"], found["y"], found["a"], found["b"], found["theta"], 2.5 * radius)
        sep.winpos(flat, found["x"], found["y"], np.full(len(found), 1.5))
        best = min(best, time.perf_counter() - start)
    return sky, found, flux, best


def main():
    own, *paths = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for path in paths or simulated(folder):
            answer = json.loads(subprocess.run([own, str(THRESHOLD), path], capture_output=True, check=True).stdout)
            sky, found, flux, seconds = peer(path)
            ours = np.array([(s["x"], s["y"], s["flux"]) for s in answer["sources"]]).reshape(-1, 3)
            result = {
                "file": path.split("/")[-1],
                "sources": len(ours),
                "sep_sources": len(found),
                "background_difference": answer["background"] - sky.globalback,
                "rms_ratio": answer["rms"] / sky.globalrms,
                "seconds": answer["seconds"],
                "sep_seconds": seconds,
                "time_ratio": answer["seconds"] / seconds,
            }
            if len(ours) and len(found):
                distance = np.hypot(found["x"][:, None] - ours[:, 0], found["y"][:, None] - ours[:, 1])
                near = distance.min(1) < 1
                difference = np.abs(ours[distance.argmin(1)[near], 2] / flux[near] - 1)
                result |= {
                    "matched_of_sep": near.mean(),
                    "matched_of_ours": (distance.min(0) < 1).mean(),
                    "position_p99_px": np.percentile(distance.min(1)[near], 99) if near.any() else None,
                    "flux_median": np.median(difference) if near.any() else None,
                }
            print(json.dumps(result, default=float))


main()
