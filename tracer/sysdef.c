#include "sysdef.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "addr.h"
#include "fs_policy.h"
#include "mem.h"
#include "task.h"
#include "util.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6, on every architecture */
#endif

#define ROW(call, ...)                                                                             \
	{                                                                                          \
		.name = #call, .nr = SYS_##call, __VA_ARGS__                                       \
	}
#define IF_SET(n)                                                                                  \
	{                                                                                          \
		.compare = SCMP_CMP_NE, .arg = (n), .with = 0                                      \
	}
/* An int: the upper half of its register is anything. */
#define IF_INT(n, is)                                                                              \
	{                                                                                          \
		.compare = SCMP_CMP_MASKED_EQ, .arg = (n), .with = (is)                            \
	}
#define ONLY(...) .only = { __VA_ARGS__ }
#define INCOMING  .when = WHEN_INCOMING
#define OUTGOING  .when = WHEN_OUTGOING
#define SOCKETS   .when = WHEN_INCOMING | WHEN_OUTGOING
#define LOOKS     .when = WHEN_NAMES | WHEN_FILES
#define FILES     .when = WHEN_FILES
#define HOSTNAME  .when = WHEN_HOSTNAME
#define WRITES    .when = WHEN_WRITES

const struct sysdef sysdefs[] = {
	/* Programs fall back to plain system calls, and to TCP: both measured with node and Go. */
	ROW(io_uring_setup, .fixed_errno = ENOSYS),
	ROW(io_uring_enter, .fixed_errno = ENOSYS),
	ROW(io_uring_register, .fixed_errno = ENOSYS),
	ROW(socket, ONLY(IF_INT(2, IPPROTO_MPTCP)), .fixed_errno = EPROTONOSUPPORT),

	ROW(bind, SOCKETS, .args = "dad", .enter = sys_bind),
	ROW(listen, SOCKETS, .args = "dd", .enter = sys_listen),
	/* Who asks for no address needs no help: the connection is the kernel's own. */
	ROW(accept, INCOMING, ONLY(IF_SET(1)), .args = "dpp", .blocks = true, .enter = sys_accept,
		.exit = sys_accept_exit),
	ROW(accept4, INCOMING, ONLY(IF_SET(1)), .args = "dppd", .blocks = true,
		.enter = sys_accept4, .exit = sys_accept_exit),
	ROW(getsockname, SOCKETS, .args = "dpp", .enter = sys_getsockname),
	ROW(getpeername, SOCKETS, .args = "dpp", .enter = sys_getpeername),

	/* Names are resolved by way of local sockets, too. */
	ROW(connect, .when = WHEN_INCOMING | WHEN_OUTGOING | WHEN_NAMES, .args = "dad",
		.blocks = true, .enter = sys_connect, .exit = sys_connect_exit),
	ROW(getsockopt, OUTGOING, ONLY(IF_INT(1, SOL_SOCKET), IF_INT(2, SO_ERROR)), .args = "dddpp",
		.enter = sys_getsockopt_error),

	ROW(sendto, SOCKETS, ONLY(IF_SET(4)), .args = "dpddad", .blocks = true, .enter = sys_sendto,
		.exit = sys_send_exit),
	ROW(sendmsg, SOCKETS, .args = "dpd", .blocks = true, .enter = sys_sendmsg,
		.exit = sys_send_exit),
	ROW(sendmmsg, SOCKETS, .args = "dpdd", .blocks = true, .enter = sys_sendmmsg),
	ROW(recvfrom, SOCKETS, ONLY(IF_SET(4)), .args = "dpddpp", .blocks = true,
		.enter = sys_recvfrom, .exit = sys_recvfrom_exit),
	ROW(recvmsg, SOCKETS, .args = "dpd", .blocks = true, .enter = sys_recvmsg,
		.exit = sys_recvmsg_exit),
	ROW(recvmmsg, SOCKETS, .args = "dpddp", .blocks = true, .enter = sys_recvmmsg,
		.exit = sys_recvmmsg_exit),

#ifdef SYS_open
	ROW(open, LOOKS, .args = "sd", .enter = sys_open, .may_wait = open_may_wait),
	ROW(creat, FILES, .args = "sd", .enter = sys_creat, .may_wait = open_may_wait),
	ROW(stat, LOOKS, .args = "sp", .enter = sys_stat),
	ROW(lstat, LOOKS, .args = "sp", .enter = sys_lstat),
	ROW(access, LOOKS, .args = "sd", .enter = sys_access),
	ROW(readlink, LOOKS, .args = "spd", .enter = sys_readlink),
	ROW(mkdir, FILES, .args = "sd", .enter = sys_mkdir),
	ROW(mknod, FILES, .args = "sdd", .enter = sys_mknod),
	ROW(unlink, FILES, .args = "s", .enter = sys_unlink),
	ROW(rmdir, FILES, .args = "s", .enter = sys_rmdir),
	ROW(rename, FILES, .args = "ss", .enter = sys_rename),
	ROW(link, FILES, .args = "ss", .enter = sys_link),
	ROW(symlink, FILES, .args = "ss", .enter = sys_symlink),
	ROW(chmod, FILES, .args = "sd", .enter = sys_chmod),
	ROW(chown, FILES, .args = "sdd", .enter = sys_chown),
	ROW(lchown, FILES, .args = "sdd", .enter = sys_lchown),
	ROW(utime, FILES, .args = "sp", .enter = sys_utime),
	ROW(utimes, FILES, .args = "sp", .enter = sys_utimes),
	ROW(futimesat, FILES, .args = "dsp", .enter = sys_futimesat),
#endif
	ROW(openat, LOOKS, .args = "dsd", .enter = sys_openat, .may_wait = open_may_wait),
	ROW(openat2, LOOKS, .args = "dspd", .enter = sys_openat2, .may_wait = open_may_wait),
	ROW(newfstatat, LOOKS, .args = "dspd", .enter = sys_newfstatat),
	ROW(statx, LOOKS, .args = "dsddp", .enter = sys_statx),
	ROW(faccessat, LOOKS, .args = "dsd", .enter = sys_faccessat),
	ROW(faccessat2, LOOKS, .args = "dsdd", .enter = sys_faccessat2),
	ROW(readlinkat, LOOKS, .args = "dspd", .enter = sys_readlinkat),
	ROW(statfs, LOOKS, .args = "sp", .enter = sys_statfs),
	ROW(getxattr, FILES, .args = "sspd", .enter = sys_getxattr),
	ROW(lgetxattr, FILES, .args = "sspd", .enter = sys_lgetxattr),
	ROW(fgetxattr, FILES, .args = "dspd", .enter = sys_fgetxattr),
	ROW(listxattr, FILES, .args = "spd", .enter = sys_listxattr),
	ROW(llistxattr, FILES, .args = "spd", .enter = sys_llistxattr),
	ROW(flistxattr, FILES, .args = "dpd", .enter = sys_flistxattr),
	ROW(chdir, FILES, .args = "s", .enter = sys_chdir),
	ROW(getcwd, FILES, .args = "pd", .enter = sys_getcwd),
	ROW(execve, FILES, .args = "spp", .enter = sys_execve),
	ROW(execveat, FILES, .args = "dsppd", .enter = sys_execveat),
	ROW(mkdirat, FILES, .args = "dsd", .enter = sys_mkdirat),
	ROW(mknodat, FILES, .args = "dsdd", .enter = sys_mknodat),
	ROW(unlinkat, FILES, .args = "dsd", .enter = sys_unlinkat),
	ROW(renameat, FILES, .args = "dsds", .enter = sys_renameat),
	ROW(renameat2, FILES, .args = "dsdsd", .enter = sys_renameat2),
	ROW(linkat, FILES, .args = "dsdsd", .enter = sys_linkat),
	ROW(symlinkat, FILES, .args = "sds", .enter = sys_symlinkat),
	ROW(fchmodat, FILES, .args = "dsd", .enter = sys_fchmodat),
	ROW(fchmodat2, FILES, .args = "dsdd", .enter = sys_fchmodat2),
	ROW(fchmod, FILES, .args = "dd", .enter = sys_fchmod),
	ROW(fchownat, FILES, .args = "dsddd", .enter = sys_fchownat),
	ROW(fchown, FILES, .args = "ddd", .enter = sys_fchown),
	ROW(truncate, FILES, .args = "sd", .enter = sys_truncate),
	ROW(utimensat, FILES, .args = "dspd", .enter = sys_utimensat),
	ROW(setxattr, FILES, .args = "sspdd", .enter = sys_setxattr),
	ROW(lsetxattr, FILES, .args = "sspdd", .enter = sys_lsetxattr),
	ROW(fsetxattr, FILES, .args = "dspdd", .enter = sys_fsetxattr),
	ROW(removexattr, FILES, .args = "ss", .enter = sys_removexattr),
	ROW(lremovexattr, FILES, .args = "ss", .enter = sys_lremovexattr),
	ROW(fremovexattr, FILES, .args = "ds", .enter = sys_fremovexattr),
	ROW(ftruncate, WRITES, .args = "dd", .enter = sys_ftruncate),
	ROW(fsync, WRITES, .args = "d", .enter = sys_fsync),
	ROW(fdatasync, WRITES, .args = "d", .enter = sys_fsync),
	ROW(sync_file_range, WRITES, ONLY(IF_SET(3)), .args = "dddd", .enter = sys_fsync),
	ROW(msync, WRITES, .args = "pdd", .enter = sys_msync),
	ROW(syncfs, WRITES, .args = "d", .enter = sys_sync),
	ROW(sync, WRITES, .enter = sys_sync),
	ROW(inotify_add_watch, FILES, .args = "dsd", .enter = sys_inotify_add_watch),

	ROW(uname, HOSTNAME, .args = "p", .enter = sys_uname),
	ROW(sethostname, HOSTNAME, .args = "sd", .enter = sys_sethostname),
	ROW(setdomainname, HOSTNAME, .args = "sd", .enter = sys_sethostname),
};

