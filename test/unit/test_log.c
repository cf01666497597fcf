#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "log.h"
#include "unit.h"

static int saved_stderr, pipe_fd;

/* stderr goes to a pipe until captured(). */
static void capture(void)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	pipe_fd = fds[0];
}

static const char *captured(void)
{
	static char text[4096];
	ssize_t n = read(pipe_fd, text, sizeof(text) - 1);

	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(pipe_fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void a_message_is_one_line_behind_the_name(void **state)
{
	(void)state;
	log_init("prog", false);
	capture();
	log_err("%s %d", "no", 7);
	log_dbg("not said");
	assert_string_equal(captured(), "prog: no 7\n");
}

static void debug_lines_need_verbose(void **state)
{
	(void)state;
	log_init("prog", true);
	assert_true(log_is_verbose());
	capture();
	log_dbg("said");
	assert_string_equal(captured(), "prog: said\n");
	log_init("prog", false);
	assert_false(log_is_verbose());
}

/* Lengths around the line's own: never more than one line, always ended. */
static void a_long_message_is_cut_but_ended(void **state)
{
	char text[3000];

	(void)state;
	log_init("prog", false);
	for (int n = 1000; n < (int)sizeof(text); n += n < 1040 ? 1 : 997) {
		const char *line;

		memset(text, 'x', sizeof(text));
		capture();
		log_err("%.*s", n, text);
		line = captured();
		assert_true(strlen(line) <= 1024);
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		assert_true(strlen(line) >= 1000);
	}
}

static void a_closed_stderr_stops_nothing(void **state)
{
	(void)state;
	capture();
	close(STDERR_FILENO);
	log_err("to nobody");
	assert_string_equal(captured(), "");
}

static void die_exits_with_the_status(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	log_init("prog", false);
	capture();
	pid = fork();
	if (pid == 0)
		die(125, "cannot %s", "go on");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_string_equal(captured(), "prog: cannot go on\n");
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 125);
}

static void an_err_is_filled_and_returned(void **state)
{
	struct err e;
	char text[1000];

	(void)state;
	assert_int_equal(err_set(&e, -5, "%s: %d", "x", 3), -5);
	assert_string_equal(e.text, "x: 3");
	assert_int_equal(err_set(NULL, -6, "nowhere"), -6);
	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(err_set(&e, -7, "%s", text), -7);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_one_line_behind_the_name),
		cmocka_unit_test(debug_lines_need_verbose),
		cmocka_unit_test(a_long_message_is_cut_but_ended),
		cmocka_unit_test(a_closed_stderr_stops_nothing),
		cmocka_unit_test(die_exits_with_the_status),
		cmocka_unit_test(an_err_is_filled_and_returned),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
