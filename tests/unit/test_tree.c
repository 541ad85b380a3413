/* SPDX-License-Identifier: Apache-2.0 */
/* A kind that contributes to itself: paths down and sizes up a tree of unknown depth, whose nodes
 * move, and are on rings, under every order of events over three partitions. */
#include "projectionist/testing.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { F_ID, F_NODE, F_PARENT, F_AT, FIELDS };
static const struct pj_field fields[FIELDS] = {
    [F_ID] = {"id", PJ_UUID, .required = true},
    [F_NODE] = {"node", PJ_UUID, .required = true},
    [F_PARENT] = {"parent", PJ_UUID},
    [F_AT] = {"at", PJ_BIGINT, .required = true},
};

enum { PLACE, CHILD, PATH, SIZE, HIGH, NODE_FACTS };
static const struct pj_fact_kind node_facts[NODE_FACTS] = {
    [PLACE] = {"place", PJ_GREATEST, PJ_FACT_VALUES(PJ_UUID)},
    [CHILD] = {"child", PJ_GREATEST, NULL, 0},
    [PATH] = {"path", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .recursive = true},
    [SIZE] = {"size", PJ_GREATEST, PJ_FACT_VALUES(PJ_BIGINT), .recursive = true},
    [HIGH] = {"high", PJ_GREATEST, PJ_FACT_VALUES(PJ_BIGINT), .height = true},
};

enum { N_ID, N_PATH, N_SIZE, N_RING, N_COLUMNS };
static const struct pj_column node_columns[N_COLUMNS] = {
    [N_ID] = {"id", PJ_UUID, .key = true},
    [N_PATH] = {"path", PJ_TEXT},
    [N_SIZE] = {"size", PJ_BIGINT},
    [N_RING] = {"ring", PJ_BOOL},
};
static const struct pj_table nodes = {
    .name = "nodes", .columns = node_columns, .column_count = N_COLUMNS};
static const struct pj_table *const tables[] = {&nodes};

enum { NODES_MOST = 64, NO_PARENT = -1, UNKNOWN = -2 };
static bool by_height; /* a node of a lesser number stands higher, and nobody is told a path */

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)error;
    const struct pj_value *v = event->values;
    struct pj_order order = {.rank = {v[F_AT].integer}};
    memcpy(order.tie, v[F_ID].uuid, 16);
    pj_keep(observer, 0, v[F_NODE].uuid, PLACE, NULL, &order, &v[F_PARENT]);
    const struct pj_value height = pj_bigint(NODES_MOST - v[F_NODE].uuid[15]);
    if (by_height)
        pj_keep(observer, 0, v[F_NODE].uuid, HIGH, NULL, &order, &height);
    return 0;
}

static unsigned derived;

/* "parent's path/number"; null on a ring, below one, or below a node of which nothing is known. */
static struct pj_value path_of(const struct pj_entity *entity, const struct pj_fact *place,
                               struct pj_derivation *derivation)
{
    enum { NAME_MOST = 16 };
    const uint8_t *key = pj_entity_key(entity);
    const struct pj_value *parent = &place->values[0];
    const struct pj_fact *path =
        parent->present ? pj_entity_fact(entity, PATH, parent->uuid) : NULL;
    if (parent->present && (path == NULL || !path->values[0].present))
        return pj_null();
    size_t length = path != NULL ? path->values[0].text.length : 0;
    char *text = pj_derivation_alloc(derivation, length + NAME_MOST);
    if (length > 0)
        memcpy(text, path->values[0].text.data, length);
    snprintf(text + length, NAME_MOST, "/%d", key[14] * 256 + key[15]);
    return pj_text(text);
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *place = pj_entity_fact(entity, PLACE, NULL);
    const uint8_t *key = pj_entity_key(entity);
    struct pj_value path = place != NULL ? path_of(entity, place, derivation) : pj_null();
    size_t count;
    derived++;
    const struct pj_fact *sizes = pj_entity_facts(entity, SIZE, &count);
    struct pj_value size = pj_bigint(place != NULL);
    for (size_t i = 0; i < count; i++)
        size.integer += sizes[i].values[0].integer;
    const struct pj_fact *children = pj_entity_facts(entity, CHILD, &count);
    for (size_t i = 0; i < count && !by_height; i++)
        pj_contribute(derivation, 0, children[i].subkey, PATH, key, &path);
    if (place == NULL)
        return;
    if (place->values[0].present) {
        pj_contribute(derivation, 0, place->values[0].uuid, CHILD, key, NULL);
        pj_contribute(derivation, 0, place->values[0].uuid, SIZE, key, &size);
    }
    struct pj_value *row = pj_row(derivation, &nodes);
    row[N_ID] = pj_uuid(key);
    row[N_PATH] = path;
    row[N_RING] = pj_bool(pj_entity_too_deep(entity, PATH));
    if (!pj_entity_too_deep(entity, SIZE))
        row[N_SIZE] = size;
}

