#!/bin/bash
# Whoever dies, however: nothing stays, and the target answers as before.
. "$(dirname "$0")/../lib.sh"
target_start

url=http://$target_ip/
guest_answers() { get "$url" | grep -q "the guest"; }
child_named() { ps -o pid=,comm= --ppid $tracer | awk -v comm="$1" '$2 == comm { print $1 }'; }

stolen() { # [OPTION...]: httpd has port 80 of the target
	trace --steal "$@" -- "$guests/musl/httpd" 80
	await guest_answers || fail "the guest answers" <err
	guest=$(child_named httpd)
	agent=$(child_named mirrord-agent)
}

# A connection that is open while somebody dies; $open is its pid.
open_connection() {
	client socat -u "TCP:$target_ip:80" - >open.out 2>&1 &
	open=$!
	await established
}
established() { [ -n "$(in_target ss -Htn state established "sport = :80")$(ss -Htn state established "sport = :80")" ]; }

for who in supervisor agent guest; do
	for signal in KILL TERM; do
		stolen
		open_connection
		case $who in
		supervisor) kill -$signal $tracer ;;
		agent) kill -$signal "$agent" ;;
		guest) kill -$signal "$guest" ;;
		esac
		status_of $tracer
		status=$?
		number=$(kill -l $signal)
		case $who in
		agent)
			is "$who dies by $signal: exit status" $status 125
			is "$who dies by $signal: one line" "$(grep -c '^mirrord-trace: ' err) of $(wc -l <err)" "1 of 1"
			;;
		*) is "$who dies by $signal: exit status" $status $((128 + number)) ;;
		esac
		await gone $open
		nothing_left "$who dies by $signal"
	done
done

# A guest that does not care for SIGTERM when the agent is gone is killed.
trace --steal -- env --ignore-signal=TERM "$guests/musl/httpd" 80
await guest_answers
kill -KILL "$(child_named mirrord-agent)"
ends "the agent dies under a guest that ignores SIGTERM" $tracer 125
nothing_left "the agent dies under a guest that ignores SIGTERM"

# ---- a terminal's Ctrl-C ---------------------------------------------------------------------------------

setsid $python - "$mirrord_trace" --engine "$ENGINE" -t "pid:$target" --steal -- "$guests/musl/httpd" 80 \
	>out 2>err <<'END' &
import os, pty, signal, sys
pid, master = pty.fork()
if pid == 0:
    signal.signal(signal.SIGINT, signal.SIG_DFL) # the shell ignores it for what it starts with &
    os.execv(sys.argv[1], sys.argv[1:])
while b"ready" not in os.read(master, 1000):
    pass
os.write(master, b"\x03")
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print("Ctrl-C:", status)
END
status_of $!
is "Ctrl-C ends the guest, and us by the same signal" "$(cat out err)" "Ctrl-C: -2"
nothing_left "Ctrl-C"

# ---- several at once ------------------------------------------------------------------------------------

"$mirrord_agent" --target "pid:$target" --listen "unix:$T/agent.sock" >agent.out 2>&1 &
agent=$!
await says agent.out "agent ready"
tracers=()
for i in 1 2 3; do
	"$mirrord_trace" --engine "$ENGINE" --agent "unix:$T/agent.sock" --steal -- \
		"$guests/musl/httpd" $((8000 + i)) >out.$i 2>err.$i &
	tracers+=($!)
	await says out.$i ready
done
for i in 1 2 3; do
	like "three supervisors, one agent: port $((8000 + i))" "$(get http://$target_ip:$((8000 + i))/)" "*the guest*"
done
kill -KILL "${tracers[0]}"
status_of "${tracers[0]}"
refused() { ! get "$1"; }
ok "one of them is killed: its port is free" await refused http://$target_ip:8001/
like "one of them is killed: another goes on" "$(get http://$target_ip:8002/)" "*the guest*"

# The same port twice.
"$mirrord_trace" --engine "$ENGINE" --agent "unix:$T/agent.sock" --steal -- "$guests/glibc/httpd" 8002 >out 2>err
is "a port that somebody steals already: listen fails" $? 1
like "a port that somebody steals already: it says so" "$(grep ^mirrord-trace err)" "mirrord-trace:*8002*"
like "a port that somebody steals already: the first goes on" "$(get http://$target_ip:8002/)" "*the guest*"

# Two agents of their own on one target.
trace --steal -- "$guests/musl/httpd" 8005
await says out ready
"$mirrord_trace" --engine "$ENGINE" -t "pid:$target" --steal -- "$guests/musl/httpd" 8006 >out.6 2>err.6 &
other=$!
await says out.6 ready
like "two agents on one target: the first" "$(get http://$target_ip:8005/)" "*the guest*"
like "two agents on one target: the second" "$(get http://$target_ip:8006/)" "*the guest*"
"$mirrord_trace" --engine "$ENGINE" -t "pid:$target" --steal -- "$guests/glibc/httpd" 8005 >out.7 2>err.7
is "two agents, the same port: listen fails" $? 1
like "two agents, the same port: it says so" "$(grep ^mirrord-trace err.7)" "mirrord-trace:*8005*"

kill -KILL $agent
ends "the shared agent dies: the second supervisor" "${tracers[1]}" 125
ends "the shared agent dies: the third supervisor" "${tracers[2]}" 125
kill -KILL $tracer $other
status_of $tracer
status_of $other
nothing_left "all of them are killed"
finish
