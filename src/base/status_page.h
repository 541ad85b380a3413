/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page of a process for people, at / beside /metrics: is it well, how far behind, what is
 * wrong. Everything on it comes from the metrics, from readiness and from the last warnings of the
 * log; a program says only which of its metrics are worth a picture. No script, nothing from
 * elsewhere.
 */
#ifndef PJ_BASE_STATUS_PAGE_H
#define PJ_BASE_STATUS_PAGE_H

#include "base/metrics.h"
#include "base/text.h"

#include <stdbool.h>

enum pj_page_kind {
    PJ_PAGE_RATE,    /* of counters: the sum's growth a second */
    PJ_PAGE_SUM,     /* of gauges */
    PJ_PAGE_SECONDS, /* of gauges: the greatest, shown as a time */
    PJ_PAGE_PERCENT, /* of gauges: the greatest, of 1 */
};

/* A metric, and how it is shown; NULL as the title ends a list. */
struct pj_page_item {
    const char *title;
    const char *metric;
    enum pj_page_kind kind;
};

enum { PJ_PAGE_CHARTS_MOST = 6 };

/* Constant, and borrowed. */
struct pj_page {
    const char *name;                  /* of the program */
    const char *well;                  /* what it means that all is well */
    const char *behind;                /* a metric in seconds: far behind is not well; or NULL */
    const struct pj_page_item *charts; /* at most PJ_PAGE_CHARTS_MOST */
    const char *rows_title;            /* of a table with a row for each series of the first … */
    const struct pj_page_item *rows;   /* … of these, which share their labels; or NULL */
    const char *letters_title;         /* NULL: "Dead letters" */
    const char *letters;               /* a metric of them by reason, and … */
    const char *letters_hint;          /* … what shows them */
};

/* What has been seen of the charts' metrics, for their pictures. */
struct pj_page_history;

struct pj_page_history *pj_page_history_new(const struct pj_page *page);
void pj_page_history_free(struct pj_page_history *history); /* NULL is allowed */
/* Called as often as one likes: takes a sample every five seconds. */
void pj_page_history_look(struct pj_page_history *history, struct pj_metrics *metrics);

/* The whole page. `trouble`: why it is not well, or NULL. */
void pj_page_render(struct pj_builder *out, const struct pj_page *page,
                    const struct pj_page_history *history, struct pj_metrics *metrics,
                    const char *trouble);

/* The value of its Content-Security-Policy: styles of ours, and nothing else. */
const char *pj_page_policy(void);

#endif
