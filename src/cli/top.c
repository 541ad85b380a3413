/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist top: status, again and again, with what has happened in between. */
#include "base/back_off.h"
#include "base/clock.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/screen.h"
#include "cli/status.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct settings {
    struct pj_cli_servers servers;
    const char *group;
    bool json;
    bool once;
    int64_t interval_ms;
};

/* One look, which lives until the next but one. */
struct sample {
    struct pj_arena *arena;
    struct pj_result **results;
    size_t result_count;
    struct pj_status status;
    int64_t at_ms; /* 0: there is none, because … */
    struct pj_error error;
};

/* --- looking --------------------------------------------------------------------------------- */

static void forget(struct sample *sample)
{
    for (size_t i = 0; i < sample->result_count; i++)
        pj_result_free(sample->results[i]);
    free(sample->results);
    sample->results = NULL;
    sample->result_count = 0;
    sample->at_ms = 0;
    pj_arena_reset(sample->arena);
}

/* What is read lives in the sample, not in the command. */
static int look(struct pj_cli *cli, const struct settings *settings, struct sample *sample)
{
    struct pj_cli inner = *cli;
    forget(sample);
    inner.arena = sample->arena;
    inner.results = NULL;
    inner.result_count = 0;
    int status = pj_status_collect(&inner, settings->group, &sample->status, &sample->error);
    sample->results = inner.results;
    sample->result_count = inner.result_count;
    cli->postgres = inner.postgres;
    cli->kafka = inner.kafka;
    if (status == 0) {
        sample->at_ms = pj_clock_monotonic_ms();
    } else if (cli->postgres != NULL) { /* another connection may work */
        pj_postgres_close(cli->postgres);
        cli->postgres = NULL;
    }
    return status;
}

static bool is_same(const struct pj_status_partition *a, const struct pj_status_partition *b)
{
    return a->partition == b->partition && strcmp(a->topic, b->topic) == 0 &&
           strcmp(a->group, b->group) == 0 && strcmp(a->cluster_id, b->cluster_id) == 0;
}

/* Nearly always at the same place. */
static const struct pj_status_partition *find(const struct pj_status *status, size_t consumer,
                                              size_t place,
                                              const struct pj_status_partition *wanted)
{
    if (consumer < status->count && place < status->consumers[consumer].count &&
        is_same(&status->consumers[consumer].partitions[place], wanted))
        return &status->consumers[consumer].partitions[place];
    for (size_t i = 0; i < status->count; i++) {
        for (size_t j = 0; j < status->consumers[i].count; j++) {
            if (is_same(&status->consumers[i].partitions[j], wanted))
                return &status->consumers[i].partitions[j];
        }
    }
    return NULL;
}

/* A second; -1 where one of the two is not known, or the offset was set back. */
static double rate(int64_t before, int64_t now, int64_t ms)
{
    return before < 0 || now < before || ms <= 0 ? -1 : (double)(now - before) * 1000 / (double)ms;
}

static void add_rate(double *sum, double part)
{
    if (part >= 0)
        *sum = (*sum > 0 ? *sum : 0) + part;
}

static void compare(struct sample *now, const struct sample *before)
{
    if (now->at_ms == 0 || before->at_ms == 0)
        return;
    for (size_t i = 0; i < now->status.count; i++) {
        struct pj_status_consumer *consumer = &now->status.consumers[i];
        for (size_t j = 0; j < consumer->count; j++) {
            struct pj_status_partition *partition = &consumer->partitions[j];
            const struct pj_status_partition *last = find(&before->status, i, j, partition);
            if (last == NULL)
                continue;
            int64_t ms = now->at_ms - before->at_ms;
            partition->read_rate = rate(last->committed, partition->committed, ms);
            partition->write_rate = rate(last->end, partition->end, ms);
            add_rate(&consumer->read_rate, partition->read_rate);
            add_rate(&consumer->write_rate, partition->write_rate);
        }
    }
}

