/* What other programs decide about /proc: names of cgroups and of processes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/creds.c"
#include "agent/target.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	size_t half = size / 2;
	char *want = malloc(half + 1);
	struct part id;
	uint64_t start;

	memcpy(text, data, size);
	text[size] = '\0';
	memcpy(want, data + half, half);
	want[half] = '\0';
	id = cgroup_line_id(text, want);
	if (id.p && (id.p < text || id.p + id.len > text + size))
		abort();
	stat_start_time(text, &start);
	make_printable(text);
	free(text);
	free(want);
	return 0;
}
