#include "proc_path.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static bool take(const char **p, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(*p, word, n) != 0)
		return false;
	*p += n;
	return true;
}

static bool take_number(const char **p, int *number)
{
	char *end;
	long n = isdigit((unsigned char)**p) ? strtol(*p, &end, 10) : -1;

	if (n < 0 || n > INT_MAX)
		return false;
	*p = end;
	*number = (int)n;
	return true;
}

/* What follows /dev/: a descriptor. */
static bool take_device(const char **p, int *fd)
{
	static const char *const std[] = { "stdin", "stdout", "stderr" };

	if (take(p, "fd/"))
		return take_number(p, fd);
	for (*fd = 0; *fd < (int)ARRAY_SIZE(std); (*fd)++) {
		if (take(p, std[*fd]))
			return true;
	}
	return false;
}

void proc_path_base(pid_t tid, int dirfd, char link[static PROC_PATH_LINK])
{
	if (dirfd == AT_FDCWD)
		snprintf(link, PROC_PATH_LINK, "/proc/%d/cwd", tid);
	else
		snprintf(link, PROC_PATH_LINK, "/proc/%d/fd/%d", tid, dirfd);
}

bool proc_path_parse(
	const char *path, pid_t tid, char link[static PROC_PATH_LINK], const char **rest)
{
	const char *what = NULL;
	int fd = -1;

	if (take(&path, "/dev/")) {
		if (!take_device(&path, &fd))
			return false;
	} else {
		if (!take(&path, "/proc/") || !(take(&path, "self") || take(&path, "thread-self") ||
						      take_number(&path, &tid)))
			return false;
		if (take(&path, "/cwd"))
			what = "cwd";
		else if (take(&path, "/exe"))
			what = "exe";
		else if (!take(&path, "/fd/") || !take_number(&path, &fd))
			return false;
	}
	if (what)
		snprintf(link, PROC_PATH_LINK, "/proc/%d/%s", tid, what);
	else
		snprintf(link, PROC_PATH_LINK, "/proc/%d/fd/%d", tid, fd);
	*rest = path;
	return !*path || *path == '/';
}
