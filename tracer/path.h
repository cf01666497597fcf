/* Paths as words, whatever is there. */
#ifndef TRACER_PATH_H
#define TRACER_PATH_H

/* path_normalize() - an absolute path without empty, "." and ".." components; in place. */
void path_normalize(char *path);

#endif
