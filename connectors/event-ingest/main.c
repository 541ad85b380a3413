/* SPDX-License-Identifier: Apache-2.0 */
/* event-ingest: events of a system, posted as JSON, into its topics. */
#include "base/clock.h"
#include "base/log.h"
#include "base/status_page.h"
#include "base/text.h"
#include "event-ingest/ingest.h"
#include "event-ingest/routes.h"
#include "postgres/postgres_settings.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PARSERS = 2,
    ARENAS = 2,
    KEYS_TIMEOUT_MS = 120000,
    LOOK_EVERY_MS = 1000,
};

#define AT(member)     offsetof(struct pj_ingest_settings, member)
#define CALLER(member) AT(callers.member)

static const struct pj_option options[] = {
    PJ_OPTION(STRING, "ingest-listen", AT(serving.listen), "127.0.0.1:7090", "ADDRESS",
              "Address for clients: HOST:PORT, or :PORT for all interfaces; port 0 picks a free "
              "one, which is logged. It is HTTP: put a proxy that ends TLS in front of it."),
    PJ_OPTION(STRING, "ingest-system", AT(system), NULL, "NAME",
              "The system whose events are taken: all topics begin with its name and a dot, and "
              "the Idempotency-Keys are kept in the topic NAME.ingest-keys.",
              .filled = true, .most = 100),
    PJ_OPTION(STRING, "ingest-topics", AT(topics), NULL, "LIST",
              "The topics that may be written to, each with the members that the record's key is "
              "made of, such as 'captions.videos=video_id captions.objects=video_id|bucket/key': "
              "with a slash between them; after a | what takes its place where one is null; after "
              "a : what stands for a null. Their schemas are the newest of the registry.",
              .filled = true, .most = 10000),
    PJ_OPTION(STRING, "ingest-tables", AT(tables), NULL, "LIST",
              "The tables of Postgres that show whose a thing is and in which version, such as "
              "'drama.dramas=dramas,key=id:drama_id,owner=user_id,revision=revision,life=life': "
              "after the topic its table; key= a column and the member of the event that it is, "
              "as often as needed; owner=, revision= and life= columns. An event of somebody "
              "else's thing gets 403, one that was made on another revision 409. None by "
              "default, and then Postgres is not asked.",
              .filled = true, .most = 10000),
    PJ_OPTION(STRING, "postgres-dsn", AT(postgres_dsn), NULL, "DSN",
              "Postgres, where there are --ingest-tables, as a postgresql:// URI or key=value "
              "text. What it leaves out comes from libpq's own variables (PGHOST and so on). No "
              "pooler in transaction mode."),
    PJ_TABLES_SCHEMA_OPTION(AT(tables_schema)),
    PJ_OPTION(INTEGER, "table-connections", AT(table_connections), "4", "N",
              "The most connections to Postgres, which requests share.", .least = 1,
              .most = PJ_SHOWN_CONNECTIONS_MOST),
    PJ_OPTION(DURATION, "table-timeout", AT(table_timeout_ms), "2s", "TIME",
              "How long a request waits for the tables; then it gets 503.", .least = 50,
              .most = 60000),
    PJ_OPTION(STRING, "ingest-id", AT(id), "default", "NAME",
              "Of the ingests with the same id, and of the same system, only the newest works; the "
              "older ones exit.",
              .filled = true, .most = 100),
    PJ_OPTION(STRING, "ingest-tokens-file", CALLER(tokens_file), NULL, "FILE",
              "The Bearer tokens, as JSON: who may write to which topics (see TOKENS). It is read "
              "again when it changes.",
              .filled = true),
    PJ_OPTION(SECRET, "jwt-secret", CALLER(jwt_secret), NULL, "SECRET",
              "The secret of JWTs that are signed with HS256, of at least 32 bytes."),
    PJ_OPTION(
        STRING, "jwt-jwks", CALLER(jwt_jwks), NULL, "FILE|URL",
        "The public keys (JWKS) of JWTs that are signed with RS256 or ES256: a file, which is "
        "read again when it changes, or an https URL, which is asked every 5 minutes and when "
        "a JWT names a key that is not known.",
        .filled = true),
    PJ_OPTION(STRING, "jwt-ca-file", CALLER(jwt_ca_file), NULL, "FILE",
              "CA certificates for that URL, in PEM; the default is the system's.",
              .certificates = true, .filled = true),
    PJ_OPTION(STRING, "jwt-issuer", CALLER(jwt_issuer), NULL, "TEXT",
              "The claim iss that a JWT must have. Not checked by default.", .filled = true),
    PJ_OPTION(STRING, "jwt-audience", CALLER(jwt_audience), NULL, "TEXT",
              "The claim aud that a JWT must have, or be one of. Not checked by default.",
              .filled = true),
    PJ_OPTION(
        STRING, "jwt-topics", CALLER(jwt_topics), NULL, "LIST",
        "The topics that may be written to with a JWT, separated by spaces; captions.* stands "
        "for all that begin so. Required where JWTs are.",
        .filled = true),
    PJ_OPTION(
        STRING, "jwt-tenant-claim", CALLER(jwt_tenant_claim), NULL, "CLAIM",
        "The claim that names the tenant, such as app_metadata.tenant_id; JWTs without it are "
        "refused. By default a JWT speaks for any tenant.",
        .filled = true),
    PJ_OPTION(
        STRING, "jwt-service-role", CALLER(jwt_service_role), "service_role", "ROLE",
        "A JWT whose claim role is this speaks for any user and tenant; any other one for the "
        "user that its claim sub names.",
        .filled = true),
    PJ_OPTION(INTEGER, "jwt-rate", CALLER(jwt_rate), "100", "N",
              "How many events a second each user may send with a JWT.", .least = 1,
              .most = 1000000),
    PJ_OPTION(STRING, "sns-topics", AT(sns.arns), NULL, "LIST",
              "The ARNs of the topics of Amazon SNS, separated by spaces, whose notifications are "
              "taken at /v1/webhooks/sns/<topic>, and whose subscriptions are confirmed. None by "
              "default.",
              .filled = true),
    PJ_OPTION(STRING, "sns-host", AT(sns.host), NULL, "HOST",
              "The host, or HOST:PORT, of certificates and confirmations of a service that speaks "
              "as SNS does. The default is sns.REGION.amazonaws.com.",
              .filled = true),
    PJ_OPTION(STRING, "sns-ca-file", AT(sns.ca_file), NULL, "FILE",
              "CA certificates for that host, in PEM; the default is the system's.",
              .certificates = true, .filled = true),
    PJ_OPTION(STRING, "object-operations", AT(s3_operations), "stored,removed", "WORDS",
              "What the field operation says of an object that was created and of one that was "
              "removed.",
              .filled = true),
    PJ_OPTION(STRING, "cors-origins", AT(cors_origins), NULL, "LIST",
              "Origins of web pages that may post events, such as 'https://app.example', separated "
              "by spaces. None by default.",
              .filled = true),
    PJ_SERVING_OPTIONS(AT(serving)),
    PJ_OPTION(DURATION, "schema-refresh", AT(schema_refresh_ms), "60s", "TIME",
              "How often the registry is asked for newer schemas.", .least = 1000,
              .most = 86400000),
    PJ_OPTION(SIZE, "max-body", AT(serving.body_most), "4MiB", "SIZE",
              "Largest request body in bytes; larger ones get 413.", .least = 1024,
              .most = 4 << 20),
    PJ_OPTION(INTEGER, "max-concurrent", AT(serving.concurrent_most), "256", "N",
              "The most requests that wait for Kafka at a time; each has a thread. Others wait, "
              "taking turns by client address; beyond 32 times as many, or after "
              "--publish-timeout, they get 503.",
              .least = 4, .most = 1000),
    PJ_OPTION(DURATION, "key-retention", AT(serving.key_retention_ms), "24h", "TIME",
              "How long an Idempotency-Key is known after its request was published. All of them "
              "are in memory, some 300 bytes each.",
              .least = 1000, .most = INT64_C(366) * 86400000),
    PJ_OPTION(INTEGER, "max-keys", AT(keys_most), "1000000", "N",
              "The most Idempotency-Keys at a time; beyond that requests with a new one get 503.",
              .least = 1, .most = 100000000),
    PJ_PROCESS_OPTIONS(AT(process)),
    {0},
};

