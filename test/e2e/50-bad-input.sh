#!/bin/bash
# What we are told wrong, and a peer that lies: one sentence, 125, nothing left, no guest.
. "$(dirname "$0")/../lib.sh"
target_start

# refuses NAME STATUS WORDS ARGUMENTS...: one line that has the words, and the guest never ran.
refuses() {
	local name=$1 status=$2 words=$3
	shift 3
	rm -f ran
	timeout --signal KILL "$PATIENCE" "$@" >out 2>err </dev/null
	is "$name: exit status" $? "$status"
	like "$name: one sentence" "$(cat err)" "mirrord-trace: *$words*"
	is "$name: in one line, and no guest" "$(wc -l <err) $(cat out)$(find ran 2>/dev/null)" "1 "
}

with=("$mirrord_trace" --engine "$ENGINE")
guest=(-- touch "$T/ran")

refuses "a target process that does not exist" 125 4194303 "${with[@]}" -t pid:4194303 "${guest[@]}"
refuses "a target that is no number" 125 nginx "${with[@]}" -t pid:nginx "${guest[@]}"
refuses "a container that does not exist" 125 feedbeef "${with[@]}" -t container:feedbeef "${guest[@]}"
refuses "a network namespace that does not exist" 125 /run/nowhere "${with[@]}" -t netns:/run/nowhere "${guest[@]}"
refuses "a file that is no namespace" 125 /etc/passwd "${with[@]}" -t netns:/etc/passwd "${guest[@]}"
refuses "a kind of target that we do not know" 125 "moon:1" "${with[@]}" -t moon:1 "${guest[@]}"
refuses "no target" 125 target "${with[@]}" "${guest[@]}"
refuses "no program" 125 "" "${with[@]}" -t "pid:$target"
refuses "an option that we do not know" 125 no-such "${with[@]}" --no-such "${guest[@]}"
refuses "an option without its value" 125 target "${with[@]}" --target
refuses "a mode that we do not know" 125 sometimes "${with[@]}" -t "pid:$target" --incoming sometimes "${guest[@]}"
refuses "an engine that we do not know" 125 steam "$mirrord_trace" --engine steam -t "pid:$target" "${guest[@]}"
refuses "an agent that is not there" 125 /run/nowhere "${with[@]}" --agent unix:/run/nowhere "${guest[@]}"
refuses "an agent's port where nobody listens" 125 127.0.0.1:9 "${with[@]}" --agent tcp:127.0.0.1:9 "${guest[@]}"
refuses "an agent's address that is none" 125 "tcp:x" "${with[@]}" --agent tcp:x "${guest[@]}"

echo data >not-a-program
refuses "a program that is not there" 127 no-such-program "${with[@]}" -t "pid:$target" -- no-such-program
refuses "a path that is not there" 127 /no/such/program "${with[@]}" -t "pid:$target" -- /no/such/program
refuses "a program that is not executable" 126 not-a-program "${with[@]}" -t "pid:$target" -- ./not-a-program
refuses "a program that is a directory" 126 /etc "${with[@]}" -t "pid:$target" -- /etc
# As somebody who may not enter the target. The checkout may be closed to him, so he gets copies.
mkdir -m 755 bin && cp "$mirrord_trace" "$mirrord_agent" bin
refuses "no permission" 125 "$target" setpriv --reuid 65534 --regid 65534 --clear-groups \
	bin/mirrord-trace --engine "$ENGINE" -t "pid:$target" "${guest[@]}"
nothing_left "bad arguments"

# ---- a guest under a guest ------------------------------------------------------------------------------

# (A sanitized build cannot look for leaks in a process that is traced.)
"${with[@]}" -t "pid:$target" -- env ASAN_OPTIONS=detect_leaks=0 \
	"${with[@]}" -t "pid:$target" "${guest[@]}" >out 2>err
is "mirrord-trace under mirrord-trace: exit status" $? 125
like "mirrord-trace under mirrord-trace: says so" "$(cat err)" "mirrord-trace: *"

# ---- a peer that lies, before and after the greeting ------------------------------------------------------

lies() { # NAME LIE: whoever connects to the agent gets this
	rm -f liar.sock liar.out ran
	$python "$here/liar" liar.sock "$2" >liar.out &
	await says liar.out ready
	liar=$!
	refuses "$1" 125 "" "${with[@]}" --agent "unix:$T/liar.sock" "${guest[@]}"
	status_of $liar
}

for lie in nothing garbage truncated huge version magic "control characters" "half an address" \
	"an address of no family"; do
	lies "a peer that sends $lie for a greeting" "$lie"
done

lies "a peer that says nothing" silence
rm -f liar.sock liar.out

# These let the guest start: its listen() gets the lie, and it is ended.
for lie in unknown-message not-zero too-long-a-frame short-body long-body wrong-side; do
	$python "$here/liar" liar.sock $lie >liar.out &
	liar=$!
	await says liar.out ready
	"${with[@]}" --agent "unix:$T/liar.sock" --steal -- "$guests/glibc/httpd" 80 >out 2>err &
	ends "a peer that greets and then sends $lie" $! 125
	# The guest may say something, too, of a listen() that failed.
	is "a peer that greets and then sends $lie: one line" "$(grep -c ^mirrord-trace: err) line" "1 line"
	status_of $liar
	rm -f liar.sock liar.out
done

# ---- a client that lies to the agent ---------------------------------------------------------------------

"$mirrord_agent" --target "pid:$target" --listen "unix:$T/agent.sock" >agent.out 2>agent.err &
agent=$!
await says agent.out "agent ready"
for lie in nothing garbage truncated huge version magic "control characters" \
	unknown-message not-zero too-long-a-frame short-body long-body wrong-side hello-twice; do
	$python "$here/liar" --connect agent.sock "$lie" >liar.out
	is "a client that sends $lie is dropped" "$(cat liar.out)" "closed"
done
: >out
"${with[@]}" --agent "unix:$T/agent.sock" --steal -- "$guests/glibc/httpd" 80 >out 2>err &
tracer=$!
await says out ready
like "after them the agent serves" "$(get)" "*the guest*"
kill -KILL $tracer $agent
status_of $tracer
status_of $agent
nothing_left "peers that lie"
finish
