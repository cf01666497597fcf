/* Kernel features to do without, though they are there: how the tests see what happens then. */
#ifndef COMMON_FEATURE_H
#define COMMON_FEATURE_H

#include <stdbool.h>

/* feature_disabled() - the environment takes the feature away (MIRRORD_TRACE_DISABLE=name,name). */
bool feature_disabled(const char *name);

#endif
