#!/bin/bash
# Credit: a connection that nobody reads stops only itself.
. "$(dirname "$0")/../lib.sh"
target_start

# A peer for each run: what waits there waits once.
play() { # PORT COMMAND...
	rm -f peer.out
	nsenter --target "$client" --net $python "$here/guest/peer.py" $client_ip "$1" >peer.out 2>&1 &
	local peer=$!
	await says peer.out ready
	timeout 60 "${@:2}" $python "$here/guest/neighbours.py" $client_ip "$1" 2>&1
	kill $peer
	await gone $peer
}

wanted=$(play 7001 nsenter --target "$target" --net --mount --pid --uts)
like "in the target both are served" "$wanted" "*the slow one has sent (32, *"
is "under us both are served, too" \
	"$(play 7002 "$mirrord_trace" --engine "$ENGINE" -t "pid:$target" --incoming off --)" "$wanted"

nothing_left "after both"
finish
