/* What files without attributes say when they are asked for one. */
#include "unit.h"

#include "tracer/xattr_lacks.c"

static const struct file_attr file = { .mode = S_IFREG | 0644, .dev = 5, .flags = FILE_NO_XATTRS };

static void one_answer_is_enough_for_all_that_are_alike(void **state)
{
	struct xattr_lacks l = { 0 };
	struct file_attr other = { .mode = S_IFREG, .dev = 5, .ino = 9, .flags = FILE_NO_XATTRS };

	(void)state;
	assert_int_equal(xattr_lacks_find(&l, &file, "system.a"), 0);
	xattr_lacks_learn(&l, &file, "system.a", ENODATA);
	xattr_lacks_learn(&l, &file, "security.b", EOPNOTSUPP);
	assert_int_equal(xattr_lacks_find(&l, &file, "system.a"), ENODATA);
	assert_int_equal(xattr_lacks_find(&l, &other, "system.a"), ENODATA);
	assert_int_equal(xattr_lacks_find(&l, &other, "security.b"), EOPNOTSUPP);
	assert_int_equal(xattr_lacks_find(&l, &other, "security.c"), 0);
}

static void others_are_asked(void **state)
{
	static const struct file_attr others[] = {
		{ .mode = S_IFREG, .dev = 6, .flags = FILE_NO_XATTRS },
		{ .mode = S_IFDIR, .dev = 5, .flags = FILE_NO_XATTRS },
		{ .mode = S_IFREG, .dev = 5 },
		{ 0 },
	};
	struct xattr_lacks l = { 0 };

	(void)state;
	xattr_lacks_learn(&l, &file, "system.a", ENODATA);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(xattr_lacks_find(&l, &others[i], "system.a"), 0);
}

static void only_what_the_name_and_the_file_system_decide_is_learned(void **state)
{
	static const struct {
		struct file_attr attr;
		const char *name;
		int error;
	} cases[] = {
		{ { .mode = S_IFREG, .dev = 5, .flags = FILE_NO_XATTRS }, "system.a", EACCES },
		{ { .mode = S_IFREG, .dev = 5, .flags = FILE_NO_XATTRS }, "user.a", ENODATA },
		{ { .mode = S_IFREG, .dev = 5 }, "system.a", ENODATA },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct xattr_lacks l = { 0 };

		xattr_lacks_learn(&l, &cases[i].attr, cases[i].name, cases[i].error);
		assert_int_equal(l.learned, 0);
	}
}

static void the_oldest_gives_way(void **state)
{
	struct xattr_lacks l = { 0 };
	char name[32];

	(void)state;
	for (int i = 0; i <= XATTR_LACKS_MAX; i++) {
		snprintf(name, sizeof(name), "system.%d", i);
		xattr_lacks_learn(&l, &file, name, ENODATA);
		xattr_lacks_learn(&l, &file, name, ENODATA);
	}
	assert_int_equal(xattr_lacks_find(&l, &file, "system.0"), 0);
	assert_int_equal(xattr_lacks_find(&l, &file, "system.1"), ENODATA);
	assert_int_equal(xattr_lacks_find(&l, &file, name), ENODATA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_answer_is_enough_for_all_that_are_alike),
		cmocka_unit_test(others_are_asked),
		cmocka_unit_test(only_what_the_name_and_the_file_system_decide_is_learned),
		cmocka_unit_test(the_oldest_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
