/* SPDX-License-Identifier: Apache-2.0 */
/* Recordings: what avro-c writes is read back, and nothing that a file can hold does harm. */
#include "common/merge.h"
#include "common/survey.h"

#include <avro.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

static const char recording_schema[] =
    "[{\"type\":\"record\",\"name\":\"RecordedSchema\",\"namespace\":\"projectionist\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"int\"},{\"name\":\"subject\",\"type\":\"string\"},"
    "{\"name\":\"schema\",\"type\":\"string\"}]},"
    "{\"type\":\"record\",\"name\":\"RecordedMessage\",\"namespace\":\"projectionist\",\"fields\":["
    "{\"name\":\"topic\",\"type\":\"string\"},{\"name\":\"partition\",\"type\":[\"null\",\"int\"]},"
    "{\"name\":\"key\",\"type\":[\"null\",\"bytes\"]},"
    "{\"name\":\"timestamp\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}},"
    "{\"name\":\"headers\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\","
    "\"name\":\"RecordedHeader\",\"fields\":[{\"name\":\"name\",\"type\":\"string\"},"
    "{\"name\":\"value\",\"type\":[\"null\",\"bytes\"]}]}}},"
    "{\"name\":\"value\",\"type\":[\"null\",\"bytes\"]}]}]";

/* Criterion ends its tests without the check at exit, so a leak must be looked for. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
static void check_leaks(void)
{
    cr_assert(__lsan_do_recoverable_leak_check() == 0, "memory leaked");
}
#else
static void check_leaks(void)
{
}
#endif

/* --- writing files --------------------------------------------------------------------------- */

struct writer {
    char path[64];
    avro_file_writer_t file;
    avro_value_iface_t *class;
    avro_value_t item;
};

static void temporary_path(char path[64])
{
    snprintf(path, 64, "/tmp/pj_test_recording_XXXXXX");
    int file = mkstemp(path);
    cr_assert(file >= 0);
    close(file);
}

/* A file that is only in memory: some tests make thousands. Close it by the descriptor returned. */
static int memory_path(char path[64])
{
    int file = memfd_create("recording", MFD_CLOEXEC);
    cr_assert(file >= 0);
    snprintf(path, 64, "/proc/self/fd/%d", file);
    return file;
}

static void writer_open_with(struct writer *writer, const char *codec, size_t block)
{
    avro_schema_t schema;
    cr_assert(
        avro_schema_from_json_length(recording_schema, sizeof recording_schema - 1, &schema) == 0);
    temporary_path(writer->path);
    unlink(writer->path);
    cr_assert(
        avro_file_writer_create_with_codec(writer->path, schema, &writer->file, codec, block) == 0);
    writer->class = avro_generic_class_from_schema(schema);
    avro_generic_value_new(writer->class, &writer->item);
    avro_schema_decref(schema);
}

static void writer_open(struct writer *writer, const char *codec)
{
    writer_open_with(writer, codec, 2000);
}

static void writer_close(struct writer *writer)
{
    avro_value_decref(&writer->item);
    avro_value_iface_decref(writer->class);
    cr_assert(avro_file_writer_close(writer->file) == 0);
}

static void set_bytes(avro_value_t *record, const char *name, const void *data, size_t length)
{
    avro_value_t field, branch;
    cr_assert(avro_value_get_by_name(record, name, &field, NULL) == 0);
    cr_assert(avro_value_set_branch(&field, data != NULL, &branch) == 0);
    if (data == NULL)
        avro_value_set_null(&branch);
    else
        avro_value_set_bytes(&branch, (void *)(uintptr_t)data, length);
}

static void write_schema(struct writer *writer, int id, const char *subject, const char *schema)
{
    avro_value_t record, field;
    avro_value_reset(&writer->item);
    avro_value_set_branch(&writer->item, 0, &record);
    avro_value_get_by_name(&record, "id", &field, NULL);
    avro_value_set_int(&field, id);
    avro_value_get_by_name(&record, "subject", &field, NULL);
    avro_value_set_string(&field, subject);
    avro_value_get_by_name(&record, "schema", &field, NULL);
    avro_value_set_string(&field, schema);
    cr_assert(avro_file_writer_append_value(writer->file, &writer->item) == 0);
}

