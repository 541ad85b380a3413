/* SPDX-License-Identifier: Apache-2.0 */
#include "base/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    const char *group;
    const char *format;
    const char *dsn;
    const char *password;
    const char *ca_file;
    int64_t records;
    int64_t linger_ms;
    int64_t bytes;
    bool dry_run;
};

#define OFFSET(member) .offset = offsetof(struct settings, member)

static const struct pj_option options[] = {
    {.name = "group",
     .letter = 'g',
     .kind = PJ_OPTION_STRING,
     OFFSET(group),
     .filled = true,
     .argument = "NAME",
     .help = "The consumer group."},
    {.name = "log-format",
     .kind = PJ_OPTION_CHOICE,
     OFFSET(format),
     .fallback = "logfmt",
     .argument = "FORMAT",
     .help = "How log lines are written.",
     .choices = "logfmt|json"},
    {.name = "postgres-dsn",
     .kind = PJ_OPTION_STRING,
     OFFSET(dsn),
     .argument = "DSN",
     .help = "The database."},
    {.name = "schema-registry-password",
     .kind = PJ_OPTION_SECRET,
     OFFSET(password),
     .argument = "PASSWORD",
     .help = "For basic authentication."},
    {.name = "schema-registry-ca-file",
     .kind = PJ_OPTION_STRING,
     OFFSET(ca_file),
     .argument = "FILE",
     .help = "Certificates to trust."},
    {.name = "batch-records",
     .letter = 'b',
     .kind = PJ_OPTION_INTEGER,
     OFFSET(records),
     .fallback = "500",
     .argument = "N",
     .help = "How many records a transaction has at most; more of them are faster to write and "
             "take longer to do again.",
     .least = 1,
     .most = 100000},
    {.name = "linger",
     .kind = PJ_OPTION_DURATION,
     OFFSET(linger_ms),
     .fallback = "250ms",
     .argument = "TIME",
     .help = "How long to wait for more.",
     .most = 3600000},
    {.name = "batch-bytes",
     .kind = PJ_OPTION_SIZE,
     OFFSET(bytes),
     .fallback = "8MiB",
     .argument = "SIZE",
     .help = "How large a batch is."},
    {.name = "dry-run",
     .letter = 'n',
     .kind = PJ_OPTION_BOOL,
     OFFSET(dry_run),
     .help = "Change nothing."},
    {0},
};

static struct pj_config config;
static struct settings settings;
static struct pj_error error;
static char file_path[] = "/tmp/projectionist-config-XXXXXX";