static const char schema[] =
    "{\"type\":\"record\",\"name\":\"Placed\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"string\"},{\"name\":\"node\",\"type\":\"string\"},"
    "{\"name\":\"parent\",\"type\":[\"null\",\"string\"]},{\"name\":\"at\",\"type\":\"long\"}]}";
static const struct pj_source sources[] = {{.topic = "placed",
                                            .schema = schema,
                                            .fields = fields,
                                            .field_count = FIELDS,
                                            .observe = observe}};
static struct pj_entity_kind entities[] = {{"node", node_facts, NODE_FACTS, derive}};
static const struct pj_projection tree = {.name = "tree",
                                          .summary = "keep nodes",
                                          .sources = sources,
                                          .source_count = 1,
                                          .entities = entities,
                                          .entity_count = 1,
                                          .tables = tables,
                                          .table_count = 1};

static struct pj_orders orders;
static unsigned placed_count;
static int parent_of[NODES_MOST]; /* as the latest event says */

static void start(void)
{
    entities[0].depth_most = 8;
    orders = pj_orders_of(&tree);
    placed_count = 0;
    for (int n = 0; n < NODES_MOST; n++)
        parent_of[n] = UNKNOWN;
}

static void stop(void)
{
    pj_orders_free(&orders);
}

TestSuite(tree, .init = start, .fini = stop);

static void placed(int node, int parent)
{
    struct pj_value *v = pj_orders_event(&orders, 0, (int32_t)(placed_count % 3));
    v[F_ID] = pj_orders_uuid(++placed_count);
    v[F_NODE] = pj_orders_uuid((unsigned)node);
    v[F_PARENT] = parent >= 0 ? pj_orders_uuid((unsigned)parent) : pj_null();
    v[F_AT] = pj_bigint(placed_count);
    parent_of[node] = parent;
}

/* --- what there should be -------------------------------------------------------------------- */

/* How many steps it is to the root; -1: there is none. */
static int depth_of(int node)
{
    int depth = 0;
    while (parent_of[node] >= 0 && depth <= NODES_MOST) {
        node = parent_of[node];
        depth++;
    }
    return depth <= NODES_MOST ? depth : -1;
}

static bool is_above(int node, int below)
{
    for (int step = 0; below >= 0 && step <= NODES_MOST; step++, below = parent_of[below]) {
        if (below == node)
            return true;
    }
    return false;
}

static void expect_rows(void)
{
    char *rows = pj_orders_rows(&orders, false);
    for (int n = 0; n < NODES_MOST; n++) {
        char line[1024];
        char path[512] = "";
        if (parent_of[n] == UNKNOWN)
            continue;
        int depth = depth_of(n);
        int size = 0;
        int root = n;
        for (int at = n, step = 0; at >= 0 && step <= depth; at = parent_of[at], step++) {
            char longer[sizeof path];
            snprintf(longer, sizeof longer, "/%d%.480s", at, path);
            memcpy(path, longer, sizeof path);
            root = at;
        }
        for (int other = 0; other < NODES_MOST; other++)
            size += parent_of[other] != UNKNOWN && is_above(n, other);
        if (depth < 0 || parent_of[root] == UNKNOWN)
            snprintf(path, sizeof path, "null");
        bool on_ring = depth < 0 && is_above(n, parent_of[n]);
        char number[16] = "null";
        if (!on_ring)
            snprintf(number, sizeof number, "%d", size);
        snprintf(line, sizeof line, "%012x|path=%s|size=%s|ring=%s\n", (unsigned)n, path, number,
                 depth < 0 ? "true" : "false");
        cr_assert_not_null(strstr(rows, line), "%s is not in\n%s", line, rows);
    }
    free(rows);
}

