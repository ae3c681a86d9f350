#!/usr/bin/env python3
"""Measures the night planner on obs-schedule-instance/1 files, every plan judged by an independent checker.

planner.py --corpus DIR [--seeds 5] [--out results/planner.json] [--program PATH]

DIR holds the instances and check_schedule.py (astropy). For each instance and budget: median, least and best objective
over the seeds, as a share of the proven bound, and processor seconds of the whole process (reading, sky, search)."""
import argparse
import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile

import own_python

own_python.ensure("numpy", "astropy")

# Upper bounds on any plan, proved by CP-SAT (p1, p2), by the HiGHS LP (p3) or by Lagrangian relaxation (s1).
BOUNDS = {"p1_ohp_50": 253680, "p2_spm_200": 256860, "p3_lasilla_1000": 315180, "s1_lasilla_10000": 380351}
# Objective / bound asked within processor seconds.
GOALS = {"p1_ohp_50": [(0.1, 0.99), (1, 0.999)], "p2_spm_200": [(0.2, 0.985), (2, 0.993)],
         "p3_lasilla_1000": [(0.5, 0.995), (5, 0.998)], "s1_lasilla_10000": [(2, 0.99), (5, 0.996)]}


def measure(program, instance, schedule, deadline_s, seed):
    """One run: its figures, with the processor time of the process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run([program, instance, "--cpu-ms", str(int(deadline_s * 1000)), "--seed", str(seed), "--out", schedule],
                         capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = json.loads(out)
    figures["cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return figures


VERDICTS = {}


def judge(checker, instance, schedule):
    """The checker's verdict; equal blocks of the same instance are judged once."""
    key = (instance, json.dumps([(b["id"], b["start_utc"], b["end_utc"]) for b in json.load(open(schedule))["schedule"]]))
    if key not in VERDICTS:
        out = subprocess.run([sys.executable, checker, instance, schedule], capture_output=True, text=True).stdout
        VERDICTS[key] = json.loads(out)
    return VERDICTS[key]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--corpus", required=True)
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--out")
    p.add_argument("--program")
    args = p.parse_args()
    program = args.program or own_python.build("plan_instance")
    checker = os.path.join(args.corpus, "check_schedule.py")
    rows, fine = [], True
    for path in sorted(glob.glob(os.path.join(args.corpus, "*.json"))):
        name = os.path.splitext(os.path.basename(path))[0]
        if name not in GOALS:
            continue
        for seconds, goal in [(0.001, None), *GOALS[name]]:
            values, cpu, bounds = [], [], []
            for seed in range(1, args.seeds + 1):
                with tempfile.NamedTemporaryFile(suffix=".json") as f:
                    figures = measure(program, path, f.name, seconds, seed)
                    verdict = judge(checker, path, f.name)
                valid = verdict["valid"] and abs(verdict["objective"] - figures["objective"]) < 1
                if not valid:
                    fine = False
                    print("INVALID", name, seconds, seed, verdict, file=sys.stderr)
                values.append(figures["objective"])
                cpu.append(figures["cpu_s"])
                bounds.append(figures["upper_bound"])
            ratio = statistics.median(values) / BOUNDS[name]
            reached = goal is None or ratio >= goal
            fine &= reached and min(bounds) >= max(values)
            rows.append({"instance": name, "cpu_budget_s": seconds, "cpu_s_median": round(statistics.median(cpu), 3),
                         "objective_median": statistics.median(values), "objective_min": min(values),
                         "objective_max": max(values), "ratio_median": round(ratio, 5), "goal": goal, "reached": reached,
                         "own_bound_over_proven": round(statistics.median(bounds) / BOUNDS[name], 5)})
            print(json.dumps(rows[-1]), flush=True)
    if args.out:
        os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
        json.dump({"bounds": BOUNDS, "rows": rows}, open(args.out, "w"), indent=1)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