const size_t sysdefs_len = ARRAY_SIZE(sysdefs);

static unsigned wanted(const struct config *cfg)
{
	return (cfg->incoming != INCOMING_OFF ? WHEN_INCOMING : 0) |
	       (cfg->outgoing ? WHEN_OUTGOING : 0) | (cfg->dns ? WHEN_NAMES : 0) |
	       (cfg->fs_mode != FS_MODE_LOCAL ? WHEN_FILES : 0) |
	       (fs_policy_may_write(cfg) ? WHEN_WRITES : 0) | (cfg->hostname ? WHEN_HOSTNAME : 0);
}

bool sysdef_is_on(const struct sysdef *d, const struct config *cfg)
{
	return d->when == WHEN_ALWAYS || d->when & wanted(cfg);
}

static bool holds(const struct sysdef_only *only, const uint64_t *arg)
{
	switch (only->compare) {
	case SCMP_CMP_MASKED_EQ:
		return (uint32_t)arg[only->arg] == only->with;
	case SCMP_CMP_NE:
		return arg[only->arg] != only->with;
	default:
		return true;
	}
}

static bool is_about(const struct sysdef *d, const uint64_t *arg)
{
	return holds(&d->only[0], arg) && holds(&d->only[1], arg);
}

const struct sysdef *sysdef_find(int64_t nr, const uint64_t arg[static CALL_ARGS])
{
	for (size_t i = 0; i < ARRAY_SIZE(sysdefs); i++) {
		const struct sysdef *d = &sysdefs[i];

		if (d->nr == nr && d->enter && is_about(d, arg))
			return d;
	}
	return NULL;
}

