/* The cheapest supervisor by user notification: every trapped call is told to go on. */
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS /* Linux 6.6 */
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

/* The child's listener reaches the parent as a copy: its number goes over the pipe, and the parent
 * fetches it while the child waits for the pipe's other direction. */
static void run_guest(const struct floor *f, int sock)
{
	int listener = floor_filter(f, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
	char go;

	if (listener < 0)
		err(125, "seccomp");
	if (write(sock, &listener, sizeof(listener)) < 0 || read(sock, &go, 1) < 0)
		err(125, "the supervisor is gone");
	close(listener);
	execvp(f->argv[0], f->argv);
	err(127, "%s", f->argv[0]);
}

static int fetch_listener(pid_t pid, int sock)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), number, listener;

	if (pidfd < 0 || read(sock, &number, sizeof(number)) != sizeof(number))
		errx(125, "the guest did not start");
	listener = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (listener < 0 || write(sock, "", 1) < 0)
		err(125, "pidfd_getfd");
	close(pidfd);
	return listener;
}

/* Until no task is left under the filter. */
static void serve(const struct floor *f, int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	while (poll(&p, 1, -1) >= 0 && p.revents & POLLIN) {
		struct seccomp_notif call = { 0 };
		struct seccomp_notif_resp answer = { .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };

		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0)
			continue;
		if (f->read) {
			floor_read((pid_t)call.pid, call.data.args[1]);
			ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call.id);
		}
		answer.id = call.id;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
}

int main(int argc, char **argv)
{
	struct floor f;
	int pair[2], status;
	pid_t guest;

	floor_parse(&f, argc, argv);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		err(125, "socketpair");
	guest = fork();
	if (guest < 0)
		err(125, "fork");
	if (guest == 0)
		run_guest(&f, pair[1]);
	close(pair[1]);
	serve(&f, fetch_listener(guest, pair[0]));
	if (waitpid(guest, &status, 0) < 0)
		err(125, "waitpid");
	return floor_status(status);
}
