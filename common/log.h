/* What people read. Each message is one line on stderr, written at once, behind the program's name.
 *
 * stderr is shared with the guest: nothing is written but errors, the few notices the manual names,
 * and, with -v, debug lines. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stdnoreturn.h>

/* The exit status of both programs when they themselves fail; what is wrong stands on stderr. */
#define EXIT_OURS 125

/* A failure that a person will read: what, where, what to do. Set by the function that knows. */
struct err {
	char text[512];
};

/* log_init() - name: a string that lives as long as the process. */
void log_init(const char *name, bool verbose);

bool log_is_verbose(void);

void log_err(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_dbg(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* die() - log_err() and exit; only before the guest's first instruction, or in the agent's setup.
 */
noreturn void die(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* err_set() - fill e (NULL is fine) and return error, so that a failure is one statement. */
int err_set(struct err *e, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
