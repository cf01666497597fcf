/* A call is one intercepted system call of one thread, from its stop to its restart. The verbs
 * below end it, or put it off; they are all that a handler knows of the mechanism.
 *
 * A handler (sysdef.h) gets a call in state CALL_HANDLED and either uses one verb or parks the
 * call. */
#ifndef TRACER_TRAP_H
#define TRACER_TRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct call;
struct sysdef;
struct task;
struct tracer;

#define CALL_ARGS 6

enum call_state {
	CALL_NONE,     /* the thread is between intercepted calls */
	CALL_HANDLED,  /* with its handler, or parked by it: every verb is legal */
	CALL_ANSWERED, /* the answer is given; a signal may yet have come first, and then it is lost
			*/
	CALL_REJOIN,   /* a signal took the thread: the same call starts again and is joined to this
			  one */
	CALL_STOPPING, /* to be rewritten: the thread is being brought to a stop */
	/* From here on the thread is on its way to a stop that must not be missed. */
	CALL_MAPPING,  /* led through an mmap of scratch memory first */
	CALL_ENTERING, /* rewritten, on its way into the kernel again */
	CALL_RUNNING,  /* in the kernel; its exit will be seen */
	CALL_STATE_MAX,
};

/* The call that the kernel does in place of the guest's. */
struct call_change {
	unsigned args;     /* a set of bits 1 << n: these are changed */
	unsigned pointers; /* of those: offsets of the bytes, which are copied to scratch memory */
	uint64_t arg[CALL_ARGS];
	const void *bytes;
	size_t n;        /* <= SCRATCH_SLOT_SIZE */
	size_t words_at; /* the nwords 64-bit words at that offset are offsets, too: pointers there
			  */
	unsigned nwords;
	bool result; /* def->exit sees the result; needs CAN_RESULT */
};

struct call {
	struct tracer *tracer;
	struct task *task;
	const struct sysdef *def;
	uint64_t arg[CALL_ARGS];
	enum call_state state;
	uint64_t id; /* of the notification that awaits the answer */

	bool done; /* the handler has decided: result is the answer, also if it must be given twice
		    */
	bool continued;
	bool doubtful; /* it may be that the thread got the answer, and was interrupted in another
			  call */
	int64_t result;
	bool in_handler;
	void (*verb)(struct call *c); /* what it has chosen, done when it has returned */

	/* A parked call: what undoes the wait when the thread goes away, and whether a signal may
	 * end it, as it would end the kernel's own call. The handler's own data. */
	void (*cancel)(struct call *c);
	bool interruptible;
	bool has_timeout; /* and then with EINTR, whatever the handler's flags */
	void *data;
	int64_t partial; /* unless 0: the wait has come this far, and a signal ends it with that */

	struct call_change change; /* of a rewritten call; it owns the bytes */
	uint64_t scratch;          /* where they are, or 0 */
	int lent;                  /* a descriptor of ours that the guest opens by /proc, or -1 */
	unsigned lent_mode;        /* to go back to when it has, or 0 */
	int opened;                /* one that it is to be given and was away for, or -1 */
	bool opened_cloexec;
	struct user_regs_struct regs; /* to go back to after the mmap */
	uint64_t sigmask;
	bool at_entry; /* it stands at the call's entry, not interrupted out of it */

	uint64_t started_ns; /* with -v */
	char note[96];       /* with -v: what was decided and why */
};

/* What a mechanism can do beyond return and continue. */
enum trap_can {
	CAN_INSTALL = 1 << 0, /* put a descriptor into the guest */
	CAN_RESULT = 1 << 1,  /* show the handler the result of a call that ran */
	CAN_REWRITE = 1 << 2, /* run the call with other arguments */
};

struct trap_ops {
	const char *name;
	unsigned can;
	void (*finish)(struct call *c);  /* result is set */
	void (*proceed)(struct call *c); /* run the call as it is */
	void (*result)(struct call *c);  /* run it, then def->exit */
	void (*rewrite)(struct call *c); /* run it with its change */
	int (*install)(struct call *c, int fd, bool cloexec);
	bool (*waits)(const struct call *c); /* the thread still waits for the answer */
};

/* --- verbs --- */

/* call_return() - the call is done: value is its result, -errno its failure. */
void call_return(struct call *c, int64_t value);

/* call_continue() - the kernel does the call as the guest made it. */
void call_continue(struct call *c);

/* call_install() - the result is fd, put into the guest (and still the caller's). 0; -ENOENT: the
 * thread has gone away, the call is dropped; another -errno (-EMFILE, …): the call still waits. */
int call_install(struct call *c, int fd, bool cloexec);

/* call_result() - the kernel does the call, and def->exit sees the result. Needs CAN_RESULT. */
void call_result(struct call *c);

/* call_rewrite() - the kernel does the call with that change; the guest finds its registers and its
 * memory as they were. The bytes are copied. Needs CAN_REWRITE. */
void call_rewrite(struct call *c, const struct call_change *change);

/* call_open() - for the calls that open a file: the result is a new descriptor of the file that fd,
 * ours, is one of: fd itself where it can be installed, else the guest opens path, which is that
 * file's, or without one what /proc has for fd. flags are those of open(2) as the guest gave them.
 * fd is taken. */
void call_open(struct call *c, int fd, const char *path, uint64_t flags);

/* call_park() - the answer comes later. When the thread goes away before, cancel() is called, and
 * undoes what waits. interruptible: a signal ends the wait, and the kernel decides between EINTR
 * and a new start (always EINTR with has_timeout, which the handler sets); otherwise the call is
 * joined again and the wait goes on. */
void call_park(struct call *c, bool interruptible, void (*cancel)(struct call *c), void *data);

/* call_can() - whether the mechanism has that ability. */
bool call_can(const struct call *c, enum trap_can ability);

/* call_waits() - false: the thread was interrupted or killed, an answer would be lost. */
bool call_waits(const struct call *c);

/* call_note() - with -v: what was decided, for the call's line. */
void call_note(struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* call_dup() - a descriptor of the guest, duplicated into the supervisor: >= 0 and owned by the
 * caller, or -errno (-EBADF: the guest has no such descriptor). */
int call_dup(const struct call *c, uint64_t fd);

/* --- for the mechanisms --- */

/* call_begin() - a thread has made this call: hand it to its handler, or join it to the one that a
 * signal interrupted. */
void call_begin(struct task *t, const struct sysdef *def, const uint64_t arg[static CALL_ARGS],
	uint64_t id);

/* call_set_state() - the only place where a state changes. */
void call_set_state(struct call *c, enum call_state state);

/* call_interrupted() - the thread was found outside of the call though it has no answer, or has
 * lost it. True when the same call must start again, whatever the signal's handler asked for. */
bool call_interrupted(struct call *c);

/* call_drop() - the call is over without an answer: undo what it parked. Idempotent. */
void call_drop(struct call *c);

/* call_over() - the rewritten call, or the one whose result was to be seen, has returned. */
void call_over(struct call *c);

#endif
