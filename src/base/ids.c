/* SPDX-License-Identifier: Apache-2.0 */
#include "projectionist/ids.h"

#include "base/text.h"

#include <stdlib.h>
#include <uuid/uuid.h>

static void add_part(struct pj_builder *name, const struct pj_value *part)
{
    char text[UUID_STR_LEN] = "";
    if (part->present && part->shape == PJ_SHAPE_UUID)
        uuid_unparse_lower(part->uuid, text);
    if (part->present && part->shape == PJ_SHAPE_INTEGER)
        pj_text_whole(text, sizeof text, "%lld", (long long)part->integer);
    size_t length = strlen(text);
    const char *bytes = text;
    if (part->present && length == 0) {
        bytes = part->text.data;
        length = part->text.length;
    }
    pj_builder_add(name, "%zu:", length);
    pj_builder_add_bytes(name, bytes, length);
    pj_builder_add(name, ",");
}

void pj_uuid_of_texts(const struct pj_value *parts, size_t count, uint8_t uuid[16])
{
    struct pj_builder name = {0};
    for (size_t i = 0; i < count; i++)
        add_part(&name, &parts[i]);
    pj_uuid_of_name(name.text != NULL ? name.text : "", name.length, uuid);
    free(name.text);
}
