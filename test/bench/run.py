#!/usr/bin/env python3
"""The cost of the trap path, and of connections that leave from the target: the same work natively, under the two bare floors and under
mirrord-trace in both engines, in turns; once with everything on one CPU, once as it comes.

The target is a network namespace and incoming traffic is stolen, so that the calls are trapped and
handled; no traffic comes. What goes out goes to a peer in the target: natively that is a program in
the target itself, beside us two relays in a row (socat). Needs root."""

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import time

WORK = ["getppid", "getsockname", "bind", "listen", "accept", "open", "stat", "sendmsg"]
TRAPPED = "bind,listen,accept,accept4,getsockname,getpeername,connect,openat,newfstatat,sendmsg,recvmsg"
OUTGOING = ["connect", "ping", "fetch", "push"]
PORT = 7000
STARTS = 20


def arguments(what):
    p = argparse.ArgumentParser(description=what)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--ms", type=int, default=300, help="how long each run lasts")
    p.add_argument("--programs", default="build/bench")
    p.add_argument("--trace", default="build/current/mirrord-trace")
    p.add_argument("--cpu", type=int, default=min(os.sched_getaffinity(0)))
    return p.parse_args()


@contextlib.contextmanager
def empty_target():
    """The pid of a target in which nothing happens."""
    target = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
        stdout=subprocess.PIPE,
    )
    target.stdout.readline()
    try:
        yield target.pid
    finally:
        target.kill()
        target.wait()


def supervisors(args, target):
    """name -> the words in front of the program"""
    tools = {"native": []}
    for name in "floor_ptrace", "floor_notify":
        tools[name] = [f"{args.programs}/{name}", "-r", TRAPPED]
    for engine in "auto", "ptrace":
        tools[engine] = [args.trace, "--steal", "-t", f"pid:{target}", "--engine", engine, "--"]
    return tools


def enter(target):
    return ["nsenter", f"--target={target}", "--net"]


@contextlib.contextmanager
def background(*command):
    """A program whose words are not for the table."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def two_relays(target):
    """The same peer by two relays in a row: the second in the target, between them a unix socket."""
    path = f"/tmp/bench-{os.getpid()}.sock"
    far = enter(target) + ["socat", f"UNIX-LISTEN:{path},fork", f"TCP:127.0.0.1:{PORT},nodelay"]
    near = ["socat", f"TCP-LISTEN:{PORT},bind=127.0.0.1,fork,reuseaddr", f"UNIX-CONNECT:{path}"]
    with background(*far), background(*near):
        while not os.path.exists(path) or not is_listening():
            time.sleep(0.01)
        try:
            yield
        finally:
            os.unlink(path)


def is_listening():
    with contextlib.closing(socket.socket()) as s:
        return s.connect_ex(("127.0.0.1", PORT)) == 0


def report_outgoing(args, target, cpu):
    """What the bytes of connections cost, natively in the target and from here."""
    tools = {"native": enter(target), "two relays": []}
    for engine in "auto", "ptrace":
        tools[engine] = [args.trace, "--incoming", "off", "-t", f"pid:{target}", "--engine", engine, "--"]
    peer = ["127.0.0.1", str(PORT)]
    where = "as it comes" if cpu is None else f"everything on CPU {cpu}"
    print(f"\nOutgoing, native = 1. {where}.\n")
    print_header(["work", "native ops/s"] + list(tools)[1:])
    with background(*enter(target), f"{args.programs}/calls", "serve", "0", *peer) as server:
        server.stdout.readline()
        with two_relays(target):
            for work in OUTGOING:
                results = measure_work(args, tools, work, cpu, peer)
                print_row(
                    [work, f"{statistics.median(speeds(results, 'native')):,.0f}"]
                    + [to_native(results, name) for name in list(tools)[1:]]
                )


def run(command, cpu):
    pin = None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})
    return subprocess.run(command, preexec_fn=pin, stdout=subprocess.PIPE, text=True, check=True)


def timed(command, cpu):
    """Milliseconds from start to end."""
    start = time.perf_counter()
    run(command, cpu)
    return (time.perf_counter() - start) * 1000


def measure_work(args, tools, work, cpu, peer=()):
    """name -> [(operations per second, p50, p99) of each round]"""
    results = {name: [] for name in tools}
    for _ in range(args.rounds):
        for name, prefix in tools.items():
            done = run(prefix + [f"{args.programs}/calls", work, str(args.ms), *peer], cpu)
            results[name].append(tuple(float(word) for word in done.stdout.split()))
    return results


def spread(values, digits=2):
    median, least, most = (f"{v:,.{digits}f}" for v in (statistics.median(values), min(values), max(values)))
    return f"{median} ({least}–{most})"


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
            times[name].append(timed(prefix + ["true"], cpu))
    where = "as it comes" if cpu is None else f"on CPU {cpu}"
    print(f"\nStart to end of `true` in ms, {STARTS} runs, {where}.\n")
    print_header(list(times))
    print_row([spread(values) for values in times.values()])


def main():
    args = arguments(__doc__)
    with empty_target() as target:
        tools = supervisors(args, target)
        for cpu in args.cpu, None:
            report_work(args, tools, cpu)
            report_starts(args, tools, cpu)
            report_outgoing(args, target, cpu)


if __name__ == "__main__":
    main()
