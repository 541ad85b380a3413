/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the connectors encode, read by the engine's decoder, which shares nothing with avro-c. The
 * registry is a small server that gives every subject an id.
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

#define EVENT   "0f0e0d0c-0b0a-4908-8706-050403020100"
#define COMMAND "11111111-2222-4333-8444-555555555555"
#define SESSION "99999999-2222-4333-8444-555555555555"
#define ACCOUNT "77777777-2222-4333-8444-555555555555"

static struct {
    struct MHD_Daemon *daemon;
    char subject[128];
    struct pj_registry *registry;
    struct pj_encoder *encoder;
    struct pj_encoded encoded;
    struct pj_error error;
    struct pj_arena *arena;
    struct pj_decoder *decoder;
    struct pj_plan *plan;
    struct pj_value values[COMMAND_FIELDS];
} given;

static struct pj_bytes text(const char *chars)
{
    return (struct pj_bytes){chars, strlen(chars)};
}

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
    given.encoder = pj_encoder_new();
    given.arena = pj_arena_new();
}

static void tear_down(void)
{
    pj_plan_free(given.plan);
    pj_decoder_free(given.decoder);
    pj_encoded_free(&given.encoded);
    pj_encoder_free(given.encoder);
    pj_registry_close(given.registry);
    MHD_stop_daemon(given.daemon);
    pj_arena_free(given.arena);
}

TestSuite(encoder, .init = set_up, .fini = tear_down);

static void registered(const char *topic)
{
    cr_assert_eq(pj_encoder_register(given.encoder, topic, NULL, given.registry, &given.error), 0,
                 "%s", given.error.message);
}

/* --- decoding -------------------------------------------------------------------------------- */

