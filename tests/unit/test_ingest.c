/* SPDX-License-Identifier: Apache-2.0 */
/* What event-ingest makes of an event, of its list of topics and of its tokens' file. JSON is
 * written with apostrophes for quotes. */
#include "avro/avro_schema.h"
#include "event-ingest/event.h"
#include "event-ingest/tokens.h"
#include "event-ingest/topics.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define NOW    INT64_C(1795237594968123)
#define ID     "0f0e0d0c-0b0a-4908-8706-050403020100"
#define NEW_ID "11111111-2222-4333-8444-555555555555"
#define TENANT "99999999-2222-4333-8444-555555555555"

static char *quoted(const char *text)
{
    char *copy = strdup(text);
    for (char *c = copy; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    return copy;
}

static json_t *load(const char *text)
{
    char *json_text = quoted(text);
    json_t *json = json_loads(json_text, JSON_DECODE_ANY, NULL);
    cr_assert_not_null(json, "%s", text);
    free(json_text);
    return json;
}

/* --- events ---------------------------------------------------------------------------------- */

#define FIELD(name, type) "{'name':'" name "','type':" type "},"
#define TIME              "{'type':'long','logicalType':'timestamp-micros'}"
#define RECORD(fields)                                                                             \
    "{'type':'record','name':'t.Event','fields':[" FIELD("event_id", "'string'") FIELD(            \
        "tenant_id", "['null','string']") FIELD("user_id", "['null','string']")                    \
        fields FIELD(                                                                              \
            "body",                                                                                \
            "[{'type':'record','name':'Saved','fields':["                                          \
            "{'name':'base_revision','type':['null','long']}]},"                                   \
            "{'type':'record','name':'Deleted','fields':[]}]") "{'name':'emitted_at','type':" TIME \
                                                               "}]}"

static const char plain[] = RECORD("");
static const char revised[] = RECORD(FIELD("revision", "'long'"));
static const char lived[] = RECORD(FIELD("revision", "'long'") FIELD("life", "'long'"));

static struct pj_event_rules given;

static void set_up(void)
{
    given = (struct pj_event_rules){.now_us = NOW, .new_id = NEW_ID};
}

TestSuite(ingest, .init = set_up);

static int complete(const char *schema_text, const char *event_text, json_t **event,
                    struct pj_error *error)
{
    int answer = 0;
    struct pj_schema *schema;
    char *text = quoted(schema_text);
    cr_assert_eq(pj_schema_parse(&schema, text, error), 0, "%s", error->message);
    *event = load(event_text);
    given.record = pj_schema_root(schema);
    int status = pj_event_complete(*event, &given, &answer, error) == 0 ? 0 : answer;
    pj_schema_free(schema);
    free(text);
    return status;
}

/* As it is published. */
static void becomes(const char *schema, const char *text, const char *expected)
{
    struct pj_error error = {0};
    json_t *event, *wanted = load(expected);
    cr_assert_eq(complete(schema, text, &event, &error), 0, "%s: %s", text, error.message);
    char *found = json_dumps(event, JSON_SORT_KEYS);
    cr_assert(json_equal(event, wanted), "%s became %s", text, found);
    free(found);
    json_decref(event);
    json_decref(wanted);
}

static void is_refused(const char *schema, const char *text, int status, const char *part)
{
    struct pj_error error = {0};
    json_t *event;
    cr_assert_eq(complete(schema, text, &event, &error), status, "%s: %s", text, error.message);
    cr_assert_not_null(strstr(error.message, part), "%s: %s", text, error.message);
    json_decref(event);
}

Test(ingest, what_is_left_out_is_made)
{
    becomes(plain, "{}", "{'event_id':'" NEW_ID "','emitted_at':1795237594968123}");
    becomes(plain, "{'event_id':null,'emitted_at':'2026-11-21T05:06:34Z'}",
            "{'event_id':'" NEW_ID "','emitted_at':'2026-11-21T05:06:34Z'}");
    becomes(revised, "{}",
            "{'event_id':'" NEW_ID "','emitted_at':1795237594968123,'revision':1795237594968123}");
}

Test(ingest, who_names_an_event_sends_all_of_it)
{
    becomes(plain, "{'event_id':'" ID "','emitted_at':1795237594968000}",
            "{'event_id':'" ID "','emitted_at':1795237594968000}");
    is_refused(plain, "{'event_id':'" ID "'}", 400, "an event with an event_id needs emitted_at");
    is_refused(revised, "{'event_id':'" ID "','emitted_at':1795237594968000}", 400,
               "an event with an event_id needs revision");
}

/* Whoever has seen a revision comes after it, however wrong its clock. */
Test(ingest, a_revision_is_greater_than_what_was_seen)
{
    becomes(revised, "{'body':{'base_revision':1795237594968122}}",
            "{'event_id':'" NEW_ID "','emitted_at':1795237594968123,'revision':1795237594968123,"
            "'body':{'base_revision':1795237594968122}}");
    becomes(revised, "{'body':{'base_revision':1795237594968123}}",
            "{'event_id':'" NEW_ID "','emitted_at':1795237594968123,'revision':1795237594968124,"
            "'body':{'base_revision':1795237594968123}}");
    is_refused(revised, "{'body':{'base_revision':1795237999999999}}", 400, "revision is more");
    is_refused(revised, "{'body':{'base_revision':9223372036854775806}}", 400, "revision is more");
}

Test(ingest, what_is_saved_first_begins_a_life)
{
    becomes(lived, "{'body':{'type':'Saved'}}",
            "{'event_id':'" NEW_ID "','emitted_at':1795237594968123,'revision':1795237594968123,"
            "'life':1795237594968123,'body':{'type':'Saved'}}");
    becomes(lived, "{'body':{'type':'Saved','base_revision':5}}",
            "{'event_id':'" NEW_ID "','emitted_at':1795237594968123,'revision':1795237594968123,"
            "'body':{'type':'Saved','base_revision':5}}");
    becomes(lived, "{'body':{'type':'Deleted'}}",
            "{'event_id':'" NEW_ID "','emitted_at':1795237594968123,'revision':1795237594968123,"
            "'body':{'type':'Deleted'}}");
}

Test(ingest, times_have_bounds)
{
    is_refused(plain, "{'emitted_at':1795237894968124}", 400, "5 minutes ahead");
    is_refused(plain, "{'emitted_at':'2026-11-21T05:11:35Z'}", 400, "5 minutes ahead");
    is_refused(plain, "{'emitted_at':1795151194968122}", 400, "24 hours behind");
    is_refused(revised, "{'revision':1}", 400, "24 hours behind");
    is_refused(revised, "{'revision':1795237894968124}", 400, "revision is more");
    given.is_import = true;
    is_refused(plain, "{'emitted_at':1795237894968124}", 400, "5 minutes ahead");
    becomes(revised, "{'event_id':'" ID "','revision':1,'emitted_at':'1999-01-01T00:00:00Z'}",
            "{'event_id':'" ID "','revision':1,'emitted_at':'1999-01-01T00:00:00Z'}");
}

Test(ingest, tenant_and_user_are_those_of_the_token)
{
    given.tenant = TENANT;
    becomes(plain, "{}",
            "{'event_id':'" NEW_ID "','emitted_at':1795237594968123,'tenant_id':'" TENANT "'}");
    becomes(plain, "{'tenant_id':'" TENANT "'}",
            "{'event_id':'" NEW_ID "','emitted_at':1795237594968123,'tenant_id':'" TENANT "'}");
    is_refused(plain, "{'tenant_id':'" ID "'}", 403, "tenant_id is not that of the token");
    is_refused(plain, "{'tenant_id':7}", 403, "tenant_id is not that of the token");
    is_refused(plain, "{'body':{'tenant_id':'" ID "'}}", 403, "body.tenant_id is not");
    given.user = "ann";
    is_refused(plain, "{'user_id':'bob'}", 403, "user_id is not that of the token");
    becomes(plain, "{'user_id':null}",
            "{'event_id':'" NEW_ID "','emitted_at':1795237594968123,'tenant_id':'" TENANT
            "','user_id':'ann'}");
}

Test(ingest, what_is_no_object_is_no_event)
{
    is_refused(plain, "[]", 400, "is not an object");
    is_refused(plain, "'x'", 400, "is not an object");
}

/* --- topics ---------------------------------------------------------------------------------- */

static void key_is(const char *list, const char *text, const char *expected)
{
    struct pj_topics *topics;
    struct pj_error error;
    struct pj_builder key = {0};
    json_t *event = load(text);
    cr_assert_eq(pj_topics_parse(&topics, "t", list, &error), 0, "%s", error.message);
    int status = pj_topic_key(pj_topics_find(topics, "t.a"), event, &key, &error);
    char *found = pj_builder_take(&key);
    cr_assert_str_eq(status == 0 ? found : error.message, expected);
    free(found);
    json_decref(event);
    pj_topics_free(topics);
}

Test(ingest, keys_are_made_of_members)
{
    key_is("t.a=id", "{'id':'x'}", "x");
    key_is("t.b=x, t.a=id", "{'id':7}", "7");
    key_is("t.a=id", "{'id':null}", "the field id, which is the record's key, is missing");
    key_is("t.a=id", "{'id':''}", "the field id, which is the record's key, is missing");
    key_is("t.a=id|bucket/key", "{'id':null,'bucket':'b','key':'a/b'}", "b/a/b");
    key_is("t.a=id|bucket/key", "{'id':'x','bucket':'b','key':'a/b'}", "x");
    key_is("t.a=user:-/voice", "{'voice':'v'}", "-/v");
    key_is("t.a=user:-/voice", "{'user':'u','voice':'v'}", "u/v");
    key_is("t.a=id/name", "{'id':'0F0E0D0C-0B0A-4908-8706-050403020100','name':'N'}",
           "0f0e0d0c-0b0a-4908-8706-050403020100/N");
    key_is("t.a=id", "{'id':'0F0E0D0C-0B0A-4908-8706-05040302010G'}",
           "0F0E0D0C-0B0A-4908-8706-05040302010G");
}

static void list_is_refused(const char *system, const char *list, const char *part)
{
    struct pj_topics *topics;
    struct pj_error error;
    cr_assert_eq(pj_topics_parse(&topics, system, list, &error), -1, "%s", list);
    cr_assert_eq(error.exit_code, PJ_EXIT_USAGE);
    cr_assert_not_null(strstr(error.message, part), "%s: %s", list, error.message);
}

Test(ingest, a_list_of_topics_is_checked)
{
    list_is_refused("t", "", "names no topic");
    list_is_refused("t", "t.a", "does not say what its key is");
    list_is_refused("t", "t.a=", "a key of no members");
    list_is_refused("t", "t.a=x/", "a key of no members");
    list_is_refused("t", "u.a=x", "is not a topic of --ingest-system");
    list_is_refused("t", "ta=x", "is not a topic of --ingest-system");
    list_is_refused("t", "t.a=x t.a=y", "is there twice");
    list_is_refused("t", "t.\xc3\xa4=x", "is not the name of a topic");
    list_is_refused("", "t.a=x", "--ingest-system is ''");
}

/* --- tokens ---------------------------------------------------------------------------------- */

/* Of "secret" and of "other". */
#define SECRET "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
#define OTHER  "D9298A10D1B0735837DC4BD85DAC641B0F3CEF27A47E5D53A54F2F3F5B2FCFFA"
#define TOKEN(name, hash, more)                                                                    \
    "{'name':'" name "','sha256':'" hash "','topics':['t.a','u.*']" more "}"

static struct pj_tokens *tokens_of(const char *text, struct pj_error *error)
{
    struct pj_tokens *tokens = NULL;
    char *json = quoted(text);
    if (pj_tokens_parse(&tokens, json, strlen(json), error) != 0)
        tokens = NULL;
    free(json);
    return tokens;
}

Test(ingest, a_token_is_found_by_its_hash)
{
    struct pj_error error = {0};
    struct pj_tokens *tokens = tokens_of(
        "{'tokens':[" TOKEN("a", SECRET, ",'tenant':'x','user':'y','rate':3,'import':true") "," //
        TOKEN("b", OTHER, ",'revoked':true") "]}",
        &error);
    cr_assert_not_null(tokens, "%s", error.message);
    const struct pj_token *token = pj_tokens_find(tokens, "secret");
    cr_assert_not_null(token);
    cr_assert_str_eq(token->caller.name, "token:a");
    cr_assert_str_eq(token->caller.tenant, "x");
    cr_assert_str_eq(token->caller.user, "y");
    cr_assert_eq(token->caller.rate, 3);
    cr_assert(token->caller.is_import && !token->is_revoked);
    token = pj_tokens_find(tokens, "other");
    cr_assert_not_null(token);
    cr_assert(token->is_revoked && !token->caller.is_import);
    cr_assert_str_eq(token->caller.user, "");
    cr_assert_null(pj_tokens_find(tokens, "secret2"));
    cr_assert_null(pj_tokens_find(tokens, ""));
    cr_assert(pj_topic_is_of(token->topics, "t.a") && pj_topic_is_of(token->topics, "u.b.c"));
    cr_assert_not(pj_topic_is_of(token->topics, "t.ab"));
    cr_assert_not(pj_topic_is_of(token->topics, "u"));
    pj_tokens_free(tokens);
}

static void tokens_are_refused(const char *text, const char *part)
{
    struct pj_error error = {0};
    cr_assert_null(tokens_of(text, &error), "%s", text);
    cr_assert_not_null(strstr(error.message, part), "%s: %s", text, error.message);
}

Test(ingest, a_tokens_file_is_checked)
{
    tokens_are_refused("{", "line 1 is not JSON");
    tokens_are_refused("{'tokens':{}}", "a list 'tokens'");
    tokens_are_refused("{'tokens':[7]}", "token 1 is not an object");
    tokens_are_refused("{'tokens':[{'name':''}]}", "token 1 has no name");
    tokens_are_refused("{'tokens':[" TOKEN("a", "secret", "") "]}", "token 1, a, has no sha256");
    tokens_are_refused("{'tokens':[{'name':'a','sha256':'" SECRET "','topics':[]}]}",
                       "token 1, a, has no topics");
    tokens_are_refused("{'tokens':[" TOKEN("a", SECRET, ",'rate':0") "]}", "a rate that is not");
    tokens_are_refused("{'tokens':[" TOKEN("a", SECRET, ",'tenant':''") "]}", "a tenant or a user");
    tokens_are_refused("{'tokens':[" TOKEN("a", SECRET, ",'revoked':1") "]}", "import or revoked");
    tokens_are_refused("{'tokens':[" TOKEN("a", SECRET, ",'rat':1") "]}", "unknown: rat");
    tokens_are_refused("{'tokens':[" TOKEN("a", SECRET, "") "," TOKEN("a", OTHER, "") "]}",
                       "token 2, a, has the name of another one");
    tokens_are_refused("{'tokens':[" TOKEN("a", SECRET, "") "," TOKEN("b", SECRET, "") "]}",
                       "token 2, b, has the sha256 of another one");
}
