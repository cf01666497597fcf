/* Opens: those of the files of name resolution are the target's (names.c). This is the way of every
 * open of the guest, so it reads no more than tells such a path from others. */
#include <limits.h>
#include <linux/openat2.h>

#include "mem.h"
#include "names.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"

/* More than any of the paths. A path is absolute, or compared in vain: then the directory does not
 * matter. */
#define SHORT_PATH_SIZE 32

static void open_any(struct call *c, unsigned path_arg, uint64_t flags)
{
	char path[SHORT_PATH_SIZE];

	if (mem_read_string(c->task->tid, c->arg[path_arg], path, sizeof(path)) < 0 ||
		!names_open(c->tracer->names, c, path, (int)flags))
		call_continue(c);
}

void sys_open(struct call *c)
{
	open_any(c, 0, c->arg[1]);
}

void sys_openat(struct call *c)
{
	open_any(c, 1, c->arg[2]);
}

/* With any restriction of the way to the file the kernel decides. */
void sys_openat2(struct call *c)
{
	struct open_how how;

	if (c->arg[3] != sizeof(how) || mem_read(c->task->tid, c->arg[2], &how, sizeof(how)) < 0 ||
		how.resolve || how.flags > INT_MAX)
		call_continue(c);
	else
		open_any(c, 1, how.flags);
}
