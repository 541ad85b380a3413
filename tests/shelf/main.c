/* SPDX-License-Identifier: Apache-2.0 */
/* The projectionist command of a system that has this projection alone. */
#include "projectionist/system.h"

extern const struct pj_projection pj_shelf;

static const struct pj_projection *const projections[] = {&pj_shelf};
/* For tests/integration/test_policies.py. */
static const struct pj_reader readers[] = {
    {"shelf_dramas", "authenticated", "id = (SELECT auth.uid())::text"},
    {"shelf_places", "anon", NULL},
};
static const char *const published[] = {"shelf_dramas", NULL};
static const struct pj_system shelves = {
    .name = "shelves",
    .summary = "keep dramas, episodes and props",
    .projections = projections,
    .projection_count = 1,
    .tables_schema = "public",
    .published = published,
    .readers = readers,
    .reader_count = 2,
};
static const struct pj_system *const systems[] = {&shelves, NULL};

int main(int argc, char **argv)
{
    return pj_system_main(systems, argc, argv);
}
