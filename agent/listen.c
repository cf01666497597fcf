#include "listen.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "addr.h"
#include "util.h"

#define LISTEN_BACKLOG 64

static int start_listening(int fd, const char *what, struct err *e)
{
	if (listen(fd, LISTEN_BACKLOG) < 0)
		return err_set(e, -errno, "cannot listen at %s: %s", what, strerror(errno));
	return 0;
}

/* A socket's file that outlived its process. */
static bool is_stale(const struct sockaddr_un *sa)
{
	cleanup_fd int fd = -1;
	struct stat st;

	if (lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 &&
	       errno == ECONNREFUSED;
}

/* Bind with mode 0600 from the file's first moment on. */
static int bind_private(int fd, const struct sockaddr_un *sa)
{
	mode_t old = umask(0177);
	int r = bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 ? -errno : 0;

	umask(old);
	return r;
}

/* Under sudo the socket is for the user who asked. */
static void give_to_sudo_user(const char *path)
{
	const char *uid = getenv("SUDO_UID");

	if (uid && lchown(path, (uid_t)strtoul(uid, NULL, 10), (gid_t)-1) < 0)
		log_err("cannot give %s to user %s: %s", path, uid, strerror(errno));
}

static int listen_unix(struct listen_addr *l, const char *path, struct err *e)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int r;

	if (fd < 0)
		return err_set(e, -errno, "cannot make a socket: %s", strerror(errno));
	if (!*path || strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, -EINVAL, "a unix socket's path has 1 to %zu bytes, this one %zu",
			sizeof(sa.sun_path) - 1, strlen(path));
	strcpy(sa.sun_path, path);
	r = bind_private(fd, &sa);
	if (r == -EADDRINUSE && is_stale(&sa) && unlink(path) == 0)
		r = bind_private(fd, &sa);
	if (r == -EADDRINUSE)
		return err_set(e, r,
			"%s exists, and is in use or not a socket; end its owner or choose another "
			"path",
			path);
	if (r < 0)
		return err_set(e, r, "cannot make the socket %s: %s", path, strerror(-r));
	strcpy(l->path, path);
	give_to_sudo_user(path);
	r = start_listening(fd, path, e);
	if (r == 0)
		l->fd = take_fd(&fd);
	return r;
}

static int listen_tcp(struct listen_addr *l, const char *hostport, struct err *e)
{
	struct addr a;
	int on = 1, r;

	if (addr_parse(&a, hostport) < 0 || addr_port(&a) == 0)
		return err_set(e, -EINVAL,
			"\"%s\" is not an address; say tcp:HOST:PORT with a numeric host",
			hostport);
	cleanup_fd int fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_set(e, -errno, "cannot make a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &a.sa, addr_len(&a)) < 0)
		return err_set(e, -errno, "cannot listen at %s: %s%s", hostport, strerror(errno),
			errno == EADDRINUSE ? "; end its owner or choose another port" : "");
	r = start_listening(fd, hostport, e);
	if (r == 0)
		l->fd = take_fd(&fd);
	return r;
}

int listen_open(struct listen_addr *l, const char *spec, struct err *e)
{
	int r;

	*l = (struct listen_addr){ .fd = -1 };
	if (strncmp(spec, "unix:", 5) == 0)
		r = listen_unix(l, spec + 5, e);
	else if (strncmp(spec, "tcp:", 4) == 0)
		r = listen_tcp(l, spec + 4, e);
	else
		r = err_set(e, -EINVAL, "\"%s\" is not an address; say unix:PATH or tcp:HOST:PORT",
			spec);
	if (r < 0)
		listen_close(l);
	return r;
}

void listen_close(struct listen_addr *l)
{
	close_fd(&l->fd);
	if (l->path[0])
		unlink(l->path);
	l->path[0] = '\0';
}
