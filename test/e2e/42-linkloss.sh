#!/bin/bash
# The link is lost under a guest that has connections out: what each --on-link-loss makes of them.
. "$(dirname "$0")/../lib.sh"
target_start

# Connects to this address wait: it drops each SYN.
client ip addr add 10.77.0.9/24 dev client0
client nft add table ip hole
client nft add chain ip hole input '{ type filter hook input priority 0; }'
client nft add rule ip hole input ip daddr 10.77.0.9 tcp flags syn drop

agent() {
	rm -f agent.sock
	"$mirrord_agent" --target "pid:$target" --listen unix:$T/agent.sock >agent.out 2>&1 &
	agent=$!
	await says agent.out "agent ready"
}

# guest POLICY [steal]: sock, which is told what to do by `tell`.
guest() {
	agent
	: | tee $T/out >$T/err
	mkfifo orders
	"$mirrord_trace" --engine "$ENGINE" --agent unix:$T/agent.sock --incoming "${2:-off}" \
		--on-link-loss "$1" -- \
		"$guests/glibc/sock" <orders >out 2>err &
	tracer=$!
	exec 7>orders
	rm orders
	answers=0
}

# order CALL...: it shall do that.  hears NAME WANTED: what came of it.  tell NAME WANTED CALL...: both.
order() { echo "$*" >&7 && answers=$((answers + 1)); }
answer() { sed -n "${answers}p" out; }
answered() { [ "$(wc -l <out)" -ge "$answers" ]; }
tell() {
	order "${@:3}"
	hears "$1" "$2"
}
hears() {
	await answered
	like "$1" "$(answer)" "$2"
}

# connections POLICY: one that is open and one that is under way.
connections() {
	tell "$1: a connection" "3" socket k inet stream
	tell "$1: a connection" "0" connect k 127.0.0.1:80
	tell "$1: one under way" "4" socket p inet "stream|nonblock"
	tell "$1: one under way" "-1 EINPROGRESS" connect p 10.77.0.9:80
}

lose() {
	kill -KILL $agent
	wait $agent 2>/dev/null
	await says err lost
}

# ---- fail ---------------------------------------------------------------------------------------------------

guest fail
connections fail
tell "fail: a datagram socket" "5" socket u inet dgram
tell "fail: a datagram socket" "0" connect u 10.77.0.1:9
lose
tell "fail: the open connection is reset" "1 IN ERR HUP" pollall k IN,ERR,HUP
tell "fail: the open connection is reset" '"" ECONNRESET' recv k
tell "fail: the one under way ends" "1 OUT ERR HUP" pollall p OUT,ERR,HUP
tell "fail: the one under way ends" "0 value ENETUNREACH" option p error
tell "fail: a new one" "6" socket n inet stream
tell "fail: a new one" "-1 ENETUNREACH" connect n 127.0.0.1:80
tell "fail: a new one, non-blocking" "7" socket m inet "stream|nonblock"
tell "fail: a new one, non-blocking" "-1 ENETUNREACH" dial m 127.0.0.1:80
tell "fail: a new datagram socket" "8" socket v inet dgram
tell "fail: a new datagram socket" "-1 ENETUNREACH" connect v 10.77.0.1:9
tell "fail: a local one" "0" close v
tell "fail: a local one" "8" socket l inet stream
tell "fail: a local one" "0" bind l 127.0.0.1:20099
tell "fail: a local one" "0" listen l 8
tell "fail: a local one" "9" socket q inet stream
tell "fail: a local one" "0" connect q 127.0.0.1:20099
is "fail: one line" "$(grep -c '^mirrord-trace: .*lost' err) of $(wc -l <err)" "1 of 1"
order exit 5
ends "fail: the guest's own status" $tracer 5
exec 7>&-
nothing_left fail

# ---- end ----------------------------------------------------------------------------------------------------

guest end
connections end
lose
ends "end: status" $tracer 125
is "end: one line" "$(grep -c '^mirrord-trace: .*lost' err) of $(wc -l <err)" "1 of 1"
exec 7>&-
nothing_left end

# ---- reconnect ----------------------------------------------------------------------------------------------

guest reconnect
connections reconnect
lose
tell "reconnect: the open connection is reset" "1 IN ERR HUP" pollall k IN,ERR,HUP
tell "reconnect: a new one waits" "5" socket n inet stream
order connect n 127.0.0.1:80
agent
hears "reconnect: for the new link" "0"
tell "reconnect: the one under way is so still" "0" poll p OUT 0
client nft delete table ip hole
tell "reconnect: it is asked for again" "1 OUT ERR HUP" pollall p OUT,ERR,HUP
tell "reconnect: it is asked for again" "0 value ECONNREFUSED" option p error
tell "reconnect: the new one" "0 127.0.0.1:80 len 16" getpeername n
is "reconnect: the link's loss is said once" "$(grep -c '^mirrord-trace: .*lost' err)" 1
order exit 6
ends "reconnect: the guest's own status" $tracer 6
exec 7>&-
kill -KILL $agent
wait $agent 2>/dev/null
nothing_left reconnect

# Twice, and with a listener.
guest reconnect steal
tell "reconnect: a listener" "3" socket l inet stream
tell "reconnect: a listener" "0" bind l 0.0.0.0:8001
tell "reconnect: a listener" "0" listen l 8
tell "reconnect: another" "4" socket m inet stream
tell "reconnect: another" "0" bind m 0.0.0.0:8002
lose
agent
await says err "link to the agent is back"
: >err
lose
order listen m 8
agent
hears "reconnect: a listen waits for the new link" "0"
client socat -u TCP:$target_ip:8001 - >/dev/null 2>&1 &
order accept l a
hears "reconnect: the first is reached" "5 10.77.0.1*"
client socat -u TCP:$target_ip:8002 - >/dev/null 2>&1 &
order accept m b
hears "reconnect: the other, too" "6 10.77.0.1*"
order exit 0
ends "reconnect: the guest's own status" $tracer 0
exec 7>&-
kill -KILL $agent
wait $agent 2>/dev/null
nothing_left "reconnect, twice"
finish
