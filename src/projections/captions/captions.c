/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/captions/captions.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

enum { TEXT_BYTES_MOST = 100000, KEY_BYTES_MOST = 1024 };
static const int64_t longest_lock = INT64_C(15) * 60 * 1000000;

const char *const captions_roles[] = {"user", "admin", "annotator", NULL};
const char *const captions_outcomes[] = {"succeeded", "failed", "cancelled", NULL};
const char *const captions_operations[] = {"stored", "removed", NULL};

int64_t captions_half(const uint8_t bytes[8])
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | bytes[i];
    return (int64_t)(number ^ UINT64_C(1) << 63);
}

/* A hexadecimal number of up to 128 bits in two halves, which compare as signed numbers. */
static bool read_sequencer(struct pj_text text, int64_t halves[2])
{
    unsigned __int128 number = 0;
    for (size_t i = 0; i < text.text.length; i++) {
        char c = text.text.data[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0 || number >> 124 != 0)
            return false;
        number = number << 4 | (unsigned)digit;
    }
    halves[0] = (int64_t)((uint64_t)(number >> 64) ^ UINT64_C(1) << 63);
    halves[1] = (int64_t)((uint64_t)number ^ UINT64_C(1) << 63);
    return true;
}

struct pj_order captions_object_order(const struct captions_object *e)
{
    struct pj_order order = {.rank = {e->sequencer.present, 0, 0, e->emitted_at.integer}};
    if (e->sequencer.present)
        (void)read_sequencer(e->sequencer, &order.rank[1]);
    memcpy(order.tie, e->event_id.uuid, sizeof order.tie);
    return order;
}

/* --- whose it is ----------------------------------------------------------------------------- */

void captions_claim(struct pj_uuid tenant, struct pj_uuid video, uint8_t key[16])
{
    static const uint8_t nil[16];
    const struct pj_value parts[] = {pj_uuid(tenant.present ? tenant.uuid : nil),
                                     pj_uuid(video.present ? video.uuid : nil)};
    pj_uuid_of_names(parts, 2, key);
}

static bool is_lower_uuid(const char *text, uint8_t uuid[16])
{
    for (size_t i = 0; i < 36; i++) {
        if (text[i] >= 'A' && text[i] <= 'F')
            return false;
    }
    return pj_uuid_parse(text, 36, uuid);
}

struct captions_place captions_place_of(struct pj_text key)
{
    enum { ID = 36, FOLDER = 2 * (ID + 1) };
    const char *text = key.text.data;
    uint8_t tenant[16], video[16];
    if (!key.present || key.text.length <= FOLDER || text[ID] != '/' || text[FOLDER - 1] != '/' ||
        !is_lower_uuid(text, tenant) || !is_lower_uuid(text + ID + 1, video))
        return (struct captions_place){0};
    return (struct captions_place){PJ_UUID((const uint8_t *)tenant),
                                   PJ_UUID((const uint8_t *)video),
                                   PJ_TEXT(pj_text_of(text + FOLDER, key.text.length - FOLDER))};
}

void captions_object_claim(const struct captions_object *e, struct pj_uuid *tenant,
                           struct pj_uuid *video)
{
    struct captions_place place = captions_place_of(e->key);
    *tenant = e->video_id.present ? e->tenant_id : place.tenant;
    *video = e->video_id.present ? e->video_id : place.video;
}

struct pj_text captions_real(struct pj_derivation *derivation, struct pj_double number)
{
    enum { MOST = 32 };
    if (!number.present)
        return PJ_TEXT(pj_null());
    char *text = pj_derivation_alloc(derivation, MOST);
    int length = snprintf(text, MOST, "%.9g", (double)(float)number.real);
    return PJ_TEXT(pj_text_of(text, (size_t)length));
}

/* --- rules ----------------------------------------------------------------------------------- */

static int check_id(const char *name, struct pj_uuid id, struct pj_error *error)
{
    static const uint8_t nil[16];
    return !id.present || memcmp(id.uuid, nil, sizeof nil) != 0
               ? 0
               : pj_error_set(error, PJ_POISON, "%s is the nil UUID, which is nobody's", name);
}

static int check_ids(struct pj_uuid tenant, struct pj_uuid video, struct pj_error *error)
{
    return check_id("tenant_id", tenant, error) != 0 ? -1 : check_id("video_id", video, error);
}

/* Nothing happened: a branch of the union that a later version of the schema has. */
static int check_body(bool known, struct pj_error *error)
{
    return known ? 0 : pj_error_set(error, PJ_POISON, "body is none of the records known here");
}

static bool is_uuid(const char *text, size_t length, const uint8_t uuid[16])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; length == 36 && i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (text[at++] != '-')
                return false;
        }
        if (text[at++] != digits[uuid[i] >> 4] || text[at++] != digits[uuid[i] & 15])
            return false;
    }
    return length == 36;
}

