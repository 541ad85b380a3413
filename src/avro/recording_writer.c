/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/recording_writer.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum {
    BLOCK_BYTES = 128 << 10,
    MESSAGE_MOST = 60 << 20, /* a block may have 64 MiB */
    MESSAGE_OVERHEAD = 32,   /* what a message without content counts */
    SYNC_SIZE = 16,
    COMPRESSION_LEVEL = 3,
    BEGINNING_MOST = 64 << 10, /* the header and the head */
};

/* The branches of the schema's union. */
enum { BRANCH_SCHEMA, BRANCH_MESSAGE, BRANCH_HEAD, BRANCH_GAP, BRANCH_TAIL };

struct pj_recording_sum {
    EVP_MD_CTX *digest;
    struct pj_builder text; /* of the last message */
};

struct pj_recording_writer {
    char *final, *partial;
    int file;
    uint8_t sync[SYNC_SIZE];
    struct pj_builder block; /* the items that are not written yet */
    int64_t block_items;
    struct pj_recording_sum *sum;
    struct pj_recording_state state;
};

/* --- Avro ------------------------------------------------------------------------------------ */

static void put_long(struct pj_builder *out, int64_t value)
{
    uint64_t left = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    char bytes[10];
    size_t length = 0;
    for (; left > 127; left >>= 7)
        bytes[length++] = (char)(uint8_t)(left | 128);
    bytes[length++] = (char)left;
    pj_builder_add_bytes(out, bytes, length);
}

static void put_bytes(struct pj_builder *out, struct pj_bytes bytes)
{
    put_long(out, (int64_t)bytes.length);
    if (bytes.length > 0)
        pj_builder_add_bytes(out, bytes.data, bytes.length);
}

static void put_text(struct pj_builder *out, const char *text)
{
    put_bytes(out, (struct pj_bytes){text, strlen(text)});
}

/* Of ["null", …]. */
static void put_nullable(struct pj_builder *out, struct pj_bytes bytes)
{
    put_long(out, bytes.data != NULL);
    if (bytes.data != NULL)
        put_bytes(out, bytes);
}

/* key, timestamp, headers, value, timestamp_type: what the checksum is over. */
static void put_content(struct pj_builder *out, const struct pj_recorded *message)
{
    put_nullable(out, message->key);
    put_long(out, message->timestamp_ms);
    if (message->header_count > 0)
        put_long(out, (int64_t)message->header_count);
    for (size_t i = 0; i < message->header_count; i++) {
        put_bytes(out, message->headers[i].name);
        put_nullable(out, message->headers[i].value);
    }
    put_long(out, 0);
    put_nullable(out, message->value);
    put_long(out, message->timestamp_type != PJ_TIMESTAMP_UNKNOWN);
    if (message->timestamp_type != PJ_TIMESTAMP_UNKNOWN)
        put_long(out, message->timestamp_type);
}

/* A JSON object of strings as a map, an array of strings as an array. */
static void put_json(struct pj_builder *out, struct pj_bytes text)
{
    json_t *json = json_loadb(text.data, text.length, 0, NULL);
    const char *name;
    json_t *value;
    size_t index;
    size_t count = json_is_object(json) ? json_object_size(json) : json_array_size(json);
    if (count > 0)
        put_long(out, (int64_t)count);
    json_object_foreach(json, name, value)
    {
        put_text(out, name);
        put_text(out, json_string_value(value));
    }
    json_array_foreach(json, index, value) put_text(out, json_string_value(value));
    put_long(out, 0);
    json_decref(json);
}

/* --- the checksum ---------------------------------------------------------------------------- */

struct pj_recording_sum *pj_recording_sum_new(void)
{
    struct pj_recording_sum *sum = pj_alloc(sizeof *sum);
    sum->digest = pj_must(EVP_MD_CTX_new());
    if (EVP_DigestInit_ex(sum->digest, EVP_sha256(), NULL) != 1)
        pj_memory_ended("a checksum");
    return sum;
}

