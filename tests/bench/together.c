/* SPDX-License-Identifier: Apache-2.0 */
/* studio-catalog as it would be if all facts of a project were kept in one row: what
 * tests/bench/autosaves compares with. */
#include "projections/studio/studio_projections.h"
#include "projections/systems.h"

#include <string.h>

enum { FACTS_MOST = 64 };

int main(int argc, char **argv)
{
    static struct pj_fact_kind facts[FACTS_MOST];
    static struct pj_entity_kind project;
    static struct pj_projection catalog;
    static const struct pj_projection *projections[] = {&catalog};
    static struct pj_system system;
    static const struct pj_system *const systems[] = {&system, NULL};
    catalog = pj_studio_catalog;
    project = *catalog.entities;
    catalog.entities = &project;
    if (catalog.entity_count != 1 || project.fact_count > FACTS_MOST)
        return 70;
    memcpy(facts, project.facts, project.fact_count * sizeof *facts);
    for (size_t f = 0; f < project.fact_count; f++)
        facts[f].wide = false;
    project.facts = facts;
    system = pj_studio;
    system.projections = projections;
    system.projection_count = 1;
    return pj_system_main(systems, argc, argv);
}
