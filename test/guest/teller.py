"""teller.py SIDECAR-PORT DIRECTORY TIMES: changes files, then tells a sidecar in the target of it, and is told what
is there: a change that was made before a byte was sent is there when the byte arrives.

teller.py --sidecar PORT: the sidecar; a line is a path, the answer what is at it."""

import hashlib
import multiprocessing
import os
import socket
import socketserver
import sys


def look(path):
    try:
        with open(path, "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()
    except OSError as e:
        return e.strerror


class Sidecar(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(look(line.rstrip(b"\n")).encode() + b"\n")


class Teller:
    def __init__(self, port, directory, name):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.answers = self.socket.makefile("r")
        self.path = f"{directory}/{name}"
        self.wrong = 0

    def tell(self, path, expected):
        self.socket.sendall(path.encode() + b"\n")
        answer = self.answers.readline().rstrip("\n")
        if answer != (hashlib.sha256(expected).hexdigest() if isinstance(expected, bytes) else expected):
            self.wrong += 1

    def write(self, i):
        content = f"version {i} ".encode() * (i * 37 % 5000)
        with open(self.path, "wb") as f:
            f.write(content)
        self.tell(self.path, content)

    def write_open(self, i):
        """It is told while the file is still open."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        content = os.urandom(i * 131 % 200_000)
        for at in range(0, len(content), 4096):
            os.write(fd, content[at : at + 4096])
        self.tell(self.path, content)
        os.pwrite(fd, b"again", 0)
        self.tell(self.path, b"again" + content[5:])
        os.close(fd)

    def append(self, i):
        with open(self.path + ".log", "ab", buffering=0) as f:
            f.write(b"line\n")
        self.tell(self.path + ".log", b"line\n" * (i + 1))

    def rename(self, i):
        content = b"renamed %d" % i
        with open(self.path + ".tmp", "wb") as f:
            f.write(content)
        os.rename(self.path + ".tmp", self.path + ".new")
        self.tell(self.path + ".new", content)
        self.tell(self.path + ".tmp", "No such file or directory")

    def unlink(self, i):
        with open(self.path + ".gone", "wb") as f:
            f.write(b"x" * i)
        os.unlink(self.path + ".gone")
        self.tell(self.path + ".gone", "No such file or directory")


def run(port, directory, name, times):
    teller = Teller(port, directory, name)
    for what in teller.write, teller.write_open, teller.append, teller.rename, teller.unlink:
        teller.wrong = 0
        for i in range(times):
            what(i)
        print(f"{name} {what.__name__}: {times} times, {teller.wrong} wrong", flush=True)


def relay(port, directory, times):
    """One process writes, another tells: the first lets it go on by a pipe."""
    ours, theirs = multiprocessing.Pipe()
    path = f"{directory}/by-another"

    def writer():
        for i in range(times):
            with open(path, "w") as f:
                f.write(str(i) * 1000)
            theirs.send(i)
            theirs.recv()

    process = multiprocessing.get_context("fork").Process(target=writer)
    process.start()
    teller = Teller(port, directory, "x")
    for i in range(times):
        ours.recv()
        teller.tell(path, (str(i) * 1000).encode())
        ours.send(None)
    process.join()
    print(f"two processes: {times} times, {teller.wrong} wrong")


if __name__ == "__main__":
    if sys.argv[1] == "--sidecar":
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        with socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[2])), Sidecar) as server:
            print("ready", flush=True)
            server.serve_forever()
    port, directory, times = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    run(port, directory, "a", times)
    relay(port, directory, times)
