/* SPDX-License-Identifier: Apache-2.0 */
#include "drama-import/listing.h"

#include "base/memory.h"
#include "base/text.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_MOST = 10000, TEXT_MOST = 8192 };

struct parsing {
    XML_Parser parser;
    struct pj_listing *listing; /* NULL: an error is read */
    struct pj_builder text;     /* of the element that is open */
    size_t room;
    int depth;
    bool is_in_item, is_encoded, is_truncated, is_last, is_list;
    const char *fault;
    char *code, *message;
};

static void fail(struct parsing *parsing, const char *fault)
{
    if (parsing->fault == NULL)
        parsing->fault = fault;
    (void)XML_StopParser(parsing->parser, XML_FALSE);
}

/* Names come without their namespace's prefix: S3 has none. */
static void begin_element(void *context, const char *name, const char **attributes)
{
    struct parsing *parsing = context;
    (void)attributes;
    parsing->text.length = 0;
    if (parsing->depth++ == 0)
        parsing->is_list = strcmp(name, "ListBucketResult") == 0;
    if (parsing->listing == NULL || parsing->depth != 2 || strcmp(name, "Contents") != 0)
        return;
    struct pj_listing *listing = parsing->listing;
    if (listing->count == KEYS_MOST) {
        fail(parsing, "has more than 10,000 keys");
        return;
    }
    if (listing->count == parsing->room) {
        parsing->room = parsing->room > 0 ? 2 * parsing->room : 64;
        listing->items = pj_resize(listing->items, parsing->room, sizeof *listing->items);
    }
    listing->items[listing->count++] = (struct pj_listed){.size = -1};
    parsing->is_in_item = true;
}

static void add_text(void *context, const char *text, int length)
{
    struct parsing *parsing = context;
    if (parsing->text.length + (size_t)length > TEXT_MOST)
        fail(parsing, "has a text of more than 8 KiB");
    else
        pj_builder_add_bytes(&parsing->text, text, (size_t)length);
}

static void keep(struct parsing *parsing, char **place)
{
    free(*place);
    *place = pj_strndup(parsing->text.text != NULL ? parsing->text.text : "", parsing->text.length);
}

static bool decode(char *text)
{
    char *out = text;
    for (const char *c = text; *c != '\0'; c++) {
        int high = 0, low = 0;
        if (*c == '%') {
            high = pj_hex_digit(c[1]);
            low = high >= 0 ? pj_hex_digit(c[2]) : -1;
            if (low < 0 || high * 16 + low == 0)
                return false;
            c += 2;
        }
        *out++ = *c == '+' ? ' ' : *c;
        if (high > 0 || low > 0)
            out[-1] = (char)(high * 16 + low);
    }
    *out = '\0';
    return true;
}

/* -1: it is none. */
static int64_t number_of(const struct parsing *parsing)
{
    char digits[24];
    size_t length = parsing->text.length;
    if (length == 0 || length > 18)
        return -1;
    memcpy(digits, parsing->text.text, length);
    digits[length] = '\0';
    return strspn(digits, "0123456789") == length ? strtoll(digits, NULL, 10) : -1;
}

static void end_member(struct parsing *parsing, const char *name)
{
    struct pj_listed *item = &parsing->listing->items[parsing->listing->count - 1];
    if (strcmp(name, "Key") == 0)
        keep(parsing, &item->key);
    else if (strcmp(name, "ETag") == 0)
        keep(parsing, &item->etag);
    else if (strcmp(name, "LastModified") == 0)
        keep(parsing, &item->modified);
    else if (strcmp(name, "Size") == 0)
        item->size = number_of(parsing);
}

static bool is_text(const struct parsing *parsing, const char *text)
{
    return parsing->text.length == strlen(text) &&
           memcmp(parsing->text.text, text, parsing->text.length) == 0;
}

