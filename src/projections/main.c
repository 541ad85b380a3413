/* SPDX-License-Identifier: Apache-2.0 */
/* The program of every consumer; the build defines PJ_PROJECTION as its projection. */
#include "projectionist/consumer.h"

extern const struct pj_projection PJ_PROJECTION;

int main(int argc, char **argv)
{
    return pj_consumer_main(&PJ_PROJECTION, argc, argv);
}
