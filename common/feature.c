#include "feature.h"

#include <stdlib.h>
#include <string.h>

bool feature_disabled(const char *name)
{
	const char *at = getenv("MIRRORD_TRACE_DISABLE");
	size_t len = strlen(name);

	while (at && *at) {
		size_t n = strcspn(at, ",");

		if (n == len && memcmp(at, name, n) == 0)
			return true;
		at += n + (at[n] == ',');
	}
	return false;
}