Test(tree, a_subtree_moves_with_its_root)
{
    placed(3, 2);
    placed(2, 1);
    placed(4, 2);
    placed(1, NO_PARENT);
    cr_assert(pj_orders_expect(&orders, "|path=/1/2/4|size=1|ring=false"));
    cr_assert(pj_orders_expect(&orders, "|path=/1|size=4|ring=false"));
    placed(5, NO_PARENT);
    placed(2, 5);
    cr_assert(pj_orders_expect(&orders, "|path=/5/2/4|size=1|ring=false"));
    cr_assert(pj_orders_expect(&orders, "|path=/1|size=1|ring=false"));
    expect_rows();
    cr_assert(pj_orders_agree(&orders, 1000, 1));
}

Test(tree, a_ring_is_the_same_in_every_order_and_leaves_nothing_when_it_is_broken)
{
    placed(1, NO_PARENT);
    placed(2, 1);
    placed(3, 2);
    placed(4, 3);
    placed(2, 4); /* 2, 3 and 4 are a ring now … */
    placed(5, 3); /* … and 5 is below it */
    placed(6, 6);
    expect_rows();
    cr_assert(pj_orders_expect(&orders, "|path=null|size=1|ring=true"));
    cr_assert(pj_orders_agree(&orders, 1000, 2));
    placed(3, 1);
    placed(6, 2);
    expect_rows();
    cr_assert(pj_orders_expect(&orders, "|path=/1/3/4/2/6|size=1|ring=false"));
    cr_assert(pj_orders_agree(&orders, 1000, 3));
}

Test(tree, what_is_deeper_than_declared_is_as_on_a_ring)
{
    entities[0].depth_most = 2;
    for (int n = 0; n < 5; n++)
        placed(n, n - 1);
    cr_assert(pj_orders_expect(&orders, "|path=/0/1/2|size=3|ring=false"));
    cr_assert(pj_orders_expect(&orders, "|path=null|size=2|ring=true"));
    cr_assert(pj_orders_expect(&orders, "|path=null|size=1|ring=true"));
    cr_assert(pj_orders_expect(&orders, "|path=/0|size=null|ring=false"));
    placed(3, NO_PARENT);
    cr_assert(pj_orders_expect(&orders, "|path=/3/4|size=1|ring=false"));
}

Test(tree, nodes_move_in_every_order)
{
    unsigned seed = 5;
    for (int i = 0; i < 30; i++)
        placed(rand_r(&seed) % 9, rand_r(&seed) % 11 - 2 < 0 ? NO_PARENT : rand_r(&seed) % 9);
    expect_rows();
    cr_assert(pj_orders_agree(&orders, 1000, 4));
}

Test(tree, a_mixture_agrees)
{
    cr_assert(pj_orders_mixture(&orders, 40, 3, NULL));
    cr_assert(pj_orders_agree(&orders, 1000, 42));
}

Test(tree, fifty_deep)
{
    entities[0].depth_most = 60;
    for (int n = 49; n > 0; n--)
        placed(n, n - 1);
    placed(0, NO_PARENT);
    expect_rows();
    derived = 0;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    free(pj_orders_rows(&orders, true));
    clock_gettime(CLOCK_MONOTONIC, &to);
    fprintf(stderr, "a chain of 50 in one batch: %u times derived, %ld us\n", derived,
            (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000);
    cr_assert(pj_orders_agree(&orders, 50, 5));
}

Test(tree, who_stands_lowest_is_derived_first)
{
    enum { DEPTH = 50, TIMES_MOST = 6 };
    entities[0].depth_most = 60;
    by_height = true;
    for (int n = 0; n < DEPTH; n++)
        placed(n, n - 1);
    derived = 0;
    char *rows = pj_orders_rows(&orders, true);
    cr_assert_leq(derived, DEPTH * TIMES_MOST, "%u times derived", derived);
    cr_assert_not_null(strstr(rows, "|size=50|"), "%s", rows);
    free(rows);
    placed(20, NO_PARENT);
    placed(49, 10);
    cr_assert(pj_orders_agree(&orders, 50, 6));
}
