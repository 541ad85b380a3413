/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/systems.h"

int main(int argc, char **argv)
{
    return pj_system_main(pj_systems, argc, argv);
}
