#!/bin/bash
# Each kernel feature that we can do without is taken away once.
. "$(dirname "$0")/../lib.sh"
target_start

stolen() { get "http://$target_ip/page" | grep -q "the guest"; }
stolen6() { get "http://[$target_ip6]/page" | grep -q "the guest"; }

without() { # FEATURES
	MIRRORD_TRACE_DISABLE=$1 trace --steal -- "$guests/musl/httpd" 80
	ok "without $1: the guest answers" await stolen
	ok "without $1: over IPv6 too" stolen6
	is "without $1: it knows the client" "$(get "http://$target_ip/page")" \
		"httpd, the guest; you are ::ffff:$client_ip"
}

end() { # FEATURES
	kill -KILL $tracer
	status_of $tracer
	nothing_left "without $1, killed"
}

without ""
is "with everything: stolen by sk_lookup" "$(links_in_target | grep -c sk_lookup) $(in_target nft list ruleset | wc -l)" "1 0"
end ""

without sk_lookup
is "without sk_lookup: nft does it" "$(links_in_target | wc -l) $(in_target nft list ruleset | grep -c 'flags owner')" "0 1"
is "without sk_lookup: another port is the target's" "$(client "$guests/glibc/load" run $target_ip 81 sink 1 1 1 2>&1 |
	grep -c refused)" 1
end sk_lookup

# Second ways inside the supervisor.
for feature in ptrace_syscall_info user_notif addfd_send sync_wake_up sock_diag; do
	without $feature
	end $feature
done

# There is no second way for these: it says what is missing and what to do, and starts nothing.
for feature in pidfd_getfd process_vm_readv; do
	MIRRORD_TRACE_DISABLE=$feature trace -- touch ran
	ends "without $feature: exit status" $tracer 125
	like "without $feature: one sentence" "$(cat err)" "mirrord-trace: *$feature*"
	ok "without $feature: no guest" test ! -e ran
done


# ---- a machine without IPv6 ---------------------------------------------------------------------------------

sysctl -qw net.ipv6.conf.all.disable_ipv6=1
for url in "http://[$target_ip6]/" "http://[::1]/"; do
	is "this machine has no IPv6, the target has: $url" \
		"$(under -- curl --silent --globoff --max-time 10 "$url")" "target nginx"
done
finish
