/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status_page.h"

#include "base/clock.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"

#include <inttypes.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAMPLE_MS = 5000,
    SAMPLES = 121,    /* ten minutes */
    FEW_SAMPLES = 24, /* fewer do not take the whole width */
    ROWS_MOST = 200,
    COLUMNS_MOST = 8,
    FAR_BEHIND_S = 60,
    PICTURE_WIDTH = 240,
    PICTURE_HEIGHT = 40,
};

static const char style[] =
    ":root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--text:#15181d;--quiet:#5c6470;"
    "--line:#dfe3e8;--well:#14713d;--warn:#8f5200;--bad:#b3221b;--ink:#2360c4}"
    "@media(prefers-color-scheme:dark){:root{--page:#101317;--card:#1a1e24;--text:#e9ecf0;"
    "--quiet:#9aa4b1;--line:#2d343d;--well:#1c7a45;--warn:#94600a;--bad:#bb2d26;--ink:#79a8ff}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--page);color:var(--text);"
    "font:15px/1.45 system-ui,sans-serif}"
    "header{border-radius:.7rem;padding:1rem 1.2rem;color:#fff;background:var(--well)}"
    "header.warn{background:var(--warn)}header.bad{background:var(--bad)}"
    "header p{margin:.25rem 0 "
    "0;overflow-wrap:anywhere}h1{margin:0;font-size:1.7rem;line-height:1.2}"
    ".who{opacity:.85;font-size:.85rem}"
    "h2{font-size:1rem;margin:1.4rem 0 .5rem}"
    ".cards{display:grid;gap:.7rem;margin-top:.7rem;"
    "grid-template-columns:repeat(3,1fr)}"
    ".card,.list{background:var(--card);border:1px solid var(--line);border-radius:.7rem}"
    ".card{padding:.7rem .9rem}"
    ".card b{display:block;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums}"
    ".quiet{color:var(--quiet);font-size:.85rem}"
    ".alert b{color:var(--bad)}@media(prefers-color-scheme:dark){.alert b{color:#ff8a80}}"
    "svg{display:block;width:100%;height:2.6rem;margin-top:.3rem}"
    "polyline{fill:none;stroke:var(--ink);stroke-width:1.6;vector-effect:non-scaling-stroke}"
    "polygon{fill:var(--ink);opacity:.14}"
    ".list{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.4rem .9rem;border-bottom:1px solid var(--line)}"
    "tr:last-child td{border-bottom:0}th{color:var(--quiet);font-weight:500;font-size:.85rem}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "td.why{overflow-wrap:anywhere}"
    "a{color:var(--ink)}footer{margin:1.4rem 0;color:var(--quiet);font-size:.85rem}"
    "@media(max-width:34rem){body{padding:.6rem}th,td{padding:.35rem .5rem}"
    ".cards{grid-template-columns:1fr 1fr}.card{padding:.55rem .7rem}.card b{font-size:1.2rem}"
    "h1{font-size:1.4rem}}";

const char *pj_page_policy(void)
{
    static char policy[256];
    unsigned char digest[32], text[48];
    if (*policy != '\0')
        return policy;
    PJ_CHECK(EVP_Digest(style, strlen(style), digest, NULL, EVP_sha256(), NULL) == 1,
             "libcrypto has no SHA-256");
    EVP_EncodeBlock(text, digest, sizeof digest);
    pj_text_whole(policy, sizeof policy,
                  "default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; "
                  "frame-ancestors 'none'",
                  (const char *)text);
    return policy;
}

/* --- texts ----------------------------------------------------------------------------------- */

static void add_escaped(struct pj_builder *out, const char *text)
{
    for (; *text != '\0'; text++) {
        const char *entity = *text == '&'   ? "&amp;"
                             : *text == '<' ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        if (entity != NULL)
            pj_builder_add(out, "%s", entity);
        else
            pj_builder_add_bytes(out, text, 1);
    }
}

/* 12,345.6 */
static void add_number(struct pj_builder *out, double value)
{
    char digits[48];
    bool whole = value >= 100 || value == floor(value);
    size_t length = pj_text_whole(digits, sizeof digits, whole ? "%.0f" : "%.1f", value);
    size_t integer = strcspn(digits, ".");
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && i < integer && digits[i - 1] != '-' && (integer - i) % 3 == 0)
            pj_builder_add_bytes(out, ",", 1);
        pj_builder_add_bytes(out, &digits[i], 1);
    }
}

