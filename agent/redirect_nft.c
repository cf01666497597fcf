/* Redirection by nf_tables, where sk_lookup cannot be had. In a table of our own,
 *
 *   table inet mirrord-trace-N {
 *       flags owner
 *       set ports4 { type inet_service; }
 *       chain prerouting {
 *           type nat hook prerouting priority dstnat
 *           meta nfproto ipv4 meta l4proto tcp tcp flags & (fin|syn|rst|ack) == syn
 *               tcp dport @ports4 fib daddr type local redirect to :LISTENER
 *       }
 *   }
 *
 * and the same for IPv6, and for the output hook, where the pod's connections to itself pass. A
 * port is an element of a set. The kernel drops a table with an owner when the owner's netlink
 * socket is closed (NFT_TABLE_F_OWNER, Linux 5.12), so a crash leaves nothing behind. N is that
 * socket's number: agents that share a namespace do not meet.
 *
 * nat chains see the first packet of what conntrack takes for a new connection, which may be one
 * from the middle of a connection that conntrack has no entry for: hence the test for SYN.
 *
 * UDP ports are not redirected. For datagrams, conntrack would go on translating what a peer sends
 * as long as the peer does not pause, to a port of ours that may be closed by then: it would
 * outlast the table.
 *
 * The redirection leads to the primary address of the interface that a packet came by, so the
 * listener is bound to the wildcard. Who connects to it directly has no other destination on
 * record, and is turned away. */
#include "redirect.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "nfnl.h"
#include "util.h"

#define NAT_PRIORITY ((uint32_t)-100) /* dstnat */

/* nft(8)'s number of the type inet_service, for those who list the set. */
#define TYPE_INET_SERVICE 13

struct redirect {
	struct nfnl nl;
	char table[32];
	uint16_t listener; /* its port */
};

static const struct {
	const char *name;
	uint32_t hook;
} chains[] = {
	{ "prerouting", NF_INET_PRE_ROUTING },
	{ "output", NF_INET_LOCAL_OUT },
};

static const struct {
	const char *set;
	uint8_t nfproto;
} families[] = {
	{ "ports4", NFPROTO_IPV4 },
	{ "ports6", NFPROTO_IPV6 },
};

static const char *set_of(enum proto_family family)
{
	return families[family == PROTO_IPV6].set;
}

/* --- expressions: each loads register 1, or tests it --- */

struct expr {
	size_t elem, data;
};

static struct expr expr_begin(struct nfnl_batch *b, const char *name)
{
	struct expr e;

	e.elem = nfnl_nest(b, NFTA_LIST_ELEM);
	nfnl_put_str(b, NFTA_EXPR_NAME, name);
	e.data = nfnl_nest(b, NFTA_EXPR_DATA);
	return e;
}

static void expr_end(struct nfnl_batch *b, struct expr e)
{
	nfnl_nest_end(b, e.data);
	nfnl_nest_end(b, e.elem);
}

static void put_value(struct nfnl_batch *b, uint16_t attr, const void *p, size_t n)
{
	size_t nest = nfnl_nest(b, attr);

	nfnl_put(b, NFTA_DATA_VALUE, p, n);
	nfnl_nest_end(b, nest);
}

static void load_meta(struct nfnl_batch *b, uint32_t key)
{
	struct expr e = expr_begin(b, "meta");

	nfnl_put_u32(b, NFTA_META_KEY, key);
	nfnl_put_u32(b, NFTA_META_DREG, NFT_REG_1);
	expr_end(b, e);
}