/* --- showing --------------------------------------------------------------------------------- */

static const char *rate_text(char text[PJ_NUMBER_TEXT], double value)
{
    if (value < 0)
        return NULL;
    if (value > 0 && value < 10)
        pj_text_whole(text, PJ_NUMBER_TEXT, "%.1f", value);
    else
        pj_number_text(text, (int64_t)(value + 0.5));
    return text;
}

/* At the rates of now. */
static const char *time_left(char text[PJ_NUMBER_TEXT], int64_t lag, double read, double written)
{
    if (lag == 0)
        return "";
    if (lag < 0 || read < 0)
        return NULL;
    double gained = read - (written > 0 ? written : 0);
    if (gained <= 0)
        return "never";
    double seconds = (double)lag / gained;
    if (seconds > 99 * 3600)
        return "days";
    pj_progress_format_time(text, PJ_NUMBER_TEXT, (int64_t)(seconds + 0.5));
    return text;
}

static void add_rates(struct pj_text_table *table, int64_t lag, double read, double written)
{
    char text[PJ_NUMBER_TEXT];
    pj_text_table_add(table, rate_text(text, read));
    pj_text_table_add(table, rate_text(text, written));
    pj_text_table_add(table, time_left(text, lag, read, written));
}

static void print_consumers(const struct pj_status *status)
{
    static const char *const titles[] = {"CONSUMER",      ">PARTITIONS", ">LAG",
                                         ">READ/S",       ">WRITTEN/S",  ">CAUGHT UP IN",
                                         ">DEAD LETTERS", "LAST COMMIT", NULL};
    char text[PJ_NUMBER_TEXT];
    struct pj_text_table *table = pj_text_table_new(titles);
    for (size_t i = 0; i < status->count; i++) {
        const struct pj_status_consumer *consumer = &status->consumers[i];
        pj_text_table_add(table, consumer->group);
        pj_text_table_add(table, pj_number_text(text, (int64_t)consumer->count));
        pj_text_table_add(table, pj_number_text(text, consumer->lag));
        add_rates(table, consumer->lag, consumer->read_rate, consumer->write_rate);
        pj_text_table_add(table, pj_number_text(text, consumer->open_dead_letters));
        pj_text_table_add(table, pj_status_age(text, consumer->age_s));
    }
    pj_text_table_end(table, stdout);
}

/* What has a problem, then what has the most to read. */
static int compare_partitions(const void *a, const void *b)
{
    const struct pj_status_partition *x = *(const struct pj_status_partition *const *)a;
    const struct pj_status_partition *y = *(const struct pj_status_partition *const *)b;
    int compared = (y->problem != NULL) - (x->problem != NULL);
    if (compared == 0)
        compared = (y->lag > x->lag) - (y->lag < x->lag);
    if (compared == 0)
        compared = strcmp(x->group, y->group);
    if (compared == 0)
        compared = strcmp(x->topic, y->topic);
    return compared != 0 ? compared : (x->partition > y->partition) - (x->partition < y->partition);
}

static const struct pj_status_partition **sort_partitions(const struct pj_status *status,
                                                          struct pj_arena *arena, size_t *count)
{
    size_t most = 0;
    for (size_t i = 0; i < status->count; i++)
        most += status->consumers[i].count;
    const struct pj_status_partition **sorted = pj_arena_alloc(arena, (most + 1) * sizeof(void *));
    *count = 0;
    for (size_t i = 0; i < status->count; i++) {
        for (size_t j = 0; j < status->consumers[i].count; j++)
            sorted[(*count)++] = &status->consumers[i].partitions[j];
    }
    qsort(sorted, *count, sizeof *sorted, compare_partitions);
    return sorted;
}

