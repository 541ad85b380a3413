/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/container.h"

#include "avro/avro_reader.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum {
    HEADER_MOST = 2 << 20, /* the schema itself may have 1 MiB */
    BLOCK_MOST = 64 << 20,
    INFLATED_MOST = 256 << 20,
    WINDOW_LOG_MOST = 27, /* of zstd, which would allocate what a block asks for */
    SYNC_SIZE = 16,
    NUMBERS_SIZE = 20, /* the two numbers before a block, at their longest */
};

struct buffer {
    uint8_t *data;
    size_t size;
};

struct pj_container {
    char *path;
    int file;
    int64_t size;
    int64_t first_block, last_block;
    int64_t at;
    int64_t items;
    int64_t items_before; /* in the blocks that next has given */
    int64_t items_before_last;
    char *schema;
    uint8_t sync[SYNC_SIZE];
    enum codec { CODEC_NULL, CODEC_DEFLATE, CODEC_ZSTANDARD } codec;
    z_stream inflater;
    ZSTD_DCtx *unzstd; /* NULL: not needed yet */
    struct buffer block;
    struct buffer inflated;
};

struct block {
    int64_t items;
    int64_t length;
    int64_t data_at;
};

static void reserve(struct buffer *buffer, size_t size)
{
    if (size <= buffer->size)
        return;
    buffer->data = pj_resize(buffer->data, size, 1);
    buffer->size = size;
}

