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

enum {
    HEADER_MOST = 2 << 20, /* the schema itself may have 1 MiB */
    BLOCK_MOST = 64 << 20,
    INFLATED_MOST = 256 << 20,
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
    int64_t first_block;
    int64_t at;
    int64_t items;
    int64_t items_before; /* in the blocks that next has given */
    char *schema;
    uint8_t sync[SYNC_SIZE];
    bool deflate;
    z_stream inflater;
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
        container->deflate = value_length == 7 && memcmp(value, "deflate", 7) == 0;
        if (!container->deflate && !(value_length == 4 && memcmp(value, "null", 4) == 0))
            return pj_error_set(reader->error, PJ_FATAL,
                                "its codec is '%.*s', but only deflate and null can be read",
                                value_length < 32 ? (int)value_length : 32, value);
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

static int walk(struct pj_container *container, struct pj_error *error)
{
    struct block block;
    for (int64_t at = container->first_block; at < container->size;
         at = block.data_at + block.length + SYNC_SIZE) {
        if (read_framing(container, at, container->items, &block, error) != 0)
            return -1;
        container->items += block.items;
    }
    return 0;
}

/* Returns zlib's code: Z_STREAM_END when all is well, Z_BUF_ERROR when it is more than allowed. */
static int inflate_block(struct pj_container *container, size_t length, size_t *inflated)
{
    z_stream *stream = &container->inflater;
    inflateReset(stream);
    stream->next_in = container->block.data;
    stream->avail_in = (uInt)length;
    *inflated = 0;
    for (;;) {
        if (*inflated == container->inflated.size) {
            size_t larger = *inflated > 0 ? 2 * *inflated : 256 << 10;
            if (*inflated >= INFLATED_MOST)
                return Z_BUF_ERROR;
            reserve(&container->inflated, larger);
        }
        uInt room = (uInt)(container->inflated.size - *inflated);
        stream->next_out = container->inflated.data + *inflated;
        stream->avail_out = room;
        int code = inflate(stream, Z_NO_FLUSH);
        *inflated += room - stream->avail_out;
        if (code == Z_STREAM_END)
            return code;
        if (code != Z_OK || (stream->avail_in == 0 && stream->avail_out > 0))
            return Z_DATA_ERROR;
    }
}

static int inflate_data(struct pj_container *container, size_t length, const uint8_t **data,
                        size_t *inflated, struct pj_error *error)
{
    int code = inflate_block(container, length, inflated);
    *data = container->inflated.data;
    if (code == Z_STREAM_END)
        return 0;
    return damaged(container, container->items_before,
                   code == Z_BUF_ERROR ? "a block is larger than 256 MiB"
                                       : "its compressed data is damaged",
                   error);
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
    if (container->deflate && inflate_data(container, *length, data, length, error) != 0)
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

int pj_container_open(struct pj_container **out, const char *path, struct pj_error *error)
{
    struct pj_container *container = pj_alloc(sizeof *container);
    container->file = -1;
    container->path = pj_strdup(path);
    /* Avro's deflate has neither zlib's header nor its checksum. */
    if (inflateInit2(&container->inflater, -MAX_WBITS) != Z_OK)
        pj_memory_ended("the inflater of a recording");
    if (open_file(container, error) != 0 || read_header(container, error) != 0 ||
        walk(container, error) != 0) {
        pj_container_close(container);
        return -1;
    }
    pj_container_rewind(container);
    *out = container;
    return 0;
}

void pj_container_close(struct pj_container *container)
{
    if (container == NULL)
        return;
    inflateEnd(&container->inflater);
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
