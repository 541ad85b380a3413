/* SPDX-License-Identifier: Apache-2.0 */
/* What drama-import makes of a page of a bucket's listing, and of an old file, and how it signs.
 * JSON is written with apostrophes for quotes. */
#include "drama-import/listing.h"
#include "drama-import/old_drama.h"
#include "drama-import/signature.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* --- listings -------------------------------------------------------------------------------- */

#define PAGE(inner) "<ListBucketResult xmlns='http://x/'>" inner "</ListBucketResult>"
#define OBJECT(key, size)                                                                          \
    "<Contents><Key>" key "</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified>"            \
    "<ETag>&quot;a-1&quot;</ETag><Size>" size "</Size><Owner><ID>x</ID></Owner></Contents>"

#define LAST "<IsTruncated>false</IsTruncated>"

static struct pj_listing *parse(const char *xml, struct pj_error *error)
{
    struct pj_listing *listing;
    return pj_listing_parse(&listing, xml, strlen(xml), error) == 0 ? listing : NULL;
}

Test(listing, a_page_has_objects_and_a_token)
{
    struct pj_error error = {0};
    struct pj_listing *page =
        parse(PAGE("<EncodingType>url</EncodingType>" OBJECT("a%20+%2B%25%2F", "1234")
                       OBJECT("b", "5") "<IsTruncated>true</IsTruncated><NextContinuationToken>1/"
                                        "a+b=</NextContinuationToken>"),
              &error);
    cr_assert_not_null(page, "%s", error.message);
    cr_assert_eq(page->count, 2);
    cr_assert_str_eq(page->items[0].key, "a  +%/");
    cr_assert_str_eq(page->items[0].etag, "\"a-1\"");
    cr_assert_eq(page->items[0].size, 1234);
    cr_assert_eq(page->items[1].size, 5);
    cr_assert_str_eq(page->next, "1/a+b=");
    pj_listing_free(page);
}

Test(listing, the_last_page_has_none)
{
    struct pj_error error = {0};
    struct pj_listing *page = parse(
        PAGE("<IsTruncated>false</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
             "<Contents><Key>a%20</Key><LastModified>t</LastModified><Size>0</Size></Contents>"),
        &error);
    cr_assert_not_null(page, "%s", error.message);
    cr_assert_null(page->next);
    cr_assert_str_eq(page->items[0].key, "a%20"); /* it was not said to be encoded */
    cr_assert_str_eq(page->items[0].etag, "t-0"); /* some say none */
    pj_listing_free(page);
}

static void is_no_page(const char *xml, const char *part)
{
    struct pj_error error = {0};
    cr_assert_null(parse(xml, &error), "%s", xml);
    cr_assert_not_null(strstr(error.message, part), "%s: %s", xml, error.message);
}

Test(listing, what_is_no_page_is_refused)
{
    is_no_page("", "is not XML");
    is_no_page("<ListBucketResult>", "is not XML");
    is_no_page(PAGE(""), "does not say by IsTruncated");
    is_no_page(PAGE("<IsTruncated>maybe</IsTruncated>"), "does not say by IsTruncated");
    is_no_page("<html></html>", "is no ListBucketResult");
    is_no_page(PAGE("<IsTruncated>true</IsTruncated>"), "no NextContinuationToken");
    is_no_page(PAGE(LAST "<Contents><Key>a</Key></Contents>"), "without Key");
    is_no_page(PAGE(LAST OBJECT("a", "")), "without Key");
    is_no_page(PAGE(LAST OBJECT("a", "x")), "without Key");
    is_no_page(PAGE(LAST "<EncodingType>url</EncodingType>" OBJECT("a%2", "1")),
               "encoding is wrong");
    is_no_page(PAGE(LAST "<EncodingType>url</EncodingType>" OBJECT("a%00", "1")),
               "encoding is wrong");
    is_no_page("<!DOCTYPE x [<!ENTITY a 'aaaa'>]>" PAGE(OBJECT("&a;", "1")), "document type");
}

Test(listing, an_error_is_quoted)
{
    char text[40];
    const char *xml = "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>";
    pj_listing_error(xml, strlen(xml), text, sizeof text);
    cr_assert_str_eq(text, "NoSuchKey: none");
    pj_listing_error("<html", 5, text, sizeof text);
    cr_assert_str_eq(text, "");
}

/* --- signatures ------------------------------------------------------------------------------ */

static const struct pj_signature_key key = {
    .access_key = "AKIAIOSFODNN7EXAMPLE",
    .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    .region = "us-east-1",
};

