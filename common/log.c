#include "log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024

static const char *log_name = "mirrord";
static bool log_verbose;

void log_init(const char *name, bool verbose)
{
	log_name = name;
	log_verbose = verbose;
}

bool log_is_verbose(void)
{
	return log_verbose;
}

__attribute__((format(printf, 1, 0))) static void log_line(const char *fmt, va_list ap)
{
	struct pollfd err = { .fd = STDERR_FILENO, .events = POLLOUT };
	char line[LOG_LINE_MAX];
	size_t n = (size_t)snprintf(line, sizeof(line), "%s: ", log_name);
	int len = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);

	if (len < 0)
		return;
	n += (size_t)len;
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	/* A stderr that is gone or full must not stop the guest: the line is lost. */
	if (poll(&err, 1, 0) != 1 || !(err.revents & POLLOUT))
		return;
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}

void log_err(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
}

void log_dbg(const char *fmt, ...)
{
	va_list ap;

	if (!log_verbose)
		return;
	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
}

noreturn void die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
	exit(status);
}

int err_set(struct err *e, int error, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return error;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return error;
}
