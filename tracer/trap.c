/* The life of a call, whatever the mechanism; the verbs. trap.h has the states.
 *
 * A call that a signal interrupts starts again from the guest's point of view as if nothing had
 * happened. What we did for it has happened all the same: so the second start finds the first one's
 * state by (thread, call, arguments) and gets its answer, or goes on waiting for it. */
#include "trap.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "rewrite.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif

static const char *const state_names[] = {
	[CALL_NONE] = "none",
	[CALL_HANDLED] = "handled",
	[CALL_ANSWERED] = "answered",
	[CALL_REJOIN] = "rejoin",
	[CALL_STOPPING] = "stopping",
	[CALL_MAPPING] = "mapping",
	[CALL_ENTERING] = "entering",
	[CALL_RUNNING] = "running",
};

static_assert(ARRAY_SIZE(state_names) == CALL_STATE_MAX, "a name for each state");

void call_set_state(struct call *c, enum call_state state)
{
	if (TRACE_STATES && c->state != state)
		log_dbg("%d %s: %s → %s", c->task->tid, c->def ? c->def->name : "-",
			state_names[c->state], state_names[state]);
	c->state = state;
}

static void call_log(const struct call *c, const char *result)
{
	char args[160];

	if (!log_is_verbose())
		return;
	sysdef_print(c, args, sizeof(args));
	log_dbg("[%d] %s(%s) = %s%s%s (%llu us)", c->task->tid, c->def->name, args, result,
		*c->note ? ": " : "", c->note,
		(unsigned long long)((now_ns() - c->started_ns) / 1000));
}

static void call_log_value(const struct call *c)
{
	char s[64];

	if (!log_is_verbose())
		return;
	if (c->result < 0)
		snprintf(s, sizeof(s), "-1 %s", strerrorname_np((int)-c->result));
	else
		snprintf(s, sizeof(s), "%lld", (long long)c->result);
	call_log(c, s);
}

/* A handler may hold a duplicate of a descriptor. The thread goes on after that is closed, or its
 * own close(2) would not be the last: what watches the socket (epoll(7)) would see it still. */
static void when_handled(struct call *c, void (*verb)(struct call *c))
{
	if (c->in_handler)
		c->verb = verb;
	else
		verb(c);
}

void call_return(struct call *c, int64_t value)
{
	c->done = true;
	c->result = value;
	c->cancel = NULL;
	call_log_value(c);
	when_handled(c, c->tracer->trap->finish);
}

void call_continue(struct call *c)
{
	c->continued = true;
	c->cancel = NULL;
	if (*c->note)
		call_log(c, "?");
	when_handled(c, c->tracer->trap->proceed);
}

int call_install(struct call *c, int fd, bool cloexec)
{
	int r = c->tracer->trap->install(c, fd, cloexec);

	if (r >= 0) {
		c->cancel = NULL;
		c->result = r;
		call_log_value(c);
		call_set_state(c, CALL_NONE);
		return 0;
	}
	return r;
}

void call_result(struct call *c)
{
	assert(call_can(c, CAN_RESULT));
	c->tracer->trap->result(c);
}

static void forget_change(struct call *c)
{
	rewrite_release(c);
	free((void *)c->change.bytes);
	c->change = (struct call_change){ 0 };
	if (c->lent_mode)
		fchmod(c->lent, c->lent_mode & 07777);
	c->lent_mode = 0;
	close_fd(&c->lent);
	close_fd(&c->opened);
}

void call_rewrite(struct call *c, const struct call_change *change)
{
	void *bytes = change->n ? malloc(change->n) : NULL;

	assert(call_can(c, CAN_REWRITE) && change->n <= SCRATCH_SLOT_SIZE);
	assert(!change->result || call_can(c, CAN_RESULT));
	if (change->n && !bytes) {
		call_return(c, -ENOMEM);
		return;
	}
	if (bytes)
		memcpy(bytes, change->bytes, change->n);
	free((void *)c->change.bytes);
	c->change = *change;
	c->change.bytes = bytes;
	c->cancel = NULL;
	call_log(c, "?");
	when_handled(c, c->tracer->trap->rewrite);
}

/* Where the calls that open a file have their arguments. */
static const struct {
	int64_t nr;
	unsigned path, flags; /* no flags: 0 */
	bool is_how;          /* they are in a struct open_how */
} opens[] = {
#ifdef SYS_open
	{ SYS_open, 0, 1, false },
	{ SYS_creat, 0, 0, false },
#endif
	{ SYS_openat, 1, 2, false },
	{ SYS_openat2, 1, 2, true },
};

