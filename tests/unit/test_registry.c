/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry client against a server that answers what a test tells it, faults above all. The
 * real registry is asked in tests/integration.
 */
#include "avro/registry.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the server does, and what it saw last. */
static struct {
    struct MHD_Daemon *daemon;
    unsigned int status;
    const char *body;
    size_t size; /* of the body, where it is not a string */
    const char *location;
    bool hangs;
    struct MHD_Connection *suspended;
    pthread_mutex_t mutex; /* of the two above */
    atomic_int connections;
    atomic_int requests;
    char method[16];
    char url[256];
    char accept[128];
    char content_type[128];
    char user[64];
    char password[64];
    char received[4096];
    size_t received_length;
} mock = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct pj_registry *registry;
static struct pj_error error;
static char base_url[64];
static char *schema;

static void note(char *out, size_t size, struct MHD_Connection *connection, const char *header)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, header);
    snprintf(out, size, "%s", value != NULL ? value : "");
}

static void note_credentials(struct MHD_Connection *connection)
{
    char *password = NULL;
    char *user = MHD_basic_auth_get_username_password(connection, &password);
    snprintf(mock.user, sizeof mock.user, "%s", user != NULL ? user : "");
    snprintf(mock.password, sizeof mock.password, "%s", password != NULL ? password : "");
    MHD_free(user);
    MHD_free(password);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    static int seen;
    (void)context;
    (void)version;
    if (*state == NULL) {
        *state = &seen;
        mock.received_length = 0;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        size_t room = sizeof mock.received - 1 - mock.received_length;
        size_t length = *upload_size < room ? *upload_size : room;
        memcpy(mock.received + mock.received_length, upload, length);
        mock.received_length += length;
        *upload_size = 0;
        return MHD_YES;
    }
    pthread_mutex_lock(&mock.mutex);
    const bool hangs = mock.hangs;
    if (hangs) {
        mock.suspended = connection;
        MHD_suspend_connection(connection);
    }
    pthread_mutex_unlock(&mock.mutex);
    if (hangs)
        return MHD_YES;
    mock.received[mock.received_length] = '\0';
    mock.requests++;
    snprintf(mock.method, sizeof mock.method, "%s", method);
    snprintf(mock.url, sizeof mock.url, "%s", url);
    note(mock.accept, sizeof mock.accept, connection, "Accept");
    note(mock.content_type, sizeof mock.content_type, connection, "Content-Type");
    note_credentials(connection);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(mock.size > 0 ? mock.size : strlen(mock.body),
                                        (void *)(uintptr_t)mock.body, MHD_RESPMEM_PERSISTENT);
    if (mock.location != NULL)
        MHD_add_response_header(response, "Location", mock.location);
    enum MHD_Result result = MHD_queue_response(connection, mock.status, response);
    MHD_destroy_response(response);
    return result;
}

static void note_connection(void *context, struct MHD_Connection *connection, void **state,
                            enum MHD_ConnectionNotificationCode code)
{
    (void)context;
    (void)connection;
    (void)state;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        mock.connections++;
}

/* The path as it was sent: what was escaped stays so. */
static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