static void decode(const struct pj_source *source)
{
    const uint8_t *bytes = given.encoded.data;
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

static struct pj_command_event command(void)
{
    return (struct pj_command_event){
        .event_id = text(EVENT), .command_id = text(COMMAND), .emitted_at = 1795237594968123};
}

static void encode_command(const struct pj_command_event *event)
{
    cr_assert_eq(pj_encode_command(given.encoder, event, &given.encoded, &given.error), 0, "%s",
                 given.error.message);
}

Test(encoder, whole_submission)
{
    const struct pj_command_submitted submitted = {
        .type = text("sora.generate"),
        .payload = text("{\"prompt\":\"ein Leuchtturm, größer\"}"),
        .idempotency_key = text("key 1"),
        .correlation_id = text(SESSION),
        .requested_at = {true, -1},
        .requester_service = text("planner"),
        .requester_instance = text("p-2"),
        .target = {true, text(SESSION), text(ACCOUNT), text("sora")},
    };
    struct pj_command_event event = command();
    event.submitted = &submitted;
    registered(PJ_COMMANDS_TOPIC);
    cr_assert_str_eq(given.subject, "/subjects/safari.commands-value/versions");
    encode_command(&event);
    decode(&commands);
    is_uuid(COMMAND_EVENT_ID, EVENT);
    is_uuid(COMMAND_ID, COMMAND);
    is_null(COMMAND_CURSOR);
    is_time(COMMAND_EMITTED_AT, 1795237594968123);
    is_text(COMMAND_TYPE, "sora.generate");
    is_text(COMMAND_PAYLOAD, "{\"prompt\":\"ein Leuchtturm, größer\"}");
    is_text(COMMAND_IDEMPOTENCY_KEY, "key 1");
    is_uuid(COMMAND_CORRELATION_ID, SESSION);
    is_time(COMMAND_REQUESTED_AT, -1);
    is_text(COMMAND_REQUESTER_SERVICE, "planner");
    is_text(COMMAND_REQUESTER_INSTANCE, "p-2");
    is_uuid(COMMAND_TARGET_SESSION_ID, SESSION);
    is_uuid(COMMAND_TARGET_ACCOUNT_ID, ACCOUNT);
    is_text(COMMAND_TARGET_PLATFORM, "sora");
    is_null(COMMAND_STATUS_CHANGED);
}

/* A value is used again: nothing of the one before may be left in it. */
Test(encoder, least_submission_after_a_whole_one)
{
    const struct pj_command_submitted whole = {
        .type = text("a"),
        .payload = text("{}"),
        .idempotency_key = text("k"),
        .correlation_id = text(SESSION),
        .requested_at = {true, 5},
        .requester_service = text("s"),
        .requester_instance = text("i"),
        .target = {true, text(SESSION), {0}, {0}},
    };
    const struct pj_command_submitted least = {.type = text(""), .payload = text("{}")};
    struct pj_command_event event = command();
    registered(PJ_COMMANDS_TOPIC);
    event.cursor = text("1-1");
    event.submitted = &whole;
    encode_command(&event);
    event.cursor = (struct pj_bytes){0};
    event.submitted = &least;
    encode_command(&event);
    decode(&commands);
    is_text(COMMAND_TYPE, "");
    for (size_t i = COMMAND_IDEMPOTENCY_KEY; i <= COMMAND_ERROR; i++)
        is_null(i);
    is_null(COMMAND_CURSOR);
}

Test(encoder, status_changed_after_a_submission)
{
    const struct pj_command_submitted least = {.type = text("x"), .payload = text("{}")};
    const struct pj_command_status_changed changed = {
        .status = text("FAILED"), .result = text("[1]"), .error = text("no")};
    struct pj_command_event event = command();
    registered(PJ_COMMANDS_TOPIC);
    event.submitted = &least;
    encode_command(&event);
    event.submitted = NULL;
    event.status_changed = &changed;
    event.cursor = text("1795237594968-5");
    encode_command(&event);
    decode(&commands);
    is_null(COMMAND_SUBMITTED);
    is_text(COMMAND_CURSOR, "1795237594968-5");
    is_text(COMMAND_STATUS, "FAILED");
    is_text(COMMAND_RESULT, "[1]");
    is_text(COMMAND_ERROR, "no");
}

/* Longer than the buffer that the one before left, and without a NUL behind it. */
Test(encoder, long_text_in_the_middle_of_another)
{
    enum { LENGTH = 1 << 20 };
    char *chars = malloc(LENGTH);
    cr_assert_not_null(chars);
    memset(chars, 'x', LENGTH);
    const struct pj_command_submitted submitted = {.type = {"typewriter", 4},
                                                   .payload = {chars, LENGTH}};
    struct pj_command_event event = command();
    event.submitted = &submitted;
    registered(PJ_COMMANDS_TOPIC);
    encode_command(&event);
    decode(&(struct pj_source){.topic = commands.topic,
                               .schema = commands.schema,
                               .fields = commands.fields,
                               .field_count = COMMAND_IDEMPOTENCY_KEY});
    is_text(COMMAND_TYPE, "type");
    cr_assert_eq(given.values[COMMAND_PAYLOAD].text.length, LENGTH);
    free(chars);
}

Test(encoder, refuses_what_is_no_uuid)
{
    const struct pj_command_submitted least = {.type = text("x"), .payload = text("{}")};
    struct pj_command_event event = command();
    event.submitted = &least;
    event.command_id = text("11111111-2222-4333-8444-55555555555g");
    registered(PJ_COMMANDS_TOPIC);
    cr_assert_eq(pj_encode_command(given.encoder, &event, &given.encoded, &given.error), -1);
    cr_assert_eq(given.error.class, PJ_POISON);
    cr_assert_str_eq(given.error.message, "the field command_id is not a UUID");
    /* The next one is as if nothing had been. */
    event.command_id = text(COMMAND);
    encode_command(&event);
    decode(&commands);
    is_uuid(COMMAND_ID, COMMAND);
}

Test(encoder, refuses_what_is_missing)
{
    const struct pj_command_submitted no_payload = {.type = text("x")};
    struct pj_command_event event = command();
    registered(PJ_COMMANDS_TOPIC);
    cr_assert_eq(pj_encode_command(given.encoder, &event, &given.encoded, &given.error), -1);
    cr_assert_str_eq(given.error.message, "the field body is missing");
    event.submitted = &no_payload;
    cr_assert_eq(pj_encode_command(given.encoder, &event, &given.encoded, &given.error), -1);
    cr_assert_str_eq(given.error.message, "the field payload is missing");
    cr_assert_eq(given.error.class, PJ_POISON);
}

Test(encoder, refuses_what_was_not_registered)
{
    const struct pj_command_submitted least = {.type = text("x"), .payload = text("{}")};
    struct pj_command_event event = command();
    event.submitted = &least;
    cr_assert_eq(pj_encode_command(given.encoder, &event, &given.encoded, &given.error), -1);
    cr_assert_eq(given.error.class, PJ_FATAL);
}

Test(encoder, says_when_the_registry_is_away)
{
    struct pj_registry *away;
    const struct pj_registry_settings settings = {.url = "http://127.0.0.1:1"};
    cr_assert_eq(pj_registry_open(&away, &settings, &given.error), 0);
    cr_assert_eq(pj_encoder_register(given.encoder, PJ_COMMANDS_TOPIC, NULL, away, &given.error),
                 -1);
    cr_assert_eq(given.error.class, PJ_RETRY);
    pj_registry_close(away);
}

/* --- telemetry and sessions ------------------------------------------------------------------ */

Test(encoder, telemetry)
{
    static const struct pj_source telemetry = SAFARI_TELEMETRY(NULL);
    struct pj_telemetry_event event = {
        .event_id = text(EVENT),
        .version = text("1.0"),
        .type = text("sora.polling.started"),
        .severity = text("warn"),
        .command_id = text(COMMAND),
        .target = {true, {0}, {0}, text("x")},
        .payload = text("{}"),
        .cursor = text("5-6"),
        .emitted_at = 7,
    };
    registered(PJ_TELEMETRY_TOPIC);
    cr_assert_eq(pj_encode_telemetry(given.encoder, &event, &given.encoded, &given.error), 0, "%s",
                 given.error.message);
    decode(&telemetry);
    is_uuid(TELEMETRY_EVENT_ID, EVENT);
    is_text(TELEMETRY_VERSION, "1.0");
    is_text(TELEMETRY_TYPE, "sora.polling.started");
    is_text(TELEMETRY_SEVERITY, "warn");
    is_uuid(TELEMETRY_COMMAND_ID, COMMAND);
    is_null(TELEMETRY_CORRELATION_ID);
    is_null(TELEMETRY_TARGET_SESSION_ID);
    is_text(TELEMETRY_TARGET_PLATFORM, "x");
    is_text(TELEMETRY_PAYLOAD, "{}");
    is_text(TELEMETRY_CURSOR, "5-6");
    is_time(TELEMETRY_EMITTED_AT, 7);
}

Test(encoder, session_opened)
{
    static const struct pj_source sessions = SAFARI_SESSIONS(NULL);
    const struct pj_session_opened opened = {.platform = text("tiktok"),
                                             .account_id = text(ACCOUNT),
                                             .has_browser_pid = true,
                                             .browser_pid = 4711,
                                             .metadata = text("{\"a\":1}")};
    const struct pj_session_event event = {
        .event_id = text(EVENT), .session_id = text(SESSION), .emitted_at = 9, .opened = &opened};
    registered(PJ_SESSIONS_TOPIC);
    cr_assert_eq(pj_encode_session(given.encoder, &event, &given.encoded, &given.error), 0, "%s",
                 given.error.message);
    decode(&sessions);
    is_uuid(SESSION_ID, SESSION);
    is_time(SESSION_EMITTED_AT, 9);
    is_text(SESSION_PLATFORM, "tiktok");
    is_uuid(SESSION_ACCOUNT_ID, ACCOUNT);
    cr_assert_eq(given.values[SESSION_BROWSER_PID].integer, 4711);
    is_text(SESSION_METADATA, "{\"a\":1}");
    is_null(SESSION_CLOSED);
}

Test(encoder, session_closed)
{
    static const struct pj_source sessions = SAFARI_SESSIONS(NULL);
    const struct pj_session_closed closed = {{0}};
    const struct pj_session_event event = {
        .event_id = text(EVENT), .session_id = text(SESSION), .emitted_at = 9, .closed = &closed};
    registered(PJ_SESSIONS_TOPIC);
    cr_assert_eq(pj_encode_session(given.encoder, &event, &given.encoded, &given.error), 0, "%s",
                 given.error.message);
    decode(&sessions);
    is_null(SESSION_OPENED);
    cr_assert(given.values[SESSION_CLOSED].present);
}
