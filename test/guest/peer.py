# peer.py HOST PORT: sends 64 MiB, or reads to the end and answers with the sum; a connection that is
# to wait is not read before another has been read to its end.
import hashlib, socket, sys, threading

SIZE = 64 << 20
done = threading.Event()


def serve(conn):
    with conn:
        order = conn.recv(5)
        if order == b"send\n":
            for i in range(SIZE >> 16):
                conn.sendall(i.to_bytes(4, "big") * (1 << 14))
            return
        if order == b"wait\n":
            done.wait()
        digest = hashlib.sha256()
        while piece := conn.recv(1 << 20):
            digest.update(piece)
        conn.sendall(digest.digest())
        done.set()


listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
