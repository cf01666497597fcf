#include "htab.h"
#include "unit.h"

#define NODES 4000
#define KEYS  700 /* fewer than nodes: most keys are there several times */

struct element {
	struct hnode node;
	uint64_t age; /* when it was added; 0: it is not in the table */
};

static void an_empty_table_finds_nothing(void **state)
{
	struct hnode stranger = { .key = 1 };
	struct htab t = { 0 };

	(void)state;
	assert_null(htab_find(&t, 1));
	assert_null(htab_any(&t));
	htab_del(&t, &stranger);
	htab_for_each (n, &t)
		fail();
	htab_done(&t);
}

static void of_equal_keys_the_newest_is_first(void **state)
{
	struct hnode nodes[200], *n;
	struct htab t = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		assert_int_equal(htab_add(&t, &nodes[i], i % 2), 0);
	n = htab_find(&t, 1);
	for (size_t i = ARRAY_SIZE(nodes); i; i -= 2, n = htab_next(n))
		assert_ptr_equal(n, &nodes[i - 1]);
	assert_null(n);
	htab_done(&t);
}

static void a_node_outside_is_left_alone(void **state)
{
	struct hnode in = { 0 }, out = { .key = 5 };
	struct htab t = { 0 };

	(void)state;
	assert_int_equal(htab_add(&t, &in, 5), 0);
	htab_del(&t, &out);
	assert_int_equal(t.count, 1);
	htab_del(&t, &in);
	htab_del(&t, &in);
	assert_int_equal(t.count, 0);
	htab_done(&t);
}

static void a_loop_may_delete_where_it_stands(void **state)
{
	struct hnode nodes[100];
	struct htab t = { 0 };
	size_t seen = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		assert_int_equal(htab_add(&t, &nodes[i], i * 16), 0);
	htab_for_each (n, &t) {
		htab_del(&t, n);
		seen++;
	}
	assert_int_equal(seen, ARRAY_SIZE(nodes));
	assert_int_equal(t.count, 0);
	assert_null(htab_any(&t));
	htab_done(&t);
}

/* As many as a tree has copies: a search from the table's beginning for each would take minutes. */
static void a_large_table_is_emptied_at_once(void **state)
{
	const size_t n = 1 << 20;
	struct hnode *nodes = calloc(n, sizeof(*nodes)), *any;
	struct htab t = { 0 };

	(void)state;
	assert_non_null(nodes);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(htab_add(&t, &nodes[i], i), 0);
	while ((any = htab_any(&t)))
		htab_del(&t, any);
	assert_int_equal(t.count, 0);
	assert_int_equal(htab_add(&t, &nodes[0], 0), 0);
	assert_ptr_equal(htab_any(&t), &nodes[0]);
	htab_done(&t);
	free(nodes);
}

/* The newest element with the key that is older than before, by looking at all of them. */
static struct element *model_find(struct element *all, uint64_t key, uint64_t before)
{
	struct element *best = NULL;

	for (size_t i = 0; i < NODES; i++) {
		struct element *e = &all[i];

		if (e->age && e->node.key == key && e->age < before &&
			(!best || e->age > best->age))
			best = e;
	}
	return best;
}

static void check_key(const struct htab *t, struct element *all, uint64_t key)
{
	struct hnode *n = htab_find(t, key);
	uint64_t before = UINT64_MAX;
	struct element *e;

	while ((e = model_find(all, key, before))) {
		assert_ptr_equal(n, &e->node);
		n = htab_next(n);
		before = e->age;
	}
	assert_null(n);
}

static void random_operations_agree_with_a_model(void **state)
{
	static struct element all[NODES];
	struct htab t = { 0 };
	uint64_t seed = 7;
	size_t count = 0;

	(void)state;
	for (uint64_t age = 1; age < 5 * NODES; age++) {
		struct element *e = &all[unit_random(&seed) % NODES];

		if (e->age) {
			htab_del(&t, &e->node);
			e->age = 0;
			count--;
		} else {
			assert_int_equal(htab_add(&t, &e->node, unit_random(&seed) % KEYS), 0);
			e->age = age;
			count++;
		}
		assert_int_equal(t.count, count);
		assert_int_equal(htab_any(&t) != NULL, count > 0);
		if (age % 50 == 0)
			check_key(&t, all, unit_random(&seed) % KEYS);
	}
	for (uint64_t key = 0; key < KEYS; key++)
		check_key(&t, all, key);
	htab_for_each (n, &t)
		count--;
	assert_int_equal(count, 0);
	htab_done(&t);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_table_finds_nothing),
		cmocka_unit_test(of_equal_keys_the_newest_is_first),
		cmocka_unit_test(a_node_outside_is_left_alone),
		cmocka_unit_test(a_loop_may_delete_where_it_stands),
		cmocka_unit_test(a_large_table_is_emptied_at_once),
		cmocka_unit_test(random_operations_agree_with_a_model),
	};

	return cmocka_run_group_tests_name("htab", tests, NULL, NULL);
}