static void is_signed(const struct pj_signature_key *by, const char *host, const char *path,
                      const char *query, int64_t time, const char *signature)
{
    const struct pj_signature_request request = {host, path, query};
    char *headers[PJ_SIGNATURE_HEADERS];
    pj_signature_headers(headers, by, &request, time);
    const char *found = strstr(headers[PJ_SIGNATURE_SIGN], "Signature=");
    cr_assert_str_eq(found + strlen("Signature="), signature, "%s?%s", path, query);
    for (int i = 0; i < PJ_SIGNATURE_HEADERS; i++)
        free(headers[i]);
}

/* Those that Amazon publishes in S3's API reference, "Authenticating Requests: Using the
 * Authorization Header": GET Bucket (List Objects) and GET Bucket Lifecycle. */
Test(signature, it_is_that_of_the_published_examples)
{
    is_signed(&key, "examplebucket.s3.amazonaws.com", "/", "max-keys=2&prefix=J", 1369353600,
              "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    is_signed(&key, "examplebucket.s3.amazonaws.com", "/", "lifecycle=", 1369353600,
              "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

/* By botocore 1.44.8. */
Test(signature, paths_are_signed_as_they_are_and_tokens_along)
{
    struct pj_signature_key other = key;
    other.region = "auto";
    is_signed(&other, "127.0.0.1:9000", "/b/dramas/c%20%2B%26/drama.json", "", 1795237594,
              "4adb32dd864b94862e7fb35c81f8acf5624defe8e7355b8fa27cd3aad3a84924");
    other.session_token = "tok/en+=";
    is_signed(&other, "127.0.0.1:9000", "/b",
              "continuation-token=1%2F%2B%3D%20%26&encoding-type=url&list-type=2&max-keys=1000&"
              "prefix=dramas%2F",
              1795237594, "4991390fcc56a7a29be7fdd7487226561d1960475c633892a5443a5a2f22efa8");
    is_signed(&other, "127.0.0.1:9000", "/b/dramas//../%C3%A9~/drama.json", "", 1795237594,
              "97df02df7ef37cb2aa99b06f1418141a336271a3f7fc081dfe25291bb72f999f");
}

Test(signature, the_headers_are_whole)
{
    struct pj_signature_key by = key;
    by.session_token = "t";
    const struct pj_signature_request request = {"h", "/", ""};
    char *headers[PJ_SIGNATURE_HEADERS];
    pj_signature_headers(headers, &by, &request, 1369353600);
    cr_assert_str_eq(headers[PJ_SIGNATURE_DATE], "x-amz-date: 20130524T000000Z");
    cr_assert_str_eq(headers[PJ_SIGNATURE_TOKEN], "x-amz-security-token: t");
    cr_assert_str_eq(headers[PJ_SIGNATURE_BODY],
                     "x-amz-content-sha256: "
                     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    cr_assert(pj_text_begins(headers[PJ_SIGNATURE_SIGN],
                             "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/"
                             "20130524/us-east-1/s3/aws4_request, SignedHeaders=host;"
                             "x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature="));
    for (int i = 0; i < PJ_SIGNATURE_HEADERS; i++)
        free(headers[i]);
}

Test(signature, what_is_reserved_is_encoded)
{
    struct pj_builder out = {0};
    pj_signature_encode(&out, "a/ +&%\xc3\xa9-_.~", true);
    pj_signature_encode(&out, "/", false);
    cr_assert_str_eq(out.text, "a/%20%2B%26%25%C3%A9-_.~%2F");
    pj_builder_free(&out);
}

/* --- files ----------------------------------------------------------------------------------- */

static struct pj_builder notes;

static json_t *event_of(const char *text, struct pj_error *error)
{
    char *json = strdup(text);
    for (char *c = json; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    const struct pj_old_drama drama = {
        .id = "d", .file = {json, strlen(json)}, .user = "u", .revision = 7000, .notes = &notes};
    json_t *event = pj_old_drama_event(&drama, error);
    free(json);
    return event;
}

/* The member of the save, as JSON. */
static void saves(const char *file, const char *member, const char *expected)
{
    struct pj_error error = {0};
    json_t *event = event_of(file, &error);
    cr_assert_not_null(event, "%s: %s", file, error.message);
    json_t *saved = json_object_get(json_object_get(event, "body"), "drama.DramaSaved");
    char *found =
        json_dumps(json_object_get(saved, member), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    char *quoted = strdup(found != NULL ? found : "nothing");
    for (char *c = quoted; *c != '\0'; c++)
        *c = *c == '"' ? '\'' : *c;
    cr_assert_str_eq(quoted, expected, "%s: %s", file, quoted);
    free(found);
    free(quoted);
    json_decref(event);
}

Test(old_drama, what_is_missing_is_null)
{
    saves("{}", "title", "null");
    saves("{}", "characters", "nothing");
    saves("{'characters':null}", "characters", "nothing");
    saves("{'characters':[]}", "characters", "[]");
    saves("{'assets':[{}]}", "assets",
          "[{'depends_on':[],'id':'','kind':'','prompt':null,'url':null}]");
    saves("{'metadata':{'a':1}}", "metadata", "'{\\'a\\':1}'");
    saves("{'assets':[{'duration':15.0,'made_by':'x'}]}", "assets",
          "[{'depends_on':[],'duration':15,'extra':'{\\'made_by\\':\\'x\\'}','id':'','kind':'',"
          "'prompt':null,'url':null}]");
}

Test(old_drama, it_was_created_when_it_says_or_changed_last)
{
    saves("{}", "created_at", "7000");
    saves("{'created_at':'1970-01-01T00:00:00.005'}", "created_at", "5000");
    saves("{'created_at':'1970-01-01T00:00:00.005+00:00'}", "created_at", "5000");
    saves("{'created_at':'1970-01-01T00:00:01'}", "created_at", "7000"); /* after its last change */
    saves("{'created_at':'long ago'}", "created_at", "7000");
}

Test(old_drama, what_is_otherwise_is_noted)
{
    saves("{'id':'d','updated_at':'x','year':null}", "title", "null");
    cr_assert_eq(notes.length, 0);
    saves("{'id':'e','year':1}", "title", "null");
    cr_assert_str_eq(notes.text, "its id is 'e', and that of its key counts; its member 'year' is "
                                 "nobody's, and left out");
    pj_builder_free(&notes);
}

static void is_bad(const char *file, const char *part)
{
    struct pj_error error = {0};
    cr_assert_null(event_of(file, &error), "%s", file);
    cr_assert_eq(error.class, PJ_POISON);
    cr_assert_not_null(strstr(error.message, part), "%s: %s", file, error.message);
}

Test(old_drama, what_is_bad_is_said)
{
    is_bad("", "is not JSON");
    is_bad("[]", "is no JSON object");
    is_bad("\xef\xbb\xbf{}", "byte order mark");
    is_bad("{'a':1,'a':2}", "is not JSON: duplicate");
    is_bad("{'title':7}", "its title is not a text");
    is_bad("{'characters':{}}", "its characters is not a list");
    is_bad("{'characters':[7]}", "its characters is not a list of objects");
    is_bad("{'episodes':[{},{'scenes':[{'description':7}]}]}",
           "its episodes[1].scenes[0].description is not a text");
    is_bad("{'assets':[{'duration':1.5}]}", "its assets[0].duration is not a whole number");
    is_bad("{'assets':[{'duration':3000000000}]}", "assets[0].duration is not a whole");
    is_bad("{'assets':[{'depends_on':[1]}]}", "assets[0].depends_on is not a list of texts");
    is_bad("{'characters':[{'main':'yes'}]}", "characters[0].main is neither true nor false");
    is_bad("{'characters':[{'id':'0123456789012345678901234567890123456789012345678901234567890123"
           "456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
           "12345678901234567890123456789012345678901234567890'}]}",
           "characters[0].id is longer than 200");
}

static void indexes(const char *text, const char *expected)
{
    struct pj_error error;
    json_t *index = pj_old_drama_index((struct pj_bytes){text, strlen(text)}, &error);
    cr_assert_not_null(index, "%s", text);
    char *found = json_dumps(index, JSON_COMPACT);
    cr_assert_str_eq(found, expected);
    free(found);
    json_decref(index);
}

Test(old_drama, an_index_says_when_each_was_created)
{
    const char *entry = "[{\"id\":\"a\",\"created_at\":\"1970-01-01T00:00:01\"},{\"id\":\"b\"},7]";
    indexes(entry, "{\"a\":1000000}");
    indexes("{\"dramas\":[{\"id\":\"a\",\"created_at\":\"1970-01-01T00:00:01Z\"}]}",
            "{\"a\":1000000}");
    indexes("{\"a\":{\"created_at\":\"1970-01-01T00:00:01\"},\"count\":1}", "{\"a\":1000000}");
}