/* A message with as many headers "h" = "0", "h" = null, "h" = "2", … as asked for. */
static void write_message(struct writer *writer, const char *topic, int partition, const char *key,
                          int64_t timestamp_ms, const void *value, size_t length, int headers)
{
    avro_value_t record, field, branch, header, name;
    avro_value_reset(&writer->item);
    avro_value_set_branch(&writer->item, 1, &record);
    avro_value_get_by_name(&record, "topic", &field, NULL);
    avro_value_set_string(&field, topic);
    avro_value_get_by_name(&record, "partition", &field, NULL);
    avro_value_set_branch(&field, partition >= 0, &branch);
    if (partition >= 0)
        avro_value_set_int(&branch, partition);
    else
        avro_value_set_null(&branch);
    set_bytes(&record, "key", key, key != NULL ? strlen(key) : 0);
    avro_value_get_by_name(&record, "timestamp", &field, NULL);
    avro_value_set_long(&field, timestamp_ms);
    avro_value_get_by_name(&record, "headers", &field, NULL);
    for (int i = 0; i < headers; i++) {
        char digit[2] = {(char)('0' + i), '\0'};
        avro_value_append(&field, &header, NULL);
        avro_value_get_by_name(&header, "name", &name, NULL);
        avro_value_set_string(&name, "h");
        set_bytes(&header, "value", i == 1 ? NULL : digit, 1);
    }
    set_bytes(&record, "value", value, length);
    cr_assert(avro_file_writer_append_value(writer->file, &writer->item) == 0);
}

static void write_file(const char *path, const void *data, size_t length)
{
    FILE *file = fopen(path, "wb");
    cr_assert(file != NULL && fwrite(data, 1, length, file) == length && fclose(file) == 0);
}

static size_t read_file(const char *path, uint8_t *data, size_t most)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file != NULL);
    size_t length = fread(data, 1, most, file);
    fclose(file);
    cr_assert(length < most);
    return length;
}

/* --- reading --------------------------------------------------------------------------------- */

static bool is(struct pj_bytes bytes, const char *text)
{
    return bytes.data != NULL && bytes.length == strlen(text) &&
           memcmp(bytes.data, text, bytes.length) == 0;
}

/* Reads to the end; returns how many items there were, or -1. */
static int read_all(const char *path, struct pj_error *error)
{
    struct pj_recording *recording;
    struct pj_recorded item;
    int count = 0, status;
    if (pj_recording_open(&recording, path, error) != 0)
        return -1;
    while ((status = pj_recording_next(recording, &item, error)) == 1)
        count++;
    pj_recording_close(recording);
    return status == 0 ? count : -1;
}

static void round_trip(const char *codec)
{
    struct writer writer;
    struct pj_error error = {0};
    struct pj_recording *recording;
    struct pj_recorded item;
    writer_open(&writer, codec);
    write_schema(&writer, 7, "t-value", "\"string\"");
    write_message(&writer, "t", 3, "key", 1234567890123, "\0\0\0\0\7\2a", 7, 3);
    write_message(&writer, "t", -1, NULL, -5, NULL, 0, 0);
    write_message(&writer, "u", -1, "", 0, "", 0, 0);
    writer_close(&writer);

    cr_assert(pj_recording_open(&recording, writer.path, &error) == 0, "%s", error.message);
    cr_assert_eq(pj_recording_items(recording), 4);
    for (int pass = 0; pass < 2; pass++) {
        cr_assert_eq(pj_recording_next(recording, &item, &error), 1);
        cr_assert(item.kind == PJ_RECORDED_SCHEMA && item.id == 7);
        cr_assert(is(item.subject, "t-value") && is(item.schema, "\"string\""));

        cr_assert_eq(pj_recording_next(recording, &item, &error), 1);
        cr_assert(item.kind == PJ_RECORDED_MESSAGE && item.partition == 3);
        cr_assert(is(item.topic, "t") && is(item.key, "key"));
        cr_assert_eq(item.timestamp_ms, 1234567890123);
        cr_assert(item.value.length == 7 && memcmp(item.value.data, "\0\0\0\0\7\2a", 7) == 0);
        cr_assert_eq(item.header_count, 3);
        cr_assert(is(item.headers[0].name, "h") && is(item.headers[0].value, "0"));
        cr_assert(item.headers[1].value.data == NULL);
        cr_assert(is(item.headers[2].value, "2"));

        cr_assert_eq(pj_recording_next(recording, &item, &error), 1);
        cr_assert(item.partition == -1 && item.key.data == NULL && item.value.data == NULL);
        cr_assert(item.timestamp_ms == -5 && item.header_count == 0);

        cr_assert_eq(pj_recording_next(recording, &item, &error), 1);
        cr_assert(is(item.topic, "u") && is(item.key, "") && is(item.value, ""));
        cr_assert_eq(pj_recording_next(recording, &item, &error), 0);
        cr_assert_eq(pj_recording_rewind(recording, &error), 0);
    }
    pj_recording_close(recording);
    unlink(writer.path);
}

