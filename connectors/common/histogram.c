/* SPDX-License-Identifier: Apache-2.0 */
#include "common/histogram.h"

#include "base/memory.h"
#include "base/text.h"

#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Values below SUB_BUCKETS have a place each; above, each power of two has half as many. */
enum {
    DIGITS = 3,
    SUB_BITS = 11,
    SUB_BUCKETS = 1 << SUB_BITS,
    HALF = SUB_BUCKETS / 2,
    BUCKETS = 27, /* up to 2^37 µs, which is more than a day */
    PLACES = (BUCKETS + 1) * HALF,
    COOKIE = 0x1c849303 | 0x10,
    COOKIE_COMPRESSED = 0x1c849304 | 0x10,
};

#define VALUE_MOST (INT64_C(24) * 3600 * 1000000)

struct pj_histogram *pj_histogram_new(void)
{
    struct pj_histogram *histogram = pj_alloc(sizeof *histogram);
    histogram->counts = pj_calloc(PLACES, sizeof *histogram->counts);
    return histogram;
}

void pj_histogram_free(struct pj_histogram *histogram)
{
    if (histogram == NULL)
        return;
    free(histogram->counts);
    free(histogram);
}

void pj_histogram_reset(struct pj_histogram *histogram)
{
    memset(histogram->counts, 0, PLACES * sizeof *histogram->counts);
    histogram->count = histogram->most = 0;
}

static int place_of(int64_t value)
{
    int bucket = 63 - __builtin_clzll((uint64_t)value | (SUB_BUCKETS - 1)) - (SUB_BITS - 1);
    int sub = (int)(value >> bucket);
    return (bucket + 1) * HALF + sub - HALF;
}

/* The largest value of a place. */
static int64_t value_of(int place)
{
    int bucket = place / HALF - 1;
    int64_t sub = place % HALF + HALF;
    if (bucket < 0) {
        bucket = 0;
        sub -= HALF;
    }
    return ((sub + 1) << bucket) - 1;
}

void pj_histogram_add(struct pj_histogram *histogram, int64_t microseconds)
{
    int64_t value = microseconds < 0 ? 0 : microseconds > VALUE_MOST ? VALUE_MOST : microseconds;
    histogram->counts[place_of(value)]++;
    histogram->count++;
    if (value > histogram->most)
        histogram->most = value;
}

void pj_histogram_merge(struct pj_histogram *histogram, const struct pj_histogram *other)
{
    for (int i = 0; i < PLACES; i++)
        histogram->counts[i] += other->counts[i];
    histogram->count += other->count;
    if (other->most > histogram->most)
        histogram->most = other->most;
}

int64_t pj_histogram_quantile(const struct pj_histogram *histogram, double quantile)
{
    int64_t seen = 0;
    int64_t wanted = (int64_t)(quantile * (double)histogram->count + 0.5);
    if (histogram->count == 0)
        return 0;
    wanted = wanted < 1 ? 1 : wanted;
    for (int place = 0; place < PLACES; place++) {
        seen += histogram->counts[place];
        if (seen >= wanted)
            return value_of(place) < histogram->most ? value_of(place) : histogram->most;
    }
    return histogram->most;
}

/* --- logs ------------------------------------------------------------------------------------ */

static void put(struct pj_builder *out, const void *bytes, size_t length)
{
    pj_builder_add_bytes(out, bytes, length);
}

static void put_int32(struct pj_builder *out, uint32_t value)
{
    value = htobe32(value);
    put(out, &value, sizeof value);
}

static void put_int64(struct pj_builder *out, uint64_t value)
{
    value = htobe64(value);
    put(out, &value, sizeof value);
}

/* ZigZag LEB128; the ninth byte has eight bits. */
static void put_count(struct pj_builder *out, int64_t count)
{
    uint64_t left = ((uint64_t)count << 1) ^ (uint64_t)(count >> 63);
    for (int i = 0; i < 8 && left > 127; i++, left >>= 7)
        put(out, &(uint8_t){(uint8_t)(left | 128)}, 1);
    put(out, &(uint8_t){(uint8_t)left}, 1);
}

/* A run of places without a value is its length, negative. */
static void put_counts(struct pj_builder *out, const struct pj_histogram *histogram)
{
    int last = place_of(histogram->most);
    for (int place = 0; place <= last;) {
        int zeros = 0;
        while (place + zeros <= last && histogram->counts[place + zeros] == 0)
            zeros++;
        put_count(out, zeros > 0 ? -zeros : histogram->counts[place]);
        place += zeros > 0 ? zeros : 1;
    }
}

static void encode(struct pj_builder *out, const struct pj_histogram *histogram)
{
    struct pj_builder counts = {0};
    double ratio = 1;
    uint64_t bits;
    memcpy(&bits, &ratio, sizeof bits);
    put_counts(&counts, histogram);
    put_int32(out, COOKIE);
    put_int32(out, (uint32_t)counts.length);
    put_int32(out, 0);
    put_int32(out, DIGITS);
    put_int64(out, 1);
    put_int64(out, (uint64_t)VALUE_MOST);
    put_int64(out, bits);
    put(out, counts.text, counts.length);
    pj_builder_free(&counts);
}

static void put_base64(FILE *log, const uint8_t *data, size_t length)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < length; i += 3) {
        uint32_t three = (uint32_t)data[i] << 16 |
                         (i + 1 < length ? (uint32_t)data[i + 1] << 8 : 0) |
                         (i + 2 < length ? data[i + 2] : 0);
        putc(letters[three >> 18 & 63], log);
        putc(letters[three >> 12 & 63], log);
        putc(i + 1 < length ? letters[three >> 6 & 63] : '=', log);
        putc(i + 2 < length ? letters[three & 63] : '=', log);
    }
}

void pj_histogram_log_begin(FILE *log, int64_t start_us)
{
    fprintf(log,
            "#[Histogram log format version 1.3]\n"
            "#[StartTime: %lld.%03lld (seconds since epoch)]\n"
            "#[Values are microseconds; Interval_Max is in milliseconds]\n"
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\","
            "\"Interval_Compressed_Histogram\"\n",
            (long long)(start_us / 1000000), (long long)(start_us / 1000 % 1000));
}

void pj_histogram_log(FILE *log, const struct pj_histogram *histogram, const char *tag,
                      int64_t begin_us, int64_t end_us)
{
    struct pj_builder plain = {0}, out = {0};
    encode(&plain, histogram);
    uLongf length = compressBound(plain.length);
    uint8_t *compressed = pj_alloc(length);
    if (compress(compressed, &length, (const uint8_t *)plain.text, plain.length) != Z_OK)
        pj_memory_ended("a histogram");
    put_int32(&out, COOKIE_COMPRESSED);
    put_int32(&out, (uint32_t)length);
    put(&out, compressed, length);
    fprintf(log, "Tag=%s,%.3f,%.3f,%.3f,", tag, (double)begin_us / 1e6,
            (double)(end_us - begin_us) / 1e6, (double)histogram->most / 1e3);
    put_base64(log, (const uint8_t *)out.text, out.length);
    putc('\n', log);
    free(compressed);
    pj_builder_free(&plain);
    pj_builder_free(&out);
}
