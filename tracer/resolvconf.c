#include "resolvconf.h"

#include <ctype.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util.h"

/* What is longer is cut: hosts(5) has a kilobyte for a line. */
#define RESOLV_LINE_SIZE 4096

#define BLANKS " \t\r\n"

/* The rest of a text, line by line. */
struct lines {
	const char *p, *end;
};

/* The next line with its newline, as it stands in the text: its length, 0 at the end. */
static size_t next_line(struct lines *l, const char **line)
{
	const char *newline = l->p == l->end ? NULL : memchr(l->p, '\n', (size_t)(l->end - l->p));

	*line = l->p;
	l->p = newline ? newline + 1 : l->end;
	return (size_t)(l->p - *line);
}

/* The same as a string, without what follows a '#' or one of `comments`. False: the end. */
static bool next_string(struct lines *l, char line[static RESOLV_LINE_SIZE], const char *comments)
{
	const char *p;
	size_t n = next_line(l, &p), kept = MIN(n, (size_t)RESOLV_LINE_SIZE - 1);

	memcpy(line, p, kept);
	line[kept] = '\0';
	line[strcspn(line, comments)] = '\0';
	return n > 0;
}

/* An address with or without a scope, as getaddrinfo(3) reads it: no file, no network. */
static bool read_ip(struct addr *a, const char *text)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_DGRAM }, *ai;
	bool good;

	if (getaddrinfo(text, NULL, &hints, &ai) != 0)
		return false;
	good = addr_from_sockaddr(a, ai->ai_addr, ai->ai_addrlen) == 0;
	freeaddrinfo(ai);
	return good;
}

static void add_server(struct resolv_conf *r, const char *text)
{
	struct addr a;

	if (r->nservers == RESOLV_SERVERS_MAX || !text || !read_ip(&a, text))
		return;
	addr_set_port(&a, DNS_PORT);
	r->servers[r->nservers++] = a;
}

/* The last of these lines counts. */
static void set_search(struct resolv_conf *r, char **rest, unsigned max)
{
	const char *word;

	r->nsearch = 0;
	while (r->nsearch < max && (word = strtok_r(NULL, BLANKS, rest))) {
		if (dns_name(r->search[r->nsearch], word))
			r->nsearch++;
	}
}

void resolv_conf_parse(struct resolv_conf *r, const char *text, size_t n)
{
	struct lines l = { text, text + n };
	char line[RESOLV_LINE_SIZE];

	r->nservers = r->nsearch = 0;
	while (next_string(&l, line, "#;")) {
		char *rest, *key = strtok_r(line, BLANKS, &rest);

		if (!key)
			continue;
		if (strcmp(key, "nameserver") == 0)
			add_server(r, strtok_r(NULL, BLANKS, &rest));
		else if (strcmp(key, "search") == 0)
			set_search(r, &rest, RESOLV_SEARCH_MAX);
		else if (strcmp(key, "domain") == 0)
			set_search(r, &rest, 1);
	}
	if (!r->nservers)
		r->servers[r->nservers++] = addr_v4(INADDR_LOOPBACK, DNS_PORT);
}

void hosts_parse(const char *text, size_t n,
	void (*fn)(const struct addr *a, const char *name, void *data), void *data)
{
	struct lines l = { text, text + n };
	char line[RESOLV_LINE_SIZE], name[DNS_NAME_SIZE];

	while (next_string(&l, line, "#")) {
		char *rest, *word = strtok_r(line, BLANKS, &rest);
		struct addr a;

		if (!word || !read_ip(&a, word))
			continue;
		while ((word = strtok_r(NULL, BLANKS, &rest))) {
			if (dns_name(name, word))
				fn(&a, name, data);
		}
	}
}

static bool is_about_hosts(const char *line, size_t n)
{
	static const char key[] = "hosts:";

	while (n && isblank((unsigned char)*line)) {
		line++;
		n--;
	}
	return n >= sizeof(key) - 1 && strncasecmp(line, key, sizeof(key) - 1) == 0;
}

char *nsswitch_make(const char *text, size_t *n)
{
	static const char hosts[] = "hosts: files dns\n";
	struct lines l = { text, text + *n };
	char *made = malloc(*n + sizeof(hosts) + 1);
	const char *line;
	size_t at = 0, len;

	if (!made)
		return NULL;
	while ((len = next_line(&l, &line))) {
		if (is_about_hosts(line, len))
			continue;
		memcpy(made + at, line, len);
		at += len;
	}
	if (at && made[at - 1] != '\n')
		made[at++] = '\n';
	strcpy(made + at, hosts);
	*n = at + sizeof(hosts) - 1;
	return made;
}
