/* SPDX-License-Identifier: Apache-2.0 */
#include <projectionist/consumer.h>

extern const struct pj_projection pj_platform_activity;

int main(int argc, char **argv)
{
    return pj_consumer_main(&pj_platform_activity, argc, argv);
}