static void print_help(const struct pj_process *process)
{
    fputs(
        "NAME\n"
        "    event-ingest - publish events that are posted as JSON to a system's topics\n"
        "\n"
        "SYNOPSIS\n"
        "    event-ingest --ingest-system NAME --ingest-topics LIST [OPTION]...\n"
        "\n"
        "DESCRIPTION\n"
        "    POST /v1/events/<topic> takes an event, or an array of at most 1,000, as plain JSON:\n"
        "    the fields of the topic's Avro schema, with \"body\": {\"type\": \"RecordName\", …} "
        "for\n"
        "    a union of records, times as RFC 3339 or in microseconds, decimals as numbers or\n"
        "    text. All of a request is published in one Kafka transaction or nothing of it. 202\n"
        "    with the event_ids comes after the commit; 400 names the field that is wrong; 503\n"
        "    with Retry-After while Kafka is away, or does not take records of this topic or show "
        "it.\n"
        "\n"
        "    An event without event_id gets one. With an event_id, emitted_at is required, and\n"
        "    revision where the schema has one, so that a retry is the same event. A missing\n"
        "    revision is max(now, base_revision + 1). With the header Idempotency-Key a retry is\n"
        "    published once and answered with the same ids, for --key-retention; with other\n"
        "    content it gets 409. Times and revisions more than 5 minutes ahead are refused, and\n"
        "    those more than 24 hours behind, unless the token is marked import.\n"
        "\n"
        "    With --ingest-tables an event about something that its table shows with another\n"
        "    owner is refused (403), as is one based on another revision (body.base_revision,\n"
        "    or the header If-Match) or on another life (409). Tables lag behind the topics, so\n"
        "    this catches most conflicts; the consumers resolve the rest.\n"
        "\n"
        "    Webhooks: /v1/webhooks/prefect/<topic> takes events of Prefect about flow runs,\n"
        "    /v1/webhooks/s3/<topic> notifications of S3, both with a Bearer token, and\n"
        "    /v1/webhooks/sns/<topic> those that come by Amazon SNS, by their signature.\n"
        "\n"
        "    'projectionist topics create' creates the topics, 'projectionist schemas register'\n"
        "    registers their schemas. Of several ingests with the same --ingest-id only the\n"
        "    newest works.\n"
        "\n"
        "OPTIONS\n",
        stdout);
    pj_config_print_options(stdout, process->options, PJ_HELP_WIDTH);
    fputs(
        "\n"
        "    Kafka's address, PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS, is required, and a way to\n"
        "    log in: --ingest-tokens-file, --jwt-jwks, or the HS256 secret in the file that\n"
        "    PROJECTIONIST_JWT_SECRET_FILE names. A token in the form of a JWT is taken for one.\n"
        "\n"
        "TOKENS\n"
        "    {\"tokens\": [{\"name\": \"backend\", \"sha256\": \"…\",\n"
        "                 \"topics\": [\"captions.videos\"], \"tenant\": \"…\", \"user\": \"…\",\n"
        "                 \"rate\": 100, \"import\": false, \"revoked\": false}]}\n"
        "\n"
        "    sha256 is the hash of the token, which has at least 32 random bytes:\n"
        "    `openssl rand -hex 32` makes one, `printf %s TOKEN | sha256sum` hashes it.\n"
        "    captions.* stands for all topics that begin so. What follows the topics is optional:\n"
        "    the only tenant or user whose events it may send, which is filled in, and a rate in\n"
        "    events per second. A JWT's user is its claim sub.\n"
        "\n"
        "SIGNALS\n"
        "    SIGTERM, SIGINT: accept no more connections, finish the requests, exit 0. A\n"
        "    second one exits at once; what was answered is not lost.\n"
        "\n"
        "EXIT STATUS\n"
        "    0  stopped\n"
        "    1  failed, for example a missing topic or schema\n"
        "    2  a flag, variable or file setting is wrong\n"
        "    5  another ingest with the same id has taken over\n"
        "    6  a table of --ingest-tables is missing, or a right to it\n",
        stdout);
}