static void end_element(void *context, const char *name)
{
    struct parsing *parsing = context;
    int depth = parsing->depth--;
    if (parsing->listing == NULL) {
        if (depth == 2 && strcmp(name, "Code") == 0)
            keep(parsing, &parsing->code);
        if (depth == 2 && strcmp(name, "Message") == 0)
            keep(parsing, &parsing->message);
    } else if (depth == 3 && parsing->is_in_item) {
        end_member(parsing, name);
    } else if (depth == 2 && strcmp(name, "Contents") == 0) {
        parsing->is_in_item = false;
    } else if (depth == 2 && strcmp(name, "NextContinuationToken") == 0) {
        keep(parsing, &parsing->listing->next);
    } else if (depth == 2 && strcmp(name, "IsTruncated") == 0) {
        parsing->is_truncated = is_text(parsing, "true");
        parsing->is_last = is_text(parsing, "false");
    } else if (depth == 2 && strcmp(name, "EncodingType") == 0) {
        parsing->is_encoded = is_text(parsing, "url");
    }
    parsing->text.length = 0;
}

/* Entities of one's own may be of any size when they are expanded. */
static void refuse_doctype(void *context, const char *name, const char *system, const char *public,
                           int has_subset)
{
    (void)name, (void)system, (void)public, (void)has_subset;
    fail(context, "has a document type of its own");
}

static bool parse(struct parsing *parsing, const char *xml, size_t length)
{
    parsing->parser = pj_must(XML_ParserCreate("UTF-8"));
    XML_SetUserData(parsing->parser, parsing);
    XML_SetElementHandler(parsing->parser, begin_element, end_element);
    XML_SetCharacterDataHandler(parsing->parser, add_text);
    XML_SetStartDoctypeDeclHandler(parsing->parser, refuse_doctype);
    bool is_good =
        XML_Parse(parsing->parser, xml != NULL ? xml : "", (int)length, 1) == XML_STATUS_OK;
    if (!is_good && parsing->fault == NULL)
        parsing->fault = "is not XML";
    XML_ParserFree(parsing->parser);
    pj_builder_free(&parsing->text);
    return is_good && parsing->fault == NULL;
}

/* What is wrong with it, or NULL. */
static const char *check(const struct parsing *parsing)
{
    const struct pj_listing *listing = parsing->listing;
    if (!parsing->is_list)
        return "is no ListBucketResult";
    if (!parsing->is_truncated && !parsing->is_last)
        return "does not say by IsTruncated whether it is the last page";
    if (parsing->is_truncated && (listing->next == NULL || *listing->next == '\0'))
        return "is truncated and has no NextContinuationToken";
    for (size_t i = 0; i < listing->count; i++) {
        struct pj_listed *item = &listing->items[i];
        if (item->key == NULL || item->modified == NULL || item->size < 0)
            return "has an object without Key, LastModified or Size";
        if (item->etag == NULL || *item->etag == '\0') { /* some leave it out */
            free(item->etag);
            item->etag = pj_text_new("%s-%lld", item->modified, (long long)item->size);
        }
        if (parsing->is_encoded && !decode(item->key))
            return "has a key whose encoding is wrong";
    }
    return NULL;
}

int pj_listing_parse(struct pj_listing **out, const char *xml, size_t length,
                     struct pj_error *error)
{
    struct pj_listing *listing = pj_alloc(sizeof *listing);
    struct parsing parsing = {.listing = listing};
    const char *fault = parse(&parsing, xml, length) ? check(&parsing) : parsing.fault;
    if (fault != NULL) {
        pj_listing_free(listing);
        return pj_error_set(error, PJ_FATAL, "its answer %s", fault);
    }
    if (!parsing.is_truncated) {
        free(listing->next);
        listing->next = NULL;
    }
    *out = listing;
    return 0;
}

void pj_listing_free(struct pj_listing *listing)
{
    if (listing == NULL)
        return;
    for (size_t i = 0; i < listing->count; i++) {
        free(listing->items[i].key);
        free(listing->items[i].etag);
        free(listing->items[i].modified);
    }
    free(listing->items);
    free(listing->next);
    free(listing);
}

void pj_listing_error(const char *xml, size_t length, char *text, size_t size)
{
    struct parsing parsing = {0};
    text[0] = '\0';
    if (parse(&parsing, xml, length) && parsing.code != NULL)
        pj_text_show(text, size, "%s%s%s", parsing.code, parsing.message != NULL ? ": " : "",
                     parsing.message != NULL ? parsing.message : "");
    free(parsing.code);
    free(parsing.message);
}
