#!/bin/bash
# A file system of the target that has stopped answering holds up the agent (mirrord-agent(8), CAVEATS). What was held up
# goes on when it gives way; and who does not wait for that ends all the same.
. "$(dirname "$0")/../lib.sh"
target_root
provide "$here/guest/stuckfs.py" stuckfs.py
mkdir $root/srv/work/stuck

# stick: $stuck is its server.
stick() {
	rm -f stuck.out
	nsenter --target "$target" --net --mount --pid --uts --root --wd \
		$python $T/bin/stuckfs.py /srv/work/stuck >stuck.out 2>&1 &
	disown
	ok "$1: the file system is there" await says stuck.out mounted
	child_of $! && stuck=$child
}
unstick() {
	kill -KILL "$stuck"
	await gone "$stuck"
	in_root umount /srv/work/stuck
}
# looks: a guest that has a connection to the client, and asks for a file in there.
looks() {
	# shellcheck disable=SC2046
	$(beneath_root --fs-mode write) $python $T/looks.py "$client_ip" $port >out 2>err &
	tracer=$!
	ok "$1: the file is asked for" await says stuck.out "asked for file"
}
cat >looks.py <<'END'
import os, socket, sys, threading
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def look():
    try:
        os.stat("/srv/work/stuck/file")
    except OSError as e:
        print(e.strerror, flush=True)
looking = threading.Thread(target=look)
looking.start()
peer.sendall(b"said meanwhile")
print(peer.recv(100).decode(), flush=True)
looking.join()
END
ports
nsenter --target "$client" --net socat TCP-LISTEN:$port,reuseaddr,fork EXEC:cat &
echoes=$!
listens() { client ss -Hltn "sport = :$port" | grep -q .; }
await listens

stick "its server dies"
looks "its server dies"
unstick
ends "its server dies: the guest ends" $tracer 0
is "its server dies: an error is all that there is of it" "$(sort out; cat err)" "Software caused connection abort
said meanwhile"

# The agent is inside a call that not even SIGKILL ends; it is given three times LINK_BYE_MS.
stick "the guest is ended"
looks "the guest is ended"
kill -TERM $tracer
PATIENCE=40 ends "the guest is ended: we end, too" $tracer 143
unstick

kill $echoes
await gone $echoes
nothing_kept "after all of them"
nothing_left "after all of them"
finish
