/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the connectors encode, read by the engine's decoder. The registry is a small server that
 * gives every subject an id. JSON is written with single quotes for double ones.
 */
#include "avro/decode.h"
#include "common/encoder.h"
#include "projections/safari/safari.h"
#include "schemas.h"

#include <criterion/criterion.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_AT(member) PJ_INDEX(safari_command, member)
#define FRAME_AT(member)   PJ_INDEX(safari_frame, member)
#define SESSION_AT(member) PJ_INDEX(safari_session, member)

#define EVENT   "0f0e0d0c-0b0a-4908-8706-050403020100"
#define COMMAND "11111111-2222-4333-8444-555555555555"
#define SESSION "99999999-2222-4333-8444-555555555555"
#define ACCOUNT "77777777-2222-4333-8444-555555555555"

static struct {
    struct MHD_Daemon *daemon;
    char subject[128];
    struct pj_registry *registry;
    struct pj_encoder *encoder;
    struct pj_builder encoded;
    struct pj_error error;
    struct pj_arena *arena;
    struct pj_decoder *decoder;
    struct pj_plan *plan;
    struct pj_value values[PJ_COUNT(safari_command_fields)];
} given;

/* --- the registry ---------------------------------------------------------------------------- */

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    static int seen;
    static char answer[] = "{\"id\":66051}"; /* 00 01 02 03 */
    (void)context;
    (void)method;
    (void)version;
    (void)upload;
    if (*state == NULL) {
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    snprintf(given.subject, sizeof given.subject, "%s", url);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(sizeof answer - 1, answer, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return result;
}

static void set_up(void)
{
    char url[64];
    given.daemon = MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL,
                                    handle, NULL, MHD_OPTION_END);
    cr_assert_not_null(given.daemon);
    snprintf(url, sizeof url, "http://127.0.0.1:%d",
             MHD_get_daemon_info(given.daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    const struct pj_registry_settings settings = {.url = url};
    cr_assert_eq(pj_registry_open(&given.registry, &settings, &given.error), 0, "%s",
                 given.error.message);
    given.arena = pj_arena_new();
}

static void tear_down(void)
{
    pj_plan_free(given.plan);
    pj_decoder_free(given.decoder);
    free(given.encoded.text);
    pj_encoder_free(given.encoder);
    pj_registry_close(given.registry);
    MHD_stop_daemon(given.daemon);
    pj_arena_free(given.arena);
}

TestSuite(encoder, .init = set_up, .fini = tear_down);

static void schema_of(const char *topic, const char *schema)
{
    pj_encoder_free(given.encoder);
    given.encoder = pj_encoder_new(topic, schema);
}

static void registered(const char *topic, const char *schema)
{
    schema_of(topic, schema);
    cr_assert_eq(pj_encoder_register(given.encoder, NULL, given.registry, &given.error), 0, "%s",
                 given.error.message);
}

static int encode_json(const char *quoted)
{
    json_error_t fault;
    char *json = strdup(quoted);
    for (char *c = json; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *event = json_loads(json, 0, &fault);
    cr_assert_not_null(event, "%s: %s", fault.text, json);
    int status = pj_encode(given.encoder, event, &given.encoded, &given.error);
    json_decref(event);
    free(json);
    return status;
}

static void encode(const char *quoted)
{
    cr_assert_eq(encode_json(quoted), 0, "%s", given.error.message);
}

static void refuses(const char *quoted, const char *sentence)
{
    cr_assert_eq(encode_json(quoted), -1);
    cr_assert_eq(given.error.class, PJ_POISON);
    cr_assert_str_eq(given.error.message, sentence);
}

/* --- decoding -------------------------------------------------------------------------------- */

static void decode(const struct pj_source *source)
{
    const uint8_t *bytes = (const uint8_t *)given.encoded.text;
    int32_t id = -1;
    cr_assert(pj_wire_schema_id(pj_encoded_bytes(&given.encoded), &id));
    cr_assert_eq(id, 66051);
    cr_assert_eq(pj_decoder_new(&given.decoder, source, &given.error), 0);
    cr_assert_eq(pj_plan_new(&given.plan, given.decoder, source->schema, &given.error), 0);
    cr_assert_eq(pj_plan_decode(given.plan, bytes + PJ_WIRE_HEADER_SIZE,
                                given.encoded.length - PJ_WIRE_HEADER_SIZE, given.arena,
                                given.values, &given.error),
                 0, "%s", given.error.message);
}

static void is_text(size_t slot, const char *expected)
{
    cr_assert(pj_text_is(&given.values[slot], expected), "slot %zu is not %s", slot, expected);
}

static void is_uuid(size_t slot, const char *expected)
{
    char shown[37];
    const uint8_t *u = given.values[slot].uuid;
    cr_assert(given.values[slot].present);
    snprintf(shown, sizeof shown,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
             u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
             u[15]);
    cr_assert_str_eq(shown, expected);
}

static void is_time(size_t slot, int64_t expected)
{
    cr_assert(given.values[slot].present);
    cr_assert_eq(given.values[slot].integer, expected);
}

static void is_null(size_t slot)
{
    cr_assert_not(given.values[slot].present, "slot %zu is there", slot);
}

/* --- commands -------------------------------------------------------------------------------- */

static const struct pj_source commands = SAFARI_COMMANDS(NULL);

#define A_COMMAND "'event_id':'" EVENT "','command_id':'" COMMAND "','emitted_at':1795237594968123"
#define LEAST     "{" A_COMMAND ",'body':{'CommandSubmitted':{'type':'','payload':'{}'}}}"

static void registered_commands(void)
{
    registered(PJ_COMMANDS_TOPIC, pj_schema_safari_commands);
}

Test(encoder, whole_submission)
{
    registered_commands();
    cr_assert_str_eq(given.subject, "/subjects/safari.commands-value/versions");
    encode("{" A_COMMAND ",'body':{'CommandSubmitted':{'type':'sora.generate','payload':"
           "'{\\'prompt\\':\\'ein Leuchtturm, größer\\'}','idempotency_key':'key 1',"
           "'correlation_id':'" SESSION "','requested_at':-1,'requester_service':'planner',"
           "'requester_instance':'p-2','target':{'session_id':'" SESSION "','account_id':'" ACCOUNT
           "','platform':'sora'}}}}");
    decode(&commands);
    is_uuid(COMMAND_AT(event_id), EVENT);
    is_uuid(COMMAND_AT(command_id), COMMAND);
    is_null(COMMAND_AT(cursor));
    is_time(COMMAND_AT(emitted_at), 1795237594968123);
    is_text(COMMAND_AT(type), "sora.generate");
    is_text(COMMAND_AT(payload), "{\"prompt\":\"ein Leuchtturm, größer\"}");
    is_text(COMMAND_AT(idempotency_key), "key 1");
    is_uuid(COMMAND_AT(correlation_id), SESSION);
    is_time(COMMAND_AT(requested_at), -1);
    is_text(COMMAND_AT(requester_service), "planner");
    is_text(COMMAND_AT(requester_instance), "p-2");
    is_uuid(COMMAND_AT(session_id), SESSION);
    is_uuid(COMMAND_AT(account_id), ACCOUNT);
    is_text(COMMAND_AT(platform), "sora");
    is_null(COMMAND_AT(status_changed));
}

/* The buffer is used again: nothing of the one before may be left in it. */
Test(encoder, least_submission_after_a_whole_one)
{
    registered_commands();
    encode("{" A_COMMAND ",'cursor':'1-1','body':{'CommandSubmitted':{'type':'a','payload':'{}',"
           "'idempotency_key':'k','correlation_id':'" SESSION "','requested_at':5,"
           "'requester_service':'s','requester_instance':'i','target':{'session_id':'" SESSION
           "'}}}}");
    encode(LEAST);
    decode(&commands);
    is_text(COMMAND_AT(type), "");
    for (size_t i = COMMAND_AT(idempotency_key); i <= COMMAND_AT(error); i++)
        is_null(i);
    is_null(COMMAND_AT(cursor));
}

Test(encoder, status_changed_after_a_submission)
{
    registered_commands();
    encode(LEAST);
    encode("{" A_COMMAND ",'cursor':'1795237594968-5','body':{'CommandStatusChanged':"
           "{'status':'FAILED','result':'[1]','error':'no'}}}");
    decode(&commands);
    is_null(COMMAND_AT(submitted));
    is_text(COMMAND_AT(cursor), "1795237594968-5");
    is_text(COMMAND_AT(status), "FAILED");
    is_text(COMMAND_AT(result), "[1]");
    is_text(COMMAND_AT(error), "no");
}

/* Longer than the buffer that the one before left. */
Test(encoder, long_text)
{
    enum { LENGTH = 1 << 20 };
    char *chars = calloc(1, LENGTH + 1);
    cr_assert_not_null(chars);
    memset(chars, 'x', LENGTH);
    registered_commands();
    json_t *event =
        json_pack("{s:s, s:s, s:i, s:{s:{s:s, s:s}}}", "event_id", EVENT, "command_id", COMMAND,
                  "emitted_at", 1, "body", "CommandSubmitted", "type", "type", "payload", chars);
    cr_assert_eq(pj_encode(given.encoder, event, &given.encoded, &given.error), 0, "%s",
                 given.error.message);
    json_decref(event);
    decode(&(struct pj_source){.topic = commands.topic,
                               .schema = commands.schema,
                               .fields = commands.fields,
                               .field_count = COMMAND_AT(idempotency_key)});
    is_text(COMMAND_AT(type), "type");
    cr_assert_eq(given.values[COMMAND_AT(payload)].text.length, LENGTH);
    free(chars);
}

Test(encoder, what_was_encoded_is_decoded_for_people)
{
    registered_commands();
    encode(LEAST);
    json_t *event = pj_decode(given.encoder, pj_encoded_bytes(&given.encoded));
    cr_assert_str_eq(json_string_value(json_object_get(event, "command_id")), COMMAND);
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(event, "body"), "payload")),
                     "{}");
    json_decref(event);
    given.encoded.text[4]++; /* another schema's id */
    cr_assert_null(pj_decode(given.encoder, pj_encoded_bytes(&given.encoded)));
}

