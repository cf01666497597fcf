#!/bin/bash
# Unix sockets of the target, by path and by abstract name; those that are not asked for stay here.
. "$(dirname "$0")/../lib.sh"
target_start

# A directory that only the target has, and an abstract name that only its network namespace has.
in_target mount -t tmpfs tmpfs /mnt
in_target $python "$here/guest/unixd.py" /mnt >unixd.out 2>&1 &
await says unixd.out ready

processes >$T/known

guest() { # OPTION...
	"$mirrord_trace" --engine "$ENGINE" -t "pid:$target" "$@" -- $python "$here/guest/unix.py" /mnt
}

wanted=$(in_target $python "$here/guest/unix.py" /mnt 2>&1)
like "the target's own program finds them" "$wanted" "*same*same*same*same*"
is "a guest finds the same" "$(guest --unix-remote '^(/mnt/|@test/)' 2>&1)" "$wanted"
like "without being asked for, they are not found" "$(guest 2>&1)" "'/mnt/stream' 1 connect ENOENT*"
like "--no-outgoing keeps them here" "$(guest --no-outgoing --unix-remote . 2>&1)" "'/mnt/stream' 1 connect ENOENT*"

# A local one beside: only what the expression matches is remote.
mkdir -p local
$python "$here/guest/unixd.py" $T/local >local.out 2>&1 &
local=$!
await says local.out ready
like "a local one stays local" \
	"$("$mirrord_trace" --engine "$ENGINE" -t "pid:$target" --unix-remote ^/mnt/ -- \
		socat -u OPEN:/dev/null "UNIX-CONNECT:$T/local/stream" 2>&1 && echo fine)" fine
kill $local
await gone $local

# A signal while the agent has not answered: the call is interrupted or starts again, as the kernel would.
ok "connects under a storm of signals" "$mirrord_trace" --engine "$ENGINE" -t "pid:$target" --unix-remote ^/mnt/ -- \
	$python -c '
import signal, socket
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for i in range(300):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect("/mnt/stream")
        s.sendall(b"x")
        assert s.recv(1) == b"x"
signal.setitimer(signal.ITIMER_REAL, 0)
'

nothing_left "after all of them"
finish