static void print_partitions(const struct pj_status_partition *const *partitions, size_t count)
{
    static const char *const titles[] = {"CONSUMER",      "TOPIC",   ">PARTITION",
                                         ">LAG",          ">READ/S", ">WRITTEN/S",
                                         ">CAUGHT UP IN", "OWNER",   NULL};
    char text[PJ_NUMBER_TEXT];
    struct pj_text_table *table = pj_text_table_new(titles);
    for (size_t i = 0; i < count; i++) {
        const struct pj_status_partition *partition = partitions[i];
        pj_text_table_add(table, partition->group);
        pj_text_table_add(table, partition->topic);
        pj_text_table_add(table, pj_number_text(text, partition->partition));
        pj_text_table_add(table, pj_number_text(text, partition->lag));
        add_rates(table, partition->lag, partition->read_rate, partition->write_rate);
        pj_text_table_add(table, partition->owner);
    }
    pj_text_table_end(table, stdout);
}

static void print_headline(const struct pj_status *status)
{
    int64_t lag = 0, letters = 0;
    size_t problems = 0;
    size_t never = 0;
    char time_text[16], lag_text[PJ_NUMBER_TEXT], letters_text[PJ_NUMBER_TEXT];
    struct tm now;
    time_t seconds = time(NULL);
    for (size_t i = 0; i < status->count; i++) {
        const struct pj_status_consumer *consumer = &status->consumers[i];
        bool never_ran = consumer->count == 0;
        letters += consumer->open_dead_letters;
        never += never_ran;
        lag = lag < 0 || (consumer->lag < 0 && !never_ran) ? -1
              : never_ran                                  ? lag
                                                           : lag + consumer->lag;
        for (size_t j = 0; j < consumer->count; j++)
            problems += consumer->partitions[j].problem != NULL;
    }
    strftime(time_text, sizeof time_text, "%H:%M:%S", localtime_r(&seconds, &now));
    printf("%s  %s  %s records to read, %s open dead letters, %zu %s\n\n", time_text,
           problems > 0  ? "PROBLEMS"
           : lag < 0     ? "UNKNOWN"
           : lag > 0     ? "BEHIND"
           : never > 0   ? "SOME NEVER RAN"
           : letters > 0 ? "ALL READ"
                         : "ALL WELL",
           pj_number_text(lag_text, lag), pj_number_text(letters_text, letters), problems,
           problems == 1 ? "problem" : "problems");
}

/* As much as fits; `lines` 0: all. */
static void print_sample(struct sample *sample, int lines)
{
    const struct pj_status *status = &sample->status;
    size_t count;
    const struct pj_status_partition **sorted = sort_partitions(status, sample->arena, &count);
    print_headline(status);
    print_consumers(status);
    size_t problems = 0;
    while (problems < count && sorted[problems]->problem != NULL)
        problems++;
    size_t used = 3 + status->count;
    size_t shown_problems = problems > 5 && lines > 0 ? 5 : problems;
    if (status->kafka_error != NULL)
        printf("\nWhere the topics end is not known: %s\n", status->kafka_error);
    used += status->kafka_error != NULL ? 2 : 0;
    if (shown_problems > 0)
        putchar('\n');
    for (size_t i = 0; i < shown_problems; i++)
        pj_status_print_problem(sorted[i]->group, sorted[i]);
    if (shown_problems < problems)
        printf("and %zu more problems\n", problems - shown_problems);
    used += shown_problems + (shown_problems > 0) + (shown_problems < problems);
    size_t room = lines == 0 ? count : (size_t)lines > used + 4 ? (size_t)lines - used - 4 : 0;
    size_t shown = count < room ? count : room;
    if (shown > 0) {
        putchar('\n');
        print_partitions(sorted, shown);
    }
    if (shown < count && shown > 0)
        printf("and %zu more partitions\n", count - shown);
}

/* --- on a terminal --------------------------------------------------------------------------- */

