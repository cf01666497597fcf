#include "hold.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "procfs.h"

/* SigCgt of proc(5) has the signal. Only a handler makes the kernel interrupt a call. */
static bool has_handler(pid_t tid, int sig)
{
	unsigned long long caught;

	return procfs_status(tid, "SigCgt", 16, &caught) && caught >> (sig - 1) & 1;
}

static struct held *find(struct hold *h, int sig)
{
	for (unsigned i = 0; i < h->n; i++) {
		if (h->held[i].info.si_signo == sig)
			return &h->held[i];
	}
	return NULL;
}

bool hold_signal(struct hold *h, pid_t tid, int sig)
{
	const struct held *kept = find(h, sig);

	if (!has_handler(tid, sig))
		return false;
	/* A second one of the same kind is one, unless it is of those that queue (signal(7)). */
	if (kept)
		return sig < SIGRTMIN;
	if (h->n == HOLD_MAX || ptrace(PTRACE_GETSIGINFO, tid, 0, &h->held[h->n].info) < 0)
		return false;
	h->held[h->n++].sent = false;
	return true;
}

void hold_release(struct hold *h, pid_t tgid, pid_t tid)
{
	for (unsigned i = 0; i < h->n; i++) {
		struct held *held = &h->held[i];

		if (!held->sent)
			syscall(SYS_tgkill, tgid, tid, held->info.si_signo);
		held->sent = true;
	}
}

void hold_delivery(struct hold *h, pid_t tid, int sig)
{
	struct held *held = find(h, sig);

	if (!held || !held->sent)
		return;
	ptrace(PTRACE_SETSIGINFO, tid, 0, &held->info);
	*held = h->held[--h->n];
}