static void print_sockaddr(const struct call *c, unsigned n, char *s, size_t size)
{
	char text[ADDR_STRLEN];
	struct addr a;

	if (mem_read_sockaddr(c->task->tid, c->arg[n], c->arg[n + 1], &a) == 0)
		snprintf(s, size, "%s", addr_format(&a, text));
	else
		snprintf(s, size, "%#llx", (unsigned long long)c->arg[n]);
}

static void print_string(const struct call *c, unsigned n, char *s, size_t size)
{
	char text[64];

	if (mem_read_string(c->task->tid, c->arg[n], text, sizeof(text)) >= 0)
		snprintf(s, size, "\"%s\"", text);
	else
		snprintf(s, size, "%#llx", (unsigned long long)c->arg[n]);
}

const char *sysdef_print(const struct call *c, char *s, size_t size)
{
	const char *kinds = c->def->args ? c->def->args : "";
	char one[ADDR_STRLEN];
	size_t at = 0;

	s[0] = '\0';
	for (unsigned i = 0; kinds[i] && at < size; i++) {
		if (kinds[i] == 'a')
			print_sockaddr(c, i, one, sizeof(one));
		else if (kinds[i] == 's')
			print_string(c, i, one, sizeof(one));
		else if (kinds[i] == 'd')
			snprintf(one, sizeof(one), "%d", (int)c->arg[i]);
		else
			snprintf(one, sizeof(one), "%#llx", (unsigned long long)c->arg[i]);
		at += (size_t)snprintf(s + at, size - at, "%s%s", i ? ", " : "", one);
	}
	return s;
}
