#!/bin/bash
# UDP ports of the target, as a client of the agent has them.
. "$(dirname "$0")/../lib.sh"
target_start
export CLIENT_IP=$client_ip

agent() { # FEATURES-TO-DO-WITHOUT
	MIRRORD_TRACE_DISABLE=$1 "$mirrord_agent" -v --target "pid:$target" --listen unix:$T/agent >$T/agent.out 2>$T/agent.err &
	agent=$!
	await grep -q ready $T/agent.out || fail "the agent is ready" <$T/agent.err
}

udp() { # MODE
	timeout "$PATIENCE" $python "$here/agent_udp.py" $T/agent "$target" "$client" $target_ip $target_ip6 "$1" 2>&1
}

answers_of() { # NAME ADDRESS
	echo "the guest: $1 from the sender"
	for size in 0 1 1472 60000; do
		echo "an answer of $size bytes from $2 5300"
	done
}

agent ""
is "a stolen UDP port" "$(udp steal)" "the pod: before
open: 0 sk_lookup
$(answers_of IPv4 $target_ip)
$(answers_of IPv6 $target_ip6)
$(answers_of loopback 127.0.0.1)
$(answers_of loopback6 ::1)
the pod's connected socket: connected
again: Address already in use - udp port 5300 (IPv4) of the target is stolen already; end that session, or mirror
the pod: after"

copy_of() { # NAME
	echo "the guest: $1 from the sender
the pod: $1
it hears: from the pod"
}

is "a mirrored UDP port" "$(udp mirror)" "the pod: before
open: 0 packet ring
$(copy_of IPv4)
$(copy_of IPv6)
$(copy_of loopback)
$(copy_of loopback6)
somebody else hears: elsewhere
the peer hears: the pod alone"

client nft -f - <<-END
	table ip filter {
		chain input {
			type filter hook input priority 0
			udp dport 5300 udp length > 500 reject with icmp type admin-prohibited
		}
	}
END
is "a refused datagram takes no other with it" "$(udp refused)" "the peer hears: one
refused: No route to host by $client_ip 5300
the peer hears: two
refused: No route to host by $client_ip 5300"
client nft delete table ip filter
kill $agent
ends "the agent ends" $agent 0
nothing_left "after it"
finish
