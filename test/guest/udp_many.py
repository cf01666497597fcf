"""udp_many: many UDP sockets, as resolvers and servers have them, against an echo server.

    udp_many echo ADDRESS PORT     answer everything
    udp_many run ADDRESS PORT N    N sockets one after the other; many at once; one with many peers

What the program's parent (the supervisor) takes meanwhile is said in words, not in numbers.
"""

import os
import resource
import socket
import sys
import time

FEW = 200  # descriptors that are the supervisor's own
GROWTH_KB = 4096
CONNECTED = 1500
PEERS = 600


def echo(address):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(address)
    print("ready", flush=True)
    while True:
        data, peer = server.recvfrom(65536)
        server.sendto(data, peer)


def ask(address, text):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(address)
        return exchange(s, text)


def exchange(s, text):
    s.settimeout(20)
    s.send(text)
    return s.recv(100) == text


def resident_kb():
    with open(f"/proc/{os.getppid()}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def descriptors():
    return len(os.listdir(f"/proc/{os.getppid()}/fd"))


def come_down():
    end = time.monotonic() + 20
    while descriptors() > FEW and time.monotonic() < end:
        time.sleep(0.02)
    return "few" if descriptors() <= FEW else f"{descriptors()}"


def short_lived(address, n):
    right = sum(ask(address, b"%d" % i) for i in range(n // 4))
    before = resident_kb()
    right += sum(ask(address, b"%d" % i) for i in range(n // 4, n))
    grown = resident_kb() - before
    print(f"one after the other: {right} right")
    print("memory:", "flat" if grown < GROWTH_KB else f"grown by {grown} kB")
    print("descriptors:", come_down())


def connected_at_once(address):
    sockets = []
    for _ in range(CONNECTED):
        sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sockets[-1].connect(address)
    many = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for port in range(PEERS):
        many.sendto(b"nobody", (address[0], 10000 + port))
    for _ in range(3):
        print("another socket with many peers:", ask(address, b"another"))
    right = sum(exchange(s, b"%d" % i) for i, s in enumerate(sockets))
    print(f"connected at once: {right} right")
    for s in sockets:
        s.close()
    many.close()
    print("descriptors:", come_down())


def main():
    address = (sys.argv[2], int(sys.argv[3]))
    if sys.argv[1] == "echo":
        echo(address)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    short_lived(address, int(sys.argv[4]))
    connected_at_once(address)


main()