static void set_up(void)
{
    clearenv();
    memset(&settings, 0, sizeof settings);
    memset(&config, 0, sizeof config);
    int fd = mkstemp(file_path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void tear_down(void)
{
    pj_config_free(&config);
    unlink(file_path);
}

TestSuite(config, .init = set_up, .fini = tear_down);

static void write_file(const char *content)
{
    FILE *file = fopen(file_path, "w");
    cr_assert_not_null(file);
    fputs(content, file);
    fclose(file);
}

static int read_argv(char **argv)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    return pj_config_read(&config, options, &settings, argc, argv, &error);
}

#define READ(...)   read_argv((char *[]){(char[]){"program"}, ##__VA_ARGS__, NULL})
#define ACCEPT(...) cr_assert_eq(READ(__VA_ARGS__), 0, "%s", error.message)

/* The whole sentence is what a user gets, so the whole sentence is compared. */
#define REFUSE(sentence, ...)                                                                      \
    do {                                                                                           \
        cr_assert_eq(READ(__VA_ARGS__), -1);                                                       \
        cr_assert_str_eq(error.message, sentence);                                                 \
        cr_assert_eq(pj_error_exit_code(&error), PJ_EXIT_USAGE);                                   \
    } while (0)

/* --- sources and their order ----------------------------------------------------------------- */

Test(config, defaults)
{
    ACCEPT();
    cr_assert_null(settings.group);
    cr_assert_str_eq(settings.format, "logfmt");
    cr_assert_eq(settings.records, 500);
    cr_assert_eq(settings.linger_ms, 250);
    cr_assert_eq(settings.bytes, 8 << 20);
    cr_assert_not(settings.dry_run);
    cr_assert_eq(config.operand_count, 0);
}

Test(config, flag_beats_variable_beats_file_beats_default)
{
    write_file("batch-records = 1\ngroup = from-file\nlog-format = json\n");
    setenv("PROJECTIONIST_BATCH_RECORDS", "2", 1);
    setenv("PROJECTIONIST_GROUP", "from-variable", 1);
    ACCEPT("--config", file_path, "--batch-records=3");
    cr_assert_eq(settings.records, 3);
    cr_assert_str_eq(settings.group, "from-variable");
    cr_assert_str_eq(settings.format, "json");
    cr_assert_eq(settings.linger_ms, 250);
}

Test(config, the_file_may_be_named_by_a_variable)
{
    write_file("group = from-file\n");
    setenv("PROJECTIONIST_CONFIG", file_path, 1);
    ACCEPT();
    cr_assert_str_eq(settings.group, "from-file");
    pj_config_free(&config);
    setenv("PROJECTIONIST_CONFIG", "/nonexistent", 1);
    ACCEPT("--config", file_path);
}

/* --- flags ----------------------------------------------------------------------------------- */

Test(config, flags_in_all_their_forms)
{
    ACCEPT("first", "--group", "a b", "-nb", "7", "--linger=30m", "second", "--", "--group=c");
    cr_assert_str_eq(settings.group, "a b");
    cr_assert(settings.dry_run);
    cr_assert_eq(settings.records, 7);
    cr_assert_eq(settings.linger_ms, 1800000);
    cr_assert_eq(config.operand_count, 3);
    cr_assert_str_eq(config.operands[0], "first");
    cr_assert_str_eq(config.operands[1], "second");
    cr_assert_str_eq(config.operands[2], "--group=c");
}

Test(config, the_last_flag_counts_and_a_bool_can_be_taken_back)
{
    ACCEPT("--group=a", "--dry-run", "--group=b", "--dry-run=false");
    cr_assert_str_eq(settings.group, "b");
    cr_assert_not(settings.dry_run);
}

Test(config, argv_is_left_as_it_was)
{
    char *argv[] = {(char[]){"program"}, (char[]){"operand"}, (char[]){"--kafka.a=b"},
                    (char[]){"--dry-run"}, NULL};
    char *before[5];
    memcpy(before, argv, sizeof argv);
    cr_assert_eq(read_argv(argv), 0);
    cr_assert_arr_eq(argv, before, sizeof argv);
    cr_assert_str_eq(argv[2], "--kafka.a=b");
    cr_assert_eq(config.operands[0], argv[1], "operands are borrowed");
}

Test(config, wrong_flags_get_one_sentence)
{
    REFUSE("--gruop: unknown option; did you mean --group?", "--gruop=x");
    REFUSE("--batch_records: unknown option; did you mean --batch-records?", "--batch_records",
           "3");
    REFUSE("--batch-rec: unknown option; did you mean --batch-records?", "--batch-rec=3");
    REFUSE("--bootstrap-servers: unknown option; did you mean --kafka.bootstrap.servers?",
           "--bootstrap-servers=x");
    REFUSE("--sesame: unknown option; see --help", "--sesame");
    REFUSE("-x: unknown option; see --help", "-nx");
    REFUSE("--group: needs a value", "--group");
    REFUSE("-g: needs a value", "-g");
    REFUSE("--version: takes no value", "--version=1");
    REFUSE("--kafka.linger.ms: write the value into the same word: --kafka.linger.ms=VALUE",
           "--kafka.linger.ms", "5");
    REFUSE("--gruop: unknown option; did you mean --group?", "--gruop=x", "--sesame");
}

Test(config, help_and_version_leave_the_other_checks_out)
{
    setenv("PROJECTIONIST_BATCH_RECORDS", "nonsense", 1);
    ACCEPT("--sesame", "-h");
    cr_assert(config.help);
    pj_config_free(&config);
    ACCEPT("--version", "--batch-records=x", "--config=/nonexistent");
    cr_assert(config.version);
    cr_assert_not(config.help);
    pj_config_free(&config);
    unsetenv("PROJECTIONIST_BATCH_RECORDS");
    ACCEPT("--group", "--help");
    cr_assert_not(config.help, "it is the value of --group");
    cr_assert_str_eq(settings.group, "--help");
}

/* --- values ---------------------------------------------------------------------------------- */

Test(config, values_are_checked_and_named_by_their_source)
{
    REFUSE("--batch-records: '12x' is not a whole number", "--batch-records=12x");
    REFUSE("--batch-records: '' is not a whole number", "--batch-records=");
    REFUSE("-b: must be between 1 and 100000, not 0", "-b0");
    REFUSE("--batch-records: '99999999999999999999' is too large",
           "--batch-records=99999999999999999999");
    REFUSE("--linger: '5' is not a duration such as 250ms, 30s, 5m or 2h", "--linger=5");
    REFUSE("--linger: must be between 0 and 1h, not 90m", "--linger=90m");
    REFUSE("--batch-bytes: '1MB' is not a size such as 512, 64KiB, 8MiB or 1GiB",
           "--batch-bytes=1MB");
    REFUSE("--batch-bytes: '9999999999GiB' is too large", "--batch-bytes=9999999999GiB");
    REFUSE("--log-format: must be one of logfmt, json, not 'xml'", "--log-format=xml");
    REFUSE("--log-format: must be one of logfmt, json, not 'logfmt|json'",
           "--log-format=logfmt|json");
    REFUSE("--dry-run: must be true or false, not 'maybe'", "--dry-run=maybe");
    setenv("PROJECTIONIST_LOG_FORMAT", "xml", 1);
    REFUSE("PROJECTIONIST_LOG_FORMAT: must be one of logfmt, json, not 'xml'");
}

Test(config, a_name_that_must_not_be_empty_is_refused_where_it_is_from)
{
    char sentence[256];
    REFUSE("--group: must not be empty; leave it out for the default", "--group=");
    REFUSE("-g: must not be empty; leave it out for the default", "-g", "");
    write_file("group =\n");
    snprintf(sentence, sizeof sentence,
             "%s:1: group: must not be empty; leave it out for the default", file_path);
    REFUSE(sentence, "--config", file_path);
    setenv("PROJECTIONIST_GROUP", "", 1);
    ACCEPT();
    cr_assert_null(settings.group, "an empty variable is not set");
    pj_config_free(&config);
    ACCEPT("--postgres-dsn=");
}

Test(config, parse_durations_and_sizes)
{
    static const struct {
        const char *text;
        int64_t ms;
    } durations[] = {{"0", 0},        {"250ms", 250},   {"30s", 30000}, {"5m", 300000},
                     {"2h", 7200000}, {"1d", 86400000}, {"-1s", -1000}};
    static const struct {
        const char *text;
        int64_t bytes;
    } sizes[] = {{"0", 0}, {"512", 512}, {"64KiB", 65536}, {"8MiB", 8 << 20}, {"1GiB", 1 << 30}};
    static const char *const wrong[] = {"", " 1s", "1 s", "s", "+1s", "1.5s", "1s ", "0x1s", "1S"};
    int64_t value;
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        cr_assert_eq(pj_parse_duration("x", durations[i].text, 0, 0, &value, &error), 0);
        cr_assert_eq(value, durations[i].ms, "%s", durations[i].text);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        cr_assert_eq(pj_parse_size("x", sizes[i].text, 0, 0, &value, &error), 0);
        cr_assert_eq(value, sizes[i].bytes, "%s", sizes[i].text);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_eq(pj_parse_duration("x", wrong[i], 0, 0, &value, &error), -1, "'%s'", wrong[i]);
    cr_assert_eq(pj_parse_integer("x", "-9223372036854775808", 0, 0, &value, &error), 0);
    cr_assert_eq(value, INT64_MIN);
}

/* --- the environment ------------------------------------------------------------------------- */

Test(config, pass_through_from_everywhere)
{
    write_file("kafka.client.id = file\n[kafka]\nsasl.password = p = q\n[postgres]\nsslmode = x\n");
    setenv("PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092", 1);
    setenv("PROJECTIONIST_POSTGRES_TARGET_SESSION_ATTRS", "read-write", 1);
    setenv("PROJECTIONIST_POSTGRES_SSLMODE", "require", 1);
    ACCEPT("--config", file_path, "--kafka.client.id=flag", "--postgres.sslmode=verify-full");
    cr_assert_str_eq(pj_properties_get(&config.kafka, "bootstrap.servers"), "127.0.0.1:9092");
    cr_assert_str_eq(pj_properties_get(&config.kafka, "client.id"), "flag");
    cr_assert_str_eq(pj_properties_get(&config.kafka, "sasl.password"), "p = q");
    cr_assert_str_eq(pj_properties_get(&config.postgres, "target_session_attrs"), "read-write");
    cr_assert_str_eq(pj_properties_get(&config.postgres, "sslmode"), "verify-full");
    cr_assert_null(pj_properties_get(&config.kafka, "group.id"));
    cr_assert_eq(config.kafka.count, 3);
    cr_assert_eq(config.postgres.count, 2);
}

Test(config, an_option_of_the_table_is_no_pass_through)
{
    setenv("PROJECTIONIST_POSTGRES_DSN", "host=db", 1);
    ACCEPT();
    cr_assert_str_eq(settings.dsn, "host=db");
    cr_assert_eq(config.postgres.count, 0);
    pj_config_free(&config);
    REFUSE("--postgres.dsn: '--postgres.dsn' is spelt --postgres-dsn", "--postgres.dsn=host=db");
}

Test(config, the_dsn_of_another_program_is_no_key_of_libpq)
{
    static const struct pj_option none[] = {{0}};
    char *argv[] = {(char[]){"program"}, NULL};
    setenv("PROJECTIONIST_POSTGRES_DSN", "host=db", 1);
    setenv("PROJECTIONIST_POSTGRES_DSN_FILE", "/nonexistent", 1);
    cr_assert_eq(pj_config_read(&config, none, NULL, 1, argv, &error), 0, "%s", error.message);
    cr_assert_eq(config.postgres.count, 0);
}

Test(config, variables_of_others_and_empty_ones_are_passed_over)
{
    setenv("PROJECTIONIST_CLUSTER_DIR", "x", 1);
    setenv("PROJECTIONIST_BRIDGE_ID", "x", 1);
    setenv("PROJECTIONIST_GATEWAY_TOKEN_FILE", "/nonexistent", 1);
    setenv("PROJECTIONIST_ABRACADABRA", "x", 1);
    setenv("PROJECTIONIST_BATCH_RECORDS", "", 1);
    setenv("PROJECTIONIST_CONFIG", "", 1);
    setenv("PROJECTIONIST_KAFKA_", "x", 1);
    ACCEPT();
    cr_assert_eq(settings.records, 500);
    cr_assert_eq(config.kafka.count, 0);
    cr_assert_str_eq(config.unknown, "PROJECTIONIST_ABRACADABRA", "for a warning");
}

Test(config, a_mistyped_variable_is_an_error_with_a_suggestion)
{
    static const char *const slips[][2] = {
        {"BATCH_RECORD", "BATCH_RECORDS"},
        {"BATCHRECORDS", "BATCH_RECORDS"},
        {"batch_records", "BATCH_RECORDS"},
        {"GRUOP_FILE", "GROUP_FILE"},
        {"KAFAK_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"},
        {"BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"},
        {"REGISTRY_URL", "SCHEMA_REGISTRY_URL"},
        {"POSTGRESQL_DSN", "POSTGRES_DSN"},
        {"GATEWAY_TOKN_FILE", "GATEWAY_TOKEN_FILE"},
        {"TELEMTRY_CA_FILE", "TELEMETRY_CA_FILE"},
        {"LOGLEVEL", "LOG_LEVEL"},
    };
    for (size_t i = 0; i < sizeof slips / sizeof slips[0]; i++) {
        char variable[128];
        char sentence[256];
        snprintf(variable, sizeof variable, "PROJECTIONIST_%s", slips[i][0]);
        snprintf(sentence, sizeof sentence, "%s: unknown variable; did you mean PROJECTIONIST_%s?",
                 variable, slips[i][1]);
        setenv(variable, "x", 1);
        REFUSE(sentence);
        unsetenv(variable);
    }
}

Test(config, what_kubernetes_sets_for_services_is_no_setting)
{
    setenv("PROJECTIONIST_GATEWAY_SERVICE_HOST", "10.0.0.7", 1);
    setenv("PROJECTIONIST_GATEWAY_SERVICE_PORT", "80", 1);
    setenv("PROJECTIONIST_GATEWAY_SERVICE_PORT_HTTP", "80", 1);
    setenv("PROJECTIONIST_KAFKA_PORT", "tcp://10.0.0.7:9092", 1);
    setenv("PROJECTIONIST_KAFKA_PORT_9092_TCP", "tcp://10.0.0.7:9092", 1);
    setenv("PROJECTIONIST_KAFKA_PORT_9092_TCP_ADDR", "10.0.0.7", 1);
    setenv("PROJECTIONIST_POSTGRES_SERVICE_HOST", "10.0.0.8", 1);
    setenv("PROJECTIONIST_POSTGRES_PORT", "6432", 1); /* and this is libpq's */
    ACCEPT();
    cr_assert_eq(config.kafka.count, 0);
    cr_assert_eq(config.postgres.count, 1);
    cr_assert_str_eq(pj_properties_get(&config.postgres, "port"), "6432");
    cr_assert_null(config.unknown);
}

/* --- secrets --------------------------------------------------------------------------------- */

Test(config, a_variable_may_name_a_file_that_holds_the_value)
{
    write_file("hunter2 \n");
    setenv("PROJECTIONIST_SCHEMA_REGISTRY_PASSWORD_FILE", file_path, 1);
    setenv("PROJECTIONIST_KAFKA_SASL_PASSWORD_FILE", file_path, 1);
    setenv("PROJECTIONIST_SCHEMA_REGISTRY_CA_FILE", "/etc/ca.pem", 1);
    ACCEPT();
    cr_assert_str_eq(settings.password, "hunter2 ", "one newline is dropped, and nothing else");
    cr_assert_str_eq(pj_properties_get(&config.kafka, "sasl.password"), "hunter2 ");
    cr_assert_eq(config.kafka.count, 1);
    cr_assert_str_eq(settings.ca_file, "/etc/ca.pem", "an option may end in -file");
}

Test(config, a_file_that_is_too_large_is_refused)
{
    REFUSE("--config: /dev/zero is larger than 1024 KiB; is it the right file?",
           "--config=/dev/zero");
}

Test(config, a_bad_value_file_is_named)
{
    char sentence[256];
    setenv("PROJECTIONIST_GROUP_FILE", "/nonexistent", 1);
    REFUSE("PROJECTIONIST_GROUP_FILE: cannot read '/nonexistent': No such file or directory");
    setenv("PROJECTIONIST_GROUP_FILE", "/tmp", 1);
    REFUSE("PROJECTIONIST_GROUP_FILE: cannot read '/tmp': Is a directory");
    setenv("PROJECTIONIST_GROUP_FILE", "/dev/zero", 1);
    REFUSE("PROJECTIONIST_GROUP_FILE: /dev/zero is larger than 64 KiB; is it the right file?");
    setenv("PROJECTIONIST_GROUP_FILE", file_path, 1);
    for (int i = 0; i < 3; i++) {
        write_file((const char *const[]){"", "\n", "\r\n"}[i]);
        snprintf(sentence, sizeof sentence,
                 "PROJECTIONIST_GROUP_FILE: %s is empty; write the value into it, or unset the "
                 "variable",
                 file_path);
        REFUSE(sentence);
    }
    setenv("PROJECTIONIST_GROUP", "x", 1);
    REFUSE("PROJECTIONIST_GROUP_FILE: PROJECTIONIST_GROUP is set too; set one of the two");
    unsetenv("PROJECTIONIST_GROUP_FILE");
    write_file("many\n");
    setenv("PROJECTIONIST_BATCH_RECORDS_FILE", file_path, 1);
    snprintf(sentence, sizeof sentence,
             "PROJECTIONIST_BATCH_RECORDS_FILE (%s): 'many' is not a whole number", file_path);
    REFUSE(sentence);
    unsetenv("PROJECTIONIST_BATCH_RECORDS_FILE");
    setenv("PROJECTIONIST_CONFIG_FILE", file_path, 1);
    REFUSE("PROJECTIONIST_CONFIG_FILE: the variable that names the settings file is "
           "PROJECTIONIST_CONFIG");
}

Test(config, a_secret_that_cannot_be_one_is_refused)
{
    static const struct pj_option secrets[] = {
        {.name = "password", .kind = PJ_OPTION_SECRET, OFFSET(password)},
        {.name = "token", .kind = PJ_OPTION_SECRET, .token = true, OFFSET(dsn)},
        {0}};
    static const char *const refused[][2] = {
        {"password =", ":1: password: must not be empty"},
        {"token =", ":1: token: must not be empty"},
        {"password = two\x01lines", ":1: password: byte 4 is 0x01"},
        {"token = two words", ":1: token: byte 4 is 0x20"},
        {"token = t\xc3\xa4st", ":1: token: byte 2 is 0xc3"},
    };
    char *argv[] = {(char[]){"program"}, (char[]){"--config"}, file_path, NULL};
    char long_token[9000];
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        write_file(refused[i][0]);
        cr_assert_eq(pj_config_read(&config, secrets, &settings, 3, argv, &error), -1);
        cr_assert_not_null(strstr(error.message, refused[i][1]), "%s", error.message);
        cr_assert_eq(pj_error_exit_code(&error), PJ_EXIT_USAGE);
    }
    memset(long_token, 'x', sizeof long_token);
    memcpy(long_token, "token = ", 8);
    long_token[sizeof long_token - 1] = '\0';
    write_file(long_token);
    cr_assert_eq(pj_config_read(&config, secrets, &settings, 3, argv, &error), -1);
    cr_assert_not_null(strstr(error.message, "is longer than 8192 bytes"), "%s", error.message);
    write_file("password = p\xc3\xa4 ss \ntoken = a.b-c_d~+/==\n");
    cr_assert_eq(pj_config_read(&config, secrets, &settings, 3, argv, &error), 0, "%s",
                 error.message);
}