/* The guest's own open does what is left to do: the file is there, and is as it was asked for. */
static void open_again(struct call *c, const char *path, uint64_t flags)
{
	struct {
		struct open_how how;
		char path[PATH_MAX];
	} bytes = { .how.flags = flags };
	struct call_change change = {
		.bytes = &bytes,
		.n = sizeof(bytes.how) + strlen(path) + 1,
	};
	size_t i = 0;

	while (i < ARRAY_SIZE(opens) - 1 && opens[i].nr != c->def->nr)
		i++;
	strcpy(bytes.path, path);
	change.args = change.pointers = 1U << opens[i].path;
	change.arg[opens[i].path] = sizeof(bytes.how);
	if (opens[i].flags) {
		change.args |= 1U << opens[i].flags;
		change.arg[opens[i].flags] = opens[i].is_how ? 0 : flags;
	}
	if (opens[i].is_how)
		change.pointers |= 1U << opens[i].flags;
	call_rewrite(c, &change);
}

/* Whether the file may be opened was decided already; its mode may forbid that to its owner, as
 * whom the guest opens it if it is not root. */
static void lend(struct call *c, int fd, uint64_t flags)
{
	struct stat st;

	c->lent = fd;
	if (flags & O_PATH || geteuid() == 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
		(st.st_mode & 0600) == 0600)
		return;
	if (fchmod(fd, (st.st_mode & 07777) | 0600) == 0)
		c->lent_mode = st.st_mode;
}

/* A descriptor made by O_PATH is not given to others (fget(), linux/fs/file.c). */
static bool may_install(const struct call *c, uint64_t flags)
{
	return call_can(c, CAN_INSTALL) && !(flags & O_PATH);
}

/* What was opened may have been made by that, and is not opened a second time: when a signal has
 * taken the thread away it is kept for the call that starts again. */
static void install_opened(struct call *c)
{
	int r = call_install(c, c->opened, c->opened_cloexec);

	if (r == -ENOENT) {
		call_set_state(c, CALL_REJOIN);
		return;
	}
	close_fd(&c->opened);
	if (r < 0)
		call_return(c, r);
}

void call_open(struct call *c, int fd, const char *path, uint64_t flags)
{
	const uint64_t done = O_CREAT | O_EXCL | O_TRUNC;
	char proc[64];

	if (may_install(c, flags)) {
		c->opened = fd;
		c->opened_cloexec = flags & O_CLOEXEC;
		install_opened(c);
		return;
	}
	lend(c, fd, flags);
	if (path && strlen(path) < PATH_MAX) {
		open_again(c, path, flags & ~done);
	} else {
		snprintf(proc, sizeof(proc), "/proc/%d/fd/%d", getpid(), fd);
		open_again(c, proc, flags & ~(done | O_NOFOLLOW | O_TMPFILE));
	}
}

void call_park(struct call *c, bool interruptible, void (*cancel)(struct call *c), void *data)
{
	c->cancel = cancel;
	c->interruptible = interruptible;
	c->data = data;
}

bool call_can(const struct call *c, enum trap_can ability)
{
	return c->tracer->trap->can & ability;
}

bool call_waits(const struct call *c)
{
	return c->state == CALL_HANDLED && c->tracer->trap->waits(c);
}

void call_note(struct call *c, const char *fmt, ...)
{
	va_list ap;

	if (!log_is_verbose())
		return;
	va_start(ap, fmt);
	vsnprintf(c->note, sizeof(c->note), fmt, ap);
	va_end(ap);
}

static int get_fd(int pidfd, uint64_t fd)
{
	int dup = (int)syscall(SYS_pidfd_getfd, pidfd, (int)fd, 0);

	return dup < 0 ? -errno : dup;
}

/* A thread's own pidfd is needed where its process's finds nothing: its main thread has ended, or
 * the thread has a table of descriptors of its own. */
static int get_fd_of_thread(pid_t tid, uint64_t fd)
{
	cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, tid, PIDFD_THREAD);

	return pidfd < 0 ? -EBADF : get_fd(pidfd, fd);
}

