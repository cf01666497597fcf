/* Barriers, like fsync(2): what the guest has written is in the target when they return. */
#include <sys/mman.h>

#include "sysdef.h"
#include "tracer.h"
#include "util.h"

void sys_fsync(struct call *c)
{
	struct writeback *w = &c->tracer->fs.writeback;
	cleanup_fd int fd = writeback_is_idle(w) ? -1 : call_dup(c, c->arg[0]);

	if (fd < 0 || !writeback_sync(w, c, fd))
		call_continue(c);
}

/* Which files are mapped there, or are on that file system, is not asked. */
void sys_sync(struct call *c)
{
	if (!writeback_sync(&c->tracer->fs.writeback, c, -1))
		call_continue(c);
}

void sys_msync(struct call *c)
{
	if (c->arg[2] & MS_SYNC)
		sys_sync(c);
	else
		call_continue(c);
}
