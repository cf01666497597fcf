/* Small things every file uses: array sizes, container_of, and owners for fds and memory. */
#ifndef COMMON_UTIL_H
#define COMMON_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define MIN(a, b)                                                                                  \
	({                                                                                         \
		__auto_type a_ = (a);                                                              \
		__auto_type b_ = (b);                                                              \
		a_ < b_ ? a_ : b_;                                                                 \
	})

#define MAX(a, b)                                                                                  \
	({                                                                                         \
		__auto_type a_ = (a);                                                              \
		__auto_type b_ = (b);                                                              \
		a_ > b_ ? a_ : b_;                                                                 \
	})

static inline void cleanup_free_(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_fd_(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* An owned pointer or fd: released when it goes out of scope, unless it was handed over. */
#define cleanup_free __attribute__((cleanup(cleanup_free_)))
#define cleanup_fd   __attribute__((cleanup(cleanup_fd_)))

/* take_fd() - hand an owned fd over to another owner; the old owner is left with -1. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* close_fd() - close an owned fd, if there is one, and leave the owner with -1. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/* timespec_to_ns() - 64 bits hold 292 years before and after 1970: a time beyond becomes the
 * nearest. */
static inline int64_t timespec_to_ns(struct timespec ts)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)ts.tv_sec, NS_PER_S, &ns) ||
		__builtin_add_overflow(ns, (int64_t)ts.tv_nsec, &ns))
		return ts.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

/* timespec_of_ns() - ns may be negative, tv_nsec never is. */
static inline struct timespec timespec_of_ns(int64_t ns)
{
	int64_t s = ns / NS_PER_S, rest = ns % NS_PER_S;

	if (rest < 0)
		return (struct timespec){ .tv_sec = s - 1, .tv_nsec = rest + NS_PER_S };
	return (struct timespec){ .tv_sec = s, .tv_nsec = rest };
}

/* now_ns() - CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)timespec_to_ns(ts);
}

/* is_within() - since_ns, a former now_ns(), is less than so many milliseconds ago. */
static inline bool is_within(uint64_t since_ns, unsigned ms)
{
	return now_ns() - since_ns < ms * (uint64_t)NS_PER_MS;
}

#endif
