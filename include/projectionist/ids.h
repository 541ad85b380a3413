/* SPDX-License-Identifier: Apache-2.0 */
/* Ids that programs in other languages compute, too; for keys that only we make, see
 * pj_uuid_of_names (value.h). */
#ifndef PROJECTIONIST_IDS_H
#define PROJECTIONIST_IDS_H

#include "projectionist/value.h"

/* The version 5 UUID, in Projectionist's own namespace, of the texts one after the other, each
 * written
 * "<bytes>:<text>,", and a null as an empty text: in Python
 * uuid5(uuid5(NAMESPACE_DNS, "projectionist"), "13:drama/initial,1:u,"). */
void pj_uuid_of_texts(const struct pj_value *texts, size_t count, uint8_t uuid[16]);

#endif