static void add_value(struct pj_builder *out, enum pj_page_kind kind, double value)
{
    char text[32];
    if (isnan(value)) {
        pj_builder_add(out, "?");
    } else if (kind == PJ_PAGE_SECONDS) {
        pj_progress_format_time(text, sizeof text, (int64_t)value);
        pj_builder_add(out, "%s", text);
    } else if (kind == PJ_PAGE_PERCENT) {
        pj_builder_add(out, "%.0f %%", value * 100);
    } else {
        add_number(out, value);
        if (kind == PJ_PAGE_RATE)
            pj_builder_add(out, "/s");
    }
}

/* --- what the metrics say -------------------------------------------------------------------- */

struct sum {
    enum pj_page_kind kind;
    double value; /* NAN: there is no series */
};

static void add_to_sum(void *context, const char *labels, double value)
{
    struct sum *sum = context;
    (void)labels;
    bool greatest = sum->kind == PJ_PAGE_SECONDS || sum->kind == PJ_PAGE_PERCENT;
    if (isnan(sum->value) || (greatest && value > sum->value))
        sum->value = value;
    else if (!greatest)
        sum->value += value;
}

static double value_of(struct pj_metrics *metrics, const char *metric, enum pj_page_kind kind)
{
    struct sum sum = {kind, NAN};
    pj_metrics_each(metrics, metric, add_to_sum, &sum);
    return sum.value;
}

/* --- the last ten minutes -------------------------------------------------------------------- */

struct pj_page_history {
    const struct pj_page *page;
    int64_t looked_ms;
    size_t count; /* of samples; the last one is the newest */
    double samples[PJ_PAGE_CHARTS_MOST][SAMPLES];
    double counted[PJ_PAGE_CHARTS_MOST]; /* a rate's counter when last looked at */
    int64_t started_ms;
};

struct pj_page_history *pj_page_history_new(const struct pj_page *page)
{
    struct pj_page_history *history = pj_alloc(sizeof *history);
    history->page = page;
    history->started_ms = pj_clock_monotonic_ms();
    return history;
}

void pj_page_history_free(struct pj_page_history *history)
{
    free(history);
}

void pj_page_history_look(struct pj_page_history *history, struct pj_metrics *metrics)
{
    int64_t before_ms = history->looked_ms;
    if (!pj_clock_every(&history->looked_ms, SAMPLE_MS))
        return;
    double seconds = (double)(history->looked_ms - before_ms) / 1000;
    bool rated = before_ms != 0;
    size_t at = history->count < SAMPLES ? history->count : SAMPLES - 1;
    for (size_t c = 0; history->page->charts[c].title != NULL; c++) {
        const struct pj_page_item *chart = &history->page->charts[c];
        double value = value_of(metrics, chart->metric, chart->kind);
        double *samples = history->samples[c];
        if (history->count == SAMPLES)
            memmove(samples, samples + 1, (SAMPLES - 1) * sizeof *samples);
        samples[at] = value;
        if (chart->kind == PJ_PAGE_RATE) {
            double counted = isnan(value) ? 0 : value;
            samples[at] = rated ? (counted - history->counted[c]) / seconds : NAN;
            history->counted[c] = counted;
        }
    }
    if (history->count < SAMPLES)
        history->count++;
}

/* Time goes from left to right; the right end is now. */
static void add_picture(struct pj_builder *out, const double *samples, size_t count)
{
    double most = 0;
    double steps = count > FEW_SAMPLES ? (double)(count - 1) : FEW_SAMPLES;
    for (size_t i = 0; i < count; i++)
        most = samples[i] > most ? samples[i] : most;
    pj_builder_add(out,
                   "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
                   PICTURE_WIDTH, PICTURE_HEIGHT);
    struct pj_builder points = {0};
    double first = NAN, last = NAN;
    for (size_t i = 0; i < count; i++) {
        if (isnan(samples[i]))
            continue;
        double x = PICTURE_WIDTH - (double)(count - 1 - i) * PICTURE_WIDTH / steps;
        double y = PICTURE_HEIGHT - 1 - (most > 0 ? samples[i] / most : 0) * (PICTURE_HEIGHT - 3);
        pj_builder_add(&points, "%.1f,%.1f ", x, y);
        first = isnan(first) ? x : first;
        last = x;
    }
    char *text = pj_builder_take(&points);
    if (!isnan(first))
        pj_builder_add(out, "<polygon points=\"%.1f,%d %s%.1f,%d\"/><polyline points=\"%s\"/>",
                       first, PICTURE_HEIGHT, text, last, PICTURE_HEIGHT, text);
    free(text);
    pj_builder_add(out, "</svg>");
}

/* --- the parts of the page ------------------------------------------------------------------- */

