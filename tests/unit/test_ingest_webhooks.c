/* SPDX-License-Identifier: Apache-2.0 */
/* What webhooks become: templates, and the signatures of SNS. Apostrophes stand for quotes. */
#include "base/text.h"
#include "event-ingest/sns.h"
#include "event-ingest/webhooks.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN    "0f0e0d0c-0b0a-4908-8706-050403020100"
#define TENANT "11111111-2222-4333-8444-555555555555"
#define VIDEO  "99999999-2222-4333-8444-555555555555"

static json_t *load(const char *text)
{
    char *copy = strdup(text);
    for (char *c = copy; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *json = json_loads(copy, 0, NULL);
    cr_assert_not_null(json, "%s", text);
    free(copy);
    return json;
}

enum { TEXT = 4096 };

static void append(char out[TEXT], const char *more)
{
    size_t length = strlen(out);
    snprintf(out + length, TEXT - length, "%s", more);
}

static struct pj_schema *schema_of(const char *fields)
{
    struct pj_schema *schema;
    struct pj_error error;
    char text[TEXT] = "{\"type\":\"record\",\"name\":\"R\",\"fields\":[";
    char *copy = strdup(fields), *rest = NULL;
    for (char *name = strtok_r(copy, " ", &rest); name != NULL; name = strtok_r(NULL, " ", &rest)) {
        append(text, "{\"type\":\"string\",\"name\":\"");
        append(text, name);
        append(text, "\"},");
    }
    text[strlen(text) - 1] = ']';
    append(text, "}");
    cr_assert_eq(pj_schema_parse(&schema, text, &error), 0, "%s", error.message);
    free(copy);
    return schema;
}

#define FLOW                                                                                       \
    "event_id flow_run_id emitted_at tenant_id video_id flow_name run_name state_type "            \
    "state_name run_count message tags"
#define OBJECT                                                                                     \
    "event_id tenant_id video_id emitted_at bucket key operation size_bytes etag version_id "      \
    "sequencer"

static json_t *make(bool is_s3, const char *fields, const char *text, struct pj_error *error)
{
    struct pj_schema *schema = schema_of(fields);
    json_t *json = load(text);
    json_t *events = is_s3 ? pj_s3_events(json, pj_schema_root(schema), "stored,removed", error)
                           : pj_prefect_events(json, pj_schema_root(schema), error);
    json_decref(json);
    pj_schema_free(schema);
    return events;
}

static void becomes(bool is_s3, const char *fields, const char *text, const char *expected)
{
    struct pj_error error = {0};
    json_t *events = make(is_s3, fields, text, &error), *wanted = load(expected);
    cr_assert_not_null(events, "%s", error.message);
    char *found = json_dumps(events, JSON_SORT_KEYS);
    cr_assert(json_equal(events, wanted), "%s", found);
    free(found);
    json_decref(events);
    json_decref(wanted);
}

static void is_refused(bool is_s3, const char *text, const char *part)
{
    struct pj_error error = {0};
    cr_assert_null(make(is_s3, is_s3 ? OBJECT : FLOW, text, &error), "%s", text);
    cr_assert_eq(error.class, PJ_POISON);
    cr_assert_not_null(strstr(error.message, part), "%s", error.message);
}

/* --- Prefect --------------------------------------------------------------------------------- */

#define RESOURCE                                                                                   \
    "'resource':{'prefect.resource.id':'prefect.flow-run." RUN "',"                                \
    "'prefect.resource.name':'crimson-fox','prefect.state-type':'CRASHED',"                        \
    "'prefect.state-name':'Crashed','prefect.run-count':'2','prefect.state-message':''}"
#define TAG(name) "{'prefect.resource.id':'prefect.tag." name "','prefect.resource.role':'tag'}"
#define PREFECT                                                                                    \
    "{'id':'" TENANT                                                                               \
    "','occurred':'2026-11-30T10:00:00.5+00:00','event':'prefect.flow-run.x'," RESOURCE            \
    ",'related':[{'prefect.resource.id':'prefect.deployment.1',"                                   \
    "'prefect.resource.name':'nightly','prefect.resource.role':'deployment'},"                     \
    "{'prefect.resource.id':'prefect.flow.1','prefect.resource.name':'upload-and-process',"        \
    "'prefect.resource.role':'flow'}," TAG("tenant:" TENANT) "," TAG("é") "," TAG(                 \
        "video:" VIDEO) "]}"

Test(webhooks, a_run_has_the_name_of_its_flow_and_the_ids_of_its_tags)
{
    static const char expected[] =
        "[{'event_id':'" TENANT "','flow_run_id':'" RUN "',"
        "'emitted_at':'2026-11-30T10:00:00.5+00:00','tenant_id':'" TENANT "','video_id':'" VIDEO
        "','flow_name':'upload-and-process','run_name':'crimson-fox','state_type':'CRASHED',"
        "'state_name':'Crashed','run_count':2,'message':null,"
        "'tags':'[\\\"tenant:" TENANT "\\\",\\\"é\\\",\\\"video:" VIDEO "\\\"]'}]";
    becomes(false, FLOW, PREFECT, expected);
    becomes(false, FLOW, "{'event':" PREFECT "}", expected);
}

Test(webhooks, a_run_without_tags_has_no_ids)
{
    becomes(false, "tenant_id video_id flow_name tags state_type",
            "{'id':'" TENANT "','occurred':'x'," RESOURCE ",'related':[" TAG("tenant:7") "]}",
            "[{'tenant_id':null,'video_id':null,'flow_name':null,'tags':'[\\\"tenant:7\\\"]',"
            "'state_type':'CRASHED'}]");
}

#define S3(name, key, more)                                                                        \
    "{'eventName':'" name "','eventTime':'2026-11-30T10:00:00.000Z','s3':{'bucket':{'name':'b'},"  \
    "'object':{'key':'" key "'" more "}}}"

#define COUNTED(count)                                                                             \
    "{'id':'" TENANT "','occurred':'x','resource':{'prefect.resource.id':'prefect.flow-run." RUN   \
    "','prefect.state-type':'CRASHED'" count "}}"

Test(webhooks, a_run_count_is_a_number_or_its_digits)
{
    becomes(false, "run_count", COUNTED(""), "[{'run_count':0}]");
    becomes(false, "run_count", COUNTED(",'prefect.run-count':null"), "[{'run_count':0}]");
    becomes(false, "run_count", COUNTED(",'prefect.run-count':'0'"), "[{'run_count':0}]");
    becomes(false, "run_count", COUNTED(",'prefect.run-count':7"), "[{'run_count':7}]");
    /* Too large for the record: the encoder refuses it by its path. */
    becomes(false, "run_count", COUNTED(",'prefect.run-count':'2147483648'"),
            "[{'run_count':2147483648}]");
}

Test(webhooks, what_is_no_run_count_is_refused)
{
    static const char *const counts[] = {
        "-1",
        "1.0",
        "true",
        "[1]",
        "'-1'",
        "'+5'",
        "' 5'",
        "'5 '",
        "'\\n5'",
        "''",
        "'0x5'",
        "{}",
        "'5.0'",
        "'five'",
        "-9223372036854775808",
        "'9223372036854775808'",
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char *sent = pj_text_new(COUNTED(",'prefect.run-count':%s"), counts[i]);
        is_refused(false, sent, "resource.prefect.run-count is not a whole number from 0");
        free(sent);
    }
}

/* They come in any order, so the first is nobody. */
Test(webhooks, tags_that_name_two_tenants_name_none)
{
    becomes(false, "tenant_id video_id state_type",
            "{'id':'" TENANT "','occurred':'x'," RESOURCE
            ",'related':[" TAG("tenant:" TENANT) "," TAG("video:" VIDEO) "," TAG(
                "tenant:" VIDEO) "," TAG("video:" VIDEO) "]}",
            "[{'tenant_id':null,'video_id':'" VIDEO "','state_type':'CRASHED'}]");
}

/* It would be lost without a word otherwise; the encoder refuses it by its name. */
Test(webhooks, what_is_no_text_stays_what_it_is)
{
    becomes(false, "run_name state_name message",
            "{'id':'" TENANT "','occurred':'x','resource':{'prefect.resource.id':"
            "'prefect.flow-run." RUN "','prefect.resource.name':5,'prefect.state-type':'CRASHED',"
            "'prefect.state-name':['a'],'prefect.state-message':''}}",
            "[{'run_name':5,'state_name':['a'],'message':null}]");
    becomes(true, "etag version_id sequencer",
            "{'Records':[" S3("ObjectCreated:Put", "k",
                              ",'eTag':['e'],'versionId':null,'sequencer':5") "]}",
            "[{'etag':['e'],'version_id':null,'sequencer':5}]");
}

Test(webhooks, what_is_no_run_of_a_flow_is_refused)
{
    is_refused(false, "{}", "id is missing");
    is_refused(false, "{'id':'x'}", "occurred is missing");
    is_refused(false, "{'id':'x','occurred':'x'}", "is not that of a flow run");
    is_refused(false,
               "{'id':'x','occurred':'x','resource':{'prefect.resource.id':'prefect.task-run.1'}}",
               "is not that of a flow run");
    is_refused(false,
               "{'id':'x','occurred':'x','resource':{'prefect.resource.id':'prefect.flow-run.1'}}",
               "prefect.state-type is missing");
    is_refused(false, "{'id':'x','occurred':'x'," RESOURCE ",'related':{'a':1}}",
               "related is not an array");
}

/* --- S3 -------------------------------------------------------------------------------------- */

Test(webhooks, an_object_that_is_stored)
{
    becomes(true, OBJECT,
            "{'Records':[" S3("ObjectCreated:Put", TENANT "/" VIDEO "/a+b%C3%A9%2B.mp4",
                              ",'size':7,'eTag':'e','versionId':'v','sequencer':'0A'") "]}",
            "[{'event_id':'3a96b0e2-4b1e-59a6-8a8d-3e69ca9c0f81','tenant_id':'" TENANT
            "','video_id':'" VIDEO "','emitted_at':'2026-11-30T10:00:00.000Z','bucket':'b',"
            "'key':'" TENANT "/" VIDEO "/a bé+.mp4','operation':'stored','size_bytes':7,'etag':'e',"
            "'version_id':'v','sequencer':'0A'}]");
}

/* Keys are what they are: the folder of an id that is written otherwise is another one. */
Test(webhooks, an_object_in_another_folder_is_nobodys)
{
    static const char *const keys[] = {TENANT "/19F3E2B1-0000-4000-8000-0000000000AB/a",
                                       "x/" TENANT "/" VIDEO "/a", TENANT "/" VIDEO,
                                       "%2F" TENANT "/" VIDEO "/a"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char *sent = pj_text_new("{'Records':[" S3("ObjectCreated:Put", "%s", "") "]}", keys[i]);
        becomes(true, "tenant_id video_id size_bytes", sent,
                "[{'tenant_id':null,'video_id':null,'size_bytes':null}]");
        free(sent);
    }
}

Test(webhooks, an_object_that_is_removed)
{
    becomes(true, "tenant_id bucket key operation size_bytes etag success file_size",
            "{'Records':[" S3("s3:ObjectRemoved:Delete", "x/y", "") "]}",
            "[{'tenant_id':null,'bucket':'b','key':'x/y','operation':'removed','size_bytes':null,"
            "'etag':null,'success':true,'file_size':null}]");
}

/* Repeated deliveries have one id; others of the same key have others. */
Test(webhooks, an_id_is_that_of_the_notification)
{
    struct pj_error error;
    json_t *events = make(true, OBJECT,
                          "{'Records':[" S3("ObjectCreated:Put", "k", ",'sequencer':'A'") "," //
                          S3("ObjectCreated:Put", "k", ",'sequencer':'A','size':3") ","       //
                          S3("ObjectCreated:Put", "k", ",'sequencer':'B'") ","                //
                          S3("ObjectRemoved:Delete", "k", ",'sequencer':'A'") ","             //
                          S3("ObjectCreated:Put", "k", ",'versionId':'A'") ","                //
                          S3("ObjectCreated:Put", "k", "") "]}",
                          &error);
    static const int same_as[] = {0, 0, 2, 3, 0, 5};
    for (size_t i = 0; i < 6; i++) {
        for (size_t k = 0; k < i; k++)
            cr_assert_eq(json_equal(json_object_get(json_array_get(events, i), "event_id"),
                                    json_object_get(json_array_get(events, k), "event_id")),
                         same_as[i] == same_as[k], "%zu and %zu", i, k);
    }
    json_decref(events);
}

Test(webhooks, what_s3_sends_besides)
{
    becomes(true, OBJECT, "{'Service':'Amazon S3','Event':'s3:TestEvent','Bucket':'b'}", "[]");
    is_refused(true, "{}", "Records is not an array");
    is_refused(true, "{'Records':[]}", "Records is not an array");
    is_refused(true, "{'Records':[" S3("ObjectAcl:Put", "k", "") "]}", "Records.0.eventName");
    is_refused(true, "{'Records':[" S3("ObjectCreated:Put", "k", "") ",{}]}",
               "Records.1.eventName");
    is_refused(true, "{'Records':[" S3("ObjectCreated:Put", "", "") "]}", "object.key is missing");
    is_refused(true, "{'Records':[" S3("ObjectCreated:Put", "%4", "") "]}", "not URL-encoded");
    is_refused(true, "{'Records':[" S3("ObjectCreated:Put", "%00", "") "]}", "not URL-encoded");
    is_refused(true, "{'Records':[" S3("ObjectCreated:Put", "%FF", "") "]}", "not URL-encoded");
    is_refused(true, "{'Records':[" S3("ObjectCreated:Put", "k", ",'size':-1") "]}",
               "Records.0.s3.object.size is negative");
}

/* --- SNS ------------------------------------------------------------------------------------- */

Test(webhooks, only_urls_of_sns_are_asked)
{
    cr_assert(pj_sns_is_url("https://sns.us-east-1.amazonaws.com/SNS-1.pem", NULL, ".pem"));
    cr_assert(pj_sns_is_url("https://sns.cn-north-1.amazonaws.com.cn/SNS-1.pem", NULL, ".pem"));
    cr_assert(pj_sns_is_url("https://127.0.0.1:8443/a.pem", "127.0.0.1:8443", ".pem"));
    static const char *const others[] = {
        "http://sns.us-east-1.amazonaws.com/SNS-1.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/SNS-1.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/SNS-1.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/SNS-1.pem",
        "https://evil.example#.sns.us-east-1.amazonaws.com/SNS-1.pem",
        "https://sns.us-east-1.evil.amazonaws.com/SNS-1.pem",
        "https://bucket.s3.amazonaws.com/SNS-1.pem",
        "https://sns..amazonaws.com/SNS-1.pem",
        "https://sns.us-east-1.amazonaws.com:8443/SNS-1.pem",
        "https://sns.us-east-1.amazonaws.com/SNS-1.txt",
        "https://sns.us-east-1.amazonaws.com/?x=.pem",
        "file:///etc/passwd.pem",
        "",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        cr_assert_not(pj_sns_is_url(others[i], NULL, ".pem"), "%s", others[i]);
    cr_assert_not(
        pj_sns_is_url("https://sns.us-east-1.amazonaws.com/a.pem", "127.0.0.1:8443", ".pem"));
}

/* A certificate of its own, valid from `begin` on for a minute. */
static char *make_certificate(EVP_PKEY *key, long begin)
{
    char *pem = NULL;
    X509 *certificate = X509_new();
    BIO *out = BIO_new(BIO_s_mem());
    X509_gmtime_adj(X509_getm_notBefore(certificate), begin);
    X509_gmtime_adj(X509_getm_notAfter(certificate), begin + 60);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    PEM_write_bio_X509(out, certificate);
    long length = BIO_get_mem_data(out, &pem);
    pem = strndup(pem, (size_t)length);
    BIO_free(out);
    X509_free(certificate);
    return pem;
}

static void sign(json_t *envelope, const char *version, EVP_PKEY *key)
{
    unsigned char signature[512];
    char encoded[1024];
    size_t length = sizeof signature;
    json_object_set_new(envelope, "SignatureVersion", json_string(version));
    char *text = pj_sns_signed_text(envelope);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_DigestSignInit(context, NULL, *version == '1' ? EVP_sha1() : EVP_sha256(), NULL, key);
    cr_assert_eq(EVP_DigestSign(context, signature, &length, (unsigned char *)text, strlen(text)),
                 1);
    EVP_MD_CTX_free(context);
    free(text);
    EVP_EncodeBlock((unsigned char *)encoded, signature, (int)length);
    json_object_set_new(envelope, "Signature", json_string(encoded));
}

#define NOTIFICATION                                                                               \
    "{'Type':'Notification','MessageId':'m','TopicArn':'arn:aws:sns:x','Message':'{}',"            \
    "'Timestamp':'2026-11-30T10:00:00.000Z','Subject':'s'}"

Test(webhooks, what_sns_signs)
{
    json_t *envelope = load(NOTIFICATION);
    char *text = pj_sns_signed_text(envelope);
    cr_assert_str_eq(text, "Message\n{}\nMessageId\nm\nSubject\ns\nTimestamp\n"
                           "2026-11-30T10:00:00.000Z\nTopicArn\narn:aws:sns:x\nType\n"
                           "Notification\n");
    free(text);
    json_object_del(envelope, "Subject");
    text = pj_sns_signed_text(envelope);
    cr_assert_null(strstr(text, "Subject"));
    free(text);
    json_object_set_new(envelope, "Type", json_string("SubscriptionConfirmation"));
    cr_assert_null(pj_sns_signed_text(envelope));
    json_object_set_new(envelope, "Token", json_string("t"));
    json_object_set_new(envelope, "SubscribeURL", json_string("u"));
    text = pj_sns_signed_text(envelope);
    cr_assert_not_null(strstr(text, "\nSubscribeURL\nu\nTimestamp\n"));
    cr_assert_not_null(strstr(text, "\nToken\nt\nTopicArn\n"));
    free(text);
    json_decref(envelope);
}

Test(webhooks, a_signature_of_either_version)
{
    struct pj_error error = {0};
    EVP_PKEY *key = EVP_RSA_gen(2048), *other = EVP_RSA_gen(2048);
    char *certificate = make_certificate(key, -30), *expired = make_certificate(key, -100);
    json_t *envelope = load(NOTIFICATION);
    sign(envelope, "1", key);
    cr_assert(pj_sns_is_signed(envelope, certificate, &error), "%s", error.message);
    json_object_set_new(envelope, "SignatureVersion", json_string("2"));
    cr_assert_not(pj_sns_is_signed(envelope, certificate, &error));
    sign(envelope, "2", key);
    cr_assert(pj_sns_is_signed(envelope, certificate, &error), "%s", error.message);
    cr_assert_not(pj_sns_is_signed(envelope, expired, &error));
    cr_assert_not_null(strstr(error.message, "not valid now"));
    cr_assert_not(pj_sns_is_signed(envelope, "no certificate", &error));
    json_object_set_new(envelope, "Message", json_string("{\"Records\":[]}"));
    cr_assert_not(pj_sns_is_signed(envelope, certificate, &error));
    cr_assert_not_null(strstr(error.message, "signature that is not valid"));
    sign(envelope, "2", other);
    cr_assert_not(pj_sns_is_signed(envelope, certificate, &error));
    json_object_set_new(envelope, "SignatureVersion", json_string("3"));
    cr_assert_not(pj_sns_is_signed(envelope, certificate, &error));
    cr_assert_not_null(strstr(error.message, "neither 1 nor 2"));
    json_object_set_new(envelope, "SignatureVersion", json_string("2"));
    json_object_set_new(envelope, "Signature", json_string("===="));
    cr_assert_not(pj_sns_is_signed(envelope, certificate, &error));
    free(certificate);
    free(expired);
    json_decref(envelope);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}