/* --- refusals -------------------------------------------------------------------------------- */

Test(encoder, refuses_what_is_no_uuid)
{
    registered_commands();
    refuses("{'event_id':'" EVENT "','command_id':'11111111-2222-4333-8444-55555555555g',"
            "'emitted_at':1,'body':{'CommandSubmitted':{'type':'x','payload':'{}'}}}",
            "the field command_id is not a UUID");
    /* The next one is as if nothing had been. */
    encode(LEAST);
    decode(&commands);
    is_uuid(COMMAND_AT(command_id), COMMAND);
}

Test(encoder, refuses_what_is_missing)
{
    registered_commands();
    refuses("{" A_COMMAND "}", "the field body is missing");
    refuses("{" A_COMMAND ",'body':{'CommandSubmitted':{'type':'x'}}}",
            "the field body.CommandSubmitted.payload is missing");
    refuses("{" A_COMMAND ",'body':{'CommandSubmitted':{'type':'x','payload':null}}}",
            "the field body.CommandSubmitted.payload is missing");
    refuses("[]", "the event is not an object");
}

Test(encoder, refuses_what_the_schema_does_not_have)
{
    registered_commands();
    refuses("{" A_COMMAND ",'colour':'red','body':{'CommandSubmitted':{'type':'','payload':''}}}",
            "the field colour is unknown");
    refuses("{" A_COMMAND ",'body':{'CommandSubmitted':{'type':'','payload':'','x':1}}}",
            "the field body.CommandSubmitted.x is unknown");
    refuses("{" A_COMMAND ",'body':{'CommandForgotten':{}}}",
            "the field body does not say which record it is");
    refuses("{" A_COMMAND ",'body':5}", "the field body does not say which record it is");
}