static int read_at(const struct pj_container *container, void *data, size_t length, int64_t at,
                   struct pj_error *error)
{
    uint8_t *to = data;
    while (length > 0) {
        ssize_t got = pread(container->file, to, length, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return pj_error_set(error, PJ_FATAL, "cannot read %s: %s", container->path,
                                strerror(errno));
        if (got == 0)
            return pj_error_set(error, PJ_FATAL, "%s became shorter while it was read",
                                container->path);
        to += got;
        at += got;
        length -= (size_t)got;
    }
    return 0;
}

/* --- the header ------------------------------------------------------------------------------ */

static const struct pj_avro_type text_type = {.kind = PJ_AVRO_STRING};

static int take_codec(struct pj_container *container, const char *name, size_t length,
                      struct pj_error *error)
{
    static const char *const names[] = {
        [CODEC_NULL] = "null", [CODEC_DEFLATE] = "deflate", [CODEC_ZSTANDARD] = "zstandard"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        container->codec = (enum codec)i;
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
            return 0;
    }
    return pj_error_set(error, PJ_FATAL,
                        "its codec is '%.*s', but only zstandard, deflate and null can be read",
                        length < 32 ? (int)length : 32, name);
}

static int take_metadata(struct pj_container *container, struct pj_avro_reader *reader)
{
    const char *key, *value;
    size_t key_length, value_length;
    if (pj_avro_read_text(reader, &text_type, &key, &key_length) != 0 ||
        pj_avro_read_text(reader, &text_type, &value, &value_length) != 0)
        return -1;
    if (key_length == strlen("avro.schema") && memcmp(key, "avro.schema", key_length) == 0) {
        if (container->schema != NULL || memchr(value, '\0', value_length) != NULL)
            return pj_error_set(reader->error, PJ_FATAL, "its schema is not usable");
        container->schema = pj_strndup(value, value_length);
    } else if (key_length == strlen("avro.codec") && memcmp(key, "avro.codec", key_length) == 0) {
        return take_codec(container, value, value_length, reader->error);
    }
    return 0;
}

static int parse_header(struct pj_container *container, const uint8_t *data, size_t length,
                        struct pj_error *error)
{
    struct pj_avro_reader reader;
    uint64_t pairs;
    pj_avro_reader_init(&reader, data, length, error);
    do {
        if (pj_avro_read_block(&reader, &pairs) != 0)
            return -1;
        for (uint64_t i = 0; i < pairs; i++) {
            if (take_metadata(container, &reader) != 0)
                return -1;
        }
    } while (pairs > 0);
    if (container->schema == NULL)
        return pj_error_set(error, PJ_FATAL, "it has no schema");
    if (reader.end - reader.at < SYNC_SIZE)
        return pj_error_set(error, PJ_FATAL, "its header ends too early");
    memcpy(container->sync, reader.at, SYNC_SIZE);
    container->first_block = (reader.at - data) + SYNC_SIZE;
    return 0;
}

static int read_header(struct pj_container *container, struct pj_error *error)
{
    static const uint8_t magic[4] = {'O', 'b', 'j', 1};
    size_t length = container->size < HEADER_MOST ? (size_t)container->size : (size_t)HEADER_MOST;
    struct pj_error reason = {.class = PJ_FATAL};
    reserve(&container->block, length + 1);
    if (read_at(container, container->block.data, length, 0, error) != 0)
        return -1;
    if (length < sizeof magic || memcmp(container->block.data, magic, sizeof magic) != 0)
        return pj_error_set(error, PJ_FATAL,
                            "%s is not a recording: it is not an Avro object container file",
                            container->path);
    if (parse_header(container, container->block.data + sizeof magic, length - sizeof magic,
                     &reason) != 0)
        return pj_error_set(error, PJ_FATAL, "%s is not a recording that can be read: %s%s",
                            container->path, reason.message,
                            length == HEADER_MOST ? " (a header has at most 2 MiB)" : "");
    container->first_block += (int64_t)sizeof magic;
    return 0;
}

/* --- blocks ---------------------------------------------------------------------------------- */

static int damaged(const struct pj_container *container, int64_t items, const char *what,
                   struct pj_error *error)
{
    return pj_error_set(error, PJ_FATAL,
                        "%s is damaged after record %lld: %s; make the recording again or take "
                        "another copy of it",
                        container->path, (long long)items, what);
}

/* Reads and checks what stands around a block's data; `items` is how many came before. */
static int read_framing(const struct pj_container *container, int64_t at, int64_t items,
                        struct block *block, struct pj_error *error)
{
    uint8_t numbers[NUMBERS_SIZE];
    uint8_t sync[SYNC_SIZE];
    struct pj_avro_reader reader;
    struct pj_error reason = {.class = PJ_FATAL};
    int64_t left = container->size - at;
    size_t length = left < NUMBERS_SIZE ? (size_t)left : (size_t)NUMBERS_SIZE;
    if (read_at(container, numbers, length, at, error) != 0)
        return -1;
    pj_avro_reader_init(&reader, numbers, length, &reason);
    if (pj_avro_read_long(&reader, &block->items) != 0 ||
        pj_avro_read_long(&reader, &block->length) != 0)
        return damaged(container, items,
                       length < NUMBERS_SIZE ? "the file ends in the middle of a block"
                                             : "a block begins with garbage",
                       error);
    block->data_at = at + (reader.at - numbers);
    left = container->size - block->data_at;
    if (block->items < 0 || block->length < 0 || block->items > INFLATED_MOST)
        return damaged(container, items, "a block begins with garbage", error);
    if (block->length > left - SYNC_SIZE)
        return damaged(container, items, "the file ends in the middle of a block", error);
    if (block->length > BLOCK_MOST)
        return damaged(container, items, "a block is larger than 64 MiB", error);
    if (read_at(container, sync, SYNC_SIZE, block->data_at + block->length, error) != 0)
        return -1;
    if (memcmp(sync, container->sync, SYNC_SIZE) != 0)
        return damaged(container, items, "a block does not end with the file's marker", error);
    return 0;
}

static const char too_large[] = "a block is larger than 256 MiB";
static const char damaged_data[] = "its compressed data is damaged";

static int walk(struct pj_container *container, struct pj_error *error)
{
    struct block block;
    for (int64_t at = container->first_block; at < container->size;
         at = block.data_at + block.length + SYNC_SIZE) {
        if (read_framing(container, at, container->items, &block, error) != 0)
            return -1;
        container->items += block.items;
        container->last_block = at;
        container->items_before_last = container->items - block.items;
    }
    return 0;
}

/* What a block holds, in more room than it took so far; false where it may have no more. */
static bool grow_inflated(struct pj_container *container, size_t inflated)
{
    if (inflated < container->inflated.size)
        return true;
    if (inflated >= INFLATED_MOST)
        return false;
    reserve(&container->inflated, inflated > 0 ? 2 * inflated : 256 << 10);
    return true;
}

/* Both return what is wrong with the block, or NULL. */
static const char *inflate_block(struct pj_container *container, size_t length, size_t *inflated)
{
    z_stream *stream = &container->inflater;
    inflateReset(stream);
    stream->next_in = container->block.data;
    stream->avail_in = (uInt)length;
    for (;;) {
        if (!grow_inflated(container, *inflated))
            return too_large;
        uInt room = (uInt)(container->inflated.size - *inflated);
        stream->next_out = container->inflated.data + *inflated;
        stream->avail_out = room;
        int code = inflate(stream, Z_NO_FLUSH);
        *inflated += room - stream->avail_out;
        if (code == Z_STREAM_END)
            return NULL;
        if (code != Z_OK || (stream->avail_in == 0 && stream->avail_out > 0))
            return damaged_data;
    }
}

static const char *unzstd_block(struct pj_container *container, size_t length, size_t *inflated)
{
    ZSTD_inBuffer in = {container->block.data, length, 0};
    if (container->unzstd == NULL) {
        container->unzstd = pj_must(ZSTD_createDCtx());
        (void)ZSTD_DCtx_setParameter(container->unzstd, ZSTD_d_windowLogMax, WINDOW_LOG_MOST);
    }
    (void)ZSTD_DCtx_reset(container->unzstd, ZSTD_reset_session_only);
    for (;;) {
        if (!grow_inflated(container, *inflated))
            return too_large;
        ZSTD_outBuffer out = {container->inflated.data, container->inflated.size, *inflated};
        size_t left = ZSTD_decompressStream(container->unzstd, &out, &in);
        *inflated = out.pos;
        if (ZSTD_isError(left))
            return damaged_data;
        /* A block may be several frames. */
        if (left == 0 && in.pos == in.size)
            return NULL;
        if (in.pos == in.size && out.pos < out.size)
            return damaged_data;
    }
}

static int inflate_data(struct pj_container *container, size_t length, const uint8_t **data,
                        size_t *inflated, struct pj_error *error)
{
    *inflated = 0;
    const char *fault = container->codec == CODEC_DEFLATE
                            ? inflate_block(container, length, inflated)
                            : unzstd_block(container, length, inflated);
    *data = container->inflated.data;
    return fault == NULL ? 0 : damaged(container, container->items_before, fault, error);
}

int pj_container_next(struct pj_container *container, const uint8_t **data, size_t *length,
                      int64_t *items, struct pj_error *error)
{
    struct block block = {0};
    while (block.items == 0) {
        if (container->at >= container->size)
            return 0;
        if (read_framing(container, container->at, container->items_before, &block, error) != 0)
            return -1;
        container->at = block.data_at + block.length + SYNC_SIZE;
    }
    *length = (size_t)block.length;
    reserve(&container->block, *length + 1);
    if (read_at(container, container->block.data, *length, block.data_at, error) != 0)
        return -1;
    *data = container->block.data;
    if (container->codec != CODEC_NULL &&
        inflate_data(container, *length, data, length, error) != 0)
        return -1;
    *items = block.items;
    container->items_before += block.items;
    return 1;
}

void pj_container_rewind(struct pj_container *container)
{
    container->at = container->first_block;
    container->items_before = 0;
}

void pj_container_go_to_last(struct pj_container *container)
{
    if (container->last_block > 0) {
        container->at = container->last_block;
        container->items_before = container->items_before_last;
    }
}

int64_t pj_container_at(const struct pj_container *container)
{
    return container->at;
}

/* --- opening --------------------------------------------------------------------------------- */

static int open_file(struct pj_container *container, struct pj_error *error)
{
    struct stat status;
    container->file = open(container->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (container->file < 0 || fstat(container->file, &status) != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "cannot open '%s': %s", container->path,
                              strerror(errno));
    if (!S_ISREG(status.st_mode))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s is not a regular file; a recording is read twice, so it cannot "
                              "come from a pipe",
                              container->path);
    container->size = (int64_t)status.st_size;
    return 0;
}

static int open_any(struct pj_container **out, const char *path, bool unfinished,
                    struct pj_error *error)
{
    struct pj_container *container = pj_alloc(sizeof *container);
    container->file = -1;
    container->path = pj_strdup(path);
    /* Avro's deflate has neither zlib's header nor its checksum. */
    if (inflateInit2(&container->inflater, -MAX_WBITS) != Z_OK)
        pj_memory_ended("the inflater of a recording");
    if (open_file(container, error) != 0 || read_header(container, error) != 0 ||
        (!unfinished && walk(container, error) != 0)) {
        pj_container_close(container);
        return -1;
    }
    pj_container_rewind(container);
    *out = container;
    return 0;
}

int pj_container_open(struct pj_container **container, const char *path, struct pj_error *error)
{
    return open_any(container, path, false, error);
}

int pj_container_open_unfinished(struct pj_container **container, const char *path,
                                 struct pj_error *error)
{
    return open_any(container, path, true, error);
}

void pj_container_close(struct pj_container *container)
{
    if (container == NULL)
        return;
    inflateEnd(&container->inflater);
    ZSTD_freeDCtx(container->unzstd);
    if (container->file >= 0)
        close(container->file);
    free(container->block.data);
    free(container->inflated.data);
    free(container->schema);
    free(container->path);
    free(container);
}

const char *pj_container_schema(const struct pj_container *container)
{
    return container->schema;
}

int64_t pj_container_items(const struct pj_container *container)
{
    return container->items;
}