static void start_mock(void)
{
    struct sockaddr_in loopback = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    mock.daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle, NULL,
        MHD_OPTION_SOCK_ADDR, &loopback, MHD_OPTION_NOTIFY_CONNECTION, note_connection, NULL,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_END);
    cr_assert_not_null(mock.daemon);
    snprintf(base_url, sizeof base_url, "http://127.0.0.1:%d",
             MHD_get_daemon_info(mock.daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
}

static void stop_mock(void)
{
    pthread_mutex_lock(&mock.mutex);
    mock.hangs = false;
    if (mock.suspended != NULL)
        MHD_resume_connection(mock.suspended);
    mock.suspended = NULL;
    pthread_mutex_unlock(&mock.mutex);
    if (mock.daemon != NULL)
        MHD_stop_daemon(mock.daemon);
    mock.daemon = NULL;
}

static void open_registry(const struct pj_registry_settings *settings)
{
    cr_assert_eq(pj_registry_open(&registry, settings, &error), 0, "%s", error.message);
}

static void set_up(void)
{
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
    mock.status = 200;
    mock.body = "{}";
    start_mock();
    open_registry(&(struct pj_registry_settings){.url = base_url, .timeout_ms = 10000});
}

static void tear_down(void)
{
    pj_registry_close(registry);
    stop_mock();
    free(schema);
}

TestSuite(registry, .init = set_up, .fini = tear_down, .timeout = 30);

static void answer(unsigned int status, const char *body)
{
    mock.status = status;
    mock.body = body;
}

/* The error of the last call: its class and words that a user needs in it. */
#define EXPECT_ERROR(wanted, ...)                                                                  \
    do {                                                                                           \
        const char *const words[] = {__VA_ARGS__};                                                 \
        cr_assert_eq(error.class, wanted, "%s: %s", pj_error_class_name(error.class),              \
                     error.message);                                                               \
        for (size_t i_ = 0; i_ < sizeof words / sizeof words[0]; i_++)                             \
            cr_assert_not_null(strstr(error.message, words[i_]), "'%s' is not in: %s", words[i_],  \
                               error.message);                                                     \
    } while (0)

static void fail_to_get(int32_t id)
{
    cr_assert_eq(pj_registry_schema(registry, id, &schema, &error), -1);
    cr_assert_null(schema);
}

/* --- what goes well -------------------------------------------------------------------------- */

Test(registry, gets_a_schema_by_id)
{
    answer(200, "{\"schema\":\"{\\\"type\\\": \\\"string\\\"}\"}");
    cr_assert_eq(pj_registry_schema(registry, 7, &schema, &error), 0, "%s", error.message);
    cr_assert_str_eq(schema, "{\"type\": \"string\"}");
    cr_assert_str_eq(mock.method, "GET");
    cr_assert_str_eq(mock.url, "/schemas/ids/7");
    cr_assert_eq(strncmp(mock.accept, "application/vnd.schemaregistry.v1+json", 38), 0);
    cr_assert_str_empty(mock.user);
}

Test(registry, accepts_what_other_registries_add)
{
    answer(200, "{\"subject\":\"s\",\"id\":7,\"schemaType\":\"AVRO\",\"references\":[],"
                "\"metadata\":null,\"schema\":\"\\\"string\\\"\"}");
    cr_assert_eq(pj_registry_schema(registry, 7, &schema, &error), 0, "%s", error.message);
    cr_assert_str_eq(schema, "\"string\"");
    free(schema);
    schema = NULL;
    answer(200, "{\"schemaType\":null,\"references\":null,\"schema\":\"\\\"int\\\"\"}");
    cr_assert_eq(pj_registry_schema(registry, 8, &schema, &error), 0, "%s", error.message);
}

Test(registry, uses_its_connection_again_for_all_calls)
{
    int32_t id;
    answer(200, "{\"schema\":\"\\\"string\\\"\",\"id\":3}");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pj_registry_schema(registry, 7, &schema, &error), 0);
        free(schema);
        schema = NULL;
        cr_assert_eq(pj_registry_register(registry, "s", "\"string\"", &id, &error), 0);
        cr_assert_eq(pj_registry_set_compatibility(registry, "s", "NONE", &error), 0);
    }
    cr_assert_eq(mock.requests, 9);
    cr_assert_eq(mock.connections, 1);
}

Test(registry, registers_a_schema)
{
    int32_t id = 0;
    answer(200, "{\"id\":2147483647}");
    cr_assert_eq(pj_registry_register(registry, "a/b value", "\"string\"", &id, &error), 0, "%s",
                 error.message);
    cr_assert_eq(id, INT32_MAX);
    cr_assert_str_eq(mock.method, "POST");
    cr_assert_str_eq(mock.url, "/subjects/a%2Fb%20value/versions");
    cr_assert_str_eq(mock.content_type, "application/vnd.schemaregistry.v1+json");
    cr_assert_str_eq(mock.received, "{\"schema\":\"\\\"string\\\"\"}");
}

Test(registry, gets_the_newest_schema_of_a_subject)
{
    int32_t id = 0;
    answer(200, "{\"subject\":\"a.b-value\",\"version\":2,\"id\":5,\"schema\":\"\\\"long\\\"\"}");
    cr_assert_eq(pj_registry_latest(registry, "a.b-value", &id, &schema, &error), 0, "%s",
                 error.message);
    cr_assert_eq(id, 5);
    cr_assert_str_eq(schema, "\"long\"");
    cr_assert_str_eq(mock.url, "/subjects/a.b-value/versions/latest");
}

