/* Paths by way of /proc's links to what a process has open or where it stands. */
#ifndef TRACER_PROC_PATH_H
#define TRACER_PROC_PATH_H

#include <stdbool.h>
#include <sys/types.h>

#define PROC_PATH_LINK 48

/* proc_path_base() - where a relative path of the thread tid begins: at dirfd, or AT_FDCWD. */
void proc_path_base(pid_t tid, int dirfd, char link[static PROC_PATH_LINK]);

/* proc_path_parse() - /proc/N/cwd, /exe, /fd/N, /dev/fd/N, /dev/stdin and the like, at the
 * beginning of a path of the thread tid: the link as we see it, and what of the path follows it, ""
 * or from a slash on. False: it is none. */
bool proc_path_parse(
	const char *path, pid_t tid, char link[static PROC_PATH_LINK], const char **rest);

#endif
