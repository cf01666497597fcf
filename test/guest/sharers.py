#!/usr/bin/python3
"""sharers: processes that have one file open at the same time, each with bytes of its own in it.

    sharers.py append|append-anew|slots FILE

They add to it, with one descriptor or another each time; or write to places of their own, and read what they
have written. Each record is in the file once, at the end. What is missing or wrong is said.
"""

import os
import sys

WRITERS = 6
RECORDS = 50
SIZE = 9


def record(writer, i):
    return b"%3d %4d\n" % (writer, i)


def append(path, writer, every):
    fd = -1
    for i in range(RECORDS):
        if i % every == 0:
            if fd >= 0:
                os.close(fd)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(fd, record(writer, i))


def slots(path, writer):
    fd = -1
    for i in range(RECORDS):
        if fd < 0:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        at = (writer * RECORDS + i) * SIZE
        os.pwrite(fd, record(writer, i), at)
        for before in range(min(i, 1) + 1):
            got = os.pread(fd, SIZE, at - before * SIZE)
            if got != record(writer, i - before):
                print(f"writer {writer}, record {i - before}: reads {got}")
        if i % 7 == 0:
            os.close(fd)
            fd = -1


def fork(work, *arguments):
    pid = os.fork()
    if pid == 0:
        work(*arguments)
        sys.stdout.flush()
        os._exit(0)
    return pid


def main(how, path):
    if how == "slots":
        pids = [fork(slots, path, writer) for writer in range(WRITERS)]
    else:
        pids = [fork(append, path, writer, 1 if how == "append-anew" else RECORDS) for writer in range(WRITERS)]
    for pid in pids:
        os.waitpid(pid, 0)
    with open(path, "rb") as f:
        got = f.read().splitlines(keepends=True)
    wanted = [record(writer, i) for writer in range(WRITERS) for i in range(RECORDS)]
    if sorted(got) != sorted(wanted):
        print(f"{len(got)} records, {len(set(wanted) - set(got))} missing")
    print("end")


main(*sys.argv[1:])