Test(config, secrets_are_refused_on_a_command_line)
{
    static const struct {
        const char *flag;
        const char *remedy;
    } refused[] = {
        {"--schema-registry-password=hunter2", "PROJECTIONIST_SCHEMA_REGISTRY_PASSWORD_FILE"},
        {"--kafka.sasl.password=hunter2", "PROJECTIONIST_KAFKA_SASL_PASSWORD_FILE"},
        {"--kafka.ssl.key.password=hunter2", "PROJECTIONIST_KAFKA_SSL_KEY_PASSWORD"},
        {"--kafka.sasl.oauthbearer.client.secret=hunter2", "_CLIENT_SECRET_FILE"},
        {"--postgres.password=hunter2", "PROJECTIONIST_POSTGRES_PASSWORD_FILE"},
        {"--postgres-dsn=postgresql://me:hunter2@db/x", "PGPASSFILE"},
        {"--postgres-dsn=postgresql://db/x?user=me&password=hunter2", "PGPASSFILE"},
        {"--postgres-dsn=host=db password = hunter2", "PROJECTIONIST_POSTGRES_DSN_FILE"},
        {"--postgres.dbname=postgresql://me:hunter2@db/x", "PROJECTIONIST_POSTGRES_DSN"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char flag[128];
        snprintf(flag, sizeof flag, "%s", refused[i].flag);
        cr_assert_eq(READ(flag), -1, "%s", flag);
        cr_assert_eq(pj_error_exit_code(&error), PJ_EXIT_USAGE);
        cr_assert_not_null(strstr(error.message, refused[i].remedy), "%s", error.message);
        cr_assert_null(strstr(error.message, "hunter2"), "%s", error.message);
    }
}

Test(config, what_holds_no_password_is_accepted_on_a_command_line)
{
    static const char *const accepted[] = {
        "--postgres-dsn=postgresql://me@db:5432/x",
        "--postgres-dsn=postgresql://db:5432/a@b:c",
        "--postgres-dsn=host=db user=me dbname=password",
        "--postgres-dsn=passfile=/run/secrets/pgpass",
        "--postgres.passfile=/run/secrets/pgpass",
    };
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        char flag[128];
        snprintf(flag, sizeof flag, "%s", accepted[i]);
        ACCEPT(flag);
        pj_config_free(&config);
    }
}

