/* Orders, one on each line of standard input: a command and its words, at spaces. */
#ifndef TEST_ORDERS_H
#define TEST_ORDERS_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define ORDER_WORDS_MAX 16

struct command {
	const char *name;
	int words; /* at least, with the name */
	void (*fn)(char **w);
};

/* Byte by byte: a child or a new program goes on with the next line. */
static bool read_line(char *line, size_t size)
{
	size_t n = 0;
	ssize_t got;

	while (n + 1 < size) {
		got = read(STDIN_FILENO, line + n, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = 0;
	return true;
}

/* What is behind the last word is NULL. */
static void split_line(char *line, char *w[ORDER_WORDS_MAX + 1])
{
	char *save = NULL;
	int n = 0;

	memset(w, 0, (ORDER_WORDS_MAX + 1) * sizeof(*w));
	for (char *word = strtok_r(line, " ", &save); word && n < ORDER_WORDS_MAX;
		word = strtok_r(NULL, " ", &save))
		w[n++] = word;
}

/* False: there is no such command. */
static bool run_command(const struct command *commands, size_t ncommands, char **w)
{
	int n = 0;

	while (w[n])
		n++;
	for (size_t i = 0; n && i < ncommands; i++) {
		if (strcmp(commands[i].name, w[0]) == 0 && n >= commands[i].words) {
			commands[i].fn(w);
			return true;
		}
	}
	return false;
}

#endif