/* --- starting -------------------------------------------------------------------------------- */

static int check_settings(struct pj_ingest *ingest, const struct pj_properties *kafka,
                          struct pj_error *error)
{
    const struct pj_ingest_settings *settings = ingest->settings;
    if (pj_serving_check(&settings->serving, "ingest", "event-ingest", kafka, error) != 0)
        return -1;
    if (settings->system == NULL || settings->topics == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "give --ingest-system and --ingest-topics: the system whose events "
                              "are taken, and its topics with their keys");
    if (pj_topics_parse(&ingest->topics, settings->system, settings->topics, error) != 0)
        return -1;
    return pj_callers_open(&ingest->callers, &settings->callers, error);
}

/* Waits while the registry is away; 1: it is time to stop. */
static int load_schemas(struct pj_ingest *ingest, struct pj_metrics_server *server,
                        struct pj_error *error)
{
    const struct pj_ingest_settings *settings = ingest->settings;
    const struct pj_turns turns = pj_serving_turns(server);
    struct pj_registry *registry;
    if (pj_registry_open(&registry, &settings->serving.registry, error) != 0)
        return -1;
    int status, failures = 0;
    while ((status = pj_topics_load(ingest->topics, settings->serving.topic_prefix, registry,
                                    error)) != 0 &&
           error->class == PJ_RETRY) {
        if (failures == 0)
            pj_log(PJ_WARN, "waiting for a server", pj_f_str("server", "schema registry"),
                   pj_f_str("error", error->message));
        if (!pj_turns_back_off(&turns, failures++, error)) {
            status = 1;
            break;
        }
    }
    pj_registry_close(registry);
    return status;
}