Test(config, a_dsn_with_a_password_may_come_from_the_environment)
{
    setenv("PROJECTIONIST_POSTGRES_DSN", "postgresql://me:hunter2@db/x", 1);
    ACCEPT();
    cr_assert_str_eq(settings.dsn, "postgresql://me:hunter2@db/x");
}

/* --- the file -------------------------------------------------------------------------------- */

Test(config, a_file_with_all_that_it_may_have)
{
    char content[4096];
    char servers[1500];
    memset(servers, 'b', sizeof servers);
    servers[sizeof servers - 1] = '\0';
    snprintf(content, sizeof content,
             "\xef\xbb\xbfgroup = a ; b # c\r\n"
             "\n"
             "# a comment = of a line\n"
             "; another\n"
             "    log-format=json   \n"
             "batch-records : 9\n"
             "kafka.bootstrap.servers = %s\n"
             "dry-run = yes",
             servers);
    write_file(content);
    ACCEPT("--config", file_path);
    cr_assert_str_eq(settings.group, "a ; b # c");
    cr_assert_str_eq(settings.format, "json");
    cr_assert_eq(settings.records, 9);
    cr_assert(settings.dry_run);
    cr_assert_str_eq(pj_properties_get(&config.kafka, "bootstrap.servers"), servers,
                     "a line may be longer than libinih's");
}

