#!/usr/bin/env python3
"""The cost of the trap path: the same work natively, under the two bare floors and under
mirrord-trace in both engines, in turns; once with everything on one CPU, once as it comes.

The target is an empty network namespace and incoming traffic is stolen, so that the calls are
trapped and handled; no traffic comes. Needs root."""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import time

WORK = ["getppid", "getsockname", "bind", "listen", "accept"]
TRAPPED = "bind,listen,accept,accept4,getsockname,getpeername,connect"
STARTS = 20


def arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--ms", type=int, default=300, help="how long each run lasts")
    p.add_argument("--programs", default="build/bench")
    p.add_argument("--trace", default="build/current/mirrord-trace")
    p.add_argument("--cpu", type=int, default=min(os.sched_getaffinity(0)))
    return p.parse_args()


@contextlib.contextmanager
def empty_target():
    """The name of a target in which nothing happens."""
    target = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    time.sleep(0.2)
    try:
        yield f"pid:{target.pid}"
    finally:
        target.kill()
        target.wait()


def supervisors(args, target):
    """name -> the words in front of the program"""
    tools = {"native": []}
    for name in "floor_ptrace", "floor_notify":
        tools[name] = [f"{args.programs}/{name}", "-r", TRAPPED]
    for engine in "auto", "ptrace":
        tools[engine] = [args.trace, "--steal", "-t", target, "--engine", engine, "--"]
    return tools


def run(command, cpu):
    pin = None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})
    return subprocess.run(command, preexec_fn=pin, stdout=subprocess.PIPE, text=True, check=True)


def measure_work(args, tools, work, cpu):
    """name -> [(operations per second, p50, p99) of each round]"""
    results = {name: [] for name in tools}
    for _ in range(args.rounds):
        for name, prefix in tools.items():
            done = run(prefix + [f"{args.programs}/calls", work, str(args.ms)], cpu)
            results[name].append(tuple(float(word) for word in done.stdout.split()))
    return results


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def speeds(results, name):
    return [r[0] for r in results[name]]


def to_native(results, name):
    return spread([a / b for a, b in zip(speeds(results, name), speeds(results, "native"))])


def over_floor(results, name):
    """Time of one operation over that of the better floor in the same round."""
    floors = zip(speeds(results, "floor_ptrace"), speeds(results, "floor_notify"))
    return spread([max(f) / own for f, own in zip(floors, speeds(results, name))])


def print_row(cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def print_header(cells):
    print_row(cells)
    print("|" + "---|" * len(cells))


def report_work(args, tools, cpu):
    others = [name for name in tools if name != "native"]
    ours = [name for name in others if not name.startswith("floor")]
    where = "as it comes" if cpu is None else f"guest and supervisor on CPU {cpu}"
    print(f"\nSpeed, native = 1; time over the better floor. {where}.\n")
    print_header(["work", "native ops/s"] + others + [f"{n}: time / floor" for n in ours])
    latencies = []
    for work in WORK:
        results = measure_work(args, tools, work, cpu)
        print_row(
            [work, f"{statistics.median(speeds(results, 'native')):,.0f}"]
            + [to_native(results, name) for name in others]
            + [over_floor(results, name) for name in ours]
        )
        latencies.append((work, results))
    print("\nTime of one operation in µs, p50 / p99, median of the rounds.\n")
    print_header(["work"] + list(tools))
    for work, results in latencies:
        cells = [
            "{:.2f} / {:.2f}".format(*(statistics.median(r[i] for r in rows) / 1000 for i in (1, 2)))
            for rows in results.values()
        ]
        print_row([work] + cells)


def report_starts(args, tools, cpu):
    tools = dict(tools, targetless=[args.trace, "-t", "targetless", "--"])
    if shutil.which("strace"):
        tools["strace"] = ["strace", "-o", "/dev/null"]
        tools["strace -f"] = ["strace", "-f", "-o", "/dev/null"]
    times = {name: [] for name in tools}
    for _ in range(STARTS):
        for name, prefix in tools.items():
            start = time.perf_counter()
            run(prefix + ["true"], cpu)
            times[name].append((time.perf_counter() - start) * 1000)
    where = "as it comes" if cpu is None else f"on CPU {cpu}"
    print(f"\nStart to end of `true` in ms, {STARTS} runs, {where}.\n")
    print_header(list(times))
    print_row([spread(values) for values in times.values()])


def main():
    args = arguments()
    with empty_target() as target:
        tools = supervisors(args, target)
        for cpu in args.cpu, None:
            report_work(args, tools, cpu)
            report_starts(args, tools, cpu)


if __name__ == "__main__":
    main()
