# neighbours.py HOST PORT: two connections; one of them is not read until the other is done, in each
# direction. The peer (peer.py) does as it is told by the first line.
import hashlib, socket, sys

SIZE = 64 << 20
peer = (sys.argv[1], int(sys.argv[2]))


def connect(order):
    s = socket.create_connection(peer)
    s.sendall(order)
    return s


def read_all(s):
    digest, n = hashlib.sha256(), 0
    while piece := s.recv(1 << 20):
        digest.update(piece)
        n += len(piece)
    return n, digest.hexdigest()[:16]


slow, fast = connect(b"send\n"), connect(b"send\n")
print("the neighbour has read", read_all(fast))
print("the slow one has read", read_all(slow))

# The peer reads the first only when the second is done: it says so by what it answers.
slow, fast = connect(b"wait\n"), connect(b"read\n")
slow.setblocking(False)
sent = 0
piece = bytes(1 << 16)
while True:
    try:
        sent += slow.send(piece)
    except BlockingIOError:
        break
for _ in range(SIZE // len(piece)):
    fast.sendall(piece)
fast.shutdown(socket.SHUT_WR)
print("the neighbour has sent", read_all(fast))
slow.setblocking(True)
while sent < SIZE:
    sent += slow.send(piece[: SIZE - sent])
slow.shutdown(socket.SHUT_WR)
print("the slow one has sent", read_all(slow))
