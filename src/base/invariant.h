/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PJ_CHECK: a condition that is false only if the program itself is wrong. It stays on in release
 * builds, prints a sentence on stderr and aborts: every open transaction is rolled back, and
 * nothing continues from an impossible state. What a declaration, an operator, a record or a server
 * may get wrong is an error (projectionist/error.h), never this.
 */
#ifndef PJ_BASE_INVARIANT_H
#define PJ_BASE_INVARIANT_H

#define PJ_CHECK(holds, sentence)                                                                  \
    do {                                                                                           \
        if (!(holds))                                                                              \
            pj_invariant_broken(__FILE__, __LINE__, sentence);                                     \
    } while (0)

_Noreturn void pj_invariant_broken(const char *file, int line, const char *sentence);

#endif
