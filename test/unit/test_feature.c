#include "unit.h"

#include "feature.h"

static void words_of_the_environment(void **state)
{
	static const struct {
		const char *value, *name;
		bool disabled;
	} cases[] = {
		{ NULL, "nft", false },
		{ "", "nft", false },
		{ "nft", "nft", true },
		{ "sk_lookup,nft", "nft", true },
		{ "nft,sk_lookup", "nft", true },
		{ ",nft,", "nft", true },
		{ "nft_", "nft", false },
		{ "xnft", "nft", false },
		{ "nf", "nft", false },
		{ "nft sk_lookup", "nft", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].value)
			setenv("MIRRORD_TRACE_DISABLE", cases[i].value, 1);
		else
			unsetenv("MIRRORD_TRACE_DISABLE");
		if (feature_disabled(cases[i].name) != cases[i].disabled)
			fail_msg("%s in '%s'", cases[i].name, cases[i].value ? cases[i].value : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_of_the_environment),
	};

	return cmocka_run_group_tests_name("feature", tests, NULL, NULL);
}