/* A key of an object is in the folder of its video, and leads nowhere else. */
static int check_key(const char *name, struct pj_text key, struct pj_uuid tenant,
                     struct pj_uuid video, struct pj_error *error)
{
    if (!key.present)
        return 0;
    const char *at = key.text.data;
    const char *end = at + key.text.length;
    for (size_t segment = 0;; segment++, at++) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        size_t length = (size_t)((slash != NULL ? slash : end) - at);
        if (length == 0 || (length <= 2 && memcmp(at, "..", length) == 0))
            return pj_error_set(error, PJ_POISON, "%s has an empty, . or .. segment", name);
        if (segment < 2 && !is_uuid(at, length, segment == 0 ? tenant.uuid : video.uuid))
            break;
        if (slash == NULL && segment == 0)
            break;
        if (slash == NULL)
            return 0;
        at = slash;
    }
    return pj_error_set(error, PJ_POISON, "%s does not begin with its tenant_id/video_id", name);
}

static int check_bytes(const char *name, struct pj_text text, size_t most, struct pj_error *error)
{
    return !text.present || text.text.length <= most
               ? 0
               : pj_error_set(error, PJ_POISON, "%s has %zu bytes, and %zu are the most", name,
                              text.text.length, most);
}

/* What a REAL holds. */
static int check_real(const char *name, struct pj_double number, struct pj_error *error)
{
    return !number.present || fabs(number.real) <= (double)FLT_MAX
               ? 0
               : pj_error_set(error, PJ_POISON, "%s is not a number below 3.4e38", name);
}

/* --- records --------------------------------------------------------------------------------- */

int captions_check_tenant(const struct captions_tenant *e, struct pj_error *error)
{
    return check_id("tenant_id", e->tenant_id, error) != 0
               ? -1
               : check_body(e->created.present || e->changed.present || e->removed.present, error);
}

int captions_check_user(const struct captions_user *e, struct pj_error *error)
{
    if (check_id("tenant_id", e->tenant_id, error) != 0 ||
        check_id("tenant_id", e->new_tenant_id, error) != 0)
        return -1;
    return check_body(e->registered.present || e->changed.present || e->assigned.present ||
                          e->removed.present,
                      error);
}

int captions_check_video(const struct captions_video *e, struct pj_error *error)
{
    if (check_ids(e->tenant_id, e->video_id, error) != 0 ||
        check_key("storage_key", e->storage_key, e->tenant_id, e->video_id, error) != 0 ||
        check_key("layout_db_key", e->layout_db_key, e->tenant_id, e->video_id, error) != 0 ||
        check_real("duration_seconds", e->duration, error) != 0 ||
        check_real("duration_seconds", e->measured_duration, error) != 0)
        return -1;
    return check_body(e->registered.present || e->started.present || e->finished.present ||
                          e->approved.present || e->archived.present || e->restored.present ||
                          e->soft_deleted.present || e->purged.present,
                      error);
}

int captions_check_flow(const struct captions_flow *e, struct pj_error *error)
{
    return check_ids(e->tenant_id, e->video_id, error);
}

int captions_check_object(const struct captions_object *e, struct pj_error *error)
{
    int64_t halves[2];
    if (check_ids(e->tenant_id, e->video_id, error) != 0 ||
        check_bytes("key", e->key, KEY_BYTES_MOST, error) != 0)
        return -1;
    if (memchr(e->bucket.text.data, '/', e->bucket.text.length) != NULL)
        return pj_error_set(error, PJ_POISON, "bucket has a slash, which no bucket's name has");
    return !e->sequencer.present || read_sequencer(e->sequencer, halves)
               ? 0
               : pj_error_set(error, PJ_POISON,
                              "sequencer is not a hexadecimal number of up to 128 bits");
}

int captions_check_frame(const struct captions_frame *e, struct pj_error *error)
{
    if (check_ids(e->tenant_id, e->video_id, error) != 0 ||
        check_bytes("ocr_text", e->ocr_text, TEXT_BYTES_MOST, error) != 0 ||
        check_bytes("caption_text", e->caption_text, TEXT_BYTES_MOST, error) != 0)
        return -1;
    return check_body(e->indexed.present || e->captioned.present, error);
}

int captions_check_crop(const struct captions_crop *e, struct pj_error *error)
{
    if (check_ids(e->tenant_id, e->video_id, error) != 0 ||
        check_key("storage_prefix", e->storage_prefix, e->tenant_id, e->video_id, error) != 0 ||
        check_key("layout_db_storage_key", e->layout_db_storage_key, e->tenant_id, e->video_id,
                  error) != 0 ||
        check_real("frame_rate", e->frame_rate, error) != 0)
        return -1;
    return check_body(e->started.present || e->encoded.present || e->activated.present ||
                          e->failed.present,
                      error);
}

int captions_check_lock(const struct captions_lock *e, struct pj_error *error)
{
    struct pj_timestamptz expires = PJ_OR(e->expires_at, e->new_expires_at);
    if (check_ids(e->tenant_id, e->video_id, error) != 0)
        return -1;
    if (expires.present && expires.integer <= e->acquired_at.integer)
        return pj_error_set(error, PJ_POISON, "expires_at is not after acquired_at");
    if (expires.present && expires.integer > e->emitted_at.integer &&
        (uint64_t)expires.integer - (uint64_t)e->emitted_at.integer > (uint64_t)longest_lock)
        return pj_error_set(error, PJ_POISON,
                            "expires_at is more than 15 minutes after emitted_at, and no lock is "
                            "longer");
    return check_body(e->acquired.present || e->renewed.present || e->released.present, error);
}