static void draw(struct sample *sample, const struct settings *settings)
{
    pj_screen_begin();
    int lines = pj_screen_size().lines;
    if (sample->at_ms == 0)
        printf("%s\nTrying again every %lld s; q ends.\n", sample->error.message,
               (long long)(settings->interval_ms / 1000));
    else
        print_sample(sample, lines);
    pj_screen_end();
}

static int watch(struct pj_cli *cli, const struct settings *settings, struct sample samples[2],
                 struct pj_error *error)
{
    int status = PJ_EXIT_OK;
    pj_screen_open();
    for (size_t turn = 0;; turn++) {
        struct sample *now = &samples[turn % 2];
        int64_t next_ms = pj_clock_monotonic_ms() + settings->interval_ms;
        /* A server that is away may come back; what is wrong with the command does not. */
        if (look(cli, settings, now) != 0 && now->error.class != PJ_RETRY && turn == 0) {
            *error = now->error;
            status = -1;
            break;
        }
        compare(now, &samples[(turn + 1) % 2]);
        int key = 0;
        do {
            draw(now, settings);
            int64_t left = next_ms - pj_clock_monotonic_ms();
            key = pj_screen_key(left > 0 ? left : 0);
        } while (key >= 0 && key != 'q' && key != 'Q' && pj_clock_monotonic_ms() < next_ms);
        if (key < 0 || key == 'q' || key == 'Q')
            break;
    }
    pj_screen_close();
    return status;
}

/* --- or once --------------------------------------------------------------------------------- */

static int show_once(struct pj_cli *cli, const struct settings *settings, struct sample samples[2],
                     struct pj_error *error)
{
    for (int turn = 0; turn < 2; turn++) {
        if (turn > 0)
            poll(NULL, 0, (int)settings->interval_ms);
        if (look(cli, settings, &samples[turn]) != 0) {
            *error = samples[turn].error;
            return -1;
        }
    }
    compare(&samples[1], &samples[0]);
    if (settings->json)
        pj_status_print_json(&samples[1].status);
    else
        print_sample(&samples[1], 0);
    return samples[1].status.kafka_error == NULL ? PJ_EXIT_OK : PJ_EXIT_UNAVAILABLE;
}

static int run(struct pj_cli *cli, const void *given, struct pj_error *error)
{
    const struct settings *settings = given;
    struct sample samples[2] = {{.arena = pj_arena_new()}, {.arena = pj_arena_new()}};
    bool once = settings->once || settings->json || !pj_screen_possible();
    int status =
        once ? show_once(cli, settings, samples, error) : watch(cli, settings, samples, error);
    for (int i = 0; i < 2; i++) {
        forget(&samples[i]);
        pj_arena_free(samples[i].arena);
    }
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTION,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    PJ_CLI_GROUP_OPTION(struct settings,
                        "Only this consumer group; by default it is named after the projection."),
    PJ_OPTION(DURATION, "interval", offsetof(struct settings, interval_ms), "2s", "TIME",
              "How often to look; rates are over this time.", .least = 200, .most = 3600000),
    PJ_CLI_BOOL_OPTION(struct settings, once, "once", 0,
                       "Look twice, print once and end, as it does where there is no terminal."),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_top = {
    .name = "top",
    .summary = "watch how fast each consumer reads",
    .description =
        "  Shows, and shows again every --interval, what 'projectionist status' knows\n"
        "  and how it changes: records to read (LAG), read and written a second, and\n"
        "  when the consumer has caught up at that rate. Below are the problems, then\n"
        "  the partitions, those with the most to read first, as many as fit.\n"
        "\n"
        "  q ends it. Where standard input or output is no terminal, and with --once or\n"
        "  --json, it looks twice, prints once, and ends.\n",
    .examples = "  projectionist top\n"
                "  projectionist top --group CONSUMER --interval 10s\n"
                "  projectionist top --json | jq '.consumers[] | {group, read_per_second}'\n",
    .exit_status = "     (7 also when only Kafka is away, and what Postgres knows was shown)\n",
    .operands = "[SYSTEM|PROJECTION]...",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
