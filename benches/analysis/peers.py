"""Our image steps beside their peers, on frames made here with known truth and on images that are given.

peers.py OWN ALIDADE_EXAMPLE_IMAGE [INDEX_FITS_OF_TYCHO2]

OWN is the example `image` of alidade-analysis. INDEX is index-tycho2-07.littleendian.fits of Debian's package
astrometry-data-tycho2-07-littleendian; without it plate solving is left out. Prints one JSON document a step, and at the end
one with every figure that is aimed at: wall-clock ratios of this run.
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
BEGAN = time.perf_counter()
FIGURES = []
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


def figure(name, value, at_least=None, at_most=None):
    """Something that is aimed at, in wall-clock time or memory of this run."""
    met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    FIGURES.append({"figure": name, "value": float(value), "at_least": at_least, "at_most": at_most, "met": bool(met)})


def combine(folder):
    rng = np.random.default_rng(1)
    paths = []
    for n in range(10):
        frame = rng.normal(1000, 8, (SIZE, SIZE)).round()
        hits = rng.integers(0, SIZE, (2, 2000))
        frame[hits[0], hits[1]] += 5000
        paths.append(folder / f"bias{n}.fits")
        fits.PrimaryHDU(frame.astype(np.uint16)).writeto(paths[-1])
    # The best of three; the peer, which takes half a minute, once.
    runs = [metered("combine", folder / "master.fits", *paths) for _ in range(3)]
    _, seconds, processor, memory = min(runs, key=lambda r: r[1])
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
    figure("combine ten frames: ccdproc's time over ours", peer_seconds / seconds, at_least=20)
    figure("combine ten frames: our memory over ccdproc's", memory / peer_memory, at_most=0.1)
    figure("combine ten frames: pixels equal to numpy's", (ours[:256] == plain).mean(), at_least=1)
    many = paths * 5
    _, seconds, memory = own("combine", folder / "fifty.fits", *many)
    say(step="combine", frames=50, size=SIZE, seconds=seconds, megabytes=memory)
    figure("combine fifty frames, megabytes", memory, at_most=1000)


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
        figure(f"cosmic rays, {Path(path).name}: overlap with astroscrappy's mask", (mask & found).sum() / max((mask | found).sum(), 1),
            at_least=0.99)
        if path is made:
            figure("cosmic rays: astroscrappy's time over ours", peer / seconds, at_least=25)


def catalogue_of(index):
    """The stars of an index of astrometry.net's."""
    with fits.open(index) as tables:
        by_name = {t.columns.names[0]: t for t in tables[1:]}
        bounds = np.frombuffer(by_name["kdtree_range_stars"].data.tobytes(), "<f8")
        low, scale = bounds[:3], bounds[6]
        raw = np.frombuffer(by_name["kdtree_data_stars"].data.tobytes(), "<u4").reshape(-1, 3)
        magnitude = np.array(by_name["MAG_VT"].data["MAG_VT"], float)
    vectors = raw / scale + low
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    return vectors, magnitude


def solving(folder):
    """Random fields of 1.14 degrees: 15 % of the stars missing, 20 % false, 0.5 mag and 0.25 px of error, both parities."""
    vectors, magnitude = catalogue_of(INDEX)
    made, seconds, _ = own("index", INDEX, folder / "tycho.idx")
    say(step="index", seconds=seconds, stars=made["stars"], quads=made["quads"], bytes=made["bytes"])
    frame = Path(__file__).parents[2] / "agents/analysis/tests/data/pocs-unsolved.fits.fz"
    answer, seconds, _ = own("solve", frame, folder / "tycho.idx")
    # Where solve-field has its middle with the same package.
    off = np.hypot((answer.get("ra_deg", np.nan) - 303.21096) * np.cos(np.radians(46.02)), answer.get("dec_deg", np.nan) - 46.01955) * 3600
    say(step="a real frame", file=frame.name, solved=answer["solved"], seconds=seconds, matched=answer.get("matched"), off_arcsec=off)
    figure("a real frame solved blind with the installed catalogue: arcseconds from solve-field's middle", off, at_most=20.6)
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
        figure(f"{way} solving: share solved", len(solved) / len(results), at_least=0.99)
        figure(f"{way} solving: wrong", wrong, at_most=0)
        if way == "hinted":
            hinted = np.median(times)
            figure("hinted solving with its index, milliseconds", hinted * 1e3, at_most=50)
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
    figure("hinted solving: solve-field's time over ours", np.median(times) / hinted, at_least=30)


def whole(folder):
    """From a raw frame of SIZE pixels to its candidates, cosmic rays removed or not."""
    rng = np.random.default_rng(5)
    fits.PrimaryHDU((star_field(rng, SIZE) + 700).clip(0, 65535).astype(np.uint16)).writeto(folder / "raw.fits")
    import sep

    data = fits.getdata(folder / "raw.fits").astype(np.float32)
    sep.set_extract_pixstack(4_000_000)
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)
    best, processor, ours = np.inf, np.inf, None
    # In turn, so that whatever else the machine does is suffered by both; the best of three.
    for _ in range(3):
        answer, _, total, _ = metered("extract-seconds", folder / "raw.fits")
        if ours is None or answer["seconds"] < ours["seconds"]:
            ours, own_processor = answer, total / 3
        start, began = time.perf_counter(), time.process_time()
        sky = sep.Background(data, bw=64, bh=64)
        flat = data - sky.back()
        found = sep.extract(flat, 3.0, err=sky.globalrms, minarea=5, filter_kernel=kernel)
        best, processor = min(best, time.perf_counter() - start), min(processor, time.process_time() - began)
    start = time.perf_counter()
    sep.sum_circle(flat, found["x"], found["y"], 5.0)
    kron, _ = sep.kron_radius(flat, found["x"], found["y"], found["a"], found["b"], found["theta"], 6.0)
    radius = np.nan_to_num(np.maximum(kron, 1e-3))
    sep.sum_ellipse(flat, found["x"], found["y"], found["a"], found["b"], found["theta"], 2.5 * radius)
    sep.winpos(flat, found["x"], found["y"], np.full(len(found), 1.5))
    measures = time.perf_counter() - start
    say(step="extract", size=SIZE, seconds=ours["seconds"], sep_seconds=best, sep_measures_seconds=measures,
        time_ratio=ours["seconds"] / best, time_ratio_same_measures=ours["seconds"] / (best + measures), processor=own_processor,
        sep_processor=processor, processor_ratio=own_processor / processor, sources=ours["sources"], sep_sources=len(found),
        note="ours with apertures, Kron and windowed measures; processor time with reading the file")
    figure("background, extraction, deblending: our time over sep's, ours with all measures", ours["seconds"] / best, at_most=2 / 3)
    figure("sources: ours over sep's", ours["sources"] / len(found), at_least=0.99, at_most=1.01)


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
        name, most = {"": ("raw to candidates", 1.0), "cosmics": ("raw to candidates, cosmic rays removed", 2.0),
            "box": ("error box", 0.5)}["".join(how)]
        figure(f"{name}, seconds", answer["seconds"], at_most=most)
        if how != ["box"]:
            figure(f"{name}, megabytes", memory, at_most=700)
            figure(f"{name}: the new star is first", hit, at_least=1)


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
    say(step="figures", seconds=time.perf_counter() - BEGAN, load_average=os.getloadavg()[0], processors=os.cpu_count(),
        met=sum(f["met"] for f in FIGURES), of=len(FIGURES), figures=FIGURES)


main()
