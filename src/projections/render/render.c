/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/render/render.h"

#include "fold/numeric.h"

#include <ctype.h>

const char *const render_statuses[] = {"pending",   "processing", "completed", "failed",
                                       "cancelled", "timeout",    NULL};
const char *const render_steps[] = {"validation", "download", "processing", "composition",
                                    "encoding",   "upload",   "cleanup",    NULL};
const char *const render_operations[] = {"upload", "download", "delete", "access", NULL};
const char *const render_element_types[] = {"video", "image", "audio", "text", "overlay", NULL};
const char *const render_fit_modes[] = {"auto", "contain", "cover", "fill", "stretch", NULL};
const char *const render_response_types[] = {"immediate", "async", NULL};
const char *const render_formats[] = {"mp4", "mov", "avi", "webm", NULL};
const char *const render_metric_types[] = {"counter", "gauge", "histogram", "timer", NULL};

int render_word(const char *const words[], struct pj_text word)
{
    int place = 0;
    while (words[place] != NULL && !pj_text_is(&word.value, words[place]))
        place++;
    return place;
}

/* --- what is refused ------------------------------------------------------------------------- */

enum { SHOWN_MOST = 80 };

static int shown(struct pj_text text)
{
    return (int)(text.text.length < SHOWN_MOST ? text.text.length : SHOWN_MOST);
}

/* The digits at `from`: the place after them. */
static size_t digits(struct pj_text text, size_t from)
{
    while (from < text.text.length && isdigit((unsigned char)text.text.data[from]))
        from++;
    return from;
}

/* "12%", "12.5%" */
static bool is_percent(struct pj_text text)
{
    size_t at = digits(text, 0);
    bool good = at > 0;
    if (at < text.text.length && text.text.data[at] == '.') {
        size_t end = digits(text, at + 1);
        good = good && end > at + 1;
        at = end;
    }
    return good && at + 1 == text.text.length && text.text.data[at] == '%';
}

static int check_percent(const char *name, struct pj_text text, struct pj_error *error)
{
    if (!text.present || is_percent(text))
        return 0;
    return pj_error_set(error, PJ_POISON, "%s is \"%.*s\", but must be a percentage such as 12.5%%",
                        name, shown(text), text.text.data);
}

static bool is_bucket(struct pj_text name)
{
    const char *text = name.text.data;
    size_t length = name.text.length;
    if (length < 3 || length > 63 || strchr(".-", text[0]) != NULL ||
        strchr(".-", text[length - 1]) != NULL)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (memchr("abcdefghijklmnopqrstuvwxyz0123456789.-", text[i], 38) == NULL)
            return false;
    }
    return true;
}

static bool is_negative(struct pj_numeric number)
{
    const struct pj_value zero = pj_text("0");
    return number.present && pj_numeric_compare(&number.value, &zero) < 0;
}

int render_check_job(const struct render_job_event *event, struct pj_error *error)
{
    if (event->created.present || event->status_changed.present || event->progressed.present ||
        event->deleted.present)
        return 0;
    return pj_error_set(
        error, PJ_POISON,
        "body is none of JobCreated, JobStatusChanged, JobProgressed and JobDeleted");
}

/* Only what plays has times that must make sense. */
static int check_times(const struct render_element_event *event, struct pj_error *error)
{
    if (!pj_text_is(&event->type.value, "video") && !pj_text_is(&event->type.value, "audio"))
        return 0;
    if (is_negative(event->start_time))
        return pj_error_set(error, PJ_POISON, "start_time is %.*s, but must be at least 0",
                            (int)event->start_time.text.length, event->start_time.text.data);
    if (event->end_time.present &&
        pj_numeric_compare(&event->end_time.value, &event->start_time.value) <= 0)
        return pj_error_set(error, PJ_POISON, "end_time is %.*s, but must be later than start_time",
                            (int)event->end_time.text.length, event->end_time.text.data);
    return 0;
}

int render_check_element(const struct render_element_event *event, struct pj_error *error)
{
    if (!event->added.present && !event->updated.present)
        return pj_error_set(error, PJ_POISON, "body is neither ElementAdded nor ElementUpdated");
    if (!event->added.present)
        return 0;
    if (check_percent("x_position", event->x_position, error) != 0 ||
        check_percent("y_position", event->y_position, error) != 0 ||
        check_percent("width", event->width, error) != 0 ||
        check_percent("height", event->height, error) != 0)
        return -1;
    return check_times(event, error);
}

int render_check_step(const struct render_step_event *event, struct pj_error *error)
{
    if (event->started.present || event->completed.present)
        return 0;
    return pj_error_set(error, PJ_POISON, "body is neither StepStarted nor StepCompleted");
}

int render_check_storage(const struct render_storage_event *event, struct pj_error *error)
{
    enum { KEY_BYTES = 1024 };
    if (!is_bucket(event->bucket))
        return pj_error_set(error, PJ_POISON,
                            "bucket is \"%.*s\", but must be 3 to 63 of a-z, 0-9, \".\" and \"-\", "
                            "with a letter or digit at both ends",
                            shown(event->bucket), event->bucket.text.data);
    if (event->key.text.length == 0 || event->key.text.length > KEY_BYTES)
        return pj_error_set(error, PJ_POISON, "key has %zu bytes, but must have 1 to %d",
                            event->key.text.length, KEY_BYTES);
    if (pj_text_is(&event->operation.value, "upload") && event->success.boolean &&
        (!event->file_size.present || event->file_size.integer == 0))
        return pj_error_set(error, PJ_POISON,
                            "file_size is %s, but an upload that ended well has some bytes",
                            event->file_size.present ? "0" : "null");
    return 0;
}

int render_check_access(const struct render_access_event *event, struct pj_error *error)
{
    const struct pj_text country = event->country;
    if (country.present &&
        (country.text.length != 2 || !isalpha((unsigned char)country.text.data[0]) ||
         !isalpha((unsigned char)country.text.data[1])))
        return pj_error_set(error, PJ_POISON, "country is \"%.*s\", but must be two letters",
                            shown(country), country.text.data);
    return 0;
}

int render_check_metric(const struct render_metric_event *event, struct pj_error *error)
{
    if (event->metric_name.text.length == 0)
        return pj_error_set(error, PJ_POISON, "metric_name is empty");
    if (pj_text_is(&event->metric_type.value, "counter") && is_negative(event->value))
        return pj_error_set(error, PJ_POISON, "value is %.*s, but a counter is never negative",
                            (int)event->value.text.length, event->value.text.data);
    return 0;
}
