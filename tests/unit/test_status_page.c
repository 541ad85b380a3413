/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/status_page.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct pj_page_item charts[] = {
    {"Behind", "behind", PJ_PAGE_SECONDS},
    {"To read", "lag", PJ_PAGE_SUM},
    {"Retention", "used", PJ_PAGE_PERCENT},
    {"Records", "records_total", PJ_PAGE_RATE},
    {0},
};
static const struct pj_page_item rows[] = {
    {"To read", "lag", PJ_PAGE_SUM},
    {"Epoch", "epoch", PJ_PAGE_SUM},
    {0},
};
static const struct pj_page page = {
    .name = "a <consumer>",
    .well = "All is read.",
    .behind = "behind",
    .charts = charts,
    .rows_title = "Partitions",
    .rows = rows,
    .letters = "letters_total",
    .letters_hint = "See dead-letters list.",
};

static struct pj_metrics *metrics;
static struct pj_page_history *history;
static char *html;

static void set_up(void)
{
    metrics = pj_metrics_new();
    history = pj_page_history_new(&page);
}

static void tear_down(void)
{
    pj_page_history_free(history);
    pj_metrics_free(metrics);
    free(html);
}

TestSuite(status_page, .init = set_up, .fini = tear_down);

static struct pj_metric *set(const char *name, const char *labels, int64_t value)
{
    struct pj_metric *metric = pj_metrics_add(
        metrics, strcmp(name, "used") == 0 ? PJ_GAUGE_MILLI : PJ_GAUGE, name, labels, "Help.");
    pj_metric_set(metric, value);
    return metric;
}

static void render(const char *trouble)
{
    struct pj_builder out = {0};
    pj_page_render(&out, &page, history, metrics, trouble);
    free(html);
    html = pj_builder_take(&out);
}

static void expect(const char *text)
{
    cr_assert_not_null(strstr(html, text), "no %s in %s", text, html);
}

static void expect_no(const char *text)
{
    cr_assert_null(strstr(html, text), "%s in %s", text, html);
}

Test(status_page, says_first_whether_it_is_well)
{
    set("behind", NULL, 59);
    set("lag", "topic=\"t\",partition=\"0\"", 7);
    render(NULL);
    expect("<header class=\"well\"><h1>Well</h1><p>All is read.</p>");
    render("starting");
    expect("<header class=\"warn\"><h1>Starting</h1><p>starting</p>");
    render("Postgres is away: \"<b>\" & more");
    expect("<header class=\"bad\"><h1>Not working</h1>"
           "<p>Postgres is away: &quot;&lt;b&gt;&quot; &amp; more</p>");
    set("behind", NULL, 754);
    render(NULL);
    expect("<header class=\"warn\"><h1>Behind by 12m 34s</h1>");
    set("behind", NULL, 0);
    set("letters_total", "reason=\"decode\"", 1);
    set("letters_total", "reason=\"rows\"", 2);
    render(NULL);
    expect("<header class=\"warn\"><h1>Well, but 3 refused</h1>");
    expect("See dead-letters list.");
}

Test(status_page, shows_the_worst_partition_first)
{
    pj_metrics_set_labels(metrics, (const struct pj_label[]){{"group", "<g>"}, {0}});
    set("lag", "topic=\"a\",partition=\"2\"", 5);
    set("lag", "topic=\"a\",partition=\"10\"", 5);
    set("lag", "topic=\"<\\\"b\\\\\",partition=\"0\"", 1234567);
    struct pj_metric *gone = set("lag", "topic=\"c\",partition=\"0\"", 9);
    set("epoch", "topic=\"a\",partition=\"2\"", 3);
    pj_metric_hide(gone);
    render(NULL);
    expect(
        "<th>Topic</th><th>Partition</th><th class=\"n\">To read</th><th class=\"n\">Epoch</th>");
    expect(
        "<tr><td>&lt;&quot;b\\</td><td>0</td><td class=\"n\">1,234,567</td><td class=\"n\">?</td>"
        "</tr><tr><td>a</td><td>2</td><td class=\"n\">5</td><td class=\"n\">3</td></tr>"
        "<tr><td>a</td><td>10</td><td class=\"n\">5</td>");
    expect_no("<td>c</td>");
    expect("a &lt;consumer&gt; · group: &lt;g&gt;");
    expect("<h2>Dead letters</h2><p class=\"quiet\">None since the start.</p>");
}

Test(status_page, bounds_the_rows_and_says_so)
{
    for (int i = 0; i < 203; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "topic=\"t\",partition=\"%d\"", i);
        set("lag", labels, i);
    }
    render(NULL);
    expect("and 3 more");
}

Test(status_page, draws_what_it_has_seen)
{
    set("lag", NULL, 40);
    set("used", NULL, 812);
    pj_page_history_look(history, metrics);
    pj_page_history_look(history, metrics); /* too soon: no second sample */
    render(NULL);
    expect("Retention</span><b>81 %</b>");
    expect("To read</span><b>40</b><svg viewBox=\"0 0 240 40\" preserveAspectRatio=\"none\" "
           "aria-hidden=\"true\"><polygon points=\"240.0,40 240.0,2.0 240.0,40\"/>"
           "<polyline points=\"240.0,2.0 \"/></svg>");
    expect("Records</span><b>?</b>");
}

Test(status_page, shows_the_last_warnings_once)
{
    pj_log_configure("test", PJ_ERROR, PJ_LOG_LOGFMT); /* warnings are kept all the same */
    render(NULL);
    expect("<h2>Last warnings</h2><p class=\"quiet\">None since the start.</p>");
    pj_log(PJ_INFO, "all is well");
    pj_log(PJ_WARN, "dead letter", pj_f_int("offset", 7), pj_f_str("reason", "<script>"));
    pj_log(PJ_WARN, "waiting", pj_f_str("reason", "Postgres is away"), pj_f_int("failures", 1));
    pj_log(PJ_WARN, "waiting", pj_f_str("reason", "Postgres is away"), pj_f_int("failures", 2));
    render(NULL);
    expect("ago</td><td class=\"why\">waiting: Postgres is away (failures 2) "
           "<span class=\"quiet\">(2 times)</span></td>");
    expect("<td class=\"why\">dead letter: &lt;script&gt; (offset 7)</td>");
    expect_no("all is well");
    cr_assert_lt(strstr(html, "failures 2"), strstr(html, "dead letter: "), "the newest first");
    pj_log(PJ_ERROR, "it ends");
    render(NULL);
    expect("<td class=\"why\"><strong>error</strong> it ends</td>");
    for (int i = 0; i < 20; i++) {
        char message[32];
        snprintf(message, sizeof message, "message %d", i);
        pj_log(PJ_WARN, message);
    }
    render(NULL);
    expect("message 10");
    expect_no("message 9<");
}
