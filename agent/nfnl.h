/* Transactions with nf_tables over a netlink socket (linux/netfilter/nfnetlink.h): all messages of
 * a batch take effect together, or none does. */
#ifndef AGENT_NFNL_H
#define AGENT_NFNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NFNL_BATCH_MAX 8192

struct nfnl {
	int fd;
	uint32_t port; /* the socket's number, which no other in the namespace has */
	uint32_t seq;
};

struct nfnl_batch {
	_Alignas(uint32_t) uint8_t data[NFNL_BATCH_MAX];
	size_t len;
	size_t message; /* where the last message begins */
	bool full;      /* something did not fit; the batch will not be sent */
};

int nfnl_open(struct nfnl *n); /* 0 or -errno */
void nfnl_close(struct nfnl *n);

void nfnl_begin(struct nfnl_batch *b);

/* nfnl_message() - begin a message to nf_tables: NFT_MSG_…, NLM_F_… beside NLM_F_REQUEST, and a
 * family, NFPROTO_…. What is put next are its attributes. */
void nfnl_message(struct nfnl_batch *b, uint8_t type, uint16_t flags, uint8_t family);

void nfnl_put(struct nfnl_batch *b, uint16_t attr, const void *p, size_t n);
void nfnl_put_str(struct nfnl_batch *b, uint16_t attr, const char *s);
void nfnl_put_u32(struct nfnl_batch *b, uint16_t attr, uint32_t v); /* big-endian on the wire */

/* nfnl_nest() - begin an attribute that holds attributes; nfnl_nest_end() takes what it returned.
 */
size_t nfnl_nest(struct nfnl_batch *b, uint16_t attr);
void nfnl_nest_end(struct nfnl_batch *b, size_t nest);

/* nfnl_commit() - send the batch and wait for its effect. 0, or -errno of the first message that
 * failed, and then nothing has changed. */
int nfnl_commit(struct nfnl *n, struct nfnl_batch *b);

#endif
