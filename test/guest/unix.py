# unix.py: connects to unix sockets of the target, and prints what comes of it.
import errno, hashlib, os, socket, sys

STREAM, SEQPACKET = socket.SOCK_STREAM, socket.SOCK_SEQPACKET


def name(error):
    return errno.errorcode.get(error, error)


def attempt(kind, path, blocking=True):
    s = socket.socket(socket.AF_UNIX, kind)
    s.setblocking(blocking)
    print(repr(path), kind, "connect", name(s.connect_ex(path)))
    s.setblocking(True)
    if kind == STREAM:
        print("again", name(s.connect_ex(path)))
    return s


def names(s):
    print("names", repr(s.getsockname()), repr(s.getpeername()))


def stream(path, blocking=True, is_link=False):
    with attempt(STREAM, path, blocking) as s:
        if not is_link:
            names(s)
        big = os.urandom(1 << 20)
        s.sendall(b"hello\n")
        print(s.recv(100))
        pid = os.fork()
        if pid == 0:
            s.sendall(big)
            s.shutdown(socket.SHUT_WR)
            os._exit(0)
        got = b""
        while piece := s.recv(65536):
            got += piece
        os.waitpid(pid, 0)
        print("same" if got == big else "other", len(got))


def packets(path):
    with attempt(SEQPACKET, path) as s:
        names(s)
        for n in (1, 100, 65536, 100000):
            sent = os.urandom(n)
            s.send(sent)
            got = s.recv(200000)
            print(n, "same" if got == sent else f"other {len(got)}")
        s.send(b"one")
        s.send(b"two")
        print(s.recv(100), s.recv(100))
        s.shutdown(socket.SHUT_WR)
        print(s.recv(100))


dir = sys.argv[1]
stream(dir + "/stream")
stream(dir + "/stream", blocking=False)
stream(dir + "/link", is_link=True)
stream("\0test/abstract")
packets(dir + "/packets")
with attempt(STREAM, dir + "/nobody"), attempt(STREAM, dir + "/absent"), attempt(STREAM, dir + "/file"):
    pass
with attempt(SEQPACKET, dir + "/stream"):
    pass
with attempt(STREAM, "\0test/absent"):
    pass