/* Such a call is left to the kernel, and so is local: that must not happen without a word. */
static void say_unreachable(struct task *t, int error)
{
	struct proc *p = t->proc;

	if (!p || p->unreachable)
		return;
	p->unreachable = true;
	log_err("the sockets of process %d cannot be reached (%s): they are local only", p->tgid,
		strerror(error));
}

int call_dup(const struct call *c, uint64_t fd)
{
	int pidfd = task_pidfd(c->tracer, c->task);
	int dup = pidfd < 0 ? pidfd : get_fd(pidfd, fd);

	if (dup == -EBADF || dup == -ESRCH)
		dup = get_fd_of_thread(c->task->tid, fd);
	/* Still ESRCH: the thread is ending, and its call with it. */
	if (dup < 0 && dup != -EBADF && dup != -ESRCH)
		say_unreachable(c->task, -dup);
	return dup;
}

void call_drop(struct call *c)
{
	void (*cancel)(struct call * c) = c->cancel;
	struct task *t = c->task;

	if (t->hold.n && t->proc)
		hold_release(&t->hold, t->proc->tgid, t->tid);
	c->cancel = NULL;
	if (cancel)
		cancel(c);
	forget_change(c);
	call_set_state(c, CALL_NONE);
}

void call_over(struct call *c)
{
	forget_change(c);
	call_set_state(c, CALL_NONE);
}

/* The kernel's own call, which we let through, may have been interrupted inside, as a blocking one
 * is. */
static bool blocks_in_kernel(const struct call *c)
{
	cleanup_fd int fd = -1;

	if (c->continued && c->def->may_wait)
		return c->def->may_wait(c);
	if (!c->continued || !c->def->blocks)
		return false;
	fd = call_dup(c, c->arg[0]);
	return fd < 0 || !(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

/* The wait is over, and what it had so far is the answer, as soon as the thread comes for it. */
static void settle(struct call *c)
{
	void (*cancel)(struct call * c) = c->cancel;

	c->cancel = NULL;
	if (cancel)
		cancel(c);
	c->done = true;
	c->result = c->partial;
}

bool call_interrupted(struct call *c)
{
	bool again = !c->interruptible && !blocks_in_kernel(c);

	switch (c->state) {
	case CALL_HANDLED:
	case CALL_REJOIN:
		break;
	case CALL_ANSWERED:
		if (c->continued) {
			call_set_state(c, CALL_NONE);
			return again;
		}
		c->doubtful = true; /* the answer was given, and is lost as it seems */
		break;
	default:
		return again;
	}
	if (again && c->partial && !c->done)
		settle(c);
	if (again)
		call_set_state(c, CALL_REJOIN);
	else
		call_drop(c);
	return again;
}

static bool is_same(const struct call *c, const struct sysdef *def, const uint64_t *arg)
{
	return c->def == def && memcmp(c->arg, arg, sizeof(c->arg)) == 0;
}

/* The thread was found outside of a call after it had its answer. Either it did not get it, or it
 * did, made the same call again, and was interrupted in that one before we had heard of it.
 * Notifications are numbered by the kernel, one after the other: in the second case a number is
 * missing. */
static bool was_another(const struct call *c)
{
	return c->doubtful && (int64_t)(c->tracer->missed_id - c->id) > 0;
}

void call_begin(
	struct task *t, const struct sysdef *def, const uint64_t arg[static CALL_ARGS], uint64_t id)
{
	struct call *c = &t->call;

	/* A parked call whose thread comes again was interrupted, even if no signal was seen. */
	if (c->state == CALL_HANDLED && is_same(c, def, arg))
		call_interrupted(c);
	if (c->state == CALL_REJOIN && is_same(c, def, arg) && !was_another(c)) {
		c->id = id;
		c->doubtful = false;
		call_set_state(c, CALL_HANDLED);
		if (c->opened >= 0)
			install_opened(c);
		else if (c->done)
			c->tracer->trap->finish(c);
		return;
	}
	call_drop(c);
	*c = (struct call){
		.tracer = t->tracer,
		.task = t,
		.def = def,
		.id = id,
		.lent = -1,
		.opened = -1,
		.started_ns = log_is_verbose() ? now_ns() : 0,
	};
	memcpy(c->arg, arg, sizeof(c->arg));
	call_set_state(c, CALL_HANDLED);
	c->in_handler = true;
	def->enter(c);
	c->in_handler = false;
	if (c->verb)
		c->verb(c);
}
