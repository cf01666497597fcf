#include "procfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

bool procfs_read(pid_t pid, const char *name, char *text, size_t size)
{
	cleanup_fd int fd = -1;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, size - 1);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

bool procfs_status(pid_t pid, const char *field, int base, unsigned long long *value)
{
	char text[4096], begins[32], *at, *end;

	if (!procfs_read(pid, "status", text, sizeof(text)))
		return false;
	snprintf(begins, sizeof(begins), "\n%s:", field);
	at = strstr(text, begins);
	if (!at)
		return false;
	at += strlen(begins);
	*value = strtoull(at, &end, base);
	return end != at;
}
