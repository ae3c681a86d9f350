#!/usr/bin/env python3
"""Other planners on the same instances, in one run, judged by the same checker.

peers.py --corpus DIR [--instances p1_ohp_50,p2_spm_200] [--peers all] [--limit-s 120] [--out results/peers.json]

Peers: `scip300`, `scip60` (time-indexed MILP in the style of the LCO adaptive scheduler, by OR-tools SCIP, 300 s and 60 s
slices, gap 1 %), `cpsat` (OR-tools CP-SAT, 2 workers, 60 s grid), `highs_lp` (upper bound: LP relaxation by HiGHS on the
outward 60 s grid), `astroplan_priority`, `astroplan_sequential` (astroplan, 60 s). The models are written here; quotas
are given to every model that can hold them (not to astroplan, whose schedules are judged without them)."""
import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import warnings

import own_python

own_python.ensure("numpy", "astropy", "astroplan", "ortools", "highspy")

import astropy.units as u  # noqa: E402
import numpy as np  # noqa: E402
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body  # noqa: E402
from astropy.time import Time  # noqa: E402
from astropy.utils import iers  # noqa: E402

warnings.filterwarnings("ignore")
iers.conf.auto_download = False
iers.conf.auto_max_age = None


def cpu():
    return sum(r.ru_utime + r.ru_stime for r in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def utc(text):
    return Time(text.rstrip("Z"), format="isot", scale="utc")


class Night:
    """An instance with its visibility on a one-minute grid."""

    def __init__(self, path):
        self.raw = json.load(open(path))
        site, night = self.raw["site"], self.raw["night"]
        self.site = EarthLocation.from_geodetic(site["lon_deg"] * u.deg, site["lat_deg"] * u.deg, site["height_m"] * u.m)
        self.t0 = utc(night["start_utc"])
        self.length = round((utc(night["end_utc"]) - self.t0).sec)
        self.requests = self.raw["requests"]
        self.overhead = self.raw["overhead_s"]
        self.quotas = self.raw.get("quotas_s") or {}
        minutes = self.length // 60
        t = self.t0 + np.arange(minutes + 1) * 60 * u.s
        frame = AltAz(obstime=t, location=self.site)
        moon = get_body("moon", t, self.site).transform_to(frame)
        sun = get_body("sun", t, self.site).transform_to(frame)
        dark = sun.alt.deg <= night["sun_max_alt_deg"] + 0.005
        self.good = []
        for r in self.requests:
            c = SkyCoord(r["ra_deg"] * u.deg, r["dec_deg"] * u.deg).transform_to(frame)
            ok = dark & (c.alt.deg >= r["min_alt_deg"]) & (moon.separation(c).deg >= r["moon_sep_deg"])
            self.good.append(ok)

    def starts(self, k, slot, outward=False):
        """Start slots of request k on a grid; outward takes half-visible minutes too, for bounds."""
        r, ok = self.requests[k], self.good[k]
        if outward:
            ok = ok | np.roll(ok, 1) | np.roll(ok, -1)
        need = math.ceil(r["duration_s"] / 60)
        out = []
        windows = [((utc(a) - self.t0).sec, (utc(b) - self.t0).sec) for a, b in r["windows"]]
        for s in range(0, self.length - r["duration_s"] + 1, slot):
            m = s // 60
            inside = not windows or any(a - 1e-3 <= s and s + r["duration_s"] <= b + 1e-3 for a, b in windows)
            if inside and ok[m:m + need + 1].all():
                out.append(s // slot)
        return out

    def schedule(self, chosen, slot):
        rows = []
        for k, s in sorted(chosen, key=lambda x: x[1]):
            begin = self.t0 + s * slot * u.s
            rows.append({"id": self.requests[k]["id"], "start_utc": begin.isot + "Z",
                         "end_utc": (begin + self.requests[k]["duration_s"] * u.s).isot + "Z"})
        return rows

    def value(self, k):
        return self.requests[k]["priority"] * self.requests[k]["duration_s"]

    def arcs(self, slot, outward=False):
        return [(k, s) for k in range(len(self.requests)) for s in self.starts(k, slot, outward)]

    def slots_of(self, k, slot):
        return math.ceil((self.requests[k]["duration_s"] + self.overhead) / slot)


def rows_of(night, arcs, slot):
    """Sparse rows of the time-indexed model: (columns, coefficients, upper limit)."""
    by_request, by_slot, by_user = {}, {}, {}
    for c, (k, s) in enumerate(arcs):
        by_request.setdefault(k, []).append(c)
        for t in range(s, s + night.slots_of(k, slot)):
            by_slot.setdefault(t, []).append(c)
        if night.requests[k]["user"] in night.quotas:
            by_user.setdefault(night.requests[k]["user"], []).append((c, night.requests[k]["duration_s"]))
    rows = [(cs, [1] * len(cs), 1) for cs in (*by_request.values(), *by_slot.values())]
    rows += [([c for c, _ in cs], [d for _, d in cs], night.quotas[user]) for user, cs in by_user.items()]
    return rows


def scip(night, limit_s, slot):
    from ortools.linear_solver import pywraplp
    solver = pywraplp.Solver.CreateSolver("SCIP")
    solver.SetTimeLimit(int(limit_s * 1000))
    arcs = night.arcs(slot)
    x = [solver.BoolVar("") for _ in arcs]
    for cs, coefficients, most in rows_of(night, arcs, slot):
        row = solver.Constraint(0, most)
        for c, a in zip(cs, coefficients):
            row.SetCoefficient(x[c], a)
    solver.Maximize(sum(night.value(k) * x[c] for c, (k, _) in enumerate(arcs)))
    parameters = pywraplp.MPSolverParameters()
    parameters.SetDoubleParam(pywraplp.MPSolverParameters.RELATIVE_MIP_GAP, 0.01)
    solver.Solve(parameters)
    return night.schedule([a for a, v in zip(arcs, x) if v.solution_value() > 0.5], slot), None


def cpsat(night, limit_s, slot=60):
    from ortools.sat.python import cp_model
    model = cp_model.CpModel()
    begin, present, intervals, by_user = {}, {}, [], {}
    for k, r in enumerate(night.requests):
        starts = night.starts(k, slot)
        if not starts:
            continue
        begin[k] = model.NewIntVarFromDomain(cp_model.Domain.FromValues(starts), "")
        present[k] = model.NewBoolVar("")
        intervals.append(model.NewOptionalFixedSizeIntervalVar(begin[k], night.slots_of(k, slot), present[k], ""))
        by_user.setdefault(r["user"], []).append(r["duration_s"] * present[k])
    model.AddNoOverlap(intervals)
    for user, quota in night.quotas.items():
        model.Add(sum(by_user.get(user, [])) <= int(quota))
    model.Maximize(sum(int(night.value(k)) * p for k, p in present.items()))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit_s
    solver.parameters.num_workers = 2
    solver.Solve(model)
    chosen = [(k, solver.Value(begin[k])) for k, p in present.items() if solver.Value(p)]
    return night.schedule(chosen, slot), solver.BestObjectiveBound()


def highs_lp(night, limit_s, slot=60):
    import highspy
    h = highspy.Highs()
    h.setOptionValue("output_flag", False)
    h.setOptionValue("time_limit", float(limit_s))
    arcs = night.arcs(slot, outward=True)
    for k, _ in arcs:
        h.addVar(0.0, 1.0)
    h.changeObjectiveSense(highspy.ObjSense.kMaximize)
    h.changeColsCost(len(arcs), np.arange(len(arcs), dtype=np.int32), np.array([float(night.value(k)) for k, _ in arcs]))
    for cs, coefficients, most in rows_of(night, arcs, slot):
        h.addRow(-highspy.kHighsInf, float(most), len(cs), np.array(cs, dtype=np.int32), np.array(coefficients, dtype=float))
    h.run()
    return None, h.getInfo().objective_function_value


def astroplan_run(night, _limit_s, which):
    import astroplan
    from astroplan.scheduling import ObservingBlock, Schedule, Transitioner
    observer = astroplan.Observer(location=night.site)
    blocks = []
    for k, r in enumerate(night.requests):
        limits = [astroplan.AltitudeConstraint(min=r["min_alt_deg"] * u.deg),
                  astroplan.MoonSeparationConstraint(min=r["moon_sep_deg"] * u.deg)]
        if r["windows"]:
            limits.append(astroplan.TimeConstraint(utc(r["windows"][0][0]), utc(r["windows"][-1][1])))
        target = astroplan.FixedTarget(SkyCoord(r["ra_deg"] * u.deg, r["dec_deg"] * u.deg), name=r["id"])
        # astroplan serves low numbers first.
        blocks.append(ObservingBlock(target, r["duration_s"] * u.s, 11 - r["priority"], constraints=limits, name=r["id"]))
    scheduler = getattr(astroplan, which)(
        constraints=[], observer=observer, time_resolution=60 * u.s,
        transitioner=Transitioner(instrument_reconfig_times={"filter": {"default": night.overhead * u.s}}))
    table = Schedule(night.t0, night.t0 + night.length * u.s)
    scheduler(blocks, table)
    rows, last = [], -math.inf
    for b in sorted(table.observing_blocks, key=lambda b: b.start_time.jd):
        # Its slots do not know the overhead between blocks of one configuration: a block that breaks it is left out.
        start = round((b.start_time - night.t0).sec)
        length = next(r["duration_s"] for r in night.requests if r["id"] == b.name)
        if start >= last + night.overhead:
            rows.append((b.name, start, length))
            last = start + length
    return [{"id": i, "start_utc": (night.t0 + s * u.s).isot + "Z", "end_utc": (night.t0 + (s + d) * u.s).isot + "Z"}
            for i, s, d in rows], None


PEERS = {
    "highs_lp": highs_lp,
    "cpsat": cpsat,
    "scip300": lambda n, t: scip(n, t, 300),
    "scip60": lambda n, t: scip(n, t, 60),
    "astroplan_priority": lambda n, t: astroplan_run(n, t, "PriorityScheduler"),
    "astroplan_sequential": lambda n, t: astroplan_run(n, t, "SequentialScheduler"),
}


def one(peer, path, limit_s, out):
    """Runs one peer; the visibility of the night is not counted in its time."""
    night = Night(path)
    before = cpu()
    plan, bound, failed = None, None, None
    try:
        plan, bound = PEERS[peer](night, limit_s)
    except Exception as e:  # A peer that breaks on an instance is a result, not the end of the run.
        failed = repr(e)
    json.dump({"plan": plan, "upper_bound": bound, "failed": failed, "cpu_s": round(cpu() - before, 2)}, open(out, "w"))
    return 0


def judge(checker, path, plan, lenient):
    """The checker's verdict. astroplan cannot hold quotas: its plans are judged as if there were none, which favours it."""
    instance = json.load(open(path))
    if lenient:
        instance["quotas_s"] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("instance.json", "schedule.json")]
        for file, document in zip(files, (instance, plan)):
            json.dump(document, open(file, "w"))
        out = subprocess.run([sys.executable, checker, *files], capture_output=True, text=True)
    return json.loads(out.stdout) if out.stdout else {"valid": False, "violations": [[out.stderr.strip()[-200:]]]}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--corpus", required=True)
    p.add_argument("--instances", default="p1_ohp_50,p2_spm_200")
    p.add_argument("--peers", default="all")
    p.add_argument("--limit-s", type=float, default=120)
    p.add_argument("--stop-s", type=float, default=1800, help="stop a peer's process after this wall time")
    p.add_argument("--out")
    p.add_argument("--one", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.one:
        return one(args.one, os.path.join(args.corpus, args.instances + ".json"), args.limit_s, args.out)
    wanted = list(PEERS) if args.peers == "all" else args.peers.split(",")
    checker = os.path.join(args.corpus, "check_schedule.py")
    rows = []
    for name in args.instances.split(","):
        path = os.path.join(args.corpus, name + ".json")
        for peer in wanted:
            # Each in its own process: OR-tools and highspy bring colliding copies of HiGHS.
            with tempfile.NamedTemporaryFile("w+", suffix=".json") as f:
                command = [sys.executable, os.path.abspath(__file__), "--corpus", args.corpus, "--instances", name,
                           "--limit-s", str(args.limit_s), "--one", peer, "--out", f.name]
                try:
                    subprocess.run(command, check=True, timeout=args.stop_s)
                    answer = json.load(f)
                except subprocess.TimeoutExpired:
                    answer = {"cpu_s": None, "upper_bound": None, "plan": None, "failed": f"stopped after {args.stop_s:g} s"}
            row = {"instance": name, "peer": peer, "cpu_s": answer["cpu_s"], "upper_bound": answer["upper_bound"]}
            if answer["failed"]:
                row["failed"] = answer["failed"]
            if answer["plan"] is not None:
                verdict = judge(checker, path, answer["plan"], peer.startswith("astroplan"))
                row |= {"objective": verdict.get("objective"), "valid": verdict["valid"],
                        "violations": sorted({v[0] for v in verdict.get("violations", [])})}
            rows.append(row)
            print(json.dumps(row), flush=True)
            if args.out:
                os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
                json.dump(rows, open(args.out, "w"), indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