#define SCHEMA(type)                                                                               \
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"f\",\"type\":" type "}]}"

/* What it encodes is read back as JSON. */
static void round_trip(const char *schema, const char *quoted, const char *expected)
{
    registered("some.topic", schema);
    encode(quoted);
    json_t *event = pj_decode(given.encoder, pj_encoded_bytes(&given.encoded));
    char *text = json_dumps(event, JSON_COMPACT);
    cr_assert_str_eq(text, expected);
    free(text);
    json_decref(event);
}

Test(encoder, all_types)
{
    round_trip(SCHEMA("\"boolean\""), "{'f':true}", "{\"f\":true}");
    round_trip(SCHEMA("\"int\""), "{'f':-2147483648}", "{\"f\":-2147483648}");
    round_trip(SCHEMA("\"long\""), "{'f':9223372036854775807}", "{\"f\":9223372036854775807}");
    round_trip(SCHEMA("\"long\""), "{'f':-9223372036854775808}", "{\"f\":-9223372036854775808}");
    round_trip(SCHEMA("\"double\""), "{'f':1.5}", "{\"f\":1.5}");
    round_trip(SCHEMA("\"float\""), "{'f':-3}", "{\"f\":-3}");
    round_trip(SCHEMA("{\"type\":\"array\",\"items\":\"int\"}"), "{'f':[1,2,3]}",
               "{\"f\":[1,2,3]}");
    round_trip(SCHEMA("{\"type\":\"array\",\"items\":\"int\"}"), "{'f':[]}", "{\"f\":[]}");
    round_trip(SCHEMA("{\"type\":\"map\",\"values\":\"string\"}"), "{'f':{'a':'b'}}",
               "{\"f\":{\"a\":\"b\"}}");
    round_trip(SCHEMA("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}"), "{'f':'B'}",
               "{\"f\":\"B\"}");
    round_trip(SCHEMA("\"int\",\"default\":7"), "{}", "{\"f\":7}");
}

