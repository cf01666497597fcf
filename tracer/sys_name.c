/* Opens: those of the files of name resolution are the target's (names.c). */
#include "mem.h"
#include "names.h"
#include "sysdef.h"

void sys_open(struct call *c)
{
	call_continue(c);
}

void sys_openat(struct call *c)
{
	call_continue(c);
}

void sys_openat2(struct call *c)
{
	call_continue(c);
}
