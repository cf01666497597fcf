/* Calls that send and receive with an address: those of relayed datagram sockets (datagram.c). */
#include "datagram.h"
#include "sysdef.h"

void sys_sendto(struct call *c)
{
	call_continue(c);
}

int64_t sys_sendto_exit(struct call *c, int64_t result)
{
	(void)c;
	return result;
}

void sys_sendmsg(struct call *c)
{
	call_continue(c);
}

void sys_sendmmsg(struct call *c)
{
	call_continue(c);
}

void sys_recvfrom(struct call *c)
{
	call_continue(c);
}

int64_t sys_recvfrom_exit(struct call *c, int64_t result)
{
	(void)c;
	return result;
}

void sys_recvmsg(struct call *c)
{
	call_continue(c);
}

int64_t sys_recvmsg_exit(struct call *c, int64_t result)
{
	(void)c;
	return result;
}

void sys_recvmmsg(struct call *c)
{
	call_continue(c);
}

int64_t sys_recvmmsg_exit(struct call *c, int64_t result)
{
	(void)c;
	return result;
}