#define RECORDS                                                                                    \
    SCHEMA("[{\"type\":\"record\",\"name\":\"A\",\"fields\":[]},"                                  \
           "{\"type\":\"record\",\"name\":\"B\",\"fields\":[{\"name\":\"n\",\"type\":\"int\"}]}]")

Test(encoder, a_record_is_named_by_its_member_or_its_type)
{
    round_trip(RECORDS, "{'f':{'B':{'n':1}}}", "{\"f\":{\"n\":1}}");
    round_trip(RECORDS, "{'f':{'type':'B','n':1}}", "{\"f\":{\"n\":1}}");
    refuses("{'f':{'type':'B','n':1,'m':1}}", "the field f.m is unknown");
}

Test(encoder, refuses_other_types_by_their_path)
{
    registered("some.topic", SCHEMA("\"int\""));
    refuses("{'f':2147483648}", "the field f does not fit 32 bits");
    refuses("{'f':1.5}", "the field f is not an integer");
    refuses("{'f':'1'}", "the field f is not an integer");
    registered("some.topic", SCHEMA("\"double\""));
    refuses("{'f':'1'}", "the field f is not a number");
    registered("some.topic", SCHEMA("\"boolean\""));
    refuses("{'f':1}", "the field f is not true or false");
    registered("some.topic", SCHEMA("\"string\""));
    refuses("{'f':1}", "the field f is not a string");
    registered("some.topic", SCHEMA("\"bytes\""));
    refuses("{'f':1}", "the field f is not a string");
    registered("some.topic", SCHEMA("{\"type\":\"array\",\"items\":\"int\"}"));
    refuses("{'f':[1,'x']}", "the field f.1 is not an integer");
    refuses("{'f':{}}", "the field f is not an array");
    registered("some.topic", SCHEMA("{\"type\":\"map\",\"values\":\"int\"}"));
    refuses("{'f':[]}", "the field f is not an object");
    registered("some.topic", SCHEMA("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}"));
    refuses("{'f':'B'}", "the field f is none of its symbols");
}

