/* SPDX-License-Identifier: Apache-2.0 */
/* The sixth as its next version would be: its rules are said to be others. */
#include "sixth/platform.h"

#include <stddef.h>

int main(int argc, char **argv)
{
    static struct pj_projection next;
    static const struct pj_projection *const projections[] = {&next};
    static struct pj_system platform;
    static const struct pj_system *const systems[] = {&platform, NULL};
    next = pj_platform_activity;
    next.version++;
    platform = pj_platform;
    platform.projections = projections;
    return pj_system_main(systems, argc, argv);
}
