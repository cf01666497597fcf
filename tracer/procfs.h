/* What proc(5) tells of a process or thread. */
#ifndef TRACER_PROCFS_H
#define TRACER_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* procfs_read() - the file /proc/PID/NAME as a string, cut to fit; false: it is gone. */
bool procfs_read(pid_t pid, const char *name, char *text, size_t size);

/* procfs_status() - the number after "FIELD:" in its status, in that base; false: there is none. */
bool procfs_status(pid_t pid, const char *field, int base, unsigned long long *value);

#endif