void pj_recording_sum_free(struct pj_recording_sum *sum)
{
    if (sum == NULL)
        return;
    EVP_MD_CTX_free(sum->digest);
    pj_builder_free(&sum->text);
    free(sum);
}

static void add_to_sum(struct pj_recording_sum *sum, const void *data, size_t length)
{
    if (EVP_DigestUpdate(sum->digest, data, length) != 1)
        pj_memory_ended("a checksum");
}

void pj_recording_sum_add(struct pj_recording_sum *sum, const struct pj_recorded *message)
{
    sum->text.length = 0;
    put_content(&sum->text, message);
    add_to_sum(sum, sum->text.text, sum->text.length);
}

void pj_recording_sum_text(const struct pj_recording_sum *sum, char text[PJ_RECORDING_SUM_TEXT])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *copy = pj_must(EVP_MD_CTX_new());
    if (EVP_MD_CTX_copy_ex(copy, sum->digest) != 1 || EVP_DigestFinal_ex(copy, digest, NULL) != 1)
        pj_memory_ended("a checksum");
    EVP_MD_CTX_free(copy);
    for (size_t i = 0; i < 32; i++)
        pj_text_whole(text + 2 * i, 3, "%02x", digest[i]);
}

/* --- the file -------------------------------------------------------------------------------- */

static int write_all(struct pj_recording_writer *writer, const void *data, size_t length,
                     struct pj_error *error)
{
    const char *from = data;
    while (length > 0) {
        ssize_t written = write(writer->file, from, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return pj_error_set(error, PJ_FATAL,
                                "cannot write %s: %s; what is whole in it is kept: once that is "
                                "fixed, the same command goes on from there",
                                writer->partial, strerror(errno));
        from += written;
        length -= (size_t)written;
    }
    return 0;
}

/* Its compressor, which takes more memory than a block, is made anew: many files may be open. */
static size_t compress(const struct pj_builder *block, char *compressed, size_t size)
{
    ZSTD_CCtx *zstd = pj_must(ZSTD_createCCtx());
    (void)ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, COMPRESSION_LEVEL);
    (void)ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    size_t length = ZSTD_compress2(zstd, compressed, size, block->text, block->length);
    ZSTD_freeCCtx(zstd);
    return length;
}

int pj_recording_flush(struct pj_recording_writer *writer, struct pj_error *error)
{
    struct pj_builder framed = {0};
    if (writer->block_items == 0)
        return 0;
    size_t bound = ZSTD_compressBound(writer->block.length);
    char *compressed = pj_alloc(bound);
    size_t length = compress(&writer->block, compressed, bound);
    int status = 0;
    if (ZSTD_isError(length)) {
        status = pj_error_set(error, PJ_FATAL, "%s cannot be compressed: %s", writer->partial,
                              ZSTD_getErrorName(length));
    } else {
        put_long(&framed, writer->block_items);
        put_bytes(&framed, (struct pj_bytes){compressed, length});
        pj_builder_add_bytes(&framed, writer->sync, SYNC_SIZE);
        status = write_all(writer, framed.text, framed.length, error);
    }
    pj_builder_free(&framed);
    free(compressed);
    writer->block.length = 0;
    writer->block_items = 0;
    return status;
}

static int end_item(struct pj_recording_writer *writer, struct pj_error *error)
{
    writer->block_items++;
    return writer->block.length < BLOCK_BYTES ? 0 : pj_recording_flush(writer, error);
}

static struct pj_recording_writer *new_writer(const char *final)
{
    struct pj_recording_writer *writer = pj_alloc(sizeof *writer);
    writer->file = -1;
    writer->final = pj_strdup(final);
    writer->partial = pj_text_new("%s" PJ_RECORDING_PARTIAL, final);
    writer->sum = pj_recording_sum_new();
    /* The same file has the same one: it is of its name. */
    uint8_t digest[EVP_MAX_MD_SIZE];
    const char *slash = strrchr(final, '/');
    const char *name = slash != NULL ? slash + 1 : final;
    if (EVP_Digest(name, strlen(name), digest, NULL, EVP_sha256(), NULL) != 1)
        pj_memory_ended("a checksum");
    memcpy(writer->sync, digest, SYNC_SIZE);
    return writer;
}

