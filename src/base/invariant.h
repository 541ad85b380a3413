/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PJ_CHECK: what can only be otherwise where the program itself is wrong. It stays on in release,
 * says a sentence on stderr and aborts: every transaction is rolled back by that, and nothing goes
 * on from what cannot be. What a declaration, an operator, a record or a server may get wrong is an
 * error (projectionist/error.h), never this.
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
