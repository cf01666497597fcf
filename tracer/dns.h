/* DNS messages (RFC 1035), as far as who is to answer and what an answer tells of addresses need
 * them. The parsing is libresolv's. */
#ifndef TRACER_DNS_H
#define TRACER_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define DNS_PORT 53

/* A name as text, without a final dot, terminated. Longer text than this is full of escapes, and no
 * name of a host. */
#define DNS_NAME_SIZE 256

/* How much of one answer is believed. */
#define DNS_NAMES_MAX     16 /* the question's and those that it is an alias of */
#define DNS_ADDRESSES_MAX 64

struct dns_answer {
	char names[DNS_NAMES_MAX][DNS_NAME_SIZE]; /* lower case, the question's first */
	unsigned nnames;
	struct addr addresses[DNS_ADDRESSES_MAX]; /* of all these names; port 0 */
	unsigned naddresses;
};

/* dns_name() - the name in lower case and without a final dot. False: it is empty or does not fit,
 * and nothing is written. */
bool dns_name(char to[static DNS_NAME_SIZE], const char *from);

/* dns_question() - the name that the query asks for, in lower case. False: it is no query. */
bool dns_question(const uint8_t *p, size_t len, char name[static DNS_NAME_SIZE]);

/* dns_answer() - the addresses in a response, perhaps none. False: it is no response. */
bool dns_answer(const uint8_t *p, size_t len, struct dns_answer *a);

#endif