static void add_header(struct pj_builder *out, const struct pj_page *page,
                       struct pj_metrics *metrics, const char *trouble)
{
    double behind = page->behind != NULL ? value_of(metrics, page->behind, PJ_PAGE_SECONDS) : NAN;
    double letters = value_of(metrics, page->letters, PJ_PAGE_SUM);
    bool late = behind >= FAR_BEHIND_S;
    const char *class = trouble != NULL ? "bad" : late || letters > 0 ? "warn" : "well";
    const char *verdict = trouble != NULL ? "Not working" : late ? "Behind" : "Well";
    if (trouble != NULL && strcmp(trouble, "starting") == 0) {
        class = "warn";
        verdict = "Starting";
    }
    pj_builder_add(out, "<header class=\"%s\"><h1>%s", class, verdict);
    if (trouble == NULL && late) {
        pj_builder_add(out, " by ");
        add_value(out, PJ_PAGE_SECONDS, behind);
    } else if (trouble == NULL && letters > 0) {
        pj_builder_add(out, ", but ");
        add_number(out, letters);
        pj_builder_add(out, " refused");
    }
    pj_builder_add(out, "</h1><p>");
    add_escaped(out, trouble != NULL ? trouble
                     : late ? "It works, and the oldest record that it has yet to read happened so "
                              "long ago."
                            : page->well);
    pj_builder_add(out, "</p><p class=\"who\">");
    add_escaped(out, page->name);
    pj_builder_add(out, " · ");
    add_escaped(out, pj_metrics_shown_labels(metrics));
    pj_builder_add(out, "</p></header>");
}

static void add_charts(struct pj_builder *out, const struct pj_page *page,
                       const struct pj_page_history *history, struct pj_metrics *metrics)
{
    pj_builder_add(out, "<div class=\"cards\">");
    for (size_t c = 0; page->charts[c].title != NULL; c++) {
        const struct pj_page_item *chart = &page->charts[c];
        const double *samples = history->samples[c];
        double now = chart->kind != PJ_PAGE_RATE ? value_of(metrics, chart->metric, chart->kind)
                     : history->count > 0        ? samples[history->count - 1]
                                                 : NAN;
        pj_builder_add(out, "<div class=\"card\"><span class=\"quiet\">");
        add_escaped(out, chart->title);
        pj_builder_add(out, "</span><b>");
        add_value(out, chart->kind, now);
        pj_builder_add(out, "</b>");
        add_picture(out, samples, history->count);
        pj_builder_add(out, "</div>");
    }
    pj_builder_add(out, "</div>");
}

struct rows {
    size_t count;
    struct row {
        char *labels;
        double values[COLUMNS_MOST];
    } items[ROWS_MOST];
    size_t column, left_out;
};

static void add_row(void *context, const char *labels, double value)
{
    struct rows *rows = context;
    size_t i = 0;
    while (i < rows->count && strcmp(rows->items[i].labels, labels) != 0)
        i++;
    if (i == ROWS_MOST || (i == rows->count && rows->column > 0)) {
        rows->left_out += rows->column == 0;
        return;
    }
    if (i == rows->count) {
        rows->items[rows->count++].labels = pj_strdup(labels);
        for (size_t c = 0; c < COLUMNS_MOST; c++)
            rows->items[i].values[c] = NAN;
    }
    rows->items[i].values[rows->column] = value;
}

/* The values of labels, each a cell. */
static void add_label_cells(struct pj_builder *out, const char *labels)
{
    for (const char *value = strchr(labels, '"'); value != NULL; value = strchr(value + 1, '"')) {
        char text[512];
        size_t length = 0;
        for (value++; *value != '\0' && *value != '"'; value++) {
            if (*value == '\\' && value[1] != '\0')
                value++;
            if (length + 1 < sizeof text)
                text[length++] = *value;
        }
        text[length] = '\0';
        pj_builder_add(out, "<td>");
        add_escaped(out, text);
        pj_builder_add(out, "</td>");
        if (*value == '\0')
            return;
    }
}

/* The names of labels, each a title. */
static void add_label_titles(struct pj_builder *out, const char *labels)
{
    while (*labels != '\0') {
        size_t name = strcspn(labels, "=");
        pj_builder_add(out, "<th>%c%.*s</th>", labels[0] & ~0x20, (int)name - 1, labels + 1);
        labels += name + 2; /* the quote, too */
        for (; *labels != '\0' && *labels != '"'; labels++)
            labels += *labels == '\\';
        labels += strspn(labels, "\",");
    }
}

/* Worst first, by the first column. */
static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    int compared = (x->values[0] < y->values[0]) - (x->values[0] > y->values[0]);
    return compared != 0 ? compared : strverscmp(x->labels, y->labels);
}

