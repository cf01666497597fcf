/* The table of system calls: the only list of them. Filter, dispatch, the -v line and the tests'
 * check list are made from its rows. */
#ifndef TRACER_SYSDEF_H
#define TRACER_SYSDEF_H

#include <seccomp.h>

#include "addr.h"
#include "config.h"
#include "trap.h"

/* What of the configuration switches a row on: any one of a set. */
enum sysdef_when {
	WHEN_ALWAYS = 0,
	WHEN_INCOMING = 1 << 0, /* the target's incoming traffic is wanted */
	WHEN_OUTGOING = 1 << 1, /* the guest's connections leave from the target */
	WHEN_NAMES = 1 << 2,    /* names, and the files of that, are the target's */
	WHEN_FILES = 1 << 3,    /* so are other files than those of name resolution */
	WHEN_HOSTNAME = 1 << 4, /* the host name is the target's */
	WHEN_WRITES = 1 << 5,   /* files of the target may be written to */
};

/* The filter looks at arguments: the row is only about calls where all of these hold. */
struct sysdef_only {
	enum scmp_compare compare; /* _SCMP_CMP_MIN: nothing is asked */
	unsigned arg;
	uint64_t with;
};

#define SYSDEF_ONLY_MAX 2

struct sysdef {
	const char *name;
	int nr;        /* __NR_*; a call that an architecture lacks has no row there */
	unsigned when; /* a set of enum sysdef_when */
	const char
		*args; /* for -v: d int, a socket address with the length that follows, p pointer */
	bool blocks;   /* the kernel's own call can be interrupted by a signal: on a socket that
			  blocks, its first argument, */
	bool (*may_wait)(const struct call *c); /* or if this says so */
	int fixed_errno; /* the filter answers by itself, with no trap; or 0 */

	struct sysdef_only only[SYSDEF_ONLY_MAX];

	void (*enter)(struct call *c);
	/* After call_result(): what the guest shall see of that result. */
	int64_t (*exit)(struct call *c, int64_t result);
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
int64_t sys_accept_exit(struct call *c, int64_t result);
void sys_getsockname(struct call *c);
void sys_getpeername(struct call *c);
void sys_connect(struct call *c); /* sys_connect.c */
int64_t sys_connect_exit(struct call *c, int64_t result);
void sys_getsockopt_error(struct call *c);

/* sys_connect_by_send() - a send with MSG_FASTOPEN (RFC 7413) of a TCP socket: the call is ended.
 * False: it is another. */
bool sys_connect_by_send(struct call *c, const struct addr *to, int flags);

void sys_sendto(struct call *c);                       /* sys_msg.c */
int64_t sys_send_exit(struct call *c, int64_t result); /* of sendto and sendmsg */
void sys_sendmsg(struct call *c);
void sys_sendmmsg(struct call *c);
void sys_recvfrom(struct call *c); /* sys_recv.c */
int64_t sys_recvfrom_exit(struct call *c, int64_t result);
void sys_recvmsg(struct call *c);
int64_t sys_recvmsg_exit(struct call *c, int64_t result);
void sys_recvmmsg(struct call *c);
int64_t sys_recvmmsg_exit(struct call *c, int64_t result);
void sys_open(struct call *c); /* sys_open.c */
void sys_creat(struct call *c);
void sys_openat(struct call *c);
void sys_openat2(struct call *c);
bool open_may_wait(const struct call *c);
void sys_stat(struct call *c); /* sys_stat.c */
void sys_lstat(struct call *c);
void sys_newfstatat(struct call *c);
void sys_statx(struct call *c);
void sys_access(struct call *c);
void sys_faccessat(struct call *c);
void sys_faccessat2(struct call *c);
void sys_readlink(struct call *c);
void sys_readlinkat(struct call *c);
void sys_statfs(struct call *c);
void sys_getxattr(struct call *c);
void sys_lgetxattr(struct call *c);
void sys_fgetxattr(struct call *c);
void sys_listxattr(struct call *c);
void sys_llistxattr(struct call *c);
void sys_flistxattr(struct call *c);
void sys_chdir(struct call *c); /* sys_dir.c */
void sys_getcwd(struct call *c);
void sys_execve(struct call *c); /* sys_exec.c */
void sys_execveat(struct call *c);
void sys_inotify_add_watch(struct call *c); /* sys_inotify.c */
void sys_mkdirat(struct call *c);           /* sys_change.c */
void sys_mknodat(struct call *c);
void sys_unlinkat(struct call *c);
void sys_renameat(struct call *c);
void sys_renameat2(struct call *c);
void sys_linkat(struct call *c);
void sys_symlinkat(struct call *c);
void sys_fchmodat(struct call *c);
void sys_fchmodat2(struct call *c);
void sys_fchmod(struct call *c);
void sys_fchownat(struct call *c);
void sys_fchown(struct call *c);
void sys_truncate(struct call *c);
void sys_ftruncate(struct call *c);
void sys_utimensat(struct call *c);
void sys_utimes(struct call *c);
void sys_futimesat(struct call *c);
void sys_utime(struct call *c);
void sys_setxattr(struct call *c);
void sys_lsetxattr(struct call *c);
void sys_fsetxattr(struct call *c);
void sys_removexattr(struct call *c);
void sys_lremovexattr(struct call *c);
void sys_fremovexattr(struct call *c);
void sys_mkdir(struct call *c);
void sys_mknod(struct call *c);
void sys_unlink(struct call *c);
void sys_rmdir(struct call *c);
void sys_rename(struct call *c);
void sys_link(struct call *c);
void sys_symlink(struct call *c);
void sys_chmod(struct call *c);
void sys_chown(struct call *c);
void sys_lchown(struct call *c);
void sys_fsync(struct call *c); /* sys_sync.c */
void sys_sync(struct call *c);
void sys_msync(struct call *c);
void sys_uname(struct call *c); /* sys_uname.c */
void sys_sethostname(struct call *c);

#endif
