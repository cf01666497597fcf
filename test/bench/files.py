#!/usr/bin/env python3
"""The cost of files: small and large ones of the target over several links, beside the same work in the target and a plain copy over
the same link; and the local ones, which are not the target's affair.

The target has a network and a mount namespace, and a tmpfs at /srv. A link is test/guest/delay.c between an agent and
its client. Needs root."""

import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile

from run import arguments, background, measure_work, print_header, print_row, run, spread, timed, to_native

MIB = 64
PLACE = "/srv"
# name -> milliseconds each way, bytes until it is cut (never), MB/s
LINKS = {
    "as it is": ["0"],
    "50 ms": ["25"],
    "50 ms, 125 MB/s": ["25", "0", "125"],
}
SMALL = {"as it is": 1000, "50 ms": 100}
DIRECTORIES, FILES = 50, 20


class Bench:
    def __init__(self, args, target, scratch):
        self.args, self.target, self.scratch = args, target, scratch
        self.root = f"/proc/{target}/root{PLACE}"
        self.files = os.path.abspath(f"{args.programs}/files")
        self.enter = ["nsenter", f"--target={target}", "--net", "--mount"]
        self.far, self.near = f"{scratch}/far", f"{scratch}/near"

    def trace(self, *options):
        return [self.args.trace, "--incoming", "off", *options, "--"]

    @contextlib.contextmanager
    def link(self, link, *peer):
        """A link to that peer, who listens at self.far; the peer's pid."""
        delay = os.path.join(os.path.dirname(self.args.trace), "test/guest/glibc/delay")
        with background(*peer) as far:
            far.stdout.readline()
            with background(delay, self.near, self.far, *LINKS[link]) as near:
                near.stdout.readline()
                try:
                    yield far.pid
                finally:
                    for path in self.far, self.near:
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(path)

    def native(self, *work):
        return milliseconds(run(self.enter + [self.files, *work], None))

    def ours(self, link, *work):
        """Milliseconds, and the peak memory of supervisor and agent in KiB."""
        agent = [os.path.join(os.path.dirname(self.args.trace), "mirrord-agent"),
                 "--target", f"pid:{self.target}", "--listen", f"unix:{self.far}"]
        within = ["sh", "-c", '"$@" && grep VmHWM /proc/$PPID/status', "sh", self.files, *work]
        with self.link(link, *agent) as pid:
            done = run(self.trace("--fs-mode", "write", "--agent", f"unix:{self.near}") + within, None)
            with open(f"/proc/{pid}/status") as status:
                return milliseconds(done), peak(done.stdout), peak(status.read())

    def plain(self, link, work, name):
        peer = self.enter + [self.files, "serve", self.far, f"{PLACE}/{name}", str(MIB)]
        with self.link(link, *peer):
            return milliseconds(run([self.files, f"copy-{work}", self.near, f"{self.scratch}/copy", str(MIB)], None))


def milliseconds(done):
    return float(done.stdout.split()[0])


def peak(status):
    return int(status.split("VmHWM:")[1].split()[0])


@contextlib.contextmanager
def target_with_files():
    with background("unshare", "--net", "--mount", "sh", "-c",
                    f"mount -t tmpfs tmpfs {PLACE} && ip link set lo up && echo up && exec sleep infinity") as target:
        target.stdout.readline()
        root = f"/proc/{target.pid}/root{PLACE}"
        os.mkdir(f"{root}/small")
        for i in range(max(SMALL.values())):
            with open(f"{root}/small/{i}", "wb") as f:
                f.write(os.urandom(1000))
        with open(f"{root}/large", "wb") as f:
            f.write(os.urandom(MIB << 20))
        yield target.pid


def report_small(bench):
    print("\nopen, fstat, read and close of small files: µs for each.\n")
    print_header(["link", "in the target", "from here"])
    for link, count in SMALL.items():
        work = "small", f"{PLACE}/small", str(count)
        times = [(bench.native(*work), bench.ours(link, *work)[0]) for _ in range(bench.args.rounds)]
        print_row([link] + [spread([t * 1000 / count for t in column], 0) for column in zip(*times)])


def report_large(bench):
    print(f"\n{MIB} MiB read or written, ms; what of the link that is; peak memory in KiB.\n")
    print_header(["work", "link", "in the target", "plain copy", "from here", "plain copy / from here", "supervisor", "agent"])
    for work, name in ("write", "new"), ("read", "large"):
        for link in LINKS:
            rows = []
            for _ in range(bench.args.rounds):
                bench.native(work, f"{PLACE}/{name}", str(MIB))
                native = bench.native(work, f"{PLACE}/{name}", str(MIB))
                plain = bench.plain(link, work, name)
                rows.append((native, plain) + bench.ours(link, work, f"{PLACE}/{name}", str(MIB)))
            native, plain, ours, supervisor, agent = zip(*rows)
            print_row([work, link, spread(native, 0), spread(plain, 0), spread(ours, 0),
                       spread([p / o for p, o in zip(plain, ours)]), f"{max(supervisor):,}", f"{max(agent):,}"])


def local_tools(bench):
    pid = f"pid:{bench.target}"
    return {
        "native": [],
        "--fs-mode local": bench.trace("-t", pid, "--fs-mode", "local"),
        "files": bench.trace("-t", pid),
        "files, ptrace": bench.trace("-t", pid, "--engine", "ptrace"),
    }


def report_local_calls(bench):
    tools = local_tools(bench)
    print("\nstat of /dev/null, and open and close of it: speed, native = 1.\n")
    print_header(["work", "native ops/s"] + list(tools)[1:])
    for work in "stat", "open":
        results = measure_work(bench.args, tools, work, None)
        native = statistics.median(r[0] for r in results["native"])
        print_row([work, f"{native:,.0f}"] + [to_native(results, name) for name in list(tools)[1:]])


def make_tree(top):
    for i in range(DIRECTORIES):
        os.makedirs(f"{top}/{i}")
        for j in range(FILES):
            with open(f"{top}/{i}/{j}", "w") as f:
                f.write(f"{i} {j}\n")
    git = ["git", "-C", top, "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for words in ["init", "-q"], ["add", "."], ["commit", "-qm", "all"]:
        subprocess.run(git + words, check=True)


def report_local_programs(bench):
    tree = f"{bench.scratch}/tree"
    make_tree(tree)
    tools = local_tools(bench)
    programs = {"true": ["true"], "find": ["find", tree], "git status": ["git", "-C", tree, "status"]}
    print(f"\nPrograms on a local tree of {DIRECTORIES * FILES:,} files, start to end in ms.\n")
    print_header(["program"] + list(tools))
    for name, program in programs.items():
        times = {tool: [] for tool in tools}
        for _ in range(bench.args.rounds):
            for tool, prefix in tools.items():
                times[tool].append(timed(prefix + program, None))
        print_row([name] + [spread(values, 1) for values in times.values()])


def main():
    args = arguments(__doc__)
    args.trace = os.path.abspath(args.trace)
    scratch = tempfile.mkdtemp(dir="/dev/shm")
    try:
        with target_with_files() as target:
            bench = Bench(args, target, scratch)
            report_small(bench)
            report_large(bench)
            report_local_calls(bench)
            report_local_programs(bench)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