Test(registry, a_subject_that_is_not_there_is_said_so)
{
    int32_t id;
    answer(404, "{\"error_code\":40401,\"message\":\"Subject not found.\"}");
    cr_assert_eq(pj_registry_latest(registry, "a.b-value", &id, &schema, &error), -1);
    EXPECT_ERROR(PJ_POISON, "a.b-value", "schemas register");
    answer(200, "{\"schema\":\"\\\"long\\\"\"}");
    cr_assert_eq(pj_registry_latest(registry, "a.b-value", &id, &schema, &error), -1);
    EXPECT_ERROR(PJ_RETRY, "without an id");
}

Test(registry, sets_the_compatibility_of_a_subject)
{
    answer(200, "{\"compatibility\":\"BACKWARD_TRANSITIVE\"}");
    cr_assert_eq(pj_registry_set_compatibility(registry, "s", "BACKWARD_TRANSITIVE", &error), 0);
    cr_assert_str_eq(mock.method, "PUT");
    cr_assert_str_eq(mock.url, "/config/s");
    cr_assert_str_eq(mock.received, "{\"compatibility\":\"BACKWARD_TRANSITIVE\"}");
}

Test(registry, keeps_the_path_of_its_url_and_sends_the_user)
{
    char url[128];
    pj_registry_close(registry);
    snprintf(url, sizeof url, "%s/apis/ccompat/v7//", base_url);
    open_registry(&(struct pj_registry_settings){
        .url = url, .username = "projector", .password = "hunter2", .timeout_ms = 10000});
    answer(200, "{\"schema\":\"\\\"string\\\"\"}");
    cr_assert_eq(pj_registry_schema(registry, 7, &schema, &error), 0, "%s", error.message);
    cr_assert_str_eq(mock.url, "/apis/ccompat/v7/schemas/ids/7");
    cr_assert_str_eq(mock.user, "projector");
    cr_assert_str_eq(mock.password, "hunter2");
}

/* --- what makes a record a dead letter ------------------------------------------------------- */

Test(registry, an_unknown_id_is_poison)
{
    answer(404, "{\"error_code\":40403,\"message\":\"Schema 9 not found\"}");
    fail_to_get(9);
    EXPECT_ERROR(PJ_POISON, base_url, "/schemas/ids/9", "Schema 9 not found");
}

Test(registry, an_impossible_id_is_poison_and_asks_nobody)
{
    fail_to_get(-1);
    EXPECT_ERROR(PJ_POISON, "-1");
    cr_assert_eq(mock.requests, 0);
}

Test(registry, what_is_not_avro_or_refers_to_itself_is_poison)
{
    answer(200, "{\"schemaType\":\"PROTOBUF\",\"schema\":\"message x {}\"}");
    fail_to_get(9);
    EXPECT_ERROR(PJ_POISON, "9", "PROTOBUF");
    answer(200, "{\"schema\":\"\\\"x\\\"\",\"references\":[{\"name\":\"x\",\"subject\":\"x\","
                "\"version\":1}]}");
    fail_to_get(9);
    EXPECT_ERROR(PJ_POISON, "9", "refers to itself by way of x");
}

/* --- what is tried again --------------------------------------------------------------------- */

Test(registry, a_registry_in_trouble_is_tried_again)
{
    static const unsigned int statuses[] = {408, 429, 500, 502, 503, 504};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        char number[8];
        snprintf(number, sizeof number, "%u", statuses[i]);
        answer(statuses[i], "{\"error_code\":50001,\"message\":\"store is full\"}");
        fail_to_get(9);
        EXPECT_ERROR(PJ_RETRY, base_url, number, "store is full");
    }
    answer(500, "<html>oops</html>");
    fail_to_get(9);
    EXPECT_ERROR(PJ_RETRY, base_url);
}

Test(registry, answers_that_make_no_sense_are_tried_again)
{
    static const char *const bodies[] = {"",
                                         "<html>welcome</html>",
                                         "{\"schema\":",
                                         "[]",
                                         "{\"schema\":5}",
                                         "{}",
                                         "\xff",
                                         "null",
                                         "{\"schema\":\"a\\u0000b\"}",
                                         "{\"schema\":\"\"}",
                                         "{\"schema\":\"{\"}"};
    int32_t id;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        answer(200, bodies[i]);
        fail_to_get(9);
        EXPECT_ERROR(PJ_RETRY, base_url, "--schema-registry-url");
        cr_assert_eq(pj_registry_register(registry, "s", "\"string\"", &id, &error), -1);
        EXPECT_ERROR(PJ_RETRY, base_url, "--schema-registry-url");
    }
    answer(200, "{\"id\":2147483648}");
    cr_assert_eq(pj_registry_register(registry, "s", "\"string\"", &id, &error), -1);
    /* A proxy before a registry that is not up yet. */
    answer(404, "<html>default backend</html>");
    fail_to_get(9);
    EXPECT_ERROR(PJ_RETRY, base_url, "--schema-registry-url");
}