static int open_publisher(struct pj_ingest *ingest, const struct pj_config *config,
                          struct pj_metrics_server *server, struct pj_error *error)
{
    const struct pj_ingest_settings *settings = ingest->settings;
    ingest->state_topic = pj_topics_count(ingest->topics);
    for (size_t i = 0; i < ingest->state_topic; i++)
        ingest->publish_topics[i] = pj_topics_name(ingest->topics, i);
    ingest->keys_topic = pj_text_new("%s.ingest-keys", settings->system);
    ingest->publisher_id = pj_text_new("%s-%s", settings->system, settings->id);
    ingest->publish_topics[ingest->state_topic] = ingest->keys_topic;
    ingest->marker = pj_text_new("transaction %s", settings->id);
    const struct pj_publisher_settings publisher = {
        .transactor =
            {
                .kafka = &config->kafka,
                .client_id = "event-ingest",
                .name = "projectionist-event-ingest",
                .id = ingest->publisher_id,
                .topic_prefix = settings->serving.topic_prefix,
                .transaction_timeout_ms = settings->serving.transaction_timeout_ms,
                .topics = ingest->publish_topics,
                .topic_count = ingest->state_topic + 1,
                .state_topic = ingest->keys_topic,
                .read_timeout_ms = KEYS_TIMEOUT_MS,
                .record = pj_kept_record,
                .context = ingest->kept,
                .stop = &pj_stop_requests,
                .metrics = ingest->metrics,
            },
        .state = ingest->state_topic,
        .marker = ingest->marker,
        .are_topics_apart = true,
        .server = server,
        .metrics_of = "ingest",
    };
    return pj_publisher_open(&ingest->publisher, &publisher, error);
}

/* The settings of the tables, before any server is waited for. */
static int open_tables(struct pj_ingest *ingest, const struct pj_properties *properties,
                       struct pj_error *error)
{
    const struct pj_ingest_settings *settings = ingest->settings;
    struct pj_metrics *metrics = ingest->metrics;
    if (settings->tables != NULL &&
        pj_shown_parse(&ingest->tables, ingest->topics, settings->tables, error) != 0)
        return -1;
    const struct pj_shown_reader_settings reader = {
        .postgres = {.dsn = settings->postgres_dsn,
                     .properties = properties,
                     .application_name = "event-ingest",
                     .tables_schema = settings->tables_schema,
                     .system = settings->system,
                     .default_schema = settings->system},
        .tables = ingest->tables,
        .connections = settings->table_connections,
        .timeout_ms = settings->table_timeout_ms,
        .seconds = pj_metrics_add(metrics, PJ_HISTOGRAM, "projectionist_ingest_table_seconds", NULL,
                                  "Time of a reading of the tables, with its waits."),
        .failures = pj_metrics_add(metrics, PJ_COUNTER, "projectionist_ingest_table_failures_total",
                                   NULL, "Readings of the tables that failed."),
        .open = pj_metrics_add(metrics, PJ_GAUGE, "projectionist_ingest_table_connections", NULL,
                               "Open connections to Postgres."),
        .away = pj_metrics_add(metrics, PJ_GAUGE, "projectionist_ingest_tables_away", NULL,
                               "1 while the tables cannot be read."),
    };
    if (settings->tables == NULL)
        return 0;
    if (!pj_postgres_is_named(&reader.postgres))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--ingest-tables are read from Postgres, and no database is named: "
                              "set PROJECTIONIST_POSTGRES_DSN or give --postgres-dsn");
    if (pj_postgres_check_settings(&reader.postgres, error) != 0 ||
        pj_postgres_check_files(&reader.postgres, error) != 0)
        return -1;
    ingest->reader = pj_shown_reader_new(&reader);
    return 0;
}

