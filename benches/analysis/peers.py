"""Our image steps beside their peers, on frames made here with known truth and on images that are given.

peers.py OWN ALIDADE_EXAMPLE_IMAGE [INDEX_FITS_OF_TYCHO2]

OWN is the example `image` of alidade-analysis. INDEX is index-tycho2-07.littleendian.fits of Debian's package
astrometry-data-tycho2-07-littleendian; without it plate solving is left out. Prints one JSON document a step.
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

OWN = sys.argv[1]
INDEX = sys.argv[2] if len(sys.argv) > 2 else None
SIZE = int(os.environ.get("SIZE", 4096))
FIELDS = int(os.environ.get("FIELDS", 300))


# A process inherits the peak memory of the one that starts it: a small one stands between.
METER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
out = process.stdout.read().decode()
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([status, out, time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
"""


def metered(*words):
    """Answer, seconds, seconds of processor time and peak memory (megabytes) of one call; start and reading included."""
    said = subprocess.run([sys.executable, "-S", "-c", METER, OWN, *map(str, words)], stdout=subprocess.PIPE, check=True).stdout
    status, out, seconds, processor, memory = json.loads(said)
    assert status == 0, words
    return json.loads(out), seconds, processor, memory


def own(*words):
    """Answer, seconds and peak memory (megabytes) of one call; start and reading included."""
    answer, seconds, _, memory = metered(*words)
    return answer, seconds, memory


def apart(code, *words):
    """Runs Python in a process of its own, for its memory: what it prints, seconds it says, megabytes."""
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    # The peer may say other things first.
    return json.loads(out.splitlines()[-1]), usage.ru_maxrss / 1024


def say(**what):
    print(json.dumps(what, default=float), flush=True)


def combine(folder):
    rng = np.random.default_rng(1)
    paths = []
    for n in range(10):
        frame = rng.normal(1000, 8, (SIZE, SIZE)).round()
        hits = rng.integers(0, SIZE, (2, 2000))
        frame[hits[0], hits[1]] += 5000
        paths.append(folder / f"bias{n}.fits")
        fits.PrimaryHDU(frame.astype(np.uint16)).writeto(paths[-1])
    _, seconds, processor, memory = metered("combine", folder / "master.fits", *paths)
    code = """
import sys, time, json, warnings
warnings.simplefilter("ignore")
import numpy as np
from astropy.io import fits
from astropy.stats import mad_std
import ccdproc
start, began = time.perf_counter(), time.process_time()
out = ccdproc.combine(sys.argv[2:], method="average", unit="adu", sigma_clip=True, sigma_clip_low_thresh=4,
    sigma_clip_high_thresh=4, sigma_clip_func=np.ma.median, sigma_clip_dev_func=mad_std, mem_limit=350e6, dtype=np.float32)
seconds = time.perf_counter() - start, time.process_time() - began
fits.writeto(sys.argv[1], np.asarray(out.data, np.float32))
print(json.dumps(seconds))
"""
    (peer_seconds, peer_processor), peer_memory = apart(code, folder / "peer.fits", *paths)
    ours, theirs = fits.getdata(folder / "master.fits"), fits.getdata(folder / "peer.fits")
    stack = np.stack([fits.getdata(p)[:256].astype(np.float64) for p in paths])
    median = np.median(stack, 0)
    deviation = np.abs(stack - median)
    reach = 4 * 1.4826 * np.maximum(np.median(deviation, 0), 0.5)
    kept = deviation <= reach
    plain = (np.where(kept, stack, 0).sum(0) / kept.sum(0)).astype(np.float32)
    say(step="combine", frames=10, size=SIZE, seconds=seconds, megabytes=memory, ccdproc_seconds=peer_seconds,
        ccdproc_megabytes=peer_memory, time_ratio=peer_seconds / seconds, memory_share=memory / peer_memory,
        processor=processor, ccdproc_processor=peer_processor, processor_ratio=peer_processor / processor,
        equal_numpy=float((ours[:256] == plain).mean()), ccdproc_max_difference=float(np.abs(ours - theirs).max()),
        ccdproc_differing=float((np.abs(ours - theirs) > 1e-3).mean()))
    many = paths * 5
    _, seconds, memory = own("combine", folder / "fifty.fits", *many)
    say(step="combine", frames=50, size=SIZE, seconds=seconds, megabytes=memory)


