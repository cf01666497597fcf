/* Run for each new connection to an address of the network namespace, before the kernel looks for a
 * listener (BPF_PROG_TYPE_SK_LOOKUP, Linux 5.9): a connection to one of our ports goes to our
 * listener. Established connections are found earlier and never come here. So it is with datagrams:
 * those for connected sockets never come here, others go to the socket that we have for the port.
 */
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_helpers.h>

#include "sklookup.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SKLOOKUP_PORTS_MAX);
	__type(key, struct sklookup_port);
	__type(value, __u32); /* index in sockets */
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, SKLOOKUP_PORTS_MAX);
	__type(key, struct sklookup_port);
	__type(value, __u64);
} udp SEC(".maps");

/* An error leaves the choice to the kernel: what came reaches the pod as before. */
static int give(struct bpf_sk_lookup *ctx, struct bpf_sock *sk)
{
	if (sk) {
		bpf_sk_assign(ctx, sk, 0);
		bpf_sk_release(sk);
	}
	return SK_PASS;
}

SEC("sk_lookup")
int steal(struct bpf_sk_lookup *ctx)
{
	struct sklookup_port key = { .port = ctx->local_port, .family = ctx->family };
	__u32 *index;

	if (ctx->protocol == IPPROTO_UDP)
		return give(ctx, bpf_map_lookup_elem(&udp, &key));
	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	index = bpf_map_lookup_elem(&ports, &key);
	return index ? give(ctx, bpf_map_lookup_elem(&sockets, index)) : SK_PASS;
}

char _license[] SEC("license") = "GPL";
