/* SPDX-License-Identifier: Apache-2.0 */
/* Ids that programs in other languages compute, too; for keys that only we make, see
 * pj_uuid_of_names (value.h). */
#ifndef PROJECTIONIST_IDS_H
#define PROJECTIONIST_IDS_H

#include "projectionist/value.h"

/*
 * The version 5 UUID, in Projectionist's own namespace, of the parts one after the other, each
 * written
 * "<bytes>:<text>,": in Python
 * uuid5(uuid5(NAMESPACE_DNS, "projectionist"), "13:drama/initial,1:u,"). A part is a text, a UUID
 * (its 36 characters in lower case), an integer (its digits) or null (an empty text).
 */
void pj_uuid_of_texts(const struct pj_value *parts, size_t count, uint8_t uuid[16]);

#endif
