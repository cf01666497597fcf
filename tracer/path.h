/* Paths as words, whatever is there. */
#ifndef TRACER_PATH_H
#define TRACER_PATH_H

/* path_drop_dots() - in place, without a "." or a second slash in the middle of the path: they say
 * nothing, while at its end they ask for a directory. */
void path_drop_dots(char *path);

/* path_normalize() - in place, an absolute path without empty, "." and ".." components: where it
 * leads to if there are no links. */
void path_normalize(char *path);

#endif
