#!/bin/bash
# A slow link: connects are under way together, and nobody waits for a round trip but who asked to.
# A relay holds back the agent's answers until it is told to let them go (test/guest/delay.c): what needs
# more than the one round trip, or waits where it must not, stands still for ever.
. "$(dirname "$0")/../lib.sh"
target_start

# guest PROGRAM...: in the background, on that link; its standard input is a pipe, orders.
guest() {
	: | tee $T/out >$T/err
	"$mirrord_trace" --engine "$ENGINE" --agent unix:$T/slow.sock --incoming off -- "$@" <orders >out 2>err &
	tracer=$!
}
tell() { kill -"$1" $delay && await says delay.out "$2"; }
mkfifo orders

# ---- many connects, one round trip -------------------------------------------------------------------------

for libc in glibc musl; do
	slow_link
	ports
	# shellcheck disable=SC2016  # the guest's shell expands it
	guest sh -c 'echo ready; read -r go; exec "$@"' sh "$guests/$libc/dial" $client_ip $port 200
	exec 7>orders
	await says out ready
	client "$guests/glibc/load" serve $port 200 >served.out &
	server=$!
	await says served.out ready
	tell USR1 held
	echo go >&7
	ok "200 connects are under way before one is answered ($libc)" await says delay.out "connects: 200"
	ok "the event loop turns meanwhile ($libc)" await says out "200 dialled, 0 ended, 5 pings"
	tell USR2 released
	ok "all of them come to their end ($libc)" await says out "200 ended, 0 failed"
	ends "the guest ends ($libc)" $tracer 0
	exec 7>&-
	is "the server has had 200 clients ($libc)" "$(status_of $server; sed 's/,.*//' served.out)" "ready
served 200 connections"
	end_slow_link
	nothing_left "200 connects ($libc)"
done

# ---- a port that is used again -----------------------------------------------------------------------------

# Closed before it was connected, and its port is the next one's: what is answered late is not the next one's.
slow_link
ports
for n in 1 2; do
	nsenter --target "$client" --net $python -c "
import socket
l = socket.create_server(('$client_ip', $port + $n))
print('ready', flush=True)
try:
    while True:
        l.accept()[0].sendall(b'server $n')
except ConnectionError:
    pass" >server.$n &
	servers[n]=$!
	await says server.$n ready
done
guest $python -c "
import select, socket, sys
def dial(n):
    s = socket.socket()
    s.setblocking(False)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('', $port))
    s.connect_ex(('$client_ip', $port + n))
    return s
print('ready', flush=True)
sys.stdin.readline()
dial(1).close()
s = dial(2)
print('dialled', flush=True)
select.select([s], [], [])
print(s.recv(100).decode(), 'for', s.getpeername()[1] - $port)"
exec 7>orders
await says out ready
tell USR1 held
echo go >&7
await says out dialled
tell USR2 released
ends "a port that is used again: the guest ends" $tracer 0
is "a port that is used again: whom it reaches" "$(tail -n 1 out)" "server 2 for 2"
exec 7>&-
kill "${servers[@]}"
end_slow_link
nothing_left "a port that is used again"
finish