Test(encoder, refuses_what_was_not_registered)
{
    schema_of(PJ_COMMANDS_TOPIC, pj_schema_safari_commands);
    cr_assert_eq(encode_json(LEAST), -1);
    cr_assert_eq(given.error.class, PJ_FATAL);
}

Test(encoder, says_when_the_registry_is_away)
{
    struct pj_registry *away;
    const struct pj_registry_settings settings = {.url = "http://127.0.0.1:1"};
    cr_assert_eq(pj_registry_open(&away, &settings, &given.error), 0);
    schema_of(PJ_COMMANDS_TOPIC, pj_schema_safari_commands);
    cr_assert_eq(pj_encoder_register(given.encoder, NULL, away, &given.error), -1);
    cr_assert_eq(given.error.class, PJ_RETRY);
    pj_registry_close(away);
}

/* --- telemetry and sessions ------------------------------------------------------------------ */

Test(encoder, telemetry)
{
    static const struct pj_source telemetry = SAFARI_TELEMETRY(NULL);
    registered(PJ_TELEMETRY_TOPIC, pj_schema_safari_telemetry);
    encode("{'event_id':'" EVENT "','version':'1.0','type':'sora.polling.started',"
           "'severity':'warn','command_id':'" COMMAND "','target':{'platform':'x'},"
           "'payload':'{}','cursor':'5-6','emitted_at':7}");
    decode(&telemetry);
    is_uuid(FRAME_AT(event_id), EVENT);
    is_text(FRAME_AT(version), "1.0");
    is_text(FRAME_AT(type), "sora.polling.started");
    is_text(FRAME_AT(severity), "warn");
    is_uuid(FRAME_AT(command_id), COMMAND);
    is_null(FRAME_AT(correlation_id));
    is_null(FRAME_AT(session_id));
    is_text(FRAME_AT(platform), "x");
    is_text(FRAME_AT(payload), "{}");
    is_text(FRAME_AT(cursor), "5-6");
    is_time(FRAME_AT(emitted_at), 7);
}

#define A_SESSION "'event_id':'" EVENT "','session_id':'" SESSION "','emitted_at':9"

Test(encoder, session_opened)
{
    static const struct pj_source sessions = SAFARI_SESSIONS(NULL);
    registered(PJ_SESSIONS_TOPIC, pj_schema_safari_sessions);
    encode("{" A_SESSION ",'body':{'SessionOpened':{'platform':'tiktok','account_id':'" ACCOUNT
           "','browser_pid':4711,'metadata':'{\\'a\\':1}'}}}");
    decode(&sessions);
    is_uuid(SESSION_AT(session_id), SESSION);
    is_time(SESSION_AT(emitted_at), 9);
    is_text(SESSION_AT(platform), "tiktok");
    is_uuid(SESSION_AT(account_id), ACCOUNT);
    cr_assert_eq(given.values[SESSION_AT(browser_pid)].integer, 4711);
    is_text(SESSION_AT(metadata), "{\"a\":1}");
    is_null(SESSION_AT(closed));
}

Test(encoder, session_closed)
{
    static const struct pj_source sessions = SAFARI_SESSIONS(NULL);
    registered(PJ_SESSIONS_TOPIC, pj_schema_safari_sessions);
    encode("{" A_SESSION ",'body':{'SessionClosed':{}}}");
    decode(&sessions);
    is_null(SESSION_AT(opened));
    cr_assert(given.values[SESSION_AT(closed)].present);
}