Test(recording, reads_what_avro_c_writes)
{
    round_trip("null");
    round_trip("deflate");
    check_leaks();
}

/* 300 messages in many blocks. */
static void write_many(struct writer *writer, const char *codec)
{
    char value[64];
    writer_open(writer, codec);
    write_schema(writer, 1, "t-value", "\"string\"");
    for (int i = 0; i < 300; i++) {
        int length = snprintf(value, sizeof value, "value number %d", i);
        write_message(writer, "t", -1, "k", i, value, (size_t)length, i % 3);
    }
    writer_close(writer);
}

Test(recording, refuses_a_truncated_file_wherever_it_ends)
{
    static uint8_t data[1 << 16];
    struct writer writer;
    write_many(&writer, "deflate");
    size_t length = read_file(writer.path, data, sizeof data);
    struct pj_error error = {0};
    cr_assert_eq(read_all(writer.path, &error), 301, "%s", error.message);
    char path[64];
    int file = memory_path(path), whole_blocks = 0, named = 0;
    for (size_t cut = 0; cut < length; cut++) {
        write_file(path, data, cut);
        int count = read_all(path, &error);
        /* Nothing tells a file that ends between two blocks from a whole one. */
        if (count >= 0)
            whole_blocks++;
        else
            cr_assert(strstr(error.message, path) != NULL, "%s", error.message);
        if (count < 0 && strstr(error.message, "after record ") != NULL)
            named++;
    }
    cr_assert(whole_blocks > 1 && whole_blocks < 50, "%d", whole_blocks);
    cr_assert(named > (int)length / 2, "%d", named);
    close(file);
    unlink(writer.path);
    check_leaks();
}

Test(recording, survives_any_changed_byte)
{
    static uint8_t data[1 << 16], changed[1 << 16];
    const uint8_t bytes[] = {0, 1, 0x7f, 0x80, 0xff};
    char path[64];
    int file = memory_path(path);
    const char *const codecs[] = {"null", "deflate"};
    for (size_t c = 0; c < 2; c++) {
        struct writer writer;
        write_many(&writer, codecs[c]);
        size_t length = read_file(writer.path, data, sizeof data);
        size_t step = length > 4000 ? 7 : 1;
        int refused = 0;
        for (size_t i = 0; i < length; i += step) {
            struct pj_error error = {0};
            memcpy(changed, data, length);
            changed[i] = bytes[i % sizeof bytes];
            write_file(path, changed, length);
            int count = read_all(path, &error);
            refused += count < 0;
            cr_assert(count >= 0 || strstr(error.message, path) != NULL, "%s", error.message);
        }
        cr_assert(refused > 0);
        unlink(writer.path);
    }
    close(file);
    check_leaks();
}

static void refuses(const void *data, size_t length, const char *why)
{
    char path[64];
    struct pj_error error = {0};
    temporary_path(path);
    write_file(path, data, length);
    cr_assert_eq(read_all(path, &error), -1);
    cr_assert(strstr(error.message, path) != NULL, "%s", error.message);
    cr_assert(strstr(error.message, why) != NULL, "%s", error.message);
    unlink(path);
}

#define REFUSES(text, why) refuses((text), sizeof(text) - 1, (why))

Test(recording, refuses_garbage)
{
    REFUSES("", "not an Avro object container file");
    REFUSES("This is no recording at all.", "not an Avro object container file");
    REFUSES("Obj\1", "ends too early");
    REFUSES("Obj\1\0", "no schema");
    /* a key of 2^62 bytes; one of -3 bytes; 2^62 pairs */
    REFUSES("Obj\1\2\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", "ends too early");
    REFUSES("Obj\1\2\5x", "negative");
    REFUSES("Obj\1\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", "ends too early");
    REFUSES("Obj\1\2\26avro.schema\20\"string\"\0SSSSSSSSSSSSSSSS", "its items are not");
    REFUSES("Obj\1\2\24avro.codec\14snappy\0", "codec is 'snappy'");
    check_leaks();
}