static void add_table(struct pj_builder *out, const char *title, const struct pj_page_item *columns,
                      bool leaves_out_zeros, struct pj_metrics *metrics)
{
    struct rows *rows = pj_alloc(sizeof *rows);
    for (rows->column = 0; columns[rows->column].title != NULL; rows->column++)
        pj_metrics_each(metrics, columns[rows->column].metric, add_row, rows);
    if (rows->count > 0) {
        qsort(rows->items, rows->count, sizeof rows->items[0], compare_rows);
        pj_builder_add(out, "<h2>");
        add_escaped(out, title);
        pj_builder_add(out, "</h2><div class=\"list\"><table><tr>");
        add_label_titles(out, rows->items[0].labels);
        for (size_t c = 0; columns[c].title != NULL; c++)
            pj_builder_add(out, "<th class=\"n\">%s</th>", columns[c].title);
        pj_builder_add(out, "</tr>");
        for (size_t i = 0; i < rows->count; i++) {
            if (leaves_out_zeros && rows->items[i].values[0] == 0)
                continue;
            pj_builder_add(out, "<tr>");
            add_label_cells(out, rows->items[i].labels);
            for (size_t c = 0; columns[c].title != NULL; c++) {
                pj_builder_add(out, "<td class=\"n\">");
                add_value(out, columns[c].kind, rows->items[i].values[c]);
                pj_builder_add(out, "</td>");
            }
            pj_builder_add(out, "</tr>");
        }
        pj_builder_add(out, "</table></div>");
        if (rows->left_out > 0)
            pj_builder_add(out, "<p class=\"quiet\">and %zu more</p>", rows->left_out);
    }
    for (size_t i = 0; i < rows->count; i++)
        free(rows->items[i].labels);
    free(rows);
}

static void add_letters(struct pj_builder *out, const struct pj_page *page,
                        struct pj_metrics *metrics)
{
    const struct pj_page_item columns[] = {{"Since the start", page->letters, PJ_PAGE_SUM}, {0}};
    const char *title = page->letters_title != NULL ? page->letters_title : "Dead letters";
    if (!(value_of(metrics, page->letters, PJ_PAGE_SUM) > 0)) {
        pj_builder_add(out, "<h2>%s</h2><p class=\"quiet\">None since the start.</p>", title);
        return;
    }
    add_table(out, title, columns, true, metrics);
    pj_builder_add(out, "<p class=\"quiet\">");
    add_escaped(out, page->letters_hint);
    pj_builder_add(out, "</p>");
}

static void add_warning(void *context, int64_t at_ms, int64_t times, bool is_error,
                        const char *text)
{
    struct pj_builder *out = context;
    char ago[32];
    int64_t ago_ms = pj_clock_wall_ms() - at_ms;
    pj_progress_format_time(ago, sizeof ago, ago_ms > 0 ? ago_ms / 1000 : 0);
    pj_builder_add(out, "<tr><td class=\"n\">%s ago</td><td class=\"why\">%s", ago,
                   is_error ? "<strong>error</strong> " : "");
    add_escaped(out, text);
    if (times > 1)
        pj_builder_add(out, " <span class=\"quiet\">(%" PRId64 " times)</span>", times);
    pj_builder_add(out, "</td></tr>");
}

static void add_warnings(struct pj_builder *out)
{
    struct pj_builder rows = {0};
    pj_log_recent(add_warning, &rows);
    if (rows.length == 0)
        pj_builder_add(out, "<h2>Last warnings</h2><p class=\"quiet\">None since the start.</p>");
    else
        pj_builder_add(out, "<h2>Last warnings</h2><div class=\"list\"><table>%s</table></div>",
                       rows.text);
    pj_builder_free(&rows);
}

void pj_page_render(struct pj_builder *out, const struct pj_page *page,
                    const struct pj_page_history *history, struct pj_metrics *metrics,
                    const char *trouble)
{
    char up[32];
    pj_progress_format_time(up, sizeof up, (pj_clock_monotonic_ms() - history->started_ms) / 1000);
    pj_builder_add(out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
                        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                        "<meta http-equiv=\"refresh\" content=\"5\"><title>");
    add_escaped(out, page->name);
    pj_builder_add(out, "</title><style>%s</style></head><body>", style);
    add_header(out, page, metrics, trouble);
    add_charts(out, page, history, metrics);
    add_warnings(out);
    add_letters(out, page, metrics);
    if (page->rows != NULL)
        add_table(out, page->rows_title, page->rows, false, metrics);
    pj_builder_add(out,
                   "<footer>Version " PJ_VERSION ", up for %s. Pictures end now and begin ten "
                   "minutes ago at the earliest."
                   " <a href=\"metrics\">metrics</a> <a href=\"readyz\">readyz</a></footer>"
                   "</body></html>\n",
                   up);
}
