/* SPDX-License-Identifier: Apache-2.0 */
#include "base/invariant.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void pj_invariant_broken(const char *file, int line, const char *sentence)
{
    fprintf(stderr, "%s: a bug in the program, please report it: %s (%s:%d)\n",
            program_invocation_short_name, sentence, file, line);
    abort();
}
