/* uname(2), the one way to the host name that gethostname(3) of every library takes: the kernel's
 * answer with the target's names; and the calls that would change them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "mem.h"
#include "procfs.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"

_Static_assert(sizeof(((struct utsname *)0)->nodename) == CONTEXT_NAME_SIZE, "the kernel's names");

/* Who has made a UTS namespace of his own has given it a name, too. */
static bool has_our_namespace(pid_t tid)
{
	struct stat ours, theirs;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/uts", tid);
	return stat("/proc/self/ns/uts", &ours) < 0 || stat(path, &theirs) < 0 ||
	       (ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino);
}

/* Release and machine depend on who asks: setarch(8). */
static int uname_as(pid_t tid, struct utsname *u)
{
	char text[32];
	int before = personality(0xffffffff), r;

	if (procfs_read(tid, "personality", text, sizeof(text)))
		personality(strtoul(text, NULL, 16));
	r = uname(u) < 0 ? -errno : 0;
	personality((unsigned long)before);
	return r;
}

void sys_uname(struct call *c)
{
	const struct context *cx = &c->tracer->context;
	struct utsname u;
	int r;

	if (!*cx->nodename || !has_our_namespace(c->task->tid)) {
		call_continue(c);
		return;
	}
	call_note(c, "remote");
	r = uname_as(c->task->tid, &u);
	memcpy(u.nodename, cx->nodename, sizeof(u.nodename));
	memcpy(u.domainname, cx->domainname, sizeof(u.domainname));
	if (r == 0)
		r = mem_write(c->task->tid, c->arg[0], &u, sizeof(u));
	call_return(c, r);
}

/* The target's is not to be changed from here, and this machine's not by who means the target's. */
void sys_sethostname(struct call *c)
{
	if (*c->tracer->context.nodename && has_our_namespace(c->task->tid))
		call_return(c, -EPERM);
	else
		call_continue(c);
}
