/* SPDX-License-Identifier: Apache-2.0 */
#include "projectionist/ids.h"

#include "base/text.h"

#include <stdlib.h>

void pj_uuid_of_texts(const struct pj_value *texts, size_t count, uint8_t uuid[16])
{
    struct pj_builder name = {0};
    for (size_t i = 0; i < count; i++) {
        pj_builder_add(&name, "%zu:", texts[i].present ? texts[i].text.length : 0);
        if (texts[i].present)
            pj_builder_add_bytes(&name, texts[i].text.data, texts[i].text.length);
        pj_builder_add(&name, ",");
    }
    pj_uuid_of_name(name.text != NULL ? name.text : "", name.length, uuid);
    free(name.text);
}
