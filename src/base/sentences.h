/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences that several rooms say, as formats. */
#ifndef PJ_BASE_SENTENCES_H
#define PJ_BASE_SENTENCES_H

/* %s is the name of a row (fold/row_key.h): one that somebody else has. */
#define PJ_ROW_TAKEN                                                                               \
    "the row of %s is there already, from another entity or by another hand; where several "       \
    "entities may have it, let the table be `claimed` and derive it with pj_claim"

#endif
