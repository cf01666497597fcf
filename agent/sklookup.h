/* What the program in the kernel (sklookup.bpf.c) and the one that loads it agree on. */
#ifndef AGENT_SKLOOKUP_H
#define AGENT_SKLOOKUP_H

#include <linux/types.h>

#define SKLOOKUP_PORTS_MAX 4096

struct sklookup_port {
	__u16 port;  /* host byte order */
	__u8 family; /* AF_INET, AF_INET6 */
	__u8 zero;
};

#endif