/* As Avro writes it. */
static uint8_t *put_length(uint8_t *out, size_t length)
{
    uint64_t left = 2 * (uint64_t)length;
    do {
        *out++ = (uint8_t)((left & 127) | (left > 127 ? 128 : 0));
        left >>= 7;
    } while (left > 0);
    return out;
}

#define ANY_SCHEMA "Obj\1\2\26avro.schema\20\"string\"\0SSSSSSSSSSSSSSSS"

Test(recording, refuses_hostile_blocks)
{
    /* a length of 2^60; a negative one; a negative count; a wrong marker; a number without end */
    REFUSES(ANY_SCHEMA "\2\x80\x80\x80\x80\x80\x80\x80\x80\x20", "middle of a block");
    REFUSES(ANY_SCHEMA "\2\5aSSSSSSSSSSSSSSSS", "begins with garbage");
    REFUSES(ANY_SCHEMA "\1\2aSSSSSSSSSSSSSSSS", "begins with garbage");
    REFUSES(ANY_SCHEMA "\2\2aSSSSSSSSSSSSSSSX", "does not end with the file's marker");
    REFUSES(ANY_SCHEMA "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "middle of a block");
    check_leaks();
}

/* A large file that has little on the disk. */
static void refuses_sparse(const void *data, size_t length, off_t size, const char *why)
{
    char path[64];
    struct pj_error error = {0};
    int file = memory_path(path);
    cr_assert_eq(ftruncate(file, size), 0);
    cr_assert_eq(pwrite(file, data, length, 0), (ssize_t)length);
    cr_assert_eq(read_all(path, &error), -1);
    cr_assert(strstr(error.message, why) != NULL, "%s", error.message);
    close(file);
}

#define REFUSES_SPARSE(text, size, why) refuses_sparse((text), sizeof(text) - 1, (size), (why))

Test(recording, bounds_what_it_reads_at_once)
{
    /* a value of 4 MiB in the header; a block of 64 MiB and one byte, of a larger file */
    REFUSES_SPARSE("Obj\1\2\2x\x80\x80\x80\4", 3 << 20, "a header has at most 2 MiB");
    REFUSES_SPARSE(ANY_SCHEMA "\2\x82\x80\x80\x40", 80 << 20, "a block is larger than 64 MiB");
    check_leaks();
}

/* 256 MiB and more of zeros. */
static size_t deflate_zeros(uint8_t *out, size_t most)
{
    static uint8_t zeros[1 << 20];
    z_stream stream = {.next_out = out, .avail_out = (uInt)most};
    cr_assert_eq(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    for (int i = 0; i <= 256; i++) {
        stream.next_in = zeros;
        stream.avail_in = sizeof zeros;
        cr_assert_eq(deflate(&stream, i < 256 ? Z_NO_FLUSH : Z_FINISH),
                     i < 256 ? Z_OK : Z_STREAM_END);
    }
    deflateEnd(&stream);
    return most - stream.avail_out;
}

Test(recording, bounds_what_a_block_inflates_to)
{
    static const char header[] = "Obj\1\2\24avro.codec\16deflate\0";
    static uint8_t file[1 << 20];
    size_t length = deflate_zeros(file + 2048, sizeof file - 4096);
    size_t schema = strlen(recording_schema);
    uint8_t *at = mempcpy(file, header, sizeof header - 2);
    at[-(ptrdiff_t)(sizeof header - 2) + 4] = 4; /* two pairs */
    at = mempcpy(at, "\26avro.schema", 12);
    at = put_length(at, schema);
    at = mempcpy(at, recording_schema, schema);
    *at++ = 0;
    at = mempcpy(at, "SSSSSSSSSSSSSSSS\2", 17);
    at = put_length(at, length);
    memmove(at, file + 2048, length);
    at = mempcpy(at + length, "SSSSSSSSSSSSSSSS", 16);
    refuses(file, (size_t)(at - file), "a block is larger than 256 MiB");
    check_leaks();
}

Test(recording, bounds_the_headers_of_a_record)
{
    struct writer writer;
    struct pj_error error = {0};
    writer_open_with(&writer, "null", 1 << 20);
    write_message(&writer, "t", 0, NULL, 0, NULL, 0, 100001);
    writer_close(&writer);
    cr_assert_eq(read_all(writer.path, &error), -1);
    cr_assert(strstr(error.message, "headers has more than 100000 items") != NULL, "%s",
              error.message);
    unlink(writer.path);
}

/* A file of our schema with one block of the given bytes, uncompressed. */
static size_t make_file(uint8_t *out, uint8_t count, const void *block, uint8_t length)
{
    size_t schema = strlen(recording_schema), at = 0;
    memcpy(out, "Obj\1\2\26avro.schema", 17);
    at = (size_t)(put_length(out + 17, schema) - out);
    memcpy(out + at, recording_schema, schema);
    at += schema;
    out[at++] = 0;
    memset(out + at, 'S', 16);
    at += 16;
    out[at++] = (uint8_t)(2 * count);
    out[at++] = (uint8_t)(2 * length);
    memcpy(out + at, block, length);
    at += length;
    memset(out + at, 'S', 16);
    return at + 16;
}

static void refuses_block(uint8_t count, const void *block, uint8_t length, const char *why)
{
    uint8_t file[2048];
    refuses(file, make_file(file, count, block, length), why);
}

Test(recording, names_the_record_that_is_damaged)
{
    /* A good schema first: union branch 0, id 1, subject "s", schema "x". */
#define GOOD "\0\2\2s\2x"
    refuses_block(2, GOOD "\6", 7, "record 2 of ");
    refuses_block(2, GOOD "\0\2\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", 18, "record 2 of ");
    refuses_block(2, GOOD "\0\2\5", 9, "negative");
    refuses_block(2, GOOD "\2\2t\2\1\0\0\0\0", 15, "partition is negative");
    refuses_block(2, GOOD, 6, "record 2 of ");
    refuses_block(1, GOOD "\0\2\2s\2x", 12, "longer than its records");
    /* headers: 2^62 of them in no bytes */
    refuses_block(2, GOOD "\2\2t\0\0\0\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", 21, "too early");
    check_leaks();
}

Test(recording, reads_fields_by_name)
{
    /* Another order, and a field that we do not know, of a type of its own. */
    static const char other[] =
        "[\"null\",{\"type\":\"record\",\"name\":\"projectionist.RecordedMessage\",\"fields\":["
        "{\"name\":\"value\",\"type\":[\"bytes\",\"null\"]},"
        "{\"name\":\"extra\",\"type\":{\"type\":\"map\",\"values\":\"double\"}},"
        "{\"name\":\"headers\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\","
        "\"name\":\"H\",\"fields\":[{\"name\":\"value\",\"type\":[\"null\",\"bytes\"]},"
        "{\"name\":\"name\",\"type\":\"string\"}]}}},"
        "{\"name\":\"timestamp\",\"type\":\"long\"},{\"name\":\"key\",\"type\":\"bytes\"},"
        "{\"name\":\"partition\",\"type\":\"int\"},{\"name\":\"topic\",\"type\":\"string\"}]},"
        "{\"type\":\"record\",\"name\":\"projectionist.RecordedSchema\",\"fields\":["
        "{\"name\":\"schema\",\"type\":\"string\"},{\"name\":\"subject\",\"type\":\"string\"},"
        "{\"name\":\"id\",\"type\":\"int\"}]}]";
    static const char block[] = "\2"              /* the message */
                                "\0\2v"           /* value */
                                "\2\2a12345678\0" /* extra: {a: …} */
                                "\2\2\2y\2n\0"    /* headers: n = y */
                                "\20\2k\4\2t";    /* timestamp 8, key, partition 2, topic */
    uint8_t file[2048];
    char path[64];
    size_t schema = strlen(other), at = 17;
    memcpy(file, "Obj\1\2\26avro.schema", 17);
    file[at++] = (uint8_t)((2 * schema & 127) | 128);
    file[at++] = (uint8_t)(2 * schema >> 7);
    cr_assert(2 * schema >> 7 < 128);
    memcpy(file + at, other, schema);
    at += schema;
    file[at++] = 0;
    memset(file + at, 'S', 16);
    at += 16;
    file[at++] = 2;
    file[at++] = 2 * (sizeof block - 1);
    memcpy(file + at, block, sizeof block - 1);
    at += sizeof block - 1;
    memset(file + at, 'S', 16);
    temporary_path(path);
    write_file(path, file, at + 16);

    struct pj_error error = {0};
    struct pj_recording *recording;
    struct pj_recorded item;
    cr_assert(pj_recording_open(&recording, path, &error) == 0, "%s", error.message);
    cr_assert(pj_recording_next(recording, &item, &error) == 1, "%s", error.message);
    cr_assert(is(item.value, "v") && is(item.key, "k") && is(item.topic, "t"));
    cr_assert(item.partition == 2 && item.timestamp_ms == 8 && item.header_count == 1);
    cr_assert(is(item.headers[0].name, "n") && is(item.headers[0].value, "y"));
    cr_assert(pj_recording_next(recording, &item, &error) == 0);
    pj_recording_close(recording);
    unlink(path);
    check_leaks();
}

Test(recording, refuses_a_missing_file_and_a_folder)
{
    struct pj_error error = {0};
    cr_assert_eq(read_all("/tmp/pj_test_no_such_recording", &error), -1);
    cr_assert(error.exit_code == PJ_EXIT_USAGE);
    cr_assert_eq(read_all("/tmp", &error), -1);
    cr_assert(strstr(error.message, "not a regular file") != NULL, "%s", error.message);
    check_leaks();
}

/* --- the merge ------------------------------------------------------------------------------- */

Test(merge, goes_by_timestamp_and_keeps_each_files_order)
{
    /* Equal timestamps go by the order of the files; the 2 after the 9 keeps its place. */
    static const int64_t times[3][5] = {{1, 5, 5, 9, 2}, {1, 1, 5, 6, 20}, {-7, 0, 5, 30, 31}};
    static const char expected[] = "c-7 c0 a1 b1 b1 a5 a5 b5 c5 b6 a9 a2 b20 c30 c31 ";
    struct pj_error error = {0};
    struct pj_recording *recordings[4];
    struct writer writers[4];
    char got[256] = "";
    for (size_t i = 0; i < 4; i++) { /* the fourth has no messages */
        writer_open(&writers[i], "deflate");
        write_schema(&writers[i], 1, "s", "\"string\"");
        for (size_t j = 0; j < 5 && i < 3; j++)
            write_message(&writers[i], "t", -1, (const char *[]){"a", "b", "c"}[i], times[i][j], "",
                          0, 0);
        writer_close(&writers[i]);
        cr_assert(pj_recording_open(&recordings[i], writers[i].path, &error) == 0);
    }
    struct pj_merge *merge;
    const struct pj_recorded *message;
    size_t index;
    int status;
    cr_assert(pj_merge_open(&merge, recordings, 4, &error) == 0);
    while ((status = pj_merge_next(merge, &message, &index, &error)) == 1) {
        size_t used = strlen(got);
        snprintf(got + used, sizeof got - used, "%.*s%lld ", (int)message->key.length,
                 (const char *)message->key.data, (long long)message->timestamp_ms);
        cr_assert_eq((int)index, *(const char *)message->key.data - 'a');
    }
    cr_assert_eq(status, 0);
    cr_assert_eq(pj_merge_next(merge, &message, &index, &error), 0);
    cr_assert_str_eq(got, expected);
    pj_merge_close(merge);
    for (size_t i = 0; i < 4; i++) {
        pj_recording_close(recordings[i]);
        unlink(writers[i].path);
    }
    check_leaks();
}

/* --- schemas' ids ---------------------------------------------------------------------------- */

static bool is_bytes(struct pj_bytes bytes, const void *data, size_t length)
{
    return bytes.length == length && memcmp(bytes.data, data, length) == 0;
}

/* As a value, and as a key. */
#define TRANSLATED(recording, from, value, key)                                                    \
    do {                                                                                           \
        struct pj_bytes of_key = {(from), sizeof(from) - 1}, of_value = of_key;                    \
        pj_survey_translate(&survey, (recording), &of_key, &of_value);                             \
        cr_assert(is_bytes(of_value, (value), sizeof(value) - 1));                                 \
        cr_assert(is_bytes(of_key, (key), sizeof(key) - 1));                                       \
    } while (0)

Test(survey, finds_topics_and_gives_keys_and_values_their_new_ids)
{
    struct writer writers[2];
    struct pj_recording *recordings[2];
    struct pj_error error = {0};
    struct pj_survey survey;
    for (size_t i = 0; i < 2; i++) {
        writer_open(&writers[i], "deflate");
        write_schema(&writers[i], 1, "t-value", i == 0 ? "\"string\"" : "\"long\"");
        write_schema(&writers[i], 1, "t-value", i == 0 ? "\"string\"" : "\"long\"");
        write_message(&writers[i], "t", 4, NULL, 1, NULL, 0, 0);
        if (i == 1)
            write_schema(&writers[i], 1, "t-key", "\"long\""); /* the same id */
        write_schema(&writers[i], 70000, "u-value", "\"int\"");
        write_message(&writers[i], "u", -1, NULL, 1, NULL, 0, 0);
        writer_close(&writers[i]);
        cr_assert(pj_recording_open(&recordings[i], writers[i].path, &error) == 0);
    }
    cr_assert(pj_survey_take(&survey, recordings, 2, &error) == 0, "%s", error.message);
    cr_assert(survey.messages == 4 && survey.topic_count == 2 && survey.schema_count == 5);
    cr_assert(survey.topics[0].partition_most == 4 && survey.topics[1].partition_most == -1);
    for (size_t i = 0; i < 5; i++) {
        const struct pj_survey_schema *schema = &survey.schemas[i];
        survey.schemas[i].new_id = schema->is_of_keys ? 9
                                   : schema->id == 1  ? 0x01020304 + (int32_t)schema->recording
                                                      : 0x7fffffff;
    }
    TRANSLATED(0, "\0\0\0\0\1body", "\0\1\2\3\4body", "\0\0\0\0\1body");
    TRANSLATED(1, "\0\0\0\0\1", "\0\1\2\3\5", "\0\0\0\0\11");
    TRANSLATED(1, "\0\0\1\x11\x70?", "\0\x7f\xff\xff\xff?", "\0\0\1\x11\x70?");
    /* untouched: an unknown id, another first byte, too short, no bytes */
    TRANSLATED(0, "\0\0\0\0\2body", "\0\0\0\0\2body", "\0\0\0\0\2body");
    TRANSLATED(0, "\1\0\0\0\1body", "\1\0\0\0\1body", "\1\0\0\0\1body");
    TRANSLATED(0, "\0\0\0\0", "\0\0\0\0", "\0\0\0\0");
    TRANSLATED(0, "", "", "");
    struct pj_bytes none = {0}, none_either = {0};
    pj_survey_translate(&survey, 0, &none, &none_either);
    cr_assert(none.data == NULL && none_either.data == NULL);
    pj_survey_free(&survey);
    for (size_t i = 0; i < 2; i++) {
        pj_recording_close(recordings[i]);
        unlink(writers[i].path);
    }
    check_leaks();
}

Test(survey, refuses_one_id_for_two_schemas)
{
    struct writer writer;
    struct pj_recording *recording;
    struct pj_survey survey;
    struct pj_error error = {0};
    writer_open(&writer, "deflate");
    write_schema(&writer, 1, "t-value", "\"string\"");
    write_schema(&writer, 1, "t-value", "\"long\"");
    writer_close(&writer);
    cr_assert(pj_recording_open(&recording, writer.path, &error) == 0);
    cr_assert(pj_survey_take(&survey, &recording, 1, &error) == -1);
    cr_assert(strstr(error.message, "record 2 of ") != NULL, "%s", error.message);
    pj_recording_close(recording);
    unlink(writer.path);
    check_leaks();
}

Test(survey, refuses_a_topic_that_kafka_does_not_allow)
{
    struct writer writer;
    struct pj_recording *recording;
    struct pj_survey survey;
    struct pj_error error = {0};
    writer_open(&writer, "deflate");
    write_message(&writer, "no spaces", -1, NULL, 1, NULL, 0, 0);
    writer_close(&writer);
    cr_assert(pj_recording_open(&recording, writer.path, &error) == 0);
    cr_assert(pj_survey_take(&survey, &recording, 1, &error) == -1);
    cr_assert(strstr(error.message, "record 1 of ") != NULL, "%s", error.message);
    pj_recording_close(recording);
    unlink(writer.path);
    check_leaks();
}
