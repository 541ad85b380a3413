/* SPDX-License-Identifier: Apache-2.0 */
/* A projectionist command, and the consumers, of this system alone. */
#include <projectionist/system.h>

#include <stddef.h>

extern const struct pj_system pj_platform;
static const struct pj_system *const systems[] = {&pj_platform, NULL};

int main(int argc, char **argv)
{
    return pj_system_main(systems, argc, argv);
}
