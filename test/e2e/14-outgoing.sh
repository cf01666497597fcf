#!/bin/bash
# The oracle for connections that the guest opens: they leave from the target, and look so.
#   ONLY=text: only the scenarios that have it in their name
. "$(dirname "$0")/../lib.sh"
target_start

# What scenarios/outgoing counts on. An unanswered ARP request shall be given up soon.
in_target ip -batch - <<-END
	route add unreachable 10.98.0.0/24
	route add prohibit 10.97.0.0/24
END
in_target sysctl -q net.ipv4.neigh.target0.mcast_solicit=1 net.ipv4.neigh.target0.retrans_time_ms=200
client ip -batch - <<-END
	addr add 10.77.0.9/24 dev client0
	addr add fd77::9/64 dev client0 nodad
END
client nft -f - <<-END
	table inet hole {
		chain input {
			type filter hook input priority 0
			ip daddr 10.77.0.9 tcp flags syn drop
			ip6 daddr fd77::9 tcp flags syn drop
		}
	}
END

scenarios=$here/e2e/scenarios/outgoing
while IFS=$'\t' read -r name where; do
	[[ $name == *${ONLY:-}* ]] || continue
	variants=("glibc --steal" "musl --steal")
	[ "$where" = steal ] || variants+=("glibc --incoming off")
	same "$scenarios" "$name" "${variants[@]}"
done < <("$here/converse" --list "$scenarios")

nothing_left "after all of them"
finish
