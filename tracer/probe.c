#include "probe.h"

#include <assert.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "feature.h"
#include "util.h"

static bool has_pidfd_getfd(void)
{
	cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	cleanup_fd int fd = -1;

	if (pidfd < 0)
		return false;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, pidfd, 0);
	return fd >= 0;
}

static bool has_process_vm(void)
{
	char from = 1, to = 0;
	struct iovec local = { &to, 1 }, remote = { &from, 1 };

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 && to == 1;
}

static const struct feature_row {
	const char *name;
	bool (*probe)(void); /* NULL: found out in use */
	const char *needs;   /* NULL: can be done without */
} features[] = {
	[FEATURE_PIDFD_GETFD] = { "pidfd_getfd", has_pidfd_getfd,
		"Linux 5.6, and in a container the capability SYS_PTRACE "
		"(docker run --cap-add SYS_PTRACE)" },
	[FEATURE_PROCESS_VM] = { "process_vm_readv", has_process_vm,
		"a container profile that allows it, or the capability SYS_PTRACE "
		"(docker run --cap-add SYS_PTRACE)" },
	[FEATURE_USER_NOTIF] = { "user_notif", NULL, NULL },
	[FEATURE_ADDFD_SEND] = { "addfd_send", NULL, NULL },
	[FEATURE_SYNC_WAKE_UP] = { "sync_wake_up", NULL, NULL },
	[FEATURE_SOCK_DIAG] = { "sock_diag", NULL, NULL },
	[FEATURE_ERESTARTNOINTR] = { "erestartnointr", NULL, NULL },
};

static_assert(ARRAY_SIZE(features) == FEATURE_MAX, "a row for each feature");

bool probe_disabled(enum feature f)
{
	return feature_disabled(features[f].name);
}

int probe_needed(struct err *e)
{
	for (size_t i = 0; i < FEATURE_MAX; i++) {
		const struct feature_row *f = &features[i];

		if (!f->needs || (f->probe() && !probe_disabled((enum feature)i)))
			continue;
		return err_set(e, -ENOSYS, "the system call %s is not available here; it needs %s",
			f->name, f->needs);
	}
	return 0;
}

bool probe_user_notif(void)
{
	uint32_t action = SECCOMP_RET_USER_NOTIF;

	return !probe_disabled(FEATURE_USER_NOTIF) &&
	       syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

bool probe_addfd_send(int listener)
{
	/* No call has id 0: a kernel that knows the flag says ENOENT, an older one EINVAL. */
	struct seccomp_notif_addfd a = { .flags = SECCOMP_ADDFD_FLAG_SEND };

	return !probe_disabled(FEATURE_ADDFD_SEND) &&
	       ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &a) < 0 && errno == ENOENT;
}
