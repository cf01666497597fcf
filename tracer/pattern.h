/* A regular expression of the configuration (pcre2pattern(3)), compiled once. */
#ifndef TRACER_PATTERN_H
#define TRACER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"

/* Letters match without regard to case. */
#define PATTERN_CASELESS 1u

struct pattern {
	const char *text; /* the caller's */
	size_t len;
	struct pcre2_real_code_8 *code;
	struct pcre2_real_match_data_8 *match;
};

/* pattern_compile() - the first n bytes of regex, which stay where they are. 0, or -EINVAL and e,
 * which names the option and what is wrong; -ENOMEM. Released with pattern_done() in any case. */
int pattern_compile(struct pattern *p, const char *option, const char *regex, size_t n,
	unsigned flags, struct err *e);
void pattern_done(struct pattern *p);

/* pattern_matches() - somewhere in the n bytes of text. One that takes PCRE2 too long does not. */
bool pattern_matches(const struct pattern *p, const char *text, size_t n);

/* pattern_takes() - 0, or -EINVAL and e when pattern_replace() would not understand `with`. */
int pattern_takes(const struct pattern *p, const char *option, const char *with, struct err *e);

/* pattern_replace() - text with its first match replaced; $1 and the like are what a group matched.
 * True: to holds it. False: there is no match, or to is too small. */
bool pattern_replace(
	const struct pattern *p, const char *text, const char *with, char *to, size_t size);

#endif
