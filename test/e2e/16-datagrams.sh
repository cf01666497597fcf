#!/bin/bash
# The oracle for datagrams: from the target to whoever it may be, and from there to a bound port.
#   ONLY=text: only the scenarios that have it in their name
. "$(dirname "$0")/../lib.sh"
target_start

in_target ip -batch - <<-END
	route add unreachable 10.98.0.0/24
	route add prohibit 10.97.0.0/24
END
# As many ICMP errors as are due (icmp(7)): what hangs on them shall not depend on the one before.
for place in in_target client; do
	$place sysctl -q net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
done

scenarios=$here/e2e/scenarios/datagrams
while IFS=$'\t' read -r name where; do
	[[ $name == *${ONLY:-}* ]] || continue
	variants=("glibc --steal" "musl --steal")
	[ "$where" = out ] && variants+=("glibc --incoming off")
	same "$scenarios" "$name" "${variants[@]}"
	[ "$where" ] || same_as_server "$scenarios" "$name" glibc
done < <("$here/converse" --list "$scenarios")

nothing_left "after all of them"
finish
