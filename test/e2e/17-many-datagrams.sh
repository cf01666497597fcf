#!/bin/bash
# Many UDP sockets: what they take is given back, and those that are connected stay so.
. "$(dirname "$0")/../lib.sh"
target_start

nsenter --target "$client" --net $python "$here/guest/udp_many.py" echo $client_ip 7001 >peer.out &
peer=$!
await says peer.out ready

under -- $python "$here/guest/udp_many.py" run $client_ip 7001 20000 >out 2>&1
# A sanitizer keeps what was freed.
[[ $BUILD == *address* ]] && sed -i 's/^memory: grown.*/memory: flat/' out
is "20,000 sockets, and 1,500 at once" "$(<out)" "one after the other: 20000 right
memory: flat
descriptors: few
another socket with many peers: True
another socket with many peers: True
another socket with many peers: True
connected at once: 1500 right
descriptors: few"

kill $peer
await gone $peer
nothing_left "after them"
finish
