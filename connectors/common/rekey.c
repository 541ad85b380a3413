/* SPDX-License-Identifier: Apache-2.0 */
#include "common/rekey.h"

#include "base/memory.h"
#include "projectionist/value.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <string.h>

enum { TEXT = 36, FIRST_DASH = 8 };

static void write_uuid(uint8_t *text, const uint8_t uuid[16], bool upper)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text++; /* the dash is there */
        *text++ = (uint8_t)digits[uuid[i] >> 4];
        *text++ = (uint8_t)digits[uuid[i] & 15];
    }
}

static bool has_upper(const uint8_t *text)
{
    for (int i = 0; i < TEXT; i++) {
        if (isupper(text[i]))
            return true;
    }
    return false;
}

static void make(uint8_t uuid[16], int64_t round)
{
    uint8_t seed[24], digest[EVP_MAX_MD_SIZE];
    memcpy(seed, uuid, 16);
    memcpy(seed + 16, &round, sizeof round);
    if (EVP_Digest(seed, sizeof seed, digest, NULL, EVP_sha256(), NULL) != 1)
        pj_memory_ended("a digest");
    /* Version and variant stay, and of a version 7 the time. */
    digest[6] = (uint8_t)((uuid[6] & 0xf0) | (digest[6] & 0x0f));
    digest[8] = (uint8_t)((uuid[8] & 0xc0) | (digest[8] & 0x3f));
    size_t kept = uuid[6] >> 4 == 7 ? 6 : 0;
    memcpy(uuid + kept, digest + kept, 16 - kept);
}

size_t pj_rekey(uint8_t *data, size_t length, int64_t round)
{
    size_t count = 0, at = 0;
    while (length - at >= TEXT) {
        uint8_t uuid[16];
        const uint8_t *dash = memchr(data + at + FIRST_DASH, '-', length - at - TEXT + 1);
        if (dash == NULL)
            break;
        at = (size_t)(dash - data) - FIRST_DASH;
        if (!pj_uuid_parse((const char *)data + at, TEXT, uuid)) {
            at++;
            continue;
        }
        make(uuid, round);
        write_uuid(data + at, uuid, has_upper(data + at));
        at += TEXT;
        count++;
    }
    return count;
}