/* While Postgres is away at the start, requests get 503, as later. */
static int check_tables(struct pj_ingest *ingest, struct pj_error *error)
{
    for (size_t i = 0; ingest->tables != NULL && i < ingest->tables->count; i++) {
        const struct pj_shown_table *table = &ingest->tables->items[i];
        const char *name = pj_topics_name(ingest->topics, i);
        if (table->text == NULL)
            continue;
        const struct pj_topic_of *topic = pj_topics_find(ingest->topics, name);
        const struct pj_avro_type *record = pj_schema_root(pj_encoder_schema(pj_topic_take(topic)));
        int status = pj_shown_check_schema(table, name, record, error);
        pj_topic_give_back(topic);
        if (status != 0)
            return -1;
    }
    if (ingest->reader == NULL || pj_shown_reader_check(ingest->reader, error) == 0)
        return 0;
    return error->class == PJ_FATAL ? -1 : 0;
}

static int open_parts(struct pj_ingest *ingest, const struct pj_config *config,
                      struct pj_metrics_server *server, struct pj_error *error)
{
    int status = check_settings(ingest, &config->kafka, error);
    if (status == 0)
        status = open_tables(ingest, &config->postgres, error);
    if (status == 0)
        status = load_schemas(ingest, server, error);
    if (status == 0)
        status = check_tables(ingest, error);
    if (status == 0)
        status = open_publisher(ingest, config, server, error);
    if (status == 0)
        pj_metric_set(ingest->kept_count, (int64_t)pj_kept_count(ingest->kept));
    return status;
}

/* --- serving --------------------------------------------------------------------------------- */

/* A newer schema is taken when the registry has it; while it is away, the older ones serve. */
static void refresh_schemas(struct pj_ingest *ingest)
{
    const struct pj_ingest_settings *settings = ingest->settings;
    struct pj_registry *registry;
    struct pj_error error;
    if (pj_registry_open(&registry, &settings->serving.registry, &error) != 0)
        return;
    if (pj_topics_load(ingest->topics, settings->serving.topic_prefix, registry, &error) != 0)
        pj_log(PJ_WARN, "the schemas stay as they were", pj_f_str("error", error.message));
    pj_registry_close(registry);
}

/* Nobody sends requests to one that is not ready, so it asks by itself whether Postgres is back. */
static void look_at_tables(struct pj_ingest *ingest)
{
    struct pj_error reason;
    if (ingest->reader == NULL)
        return;
    bool is_away = pj_shown_reader_is_away(ingest->reader, &reason) &&
                   pj_shown_reader_check(ingest->reader, &reason) != 0;
    if (ingest->probes != NULL && is_away)
        pj_metrics_server_set_ready(ingest->probes, reason.message);
    else if (ingest->probes != NULL && ingest->were_tables_away)
        pj_metrics_server_set_ready(ingest->probes, pj_publisher_is_away(ingest->publisher, &reason)
                                                        ? reason.message
                                                        : NULL);
    ingest->were_tables_away = is_away;
}

static bool expire(void *context)
{
    return pj_ingest_expire(context);
}

static void do_chores(void *context)
{
    struct pj_ingest *ingest = context;
    if (pj_clock_every(&ingest->looked_ms, LOOK_EVERY_MS)) {
        pj_callers_refresh(ingest->callers);
        look_at_tables(ingest);
    }
    if (pj_clock_every(&ingest->refreshed_ms, ingest->settings->schema_refresh_ms))
        refresh_schemas(ingest);
}

static int serve(struct pj_ingest *ingest, struct pj_metrics_server *probes, struct pj_error *error)
{
    const struct pj_ingest_settings *settings = ingest->settings;
    struct pj_serving serving = {.settings = &settings->serving,
                                 .publisher = ingest->publisher,
                                 .probes = probes,
                                 .context = ingest,
                                 .expire = expire,
                                 .chores = do_chores};
    if (pj_ingest_serve(&serving.server, ingest, error) != 0)
        return -1;
    pj_log(PJ_INFO, "listening", pj_f_int("port", pj_http_server_port(serving.server)),
           pj_f_str("system", settings->system),
           pj_f_int("topics", (int64_t)pj_topics_count(ingest->topics)),
           pj_f_int("kept_keys", (int64_t)pj_kept_count(ingest->kept)));
    ingest->probes = probes;
    ingest->refreshed_ms = pj_clock_monotonic_ms();
    int status = pj_serving_run(&serving, error);
    if (status != 0 && error->class == PJ_FENCED)
        pj_error_fatal(
            error, PJ_EXIT_FENCED,
            "another event-ingest of '%s' with the id '%s' has taken over; give each its "
            "own --ingest-id, or stop one",
            settings->system, settings->id);
    return status;
}

