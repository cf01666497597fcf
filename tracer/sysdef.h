/* The table of system calls: the only list of them. Filter, dispatch, the -v line and the tests'
 * check list are made from its rows. */
#ifndef TRACER_SYSDEF_H
#define TRACER_SYSDEF_H

#include <seccomp.h>

#include "config.h"
#include "trap.h"

/* What of the configuration switches a row on. */
enum sysdef_when {
	WHEN_ALWAYS,
	WHEN_INCOMING, /* the target's incoming traffic is wanted */
};

struct sysdef {
	const char *name;
	int nr; /* __NR_*; a call that an architecture lacks has no row there */
	enum sysdef_when when;
	const char
		*args; /* for -v: d int, a socket address with the length that follows, p pointer */
	bool blocks;   /* the kernel's own call can be interrupted by a signal */
	int fixed_errno; /* the filter answers by itself, with no trap; or 0 */

	/* The filter looks at one argument: the row is only about calls where this holds. */
	enum scmp_compare compare; /* _SCMP_CMP_MIN: about all */
	unsigned compare_arg;
	uint64_t compare_with;

	void (*enter)(struct call *c);
	void (*exit)(struct call *c, int64_t result); /* after call_result() */
};

extern const struct sysdef sysdefs[];
extern const size_t sysdefs_len;

/* sysdef_is_on() - whether the configuration needs the row. */
bool sysdef_is_on(const struct sysdef *d, const struct config *cfg);

/* sysdef_find() - the row that traps a call with this number and these arguments, or NULL. */
const struct sysdef *sysdef_find(int64_t nr, const uint64_t arg[static CALL_ARGS]);

/* sysdef_print() - the arguments as people write them; returns s. */
const char *sysdef_print(const struct call *c, char *s, size_t size);

/* The handlers, by the file that holds them. */
void sys_bind(struct call *c); /* sys_sock.c */
void sys_listen(struct call *c);
void sys_accept(struct call *c);
void sys_accept4(struct call *c);
void sys_accept_exit(struct call *c, int64_t result);
void sys_getsockname(struct call *c);
void sys_getpeername(struct call *c);
void sys_connect(struct call *c);

#endif