Test(config, wrong_lines_are_named_by_file_and_number)
{
    static const char *const cases[][2] = {
        {"group = a\nbatch_records = 3\n",
         ":2: unknown name 'batch_records'; did you mean batch-records?"},
        {"sesame = 3\n", ":1: unknown name 'sesame'; see --help"},
        {"# c\n\nbatch-records = x\n", ":3: batch-records: 'x' is not a whole number"},
        {"group\n", ":1: syntax error; a line is 'name = value', '[section]' or '# comment'"},
        {"[kafka\n", ":1: syntax error; a line is 'name = value', '[section]' or '# comment'"},
        {"[engine]\ngroup = a\n",
         ":2: unknown section [engine]; the sections are [kafka] and [postgres]"},
        {"[postgres]\ndsn = a\n", ":2: 'postgres.dsn' is spelt postgres-dsn"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sentence[256];
        write_file(cases[i][0]);
        snprintf(sentence, sizeof sentence, "%s%s", file_path, cases[i][1]);
        REFUSE(sentence, "--config", file_path);
    }
    REFUSE("--config: cannot read '/nonexistent': No such file or directory",
           "--config=/nonexistent");
}

/* --- the help text --------------------------------------------------------------------------- */

Test(config, the_help_says_all_about_an_option_within_its_width)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    pj_config_print_options(out, options, 60);
    fclose(out);
    cr_assert_not_null(strstr(text, "  -b, --batch-records N\n"
                                    "        How many records a transaction has at most; more of\n"
                                    "        them are faster to write and take longer to do\n"
                                    "        again. Default: 500.\n"
                                    "        Variable: PROJECTIONIST_BATCH_RECORDS\n"),
                       "%s", text);
    cr_assert_not_null(strstr(text, "One of: logfmt, json."));
    cr_assert_not_null(strstr(text, "  PROJECTIONIST_SCHEMA_REGISTRY_PASSWORD=PASSWORD\n"));
    cr_assert_null(strstr(text, "--schema-registry-password"), "it would be refused");
    static const char *const common[] = {
        "--config FILE", "--kafka.KEY=VALUE", "--postgres.KEY=VALUE",
        "-h, --help",    "--version",         "NAME_FILE"};
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++)
        cr_assert_not_null(strstr(text, common[i]), "%s", common[i]);
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
        cr_assert_leq(strcspn(line, "\n"), 60, "%.70s", line);
    free(text);
}