def star_field(rng, size):
    image = np.full((size, size), 300.0)
    yy, xx = np.mgrid[-12:13, -12:13]
    for _ in range(size * size // 4000):
        x, y = rng.uniform(14, size - 14, 2)
        ix, iy = int(x), int(y)
        flux = 10 ** rng.uniform(2.5, 5.8)
        shape = (1 + ((xx - (x - ix)) ** 2 + (yy - (y - iy)) ** 2) / 5.5) ** -3
        image[iy - 12:iy + 13, ix - 12:ix + 13] += flux * shape / shape.sum()
    return (rng.poisson(image) + rng.normal(0, 6.5, image.shape)).astype(np.float32)


def cosmics(folder, images):
    import astroscrappy

    rng = np.random.default_rng(2)
    image = star_field(rng, SIZE)
    for _ in range(SIZE * SIZE // 30_000):
        x, y = rng.integers(5, SIZE - 30, 2)
        angle, length, flux = rng.uniform(0, np.pi / 2), rng.integers(1, 18), 10 ** rng.uniform(2.3, 4)
        for k in range(length):
            image[int(y + k * np.sin(angle)), int(x + k * np.cos(angle))] += flux
    made = folder / "cosmics.fits"
    fits.PrimaryHDU(image).writeto(made)
    for path in [made, *images]:
        with fits.open(path) as file:
            data = next(h.data for h in file if h.data is not None).astype(np.float32)
        start = time.perf_counter()
        mask, clean = astroscrappy.detect_cosmics(data)
        peer = time.perf_counter() - start
        own("clean", path, folder / "clean.fits", folder / "mask.fits")
        seconds = own("cosmics-seconds", path)[0]["seconds"]
        found = fits.getdata(folder / "mask.fits") > 0
        say(step="cosmics", file=Path(path).name, size=data.shape, seconds=seconds, astroscrappy_seconds=peer,
            time_ratio=peer / seconds, iou=float((mask & found).sum() / max((mask | found).sum(), 1)), pixels=int(mask.sum()))


def catalogue_of(index, out):
    """The stars of an index of astrometry.net's as a table."""
    with fits.open(index) as tables:
        by_name = {t.columns.names[0]: t for t in tables[1:]}
        bounds = np.frombuffer(by_name["kdtree_range_stars"].data.tobytes(), "<f8")
        low, scale = bounds[:3], bounds[6]
        raw = np.frombuffer(by_name["kdtree_data_stars"].data.tobytes(), "<u4").reshape(-1, 3)
        magnitude = np.array(by_name["MAG_VT"].data["MAG_VT"], float)
    vectors = raw / scale + low
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    ra = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 360
    dec = np.degrees(np.arcsin(vectors[:, 2]))
    with open(out, "w") as file:
        file.write("ra_deg,dec_deg,mag\n")
        np.savetxt(file, np.c_[ra, dec, magnitude], fmt="%.6f,%.6f,%.2f")
    return vectors, magnitude


def solving(folder):
    """Random fields of 1.14 degrees: 15 % of the stars missing, 20 % false, 0.5 mag and 0.25 px of error, both parities."""
    vectors, magnitude = catalogue_of(INDEX, folder / "tycho.csv")
    made, seconds, _ = own("index", folder / "tycho.csv", folder / "tycho.idx")
    say(step="index", seconds=seconds, stars=made["stars"], quads=made["quads"], bytes=made["bytes"])
    rng = np.random.default_rng(3)
    width, scale = 1024, 4.0
    fields = []
    for number in range(FIELDS):
        z = rng.normal(size=3)
        z /= np.linalg.norm(z)
        ra, dec = np.arctan2(z[1], z[0]), np.arcsin(z[2])
        east = np.array([-np.sin(ra), np.cos(ra), 0])
        north = np.cross(z, east)
        near = vectors @ z > np.cos(np.radians(0.9))
        v = vectors[near]
        depth = v @ z
        xi, eta = np.degrees(v @ east / depth) * 3600 / scale, np.degrees(v @ north / depth) * 3600 / scale
        angle, side = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
        x = side * xi * np.cos(angle) - eta * np.sin(angle) + (width - 1) / 2
        y = side * xi * np.sin(angle) + eta * np.cos(angle) + (width - 1) / 2
        mag = magnitude[near] + rng.normal(0, 0.5, near.sum())
        inside = (x > 0) & (y > 0) & (x < width - 1) & (y < width - 1) & (rng.random(len(x)) > 0.15)
        x, y, mag = x[inside] + rng.normal(0, 0.25, inside.sum()), y[inside] + rng.normal(0, 0.25, inside.sum()), mag[inside]
        false = len(x) // 4
        x = np.concatenate([x, rng.uniform(0, width - 1, false)])
        y = np.concatenate([y, rng.uniform(0, width - 1, false)])
        mag = np.concatenate([mag, rng.choice(mag, false) if len(mag) else []])
        off = rng.uniform(0, 0.8), rng.uniform(0, 2 * np.pi)
        fields.append({
            "ra": np.degrees(ra) % 360, "dec": np.degrees(dec),
            "hint_ra": (np.degrees(ra) + off[0] * np.cos(off[1]) / max(np.cos(dec), 0.02)) % 360,
            "hint_dec": float(np.clip(np.degrees(dec) + off[0] * np.sin(off[1]), -90, 90)),
            "width": width, "scale": scale, "stars": np.c_[x, y, 10 ** (-0.4 * mag)].tolist(),
        })
    (folder / "fields.json").write_text(json.dumps(fields, default=float))
    answer, _, memory = own("solve-lists", folder / "tycho.idx", folder / "fields.json")
    for way in ("hinted", "blind"):
        results = answer[way]
        times = np.array([r["seconds"] for r in results])
        solved = [r for r in results if r["solved"]]
        wrong = sum(r["error_px"] > 2 for r in solved)
        say(step="solve", way=way, fields=len(results), solved=len(solved) / len(results), wrong=wrong, p50_ms=np.median(times) * 1e3,
            p99_ms=np.percentile(times, 99) * 1e3, centre_error_px=np.median([r["error_px"] for r in solved]), megabytes=memory)
    if subprocess.run(["sh", "-c", "command -v solve-field"], capture_output=True).returncode:
        return
    (folder / "astrometry.cfg").write_text(f"inparallel\ncpulimit 30\nadd_path {Path(INDEX).parent}\nindex {Path(INDEX).name}\n")
    solved, times = 0, []
    for field in fields[:12]:
        stars = np.array(sorted(field["stars"], key=lambda s: -s[2]))
        columns = [fits.Column(n, "D", array=a) for n, a in zip(("X", "Y", "FLUX"), (stars[:, 0] + 1, stars[:, 1] + 1, stars[:, 2]))]
        fits.BinTableHDU.from_columns(columns).writeto(folder / "list.xyls", overwrite=True)
        start = time.perf_counter()
        subprocess.run(["solve-field", "--config", folder / "astrometry.cfg", "--width", "1024", "--height", "1024", "--no-plots",
            "--overwrite", "--dir", folder, "--wcs", folder / "peer.wcs", "--scale-units", "arcsecperpix", "--scale-low", "3.92",
            "--scale-high", "4.08", "--ra", str(field["hint_ra"]), "--dec", str(field["hint_dec"]), "--radius", "1",
            "--sort-column", "FLUX", folder / "list.xyls"], capture_output=True)
        times.append(time.perf_counter() - start)
        solved += (folder / "peer.wcs").exists()
        (folder / "peer.wcs").unlink(missing_ok=True)
    say(step="solve", way="solve-field, hinted", fields=12, solved=solved / 12, p50_ms=np.median(times) * 1e3)


def whole(folder):
    """From a raw frame of SIZE pixels to its candidates, cosmic rays removed or not."""
    rng = np.random.default_rng(5)
    fits.PrimaryHDU((star_field(rng, SIZE) + 700).clip(0, 65535).astype(np.uint16)).writeto(folder / "raw.fits")
    import sep

    data = fits.getdata(folder / "raw.fits").astype(np.float32)
    sep.set_extract_pixstack(4_000_000)
    best, processor = np.inf, np.inf
    for _ in range(3):
        start, began = time.perf_counter(), time.process_time()
        sky = sep.Background(data, bw=64, bh=64)
        flat = data - sky.back()
        found = sep.extract(flat, 3.0, err=sky.globalrms, minarea=5, filter_kernel=np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32))
        best, processor = min(best, time.perf_counter() - start), min(processor, time.process_time() - began)
    # Three runs and one reading of the file: a little to our disadvantage.
    ours, _, total, _ = metered("extract-seconds", folder / "raw.fits")
    say(step="extract", size=SIZE, seconds=ours["seconds"], sep_seconds=best, time_ratio=ours["seconds"] / best,
        processor=total / 3, sep_processor=processor, processor_ratio=total / 3 / processor,
        sources=ours["sources"], sep_sources=len(found), note="ours with apertures, Kron and windowed measures, sep's without")


def candidates(folder):
    """Raw frame, calibrated, searched, solved, compared with a catalogue that lacks one of its stars."""
    from astropy.wcs import WCS

    rng = np.random.default_rng(7)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, 30.0], [SIZE / 2 + 0.5] * 2
    wcs.wcs.cd = [[-1 / 3600, 0], [0, 1 / 3600]]
    image, stars = np.full((SIZE, SIZE), 300.0), []
    yy, xx = np.mgrid[-12:13, -12:13]
    for n in range(SIZE * SIZE // 4000):
        x, y = rng.uniform(14, SIZE - 14, 2)
        flux = 3e5 if n == 0 else 10 ** rng.uniform(2.5, 5.8)
        x, y = (SIZE / 2 + 40.3, SIZE / 2 - 60.7) if n == 0 else (x, y)
        stars.append((x, y, flux))
        ix, iy = int(x), int(y)
        shape = (1 + ((xx - (x - ix)) ** 2 + (yy - (y - iy)) ** 2) / 5.5) ** -3
        image[iy - 12:iy + 13, ix - 12:ix + 13] += flux * shape / shape.sum()
    response = 1 - 0.1 * (((np.mgrid[:SIZE, :SIZE] / SIZE - 0.5) ** 2).sum(0))
    image = rng.poisson(image * response) + rng.normal(1000, 6.5, image.shape)
    for _ in range(SIZE * SIZE // 30_000):
        x, y = rng.integers(5, SIZE - 30, 2)
        angle, length, charge = rng.uniform(0, np.pi / 2), rng.integers(1, 18), 10 ** rng.uniform(2.3, 4)
        for k in range(length):
            image[int(y + k * np.sin(angle)), int(x + k * np.cos(angle))] += charge
    header = wcs.to_header()
    header["EXPTIME"], header["FILTER"] = 60.0, "r"
    fits.PrimaryHDU(image.clip(0, 65535).astype(np.uint16), header).writeto(folder / "night.fits")
    masters = [folder / f"{name}.fits" for name in ("m-bias", "m-dark", "m-flat")]
    for path, level in zip(masters, (np.full(image.shape, 1000.0), np.zeros(image.shape), response / response.mean())):
        fits.PrimaryHDU(level.astype(np.float32)).writeto(path)
    known = np.array(stars[1:])
    ra, dec = wcs.all_pix2world(known[:, 0], known[:, 1], 0)
    np.savetxt(folder / "field.csv", np.c_[ra, dec, 22 - 2.5 * np.log10(known[:, 2] / 60)], "%.7f,%.7f,%.4f", header="ra_deg,dec_deg,mag",
        comments="")
    own("index", folder / "field.csv", folder / "field.idx")
    for how in ([], ["cosmics"], ["box"]):
        answer, _, total, memory = metered("candidates-seconds", folder / "night.fits", *masters, folder / "field.idx", *how)
        first = (answer.get("candidates") or [[np.nan] * 4])[0]
        hit = np.hypot(first[0] - stars[0][0], first[1] - stars[0][1]) < 1 if how != ["box"] else None
        say(step="raw to candidates", how=(how or ["plain"])[0], size=SIZE, megabytes=memory, processor=total / 3, new_star_first=hit,
            **{k: v if k != "candidates" else len(v) for k, v in answer.items()})


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = [p for p in os.environ.get("COSMIC_IMAGES", "").split(":") if p]
        steps = {"extract": lambda: whole(folder), "candidates": lambda: candidates(folder), "combine": lambda: combine(folder), "cosmics": lambda: cosmics(folder, images)}
        if INDEX:
            steps["solve"] = lambda: solving(folder)
        for step, run in steps.items():
            if step in os.environ.get("STEPS", "extract candidates combine cosmics solve").split():
                run()
    say(step="memory of this script", megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


main()
