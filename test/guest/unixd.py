# unixd.py: echoes what comes by unix sockets in a directory, and by an abstract name.
import os, socket, sys, threading

dir = sys.argv[1]


def echo(conn, kind):
    with conn:
        while data := conn.recv(200000):
            conn.sendall(data) if kind == socket.SOCK_STREAM else conn.send(data)


def serve(kind, path):
    s = socket.socket(socket.AF_UNIX, kind)
    s.bind(path)
    s.listen(16)
    while True:
        threading.Thread(target=echo, args=(s.accept()[0], kind), daemon=True).start()


def start(*args):
    threading.Thread(target=serve, args=args, daemon=True).start()


socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).bind(dir + "/nobody")
open(dir + "/file", "w").close()
os.symlink(dir + "/stream", dir + "/link")
start(socket.SOCK_STREAM, dir + "/stream")
start(socket.SOCK_SEQPACKET, dir + "/packets")
start(socket.SOCK_STREAM, "\0test/abstract")
print("ready", flush=True)
threading.Event().wait()