static int open_partial(struct pj_recording_writer *writer, int flags, struct pj_error *error)
{
    writer->file = open(writer->partial, O_WRONLY | O_CLOEXEC | O_NOCTTY | flags, 0666);
    return writer->file >= 0 ? 0
                             : pj_error_set(error, PJ_FATAL, "cannot write '%s': %s",
                                            writer->partial, strerror(errno));
}

static int write_header(struct pj_recording_writer *writer, struct pj_error *error)
{
    struct pj_builder header = {0};
    pj_builder_add_bytes(&header, "Obj\1", 4);
    put_long(&header, 2);
    put_text(&header, "avro.codec");
    put_text(&header, "zstandard");
    put_text(&header, "avro.schema");
    put_text(&header, pj_recording_schema);
    put_long(&header, 0);
    pj_builder_add_bytes(&header, writer->sync, SYNC_SIZE);
    int status = write_all(writer, header.text, header.length, error);
    pj_builder_free(&header);
    return status;
}

static int write_head(struct pj_recording_writer *writer, const struct pj_recorded_head *head,
                      struct pj_error *error)
{
    struct pj_builder *out = &writer->block;
    put_long(out, BRANCH_HEAD);
    put_bytes(out, head->cluster_id);
    put_bytes(out, head->topic);
    put_nullable(out, head->topic_id);
    put_long(out, head->partition);
    put_long(out, head->partitions);
    put_long(out, head->file);
    put_long(out, head->begin);
    put_json(out, head->configuration);
    put_json(out, head->changes);
    put_text(out, "stream-record " PJ_VERSION);
    writer->block_items++;
    /* A block of its own: it is the first thing to read. */
    return pj_recording_flush(writer, error);
}

int pj_recording_create(struct pj_recording_writer **out, const char *final,
                        const struct pj_recorded_head *head, struct pj_error *error)
{
    struct pj_recording_writer *writer = new_writer(final);
    writer->state.begin = writer->state.next = head->begin;
    if (open_partial(writer, O_CREAT | O_EXCL, error) != 0 || write_header(writer, error) != 0 ||
        write_head(writer, head, error) != 0) {
        pj_recording_writer_close(writer);
        return -1;
    }
    *out = writer;
    return 0;
}

void pj_recording_writer_close(struct pj_recording_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->file >= 0)
        close(writer->file);
    pj_recording_sum_free(writer->sum);
    pj_builder_free(&writer->block);
    free(writer->partial);
    free(writer->final);
    free(writer);
}

const struct pj_recording_state *pj_recording_state(const struct pj_recording_writer *writer)
{
    return &writer->state;
}

/* --- items ----------------------------------------------------------------------------------- */

int pj_recording_put_schema(struct pj_recording_writer *writer, int32_t id, const char *subject,
                            const char *schema, struct pj_error *error)
{
    put_long(&writer->block, BRANCH_SCHEMA);
    put_long(&writer->block, id);
    put_text(&writer->block, subject);
    put_text(&writer->block, schema);
    return end_item(writer, error);
}

static size_t content_of(const struct pj_recorded *message)
{
    size_t content = MESSAGE_OVERHEAD + message->key.length + message->value.length;
    for (size_t i = 0; i < message->header_count; i++)
        content += message->headers[i].name.length + message->headers[i].value.length;
    return content;
}

static void count_message(struct pj_recording_state *state, const struct pj_recorded *message)
{
    state->count++;
    state->content += (int64_t)content_of(message);
    state->next = message->offset + 1;
    if (!state->has_times || message->timestamp_ms < state->earliest_ms)
        state->earliest_ms = message->timestamp_ms;
    if (!state->has_times || message->timestamp_ms > state->latest_ms)
        state->latest_ms = message->timestamp_ms;
    state->has_times = true;
}

static void count_gap(struct pj_recording_state *state, const struct pj_recorded_gap *gap)
{
    state->gaps[gap->cause] += gap->end - gap->begin;
    state->next = gap->end;
}

