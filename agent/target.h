/* Whose network namespace the agent works in: found by name, entered once; and its files. */
#ifndef AGENT_TARGET_H
#define AGENT_TARGET_H

#include <stdint.h>

#include "creds.h"
#include "log.h"

struct target {
	int netns; /* -1 once it has been entered */
	int root;  /* O_PATH; -1 when the target is a namespace, which has no files: this machine's
		    */
	int etc;   /* /etc/netns/NAME, which stands before this machine's /etc; -1: there is none */
	int proc;  /* O_PATH: the directory in /proc of the target's process; -1: it has none */
	int uts;   /* its UTS namespace; -1: ours */
	struct creds creds; /* with which its files are used */
	uint64_t netns_dev, netns_ino;
	char boot_id[64];
	char about[256]; /* for people: "pid 123 (nginx)", printable */
};

/* What is none yet. */
#define TARGET_NONE                                                                                \
	{                                                                                          \
		.netns = -1, .root = -1, .etc = -1, .proc = -1, .uts = -1                          \
	}

/* target_find() - find what spec names ("pid:N", "container:ID", "netns:PATH") and hold on to its
 * network namespace. 0, or -errno with a sentence in e. */
int target_find(struct target *t, const char *spec, struct err *e);

void target_close(struct target *t);

/* target_enter() - move the process, which must have one thread, into the namespace, learn the
 * namespace's identity, and take the groups of the target's process. 0, or -errno with a sentence
 * in e. */
int target_enter(struct target *t, struct err *e);

#endif