Test(registry, a_registry_that_is_away_is_tried_again_until_it_is_back)
{
    stop_mock();
    fail_to_get(9);
    EXPECT_ERROR(PJ_RETRY, base_url, "is it running");
    pj_registry_close(registry);
    start_mock();
    open_registry(&(struct pj_registry_settings){.url = base_url});
    answer(200, "{\"schema\":\"\\\"string\\\"\"}");
    cr_assert_eq(pj_registry_schema(registry, 9, &schema, &error), 0, "%s", error.message);
}

Test(registry, a_slow_answer_is_given_up_after_the_timeout)
{
    pj_registry_close(registry);
    open_registry(&(struct pj_registry_settings){.url = base_url, .timeout_ms = 100});
    mock.hangs = true;
    int64_t start_ms = pj_clock_monotonic_ms();
    fail_to_get(9);
    EXPECT_ERROR(PJ_RETRY, base_url, "timed out");
    cr_assert_lt(pj_clock_monotonic_ms() - start_ms, 5000);
}

Test(registry, a_huge_answer_is_not_read_to_its_end)
{
    enum { HUGE = 64 << 20 };
    char *body = malloc(HUGE);
    memset(body, ' ', HUGE);
    mock.size = HUGE;
    answer(200, body);
    fail_to_get(9);
    EXPECT_ERROR(PJ_RETRY, base_url, "more than 4 MiB");
    mock.size = 0;
    answer(200, "{\"schema\":\"\\\"string\\\"\"}");
    cr_assert_eq(pj_registry_schema(registry, 9, &schema, &error), 0, "%s", error.message);
    stop_mock();
    free(body);
}

/* --- what stops the program ------------------------------------------------------------------ */

Test(registry, refused_credentials_are_fatal_and_stay_secret)
{
    pj_registry_close(registry);
    open_registry(&(struct pj_registry_settings){
        .url = base_url, .username = "projector", .password = "hunter2", .timeout_ms = 10000});
    answer(401, "{\"error_code\":401,\"message\":\"Unauthorized\"}");
    fail_to_get(9);
    EXPECT_ERROR(PJ_FATAL, base_url, "'projector'", "401",
                 "PROJECTIONIST_SCHEMA_REGISTRY_PASSWORD");
    cr_assert_null(strstr(error.message, "hunter2"));
    answer(403, "");
    fail_to_get(9);
    EXPECT_ERROR(PJ_FATAL, base_url, "403");
}

Test(registry, who_was_let_in_waits_for_a_new_password)
{
    pj_registry_close(registry);
    open_registry(&(struct pj_registry_settings){
        .url = base_url, .username = "projector", .password = "hunter2", .timeout_ms = 10000});
    answer(200, "{\"schema\":\"\\\"string\\\"\"}");
    cr_assert_eq(pj_registry_schema(registry, 9, &schema, &error), 0, "%s", error.message);
    free(schema);
    schema = NULL;
    answer(401, "{\"error_code\":401,\"message\":\"Unauthorized\"}");
    fail_to_get(9);
    EXPECT_ERROR(PJ_RETRY, base_url, "'projector'", "401");
    answer(403, "");
    fail_to_get(9);
    EXPECT_ERROR(PJ_RETRY, base_url, "403");
}

Test(registry, who_is_refused_asks_again_for_as_long_as_is_said)
{
    const struct timespec longer = {.tv_nsec = 250000000};
    pj_registry_close(registry);
    open_registry(&(struct pj_registry_settings){.url = base_url,
                                                 .username = "projector",
                                                 .password = "hunter2",
                                                 .timeout_ms = 10000,
                                                 .admission_ms = 200});
    answer(401, "{}");
    fail_to_get(9);
    EXPECT_ERROR(PJ_RETRY, "401");
    nanosleep(&longer, NULL);
    fail_to_get(9);
    EXPECT_ERROR(PJ_FATAL, "401");
    answer(404, "{\"error_code\":40403,\"message\":\"Schema 9 not found\"}");
    fail_to_get(9); /* that ends it */
    answer(401, "{}");
    fail_to_get(9);
    EXPECT_ERROR(PJ_RETRY, "401");
}