static void load_tcp(struct nfnl_batch *b, uint32_t offset, uint32_t len)
{
	struct expr e = expr_begin(b, "payload");

	nfnl_put_u32(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
	nfnl_put_u32(b, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
	nfnl_put_u32(b, NFTA_PAYLOAD_OFFSET, offset);
	nfnl_put_u32(b, NFTA_PAYLOAD_LEN, len);
	expr_end(b, e);
}

static void mask_byte(struct nfnl_batch *b, uint8_t mask)
{
	struct expr e = expr_begin(b, "bitwise");
	const uint8_t zero = 0;

	nfnl_put_u32(b, NFTA_BITWISE_SREG, NFT_REG_1);
	nfnl_put_u32(b, NFTA_BITWISE_DREG, NFT_REG_1);
	nfnl_put_u32(b, NFTA_BITWISE_LEN, 1);
	put_value(b, NFTA_BITWISE_MASK, &mask, 1);
	put_value(b, NFTA_BITWISE_XOR, &zero, 1);
	expr_end(b, e);
}

static void load_address_type(struct nfnl_batch *b)
{
	struct expr e = expr_begin(b, "fib");

	nfnl_put_u32(b, NFTA_FIB_DREG, NFT_REG_1);
	nfnl_put_u32(b, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	nfnl_put_u32(b, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	expr_end(b, e);
}

static void require_equal(struct nfnl_batch *b, const void *p, size_t n)
{
	struct expr e = expr_begin(b, "cmp");

	nfnl_put_u32(b, NFTA_CMP_SREG, NFT_REG_1);
	nfnl_put_u32(b, NFTA_CMP_OP, NFT_CMP_EQ);
	put_value(b, NFTA_CMP_DATA, p, n);
	expr_end(b, e);
}

static void require_in_set(struct nfnl_batch *b, const char *set)
{
	struct expr e = expr_begin(b, "lookup");

	nfnl_put_str(b, NFTA_LOOKUP_SET, set);
	nfnl_put_u32(b, NFTA_LOOKUP_SREG, NFT_REG_1);
	expr_end(b, e);
}

static void redirect_to(struct nfnl_batch *b, uint16_t port)
{
	uint16_t be = htons(port);
	struct expr e = expr_begin(b, "immediate");

	nfnl_put_u32(b, NFTA_IMMEDIATE_DREG, NFT_REG_1);
	put_value(b, NFTA_IMMEDIATE_DATA, &be, sizeof(be));
	expr_end(b, e);
	e = expr_begin(b, "redir");
	nfnl_put_u32(b, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
	nfnl_put_u32(b, NFTA_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
	expr_end(b, e);
}

/* --- the table --- */

static void put_table(struct nfnl_batch *b, const struct redirect *r)
{
	nfnl_message(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, NFPROTO_INET);
	nfnl_put_str(b, NFTA_TABLE_NAME, r->table);
	nfnl_put_u32(b, NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
}

static void put_set(struct nfnl_batch *b, const struct redirect *r, const char *name, uint32_t id)
{
	nfnl_message(b, NFT_MSG_NEWSET, NLM_F_CREATE, NFPROTO_INET);
	nfnl_put_str(b, NFTA_SET_TABLE, r->table);
	nfnl_put_str(b, NFTA_SET_NAME, name);
	nfnl_put_u32(b, NFTA_SET_FLAGS, 0);
	nfnl_put_u32(b, NFTA_SET_KEY_TYPE, TYPE_INET_SERVICE);
	nfnl_put_u32(b, NFTA_SET_KEY_LEN, sizeof(uint16_t));
	nfnl_put_u32(b, NFTA_SET_ID, id);
}

static void put_chain(
	struct nfnl_batch *b, const struct redirect *r, const char *name, uint32_t hook)
{
	size_t nest;

	nfnl_message(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFPROTO_INET);
	nfnl_put_str(b, NFTA_CHAIN_TABLE, r->table);
	nfnl_put_str(b, NFTA_CHAIN_NAME, name);
	nest = nfnl_nest(b, NFTA_CHAIN_HOOK);
	nfnl_put_u32(b, NFTA_HOOK_HOOKNUM, hook);
	nfnl_put_u32(b, NFTA_HOOK_PRIORITY, NAT_PRIORITY);
	nfnl_nest_end(b, nest);
	nfnl_put_str(b, NFTA_CHAIN_TYPE, "nat");
}

static void put_rule(struct nfnl_batch *b, const struct redirect *r, const char *chain,
	const char *set, uint8_t nfproto)
{
	const uint8_t tcp = IPPROTO_TCP, syn = TH_SYN;
	const uint32_t local = RTN_LOCAL;
	size_t nest;

	nfnl_message(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, NFPROTO_INET);
	nfnl_put_str(b, NFTA_RULE_TABLE, r->table);
	nfnl_put_str(b, NFTA_RULE_CHAIN, chain);
	nest = nfnl_nest(b, NFTA_RULE_EXPRESSIONS);
	load_meta(b, NFT_META_NFPROTO);
	require_equal(b, &nfproto, 1);
	load_meta(b, NFT_META_L4PROTO);
	require_equal(b, &tcp, 1);
	load_tcp(b, offsetof(struct tcphdr, th_flags), 1);
	mask_byte(b, TH_FIN | TH_SYN | TH_RST | TH_ACK);
	require_equal(b, &syn, 1);
	load_tcp(b, offsetof(struct tcphdr, th_dport), sizeof(uint16_t));
	require_in_set(b, set);
	load_address_type(b);
	require_equal(b, &local, sizeof(local));
	redirect_to(b, r->listener);
	nfnl_nest_end(b, nest);
}

static int make_table(struct redirect *r)
{
	struct nfnl_batch b;

	nfnl_begin(&b);
	put_table(&b, r);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		put_set(&b, r, families[i].set, (uint32_t)i + 1);
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		put_chain(&b, r, chains[i].name, chains[i].hook);
		for (size_t j = 0; j < ARRAY_SIZE(families); j++)
			put_rule(&b, r, chains[i].name, families[j].set, families[j].nfproto);
	}
	return nfnl_commit(&r->nl, &b);
}

static int change_port(
	struct redirect *r, uint8_t type, uint16_t flags, enum proto_family family, uint16_t port)
{
	const uint16_t be = htons(port);
	struct nfnl_batch b;
	size_t list, elem;

	nfnl_begin(&b);
	nfnl_message(&b, type, flags, NFPROTO_INET);
	nfnl_put_str(&b, NFTA_SET_ELEM_LIST_TABLE, r->table);
	nfnl_put_str(&b, NFTA_SET_ELEM_LIST_SET, set_of(family));
	list = nfnl_nest(&b, NFTA_SET_ELEM_LIST_ELEMENTS);
	elem = nfnl_nest(&b, NFTA_LIST_ELEM);
	put_value(&b, NFTA_SET_ELEM_KEY, &be, sizeof(be));
	nfnl_nest_end(&b, elem);
	nfnl_nest_end(&b, list);
	return nfnl_commit(&r->nl, &b);
}

static int nft_add(struct redirect *r, enum proto_family family, uint16_t port, struct err *e)
{
	int error = change_port(r, NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, port);

	return error < 0 ? err_set(e, error, "cannot add port %u: %s", port, strerror(-error)) : 0;
}

static void nft_del(struct redirect *r, enum proto_family family, uint16_t port)
{
	int error = change_port(r, NFT_MSG_DELSETELEM, 0, family, port);

	if (error < 0)
		log_err("cannot give port %u back: %s", port, strerror(-error));
}

static void nft_close(struct redirect *r)
{
	nfnl_close(&r->nl);
	free(r);
}

/* --- setting up --- */

static int listen_wildcard(void)
{
	struct addr v4 = addr_v4(INADDR_ANY, 0), v6 = addr_v6(&in6addr_any, 0);
	int fd = redirect_listen(&v6);

	return fd == -EAFNOSUPPORT ? redirect_listen(&v4) : fd;
}

static int explain(int error, struct err *e)
{
	if (error == -EPERM)
		return err_set(e, error, "may not change nf_tables; CAP_NET_ADMIN is needed");
	return err_set(e, error,
		"cannot make an nf_tables table: %s (Linux 5.12 with nft_redir and nft_fib_inet is "
		"needed)",
		strerror(-error));
}

static int set_up(struct redirect *r, int listener)
{
	struct addr at;
	int error = addr_of_socket(listener, &at);

	if (error == 0)
		error = nfnl_open(&r->nl);
	if (error < 0)
		return error;
	r->listener = addr_port(&at);
	snprintf(r->table, sizeof(r->table), "mirrord-trace-%u", r->nl.port);
	return make_table(r);
}

static int nft_open(struct redirect **out, int *listener, struct err *e)
{
	cleanup_fd int fd = listen_wildcard();
	struct redirect *r;
	int error;

	if (fd < 0)
		return err_set(e, fd, "cannot listen: %s", strerror(-fd));
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, -ENOMEM, "no memory");
	r->nl.fd = -1;
	error = set_up(r, fd);
	if (error < 0) {
		nft_close(r);
		return explain(error, e);
	}
	*out = r;
	*listener = take_fd(&fd);
	return 0;
}

/* conntrack remembers where the client wanted to go. IPv6 asks by the same number, under the name
 * IP6T_SO_ORIGINAL_DST. */
static int nft_destination(int fd, struct addr *local)
{
	struct addr own, original = { 0 };
	socklen_t len = sizeof(original);
	int r = addr_of_socket(fd, &own), level;

	if (r < 0)
		return r;
	level = addr_unmap(&own).sa.sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
	if (getsockopt(fd, level, SO_ORIGINAL_DST, &original, &len) < 0)
		return -errno;
	if (addr_equal(&original, &own))
		return -EADDRNOTAVAIL;
	*local = original;
	return 0;
}

const struct redirect_ops redirect_nft = {
	.name = "nft",
	.open = nft_open,
	.close = nft_close,
	.add = nft_add,
	.del = nft_del,
	.destination = nft_destination,
};
