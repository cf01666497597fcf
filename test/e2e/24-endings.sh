#!/bin/bash
# What ends while other things go on: short children, a guest that answers and exits, a target's server
# that is restarted, workers that listen at the same time.
. "$(dirname "$0")/../lib.sh"
target_start

ports
# shellcheck disable=SC2016  # the guest's shell expands it
trace --steal -- sh -c 'i=0; while [ $i -lt 300 ]; do /bin/true & i=$((i + 1)); done; wait; exit 3'
ends "300 children that end at once" $tracer 3

# ---- a guest that answers and exits -----------------------------------------------------------------

cat >answer.py <<'END'
import os, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", int(sys.argv[1])))
s.listen(5)
print("ready", flush=True)
c, _ = s.accept()
c.recv(1)
c.sendall(b"x" * int(sys.argv[2]))
os._exit(4)
END
for size in 6 2000000; do
	ports
	trace --steal -- $python answer.py $port $size
	await says out ready
	is "a guest sends $size bytes and exits: all arrive" \
		"$(client socat -t 20 - "TCP:$target_ip:$port" < <(printf x) | wc -c)" $size
	ends "a guest sends $size bytes and exits: its status" $tracer 4
done

# ---- the target's own server is restarted -----------------------------------------------------------

cat >bind.py <<'END'
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", int(sys.argv[1])))
s.listen(5)
print("bound")
END
ports
trace --steal -- socat "TCP-LISTEN:$port,fork,reuseaddr" EXEC:cat
await client socat -u /dev/null "TCP:$target_ip:$port"
mkfifo open
client socat - "TCP:$target_ip:$port" <open >echo.out &
exec 8>open
echo held >&8
await says echo.out held
is "the target binds its port while a stolen connection lives" "$(in_target $python $T/bind.py $port 2>&1)" bound
exec 8>&-
kill -TERM $tracer
status_of $tracer
is "the target binds its port after the steal" "$(in_target $python $T/bind.py $port 2>&1)" bound

# ---- workers that listen at the same time -----------------------------------------------------------

cat >prefork.py <<'END'
import os, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", int(sys.argv[1])))
go, start = os.pipe()
for _ in range(8):
    if os.fork() == 0:
        os.close(start)
        os.read(go, 1)  # all begin when the parent closes its end
        try:
            s.listen(16)
            os._exit(0)
        except OSError as e:
            print(e, flush=True)
            os._exit(1)
os.close(start)
print(sum(os.wait()[1] != 0 for _ in range(8)), "failed")
END
for _ in 1 2 3 4 5; do
	ports
	trace --steal -- $python prefork.py $port
	status_of $tracer
	is "8 workers listen on one socket at once" "$(cat out)" "0 failed"
done

nothing_left "after all of them"
finish
