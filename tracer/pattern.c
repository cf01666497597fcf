#include "pattern.h"

#include <errno.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "util.h"

/* A path is bytes: any of them may be a newline. */
#define OPTIONS (PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY)

int pattern_compile(struct pattern *p, const char *option, const char *regex, size_t n,
	unsigned flags, struct err *e)
{
	PCRE2_UCHAR why[128];
	PCRE2_SIZE at;
	int error;

	*p = (struct pattern){ .text = regex, .len = n };
	p->code = pcre2_compile((PCRE2_SPTR)regex, n,
		OPTIONS | (flags & PATTERN_CASELESS ? PCRE2_CASELESS : 0), &error, &at, NULL);
	if (!p->code) {
		pcre2_get_error_message(error, why, sizeof(why));
		return err_set(e, -EINVAL,
			"'--%s %.*s': it is no regular expression at character %zu: %s", option,
			(int)n, regex, at + 1, (const char *)why);
	}
	/* Where memory may not be made executable, it is interpreted. */
	pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
	p->match = pcre2_match_data_create_from_pattern(p->code, NULL);
	return p->match ? 0 : err_set(e, -ENOMEM, "no memory for --%s", option);
}

void pattern_done(struct pattern *p)
{
	pcre2_match_data_free(p->match);
	pcre2_code_free(p->code);
	*p = (struct pattern){ 0 };
}

bool pattern_matches(const struct pattern *p, const char *text, size_t n)
{
	return pcre2_match(p->code, (PCRE2_SPTR)text, n, 0, 0, p->match, NULL) >= 0;
}

static int replace(const pcre2_code *code, pcre2_match_data *match, const char *text,
	const char *with, char *to, size_t size)
{
	PCRE2_SIZE len = size;

	return pcre2_substitute(code, (PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0,
		PCRE2_SUBSTITUTE_UNSET_EMPTY, match, NULL, (PCRE2_SPTR)with, PCRE2_ZERO_TERMINATED,
		(PCRE2_UCHAR *)to, &len);
}

bool pattern_replace(
	const struct pattern *p, const char *text, const char *with, char *to, size_t size)
{
	return replace(p->code, p->match, text, with, to, size) > 0;
}

/* A replacement is read when there is a match. So it is tried with the same groups and nothing as a
 * second alternative, which matches nothing. */
int pattern_takes(const struct pattern *p, const char *option, const char *with, struct err *e)
{
	cleanup_free char *or_nothing = malloc(p->len + 2), *sink = malloc(strlen(with) + 1);
	PCRE2_UCHAR why[128];
	pcre2_code *code;
	PCRE2_SIZE at;
	int error, r;

	if (!or_nothing || !sink)
		return err_set(e, -ENOMEM, "no memory for --%s", option);
	memcpy(or_nothing, p->text, p->len);
	strcpy(or_nothing + p->len, "|");
	code = pcre2_compile((PCRE2_SPTR)or_nothing, p->len + 1, OPTIONS, &error, &at, NULL);
	r = code ? replace(code, p->match, "", with, sink, strlen(with) + 1) : error;
	pcre2_code_free(code);
	if (r >= 0)
		return 0;
	pcre2_get_error_message(r, why, sizeof(why));
	return err_set(e, -EINVAL, "'--%s %.*s=%s': the replacement is wrong: %s", option,
		(int)p->len, p->text, with, (const char *)why);
}