Test(registry, a_missing_user_is_named)
{
    answer(401, "<html>login</html>");
    fail_to_get(9);
    EXPECT_ERROR(PJ_FATAL, base_url, "without credentials", "--schema-registry-username");
}

Test(registry, a_wrong_path_does_not_make_dead_letters)
{
    answer(404, "{\"error_code\":404,\"message\":\"HTTP 404 Not Found\"}");
    fail_to_get(9);
    EXPECT_ERROR(PJ_FATAL, base_url, "--schema-registry-url");
}

Test(registry, a_refused_schema_is_fatal_with_the_registrys_reason)
{
    int32_t id;
    answer(409, "{\"error_code\":409,\"message\":\"Schema is incompatible: field x\"}");
    cr_assert_eq(pj_registry_register(registry, "s", "\"string\"", &id, &error), -1);
    EXPECT_ERROR(PJ_FATAL, "/subjects/s/versions", "Schema is incompatible: field x");
    answer(422, "{\"error_code\":42201,\"message\":\"Invalid schema\"}");
    cr_assert_eq(pj_registry_register(registry, "s", "\"string\"", &id, &error), -1);
    EXPECT_ERROR(PJ_FATAL, "Invalid schema");
    answer(422, "{\"error_code\":42203,\"message\":\"Invalid compatibility level\"}");
    cr_assert_eq(pj_registry_set_compatibility(registry, "s", "SOME", &error), -1);
    EXPECT_ERROR(PJ_FATAL, "/config/s", "Invalid compatibility level");
    cr_assert_eq(pj_registry_register(registry, "s", "\xff", &id, &error), -1);
    EXPECT_ERROR(PJ_FATAL, "UTF-8");
}

Test(registry, redirects_stay_within_http_and_within_bounds)
{
    mock.location = "file:///etc/passwd";
    answer(302, "");
    fail_to_get(9);
    EXPECT_ERROR(PJ_FATAL, base_url);
    mock.location = "/again";
    mock.requests = 0;
    fail_to_get(9);
    EXPECT_ERROR(PJ_FATAL, base_url);
    cr_assert_eq(mock.requests, 4);
}

Test(registry, urls_that_cannot_be_are_usage_errors)
{
    static const char *const bad[] = {
        "",    "127.0.0.1:8081",        "ftp://127.0.0.1",      "http://", "file:///etc/passwd",
        "x y", "http://127.0.0.1:port", "http://127.0.0.1/?a=b"};
    struct pj_registry *other = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pj_registry_settings settings = {.url = bad[i]};
        cr_assert_eq(pj_registry_open(&other, &settings, &error), -1, "'%s'", bad[i]);
        cr_assert_eq(pj_error_exit_code(&error), PJ_EXIT_USAGE);
        EXPECT_ERROR(PJ_FATAL, *bad[i] != '\0' ? "schema registry's URL"
                                               : "no schema registry is configured");
    }
}

Test(registry, a_url_with_a_password_is_refused_without_showing_it)
{
    static const char *const bad[] = {"http://me:hunter2@127.0.0.1", "https://hunter2@127.0.0.1/x",
                                      "http://me:hunter2@127.0.0.1:port", "ftp://me:hunter2@x"};
    struct pj_registry *other = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pj_registry_settings settings = {.url = bad[i]};
        cr_assert_eq(pj_registry_open(&other, &settings, &error), -1);
        cr_assert_eq(pj_error_exit_code(&error), PJ_EXIT_USAGE);
        cr_assert_null(strstr(error.message, "hunter2"), "%s", error.message);
    }
    struct pj_registry_settings settings = {.url = bad[0]};
    cr_assert_eq(pj_registry_open(&other, &settings, &error), -1);
    EXPECT_ERROR(PJ_FATAL, "--schema-registry-username", "PROJECTIONIST_SCHEMA_REGISTRY_PASSWORD");
}

Test(registry, closing_nothing_is_allowed)
{
    pj_registry_close(NULL);
}