static bool is_utf8(struct pj_bytes text)
{
    const char *at = text.data;
    size_t length;
    for (size_t left = text.length; left > 0; left -= length, at += length) {
        length = pj_utf8_length(at, left);
        if (length == 0)
            return false;
    }
    return true;
}

/* What could be written, but not be read again. */
static int check_message(const struct pj_recorded *message, struct pj_error *error)
{
    size_t content = content_of(message);
    char why[128] = "";
    if (content > MESSAGE_MOST)
        pj_text_whole(why, sizeof why, "%zu bytes, more than the %d that a recording can hold",
                      content, (int)MESSAGE_MOST);
    else if (message->header_count > PJ_RECORDED_HEADERS_MOST)
        pj_text_whole(why, sizeof why, "%zu headers, more than the %d that a recording can hold",
                      message->header_count, (int)PJ_RECORDED_HEADERS_MOST);
    for (size_t i = 0; *why == '\0' && i < message->header_count; i++) {
        if (!is_utf8(message->headers[i].name))
            pj_text_whole(why, sizeof why, "a header whose name is not UTF-8, which Avro refuses");
    }
    return *why == '\0'
               ? 0
               : pj_error_set(error, PJ_FATAL, "the record at the offset %lld of %.*s [%d] has %s",
                              (long long)message->offset, (int)message->topic.length,
                              (const char *)message->topic.data, (int)message->partition, why);
}

int pj_recording_put_message(struct pj_recording_writer *writer, const struct pj_recorded *message,
                             struct pj_error *error)
{
    struct pj_builder *out = &writer->block;
    if (check_message(message, error) != 0)
        return -1;
    put_long(out, BRANCH_MESSAGE);
    put_bytes(out, message->topic);
    put_long(out, 1);
    put_long(out, message->partition);
    size_t content = out->length;
    put_content(out, message);
    add_to_sum(writer->sum, out->text + content, out->length - content);
    put_long(out, 1);
    put_long(out, message->offset);
    count_message(&writer->state, message);
    return end_item(writer, error);
}

int pj_recording_put_gap(struct pj_recording_writer *writer, const struct pj_recorded_gap *gap,
                         struct pj_error *error)
{
    put_long(&writer->block, BRANCH_GAP);
    put_long(&writer->block, gap->begin);
    put_long(&writer->block, gap->end);
    put_long(&writer->block, gap->cause);
    count_gap(&writer->state, gap);
    return end_item(writer, error);
}

/* --- finishing ------------------------------------------------------------------------------- */

/* The file under its name, on the disk. */
static int name_file(struct pj_recording_writer *writer, struct pj_error *error)
{
    char *copy = pj_strdup(writer->final);
    int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = 0;
    if (fdatasync(writer->file) != 0 ||
        renameat2(AT_FDCWD, writer->partial, AT_FDCWD, writer->final, RENAME_NOREPLACE) != 0 ||
        folder < 0 || fsync(folder) != 0)
        status =
            pj_error_set(error, PJ_FATAL, "cannot finish %s: %s", writer->final, strerror(errno));
    if (folder >= 0)
        close(folder);
    free(copy);
    return status;
}

int pj_recording_finish(struct pj_recording_writer *writer, struct pj_error *error)
{
    const struct pj_recording_state *state = &writer->state;
    struct pj_builder *out = &writer->block;
    char sum[PJ_RECORDING_SUM_TEXT];
    if (pj_recording_flush(writer, error) != 0)
        return -1;
    pj_recording_sum_text(writer->sum, sum);
    put_long(out, BRANCH_TAIL);
    put_long(out, state->count);
    put_text(out, sum);
    put_long(out, state->next);
    put_long(out, state->has_times);
    if (state->has_times)
        put_long(out, state->earliest_ms);
    put_long(out, state->has_times);
    if (state->has_times)
        put_long(out, state->latest_ms);
    for (int i = 0; i < PJ_GAP_CAUSES; i++)
        put_long(out, state->gaps[i]);
    writer->block_items++;
    return pj_recording_flush(writer, error) != 0 ? -1 : name_file(writer, error);
}

