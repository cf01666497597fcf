#!/bin/bash
# Many connections and many bytes; each byte is checked at both ends (test/guest/load.c).
PATIENCE=${PATIENCE:-60}
. "$(dirname "$0")/../lib.sh"
target_start

load=$guests/glibc/load
mib=$((1 << 20)) gib=$((1 << 30))

# serve MODE COUNT: the guest; in mirror mode the target has a server of its own.
serve() {
	ports
	if [ "$1" = mirror ]; then
		: >target.out
		in_target "$load" serve $port "$2" >target.out &
		target_server=$!
		await says target.out ready
	fi
	trace --incoming "$1" -- "$load" serve $port "$2"
	await says out ready || fail "the guest serves" <err
}

# served NAME WANTED: the guest has served its COUNT and says what it saw.
served() {
	await gone $tracer || kill -TERM $tracer
	status_of $tracer
	is "$1" "$(sed 1d out; cat err)" "$2"
}

run() { client "$load" run $target_ip $port "$@" 2>&1; }

# ---- steal ------------------------------------------------------------------------------------------

serve steal 10603
is "steal: 10,000 connections one after the other" "$(run both 10000 1 1000)" "10000 connections right, 0 wrong"
is "steal: 500 connections at once" "$(run both 500 500 100000)" "500 connections right, 0 wrong"
is "steal: 1 GiB to the guest" "$(run sink 1 1 $gib)" "1 connections right, 0 wrong"
is "steal: 1 GiB from the guest" "$(run source 1 1 $gib)" "1 connections right, 0 wrong"
is "steal: 64 MiB there and back at once" "$(run both 1 1 $((64 * mib)))" "1 connections right, 0 wrong"
is "steal: IPv6" "$(client "$load" run $target_ip6 $port both 100 10 10000 2>&1)" "100 connections right, 0 wrong"
served "steal: the guest has seen the same" "size $gib received $gib: complete
served 10603 connections, 0 wrong"

# A guest whose accept queue is full: nothing is lost, and the order is kept.
ports
trace --steal -- $python -c "
import socket, time
listener = socket.create_server(('', $port), backlog=1)
print('ready', flush=True)
time.sleep(1)
print(*(listener.accept()[0].recv(8).decode() for _ in range(200)))"
await says out ready
client $python -c "
import socket
for i in range(200):
    socket.create_connection(('$target_ip', $port)).sendall(b'%d' % i)"
served "steal: 200 connections for a guest that accepts late" "$(echo {0..199})"

# ---- mirror -----------------------------------------------------------------------------------------

serve mirror 10500
is "mirror: 10,000 connections, 500 a second: the client sees the target" "$(run sink 10000 1 2000 1)" \
	"10000 connections right, 0 wrong"
is "mirror: 500 at once: the client sees the target" "$(run sink 500 500 10000)" \
	"500 connections right, 0 wrong"
served "mirror: the guest has got each of them whole" "served 10500 connections, 0 wrong"

serve mirror 1
is "mirror: 1 GiB at 60 MB/s: the client sees the target" "$(run sink 1 1 $gib 60)" \
	"1 connections right, 0 wrong"
served "mirror: 1 GiB at 60 MB/s: the guest has all of it" "size $gib received $gib: complete
served 1 connections, 0 wrong"

# A guest that does not keep up gets the beginning and then a reset; the gap is said.
serve mirror 1
guest=$(ps -o pid=,comm= --ppid $tracer | awk '$2 == "load" { print $1 }')
kill -STOP "$guest"
is "mirror of a guest that sleeps: the client is not held up" "$(run sink 1 1 $((256 * mib)))" \
	"1 connections right, 0 wrong"
kill -CONT "$guest"
await gone $tracer || kill -TERM $tracer
like "mirror of a guest that slept: it gets the beginning only" "$(cat out)" \
	"ready
size $((256 * mib)) received [0-9]*: the beginning of it
served 1 connections, 1 wrong"
like "mirror of a guest that slept: the gap is said once" "$(cat err)" "mirrord-trace: *"
is "mirror of a guest that slept: in one line" "$(wc -l <err)" 1

# ---- connections that the guest opens -----------------------------------------------------------------------

is "2,000 refusals, each asked for when all have come" "$(under -- $python -c "
import collections, errno, select, socket
waiting, poll = {}, select.epoll()
for _ in range(2000):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(('$target_ip', 1))
    waiting[s.fileno()] = s
    poll.register(s, select.EPOLLOUT | select.EPOLLONESHOT)
ended = 0
while ended < len(waiting):
    ended += len(poll.poll())
print(*collections.Counter(errno.errorcode[s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]
    for s in waiting.values()).items())" 2>&1)" "('ECONNREFUSED', 2000)"

# Closed while they connect: the agent's sockets are closed, too.
client ip addr add 10.77.0.9/24 dev client0
client nft -f - <<-END
	table ip hole {
		chain input {
			type filter hook input priority 0
			ip daddr 10.77.0.9 tcp flags syn drop
		}
	}
END
trace --incoming off -- $python -c "
import socket, sys
for _ in range(1000):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(('10.77.0.9', 80))
    s.close()
print('closed', flush=True)
socket.create_server(('127.0.0.1', 0)).accept()"
await says out closed
connecting() { in_target ss -Htn state syn-sent | grep -q .; }
not_connecting() { ! connecting; }
ok "1,000 connects that are given up: none stays" await not_connecting
kill $tracer
status_of $tracer

wait "$target_server"
nothing_left "after all of it"
finish
