/* SPDX-License-Identifier: Apache-2.0 */
/* Format strings that several modules share. */
#ifndef PJ_BASE_SENTENCES_H
#define PJ_BASE_SENTENCES_H

/* %s is the name of a row (fold/row_key.h) that another entity has. */
#define PJ_ROW_TAKEN                                                                               \
    "the row of %s already exists, from another entity or written by hand; if several entities "   \
    "may have it, declare the table as `claimed` and derive it with pj_claim"

#endif