/* --- going on -------------------------------------------------------------------------------- */

/* Where the last block ends of which every item can be read; 0 where not even the head can. */
static int64_t whole_length(const char *partial)
{
    struct pj_recording *recording;
    struct pj_recorded item;
    struct pj_error ignored = {0};
    int64_t whole = 0;
    if (pj_recording_open_unfinished(&recording, partial, &ignored) != 0)
        return 0;
    while (pj_recording_next(recording, &item, &ignored) == 1) {
        int64_t end = pj_recording_whole(recording);
        whole = end > 0 ? end : whole;
    }
    pj_recording_close(recording);
    return whole;
}

struct resuming {
    struct pj_recording_writer *writer;
    int (*item)(void *context, const struct pj_recorded *item, struct pj_error *error);
    void *context;
    bool has_tail;
};

static int take_item(struct resuming *resuming, const struct pj_recorded *item,
                     struct pj_error *error)
{
    struct pj_recording_state *state = &resuming->writer->state;
    if (resuming->item(resuming->context, item, error) != 0)
        return -1;
    if (item->kind == PJ_RECORDED_HEAD) {
        state->begin = state->next = item->head.begin;
    } else if (item->kind == PJ_RECORDED_MESSAGE) {
        pj_recording_sum_add(resuming->writer->sum, item);
        count_message(state, item);
    } else if (item->kind == PJ_RECORDED_GAP) {
        count_gap(state, &item->gap);
    }
    resuming->has_tail = item->kind == PJ_RECORDED_TAIL;
    return 0;
}

static int read_back(struct resuming *resuming, struct pj_error *error)
{
    struct pj_recording *recording;
    struct pj_recorded item;
    int status;
    if (pj_recording_open(&recording, resuming->writer->partial, error) != 0)
        return -1;
    while ((status = pj_recording_next(recording, &item, error)) == 1) {
        if (take_item(resuming, &item, error) != 0) {
            status = -1;
            break;
        }
    }
    pj_recording_close(recording);
    return status;
}

static int resume(struct resuming *resuming, struct pj_error *error)
{
    struct pj_recording_writer *writer = resuming->writer;
    int64_t whole = whole_length(writer->partial);
    struct stat found;
    if (open_partial(writer, 0, error) != 0)
        return -1;
    if (fstat(writer->file, &found) != 0)
        return pj_error_set(error, PJ_FATAL, "cannot read %s: %s", writer->partial,
                            strerror(errno));
    if (whole == 0 && found.st_size > BEGINNING_MOST)
        return pj_error_set(error, PJ_FATAL,
                            "%s is damaged where it begins; move it away, and what it held is "
                            "recorded again as far as the topic still has it",
                            writer->partial);
    if (whole == 0) {
        /* It was killed as it began. */
        if (unlink(writer->partial) == 0)
            return 1;
        return pj_error_set(error, PJ_FATAL, "cannot remove %s: %s", writer->partial,
                            strerror(errno));
    }
    if (found.st_size > whole)
        pj_log(PJ_INFO, "the end of an unfinished file is not whole; it is recorded again",
               pj_f_str("file", writer->partial), pj_f_int("bytes", found.st_size - whole));
    if (ftruncate(writer->file, whole) != 0 || lseek(writer->file, 0, SEEK_END) != whole)
        return pj_error_set(error, PJ_FATAL, "cannot cut %s: %s", writer->partial, strerror(errno));
    if (read_back(resuming, error) != 0)
        return -1;
    return resuming->has_tail ? name_file(writer, error) : 0;
}

int pj_recording_resume(struct pj_recording_writer **out, const char *final,
                        int (*item)(void *context, const struct pj_recorded *item,
                                    struct pj_error *error),
                        void *context, struct pj_error *error)
{
    struct resuming resuming = {.writer = new_writer(final), .item = item, .context = context};
    int status = resume(&resuming, error);
    *out = status == 0 && !resuming.has_tail ? resuming.writer : NULL;
    if (*out == NULL)
        pj_recording_writer_close(resuming.writer);
    return status;
}
