"""A client of the agent, made by hand: UDP ports of the target, stolen and mirrored.

agent_udp.py SOCKET TARGET CLIENT TARGET_IP TARGET_IP6 steal|mirror|refused: the agent's unix socket, and the
pids whose network namespaces are the target's and a client's of the target. Prints what it sees."""
import ctypes
import os
import socket
import struct
import sys

PORT = 5300
PATIENCE = 10
HELLO, NOTICE, RESET, UDP_OPEN, UDP_OPENED, UDP_CONNECT, UDP_CONNECTED, DATAGRAM, UDP_ERROR = \
    1, 4, 0x24, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45
MODES = {"off": 0, "mirror": 1, "steal": 2}


def pack_addr(ip, port):
    if ":" in ip:
        return struct.pack("!BHI", 6, port, 0) + socket.inet_pton(socket.AF_INET6, ip)
    return struct.pack("!BHI", 4, port, 0) + socket.inet_pton(socket.AF_INET, ip)


def unpack_addr(b):
    family, port, _ = struct.unpack("!BHI", b[:7])
    n = 16 if family == 6 else 4
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    return (socket.inet_ntop(kind, b[7:7 + n]), port), b[7 + n:]


class Link:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(PATIENCE)
        self.s.connect(path)
        self.send(HELLO, 0, struct.pack("!IHQQHH", 0x6D747263, 3, 0, 0, 0, 0))
        self.expect(HELLO)

    def send(self, kind, channel, body=b""):
        self.s.sendall(struct.pack("!IBxxxI", len(body), kind, channel) + body)

    def read(self, n):
        data = b""
        while len(data) < n:
            part = self.s.recv(n - len(data))
            if not part:
                raise SystemExit("the agent has closed the link")
            data += part
        return data

    def expect(self, kind):
        n, got, channel = struct.unpack("!IBxxxI", self.read(12))
        body = self.read(n)
        if got == NOTICE:
            raise SystemExit("notice: " + body[2:].decode())
        assert got == kind, f"message {got:#x}, not {kind:#x}"
        return channel, body

    def udp_open(self, channel, mode, ip, port):
        family = 6 if ":" in ip else 4
        self.send(UDP_OPEN, channel, struct.pack("!BB", MODES[mode], family) + pack_addr(ip, port))
        _, body = self.expect(UDP_OPENED)
        _, rest = unpack_addr(body[4:])
        return struct.unpack("!I", body[:4])[0], rest[2:].decode()

    def datagram(self):
        _, body = self.expect(DATAGRAM)
        return unpack_addr(body)

    def answer(self, channel, peer, data):
        self.send(DATAGRAM, channel, pack_addr(*peer) + data)


def in_namespace(pid, family):
    """A UDP socket there."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    assert libc.setns(there, 0) == 0
    s = socket.socket(family, socket.SOCK_DGRAM)
    assert libc.setns(here, 0) == 0
    s.settimeout(PATIENCE)
    return s


def refused(path, client):
    """The packet filter at the peer refuses what is long. Both datagrams reach the agent at once, so that the
    kernel tells it of the first when it sends the second."""
    channel = 0x80000001
    peer = in_namespace(client, socket.AF_INET)
    peer.settimeout(PATIENCE)
    peer.bind((os.environ["CLIENT_IP"], PORT))
    to = pack_addr(*peer.getsockname())
    link = Link(path)
    link.udp_open(channel, "off", "0.0.0.0", 0)
    link.send(UDP_CONNECT, channel, to)
    link.expect(UDP_CONNECTED)
    for text in (b"one", b"two"):
        long = to + bytes(1000)
        short = to + text
        link.s.sendall(b"".join(struct.pack("!IBxxxI", len(b), DATAGRAM, channel) + b for b in (long, short)))
        print("the peer hears:", peer.recv(100).decode())
        _, body = link.expect(UDP_ERROR)
        who, _ = unpack_addr(body[4:])
        print("refused:", os.strerror(struct.unpack("!I", body[:4])[0]), "by", *who)


def main():
    path, target, client, ip, ip6, mode = sys.argv[1:]
    if mode == "refused":
        refused(path, client)
        return
    channel = 0x80000001
    server = in_namespace(target, socket.AF_INET6)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", PORT))
    peer = in_namespace(client, socket.AF_INET)
    peer.connect((ip, PORT))
    peer.send(b"before")
    print("the pod:", server.recv(100).decode())

    link = Link(path)
    print("open:", *link.udp_open(channel, mode, "::", PORT))
    for name, pid, family, to in (("IPv4", client, socket.AF_INET, ip), ("IPv6", client, socket.AF_INET6, ip6),
                                  ("loopback", target, socket.AF_INET, "127.0.0.1"),
                                  ("loopback6", target, socket.AF_INET6, "::1")):
        s = in_namespace(pid, family)
        s.sendto(name.encode(), (to, PORT))
        who, data = link.datagram()
        print("the guest:", data.decode(), "from the sender" if who[1] == s.getsockname()[1] else who)
        if mode == "mirror":
            data, who = server.recvfrom(100)
            print("the pod:", data.decode())
            server.sendto(b"from the pod", who)
            print("it hears:", s.recv(100).decode())
            continue
        for size in (0, 1, 1472, 60000):
            link.answer(channel, who, b"x" * size)
            data, source = s.recvfrom(65536)
            print("an answer of", len(data), "bytes from", *source[:2])

    if mode == "mirror":
        # An answer of a mirror never leaves; something else to somebody else does.
        peer.send(b"once more")
        who, _ = link.datagram()
        other = in_namespace(client, socket.AF_INET)
        other.bind(("", 0))
        link.answer(channel, who, b"from the guest")
        link.answer(channel, (os.environ["CLIENT_IP"], other.getsockname()[1]), b"elsewhere")
        print("somebody else hears:", other.recv(100).decode())
        server.sendto(b"the pod alone", server.recvfrom(100)[1])
        print("the peer hears:", peer.recv(100).decode())
    else:
        own = in_namespace(target, socket.AF_INET)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind((ip, 0))
        own.connect((os.environ["CLIENT_IP"], peer.getsockname()[1]))
        peer.connect(own.getsockname())
        peer.send(b"connected")
        print("the pod's connected socket:", own.recv(100).decode())
        error, text = link.udp_open(channel + 1, mode, "0.0.0.0", PORT)
        print("again:", os.strerror(error), "-", text)
        link.send(RESET, channel, bytes(4))
        link.udp_open(channel + 2, "steal", "0.0.0.0", PORT + 1)  # so the reset has been seen
        peer.connect((ip, PORT))
        peer.send(b"after")
        print("the pod:", server.recv(100).decode())


main()