static void add_metrics(struct pj_ingest *ingest)
{
    const struct pj_metric_line all[] = {
        {&ingest->repeated, PJ_COUNTER, "projectionist_ingest_repeated_requests_total",
         "Requests whose Idempotency-Key was already known."},
        {&ingest->conflicts, PJ_COUNTER, "projectionist_ingest_key_conflicts_total",
         "Idempotency-Keys that were used again with other content."},
        {&ingest->kept_count, PJ_GAUGE, "projectionist_ingest_kept_keys",
         "Idempotency-Keys that are kept."},
        {&ingest->expired, PJ_COUNTER, "projectionist_ingest_expired_keys_total",
         "Idempotency-Keys that expired after --key-retention."},
        {&ingest->refused_webhooks, PJ_COUNTER, "projectionist_ingest_refused_webhooks_total",
         "Requests of webhooks that were refused for good."},
        {&ingest->foreign, PJ_COUNTER, "projectionist_ingest_foreign_requests_total",
         "Requests with an event of a thing that a table shows with another owner."},
        {&ingest->outdated, PJ_COUNTER, "projectionist_ingest_outdated_requests_total",
         "Requests with an event that was made on another revision or in another life."},
        {0},
    };
    pj_metrics_add_all(ingest->metrics, all);
}

static const struct pj_page_item charts[] = {
    PJ_SERVING_CHARTS("ingest"),
    {"Requests repeated", "projectionist_ingest_repeated_requests_total", PJ_PAGE_RATE},
    {"Keys kept", "projectionist_ingest_kept_keys", PJ_PAGE_SUM},
    {0},
};
static const struct pj_page page = {
    .name = "event-ingest",
    .well = "Requests are answered, and their events are published.",
    .charts = charts,
    PJ_SERVING_ROWS("ingest"),
    .letters = "projectionist_ingest_refused_webhooks_total",
    .letters_title = "Requests of webhooks that were refused",
    .letters_hint = "The log has the reason of each.",
};

static int run(const struct pj_process *process, const struct pj_config *config,
               struct pj_error *error)
{
    const struct pj_ingest_settings *settings = process->settings;
    struct pj_ingest ingest = {.settings = settings,
                               .kept = pj_kept_new((size_t)settings->keys_most),
                               .sns = pj_sns_new(&settings->sns),
                               .metrics = pj_metrics_new()};
    struct pj_metrics_server *server = NULL;
    /* Many threads: with an arena per thread, freed memory would stay with its thread. */
    mallopt(M_ARENA_MAX, ARENAS);
    sem_init(&ingest.parsers, 0, PARSERS);
    const struct pj_label labels[] = {{"system", settings->system != NULL ? settings->system : ""},
                                      {"ingest", settings->id},
                                      {0}};
    add_metrics(&ingest);
    int status = pj_process_show(&server, ingest.metrics, labels, &page, process, error);
    if (status == 0)
        status = open_parts(&ingest, config, server, error);
    if (status == 0)
        status = serve(&ingest, server, error);
    pj_publisher_close(ingest.publisher, settings->serving.shutdown_timeout_ms);
    pj_process_hide(server);
    pj_shown_reader_free(ingest.reader);
    pj_shown_free(ingest.tables);
    pj_topics_free(ingest.topics);
    pj_callers_close(ingest.callers);
    pj_kept_free(ingest.kept);
    pj_sns_free(ingest.sns);
    pj_metrics_free(ingest.metrics);
    sem_destroy(&ingest.parsers);
    free(ingest.keys_topic);
    free(ingest.publisher_id);
    free(ingest.marker);
    return status > 0 ? 0 : status;
}

int main(int argc, char **argv)
{
    struct pj_ingest_settings settings = {0};
    const struct pj_process process = {
        .name = "event-ingest",
        .options = options,
        .settings = &settings,
        .common = &settings.process,
        .print_help = print_help,
        .run = run,
    };
    return pj_process_main(&process, argc, argv);
}
