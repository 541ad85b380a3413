/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the render projections share: the fields of the six topics' records, their order, the table
 * of jobs, and what makes a record a dead letter in every projection that reads its topic.
 */
#ifndef PJ_PROJECTIONS_RENDER_RENDER_H
#define PJ_PROJECTIONS_RENDER_RENDER_H

#include "projectionist/typed.h"

/* Words, in the order of the database's enums; NULL ends each. */
extern const char *const render_statuses[];
extern const char *const render_steps[];
extern const char *const render_operations[];
extern const char *const render_element_types[];
extern const char *const render_fit_modes[];
extern const char *const render_response_types[];
extern const char *const render_formats[];
extern const char *const render_metric_types[];

#define RENDER_WORD(list)     .required = true, .words = list
#define RENDER_COUNT          .least = "0"
#define RENDER_PERCENT        .least = "0", .most = "100"
#define RENDER_ATTEMPT        .required = true, .least = "1", .most = "1000"
#define RENDER_NUMERIC(p, s)  .precision = (p), .scale = (s), .rounded = true
#define RENDER_ADDRESS        .form = PJ_FORM_INET, .empty_is_null = true
#define RENDER_REQUIRED(most) .required = true, .most_chars = (most)

/* --- render.jobs ----------------------------------------------------------------------------- */

#define RENDER_JOB_EVENT(FIELD)                                                                    \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(job_id, "job_id", PJ_UUID, .required = true)                                             \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(attempt, "attempt", PJ_INT, RENDER_ATTEMPT)                                              \
    /* The body is JobCreated, … */                                                              \
    FIELD(created, "body.JobCreated", PJ_BOOL)                                                     \
    FIELD(output_format, "body.JobCreated.output_format", PJ_TEXT, RENDER_WORD(render_formats))    \
    FIELD(width, "body.JobCreated.width", PJ_INT, .required = true, .least = "1", .most = "7680")  \
    FIELD(height, "body.JobCreated.height", PJ_INT, .required = true, .least = "1",                \
          .most = "4320")                                                                          \
    FIELD(estimated_duration, "body.JobCreated.estimated_duration", PJ_INT)                        \
    FIELD(response_type, "body.JobCreated.response_type", PJ_TEXT, .words = render_response_types) \
    FIELD(client_ip, "body.JobCreated.client_ip", PJ_TEXT, RENDER_ADDRESS)                         \
    FIELD(user_agent, "body.JobCreated.user_agent", PJ_TEXT)                                       \
    FIELD(request_metadata, "body.JobCreated.request_metadata", PJ_JSONB)                          \
    FIELD(owner_id, "body.JobCreated.owner_id", PJ_UUID)                                           \
    FIELD(requested_at, "body.JobCreated.requested_at", PJ_TIMESTAMPTZ)                            \
    /* … JobStatusChanged, … */                                                                \
    FIELD(status_changed, "body.JobStatusChanged", PJ_BOOL)                                        \
    FIELD(status, "body.JobStatusChanged.status", PJ_TEXT, RENDER_WORD(render_statuses))           \
    FIELD(error_message, "body.JobStatusChanged.error_message", PJ_TEXT)                           \
    FIELD(error_code, "body.JobStatusChanged.error_code", PJ_TEXT, .most_chars = 50)               \
    /* The most that is a number of seconds in the table. */                                       \
    FIELD(processing_ms, "body.JobStatusChanged.processing_ms", PJ_BIGINT, .least = "0",           \
          .most = "2147483647499")                                                                 \
    FIELD(result_url, "body.JobStatusChanged.result_url", PJ_TEXT)                                 \
    /* … JobProgressed … */                                                                    \
    FIELD(progressed, "body.JobProgressed", PJ_BOOL)                                               \
    FIELD(progress, "body.JobProgressed.progress", PJ_INT, .required = true, RENDER_PERCENT)       \
    FIELD(step, "body.JobProgressed.step", PJ_TEXT, .words = render_steps)                         \
    /* … or JobDeleted. */                                                                       \
    FIELD(deleted, "body.JobDeleted", PJ_BOOL)
PJ_FIELDS(render_job_event, RENDER_JOB_EVENT);

/* --- render.elements ------------------------------------------------------------------------- */

#define RENDER_ELEMENT_EVENT(FIELD)                                                                \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(job_id, "job_id", PJ_UUID, .required = true)                                             \
    FIELD(element_id, "element_id", PJ_UUID, .required = true)                                     \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    /* The body is ElementAdded … */                                                             \
    FIELD(added, "body.ElementAdded", PJ_BOOL)                                                     \
    FIELD(element_order, "body.ElementAdded.element_order", PJ_INT, .required = true,              \
          RENDER_COUNT)                                                                            \
    FIELD(type, "body.ElementAdded.type", PJ_TEXT, RENDER_WORD(render_element_types))              \
    FIELD(source_url, "body.ElementAdded.source_url", PJ_TEXT, .required = true)                   \
    FIELD(source_filename, "body.ElementAdded.source_filename", PJ_TEXT, .most_chars = 255)        \
    FIELD(source_size, "body.ElementAdded.source_size", PJ_BIGINT, RENDER_COUNT)                   \
    FIELD(source_duration, "body.ElementAdded.source_duration", PJ_NUMERIC, RENDER_COUNT,          \
          RENDER_NUMERIC(10, 3))                                                                   \
    FIELD(track, "body.ElementAdded.track", PJ_INT, .required = true)                              \
    FIELD(x_position, "body.ElementAdded.x_position", PJ_TEXT, RENDER_REQUIRED(10))                \
    FIELD(y_position, "body.ElementAdded.y_position", PJ_TEXT, RENDER_REQUIRED(10))                \
    FIELD(width, "body.ElementAdded.width", PJ_TEXT, RENDER_REQUIRED(10))                          \
    FIELD(height, "body.ElementAdded.height", PJ_TEXT, RENDER_REQUIRED(10))                        \
    FIELD(fit_mode, "body.ElementAdded.fit_mode", PJ_TEXT, RENDER_WORD(render_fit_modes))          \
    FIELD(start_time, "body.ElementAdded.start_time", PJ_NUMERIC, .required = true,                \
          RENDER_NUMERIC(10, 3))                                                                   \
    FIELD(end_time, "body.ElementAdded.end_time", PJ_NUMERIC, RENDER_NUMERIC(10, 3))               \
    FIELD(metadata, "body.ElementAdded.metadata", PJ_JSONB)                                        \
    /* … or ElementUpdated. */                                                                   \
    FIELD(updated, "body.ElementUpdated", PJ_BOOL)                                                 \
    FIELD(downloaded, "body.ElementUpdated.downloaded", PJ_BOOL)                                   \
    FIELD(processed, "body.ElementUpdated.processed", PJ_BOOL)                                     \
    FIELD(local_path, "body.ElementUpdated.local_path", PJ_TEXT)                                   \
    FIELD(processed_path, "body.ElementUpdated.processed_path", PJ_TEXT)                           \
    FIELD(error_message, "body.ElementUpdated.error_message", PJ_TEXT)                             \
    FIELD(found_size, "body.ElementUpdated.source_size", PJ_BIGINT, RENDER_COUNT)                  \
    FIELD(found_duration, "body.ElementUpdated.source_duration", PJ_NUMERIC, RENDER_COUNT,         \
          RENDER_NUMERIC(10, 3))
PJ_FIELDS(render_element_event, RENDER_ELEMENT_EVENT);

/* --- render.timeline ------------------------------------------------------------------------- */

#define RENDER_STEP_EVENT(FIELD)                                                                   \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(job_id, "job_id", PJ_UUID, .required = true)                                             \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(attempt, "attempt", PJ_INT, RENDER_ATTEMPT)                                              \
    FIELD(step, "step", PJ_TEXT, RENDER_WORD(render_steps))                                        \
    FIELD(step_order, "step_order", PJ_INT, .required = true, RENDER_COUNT)                        \
    /* The body is StepStarted … */                                                              \
    FIELD(started, "body.StepStarted", PJ_BOOL)                                                    \
    FIELD(begun_details, "body.StepStarted.details", PJ_JSONB)                                     \
    /* … or StepCompleted. */                                                                    \
    FIELD(completed, "body.StepCompleted", PJ_BOOL)                                                \
    FIELD(success, "body.StepCompleted.success", PJ_BOOL, .required = true)                        \
    FIELD(progress, "body.StepCompleted.progress", PJ_INT, RENDER_PERCENT)                         \
    FIELD(details, "body.StepCompleted.details", PJ_JSONB)                                         \
    FIELD(error_message, "body.StepCompleted.error_message", PJ_TEXT)                              \
    FIELD(cpu_usage, "body.StepCompleted.cpu_usage", PJ_NUMERIC, RENDER_NUMERIC(5, 2))             \
    FIELD(memory_usage, "body.StepCompleted.memory_usage", PJ_BIGINT, RENDER_COUNT)
PJ_FIELDS(render_step_event, RENDER_STEP_EVENT);

/* --- render.storage -------------------------------------------------------------------------- */

#define RENDER_STORAGE_EVENT(FIELD)                                                                \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(job_id, "job_id", PJ_UUID)                                                               \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(operation, "operation", PJ_TEXT, RENDER_WORD(render_operations))                         \
    FIELD(bucket, "bucket", PJ_TEXT, .required = true)                                             \
    FIELD(key, "key", PJ_TEXT, RENDER_REQUIRED(1024))                                              \
    FIELD(region, "region", PJ_TEXT, RENDER_REQUIRED(50))                                          \
    FIELD(success, "success", PJ_BOOL, .required = true)                                           \
    FIELD(file_size, "file_size", PJ_BIGINT, RENDER_COUNT)                                         \
    FIELD(duration_ms, "duration_ms", PJ_INT, RENDER_COUNT)                                        \
    FIELD(error_message, "error_message", PJ_TEXT)                                                 \
    FIELD(metadata, "metadata", PJ_JSONB)
PJ_FIELDS(render_storage_event, RENDER_STORAGE_EVENT);

/* --- render.access --------------------------------------------------------------------------- */

#define RENDER_ACCESS_EVENT(FIELD)                                                                 \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(job_id, "job_id", PJ_UUID)                                                               \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(url, "url", PJ_TEXT, .required = true)                                                   \
    FIELD(access_type, "access_type", PJ_TEXT, RENDER_REQUIRED(50))                                \
    FIELD(client_ip, "client_ip", PJ_TEXT, RENDER_ADDRESS)                                         \
    FIELD(user_agent, "user_agent", PJ_TEXT)                                                       \
    FIELD(referer, "referer", PJ_TEXT)                                                             \
    FIELD(response_code, "response_code", PJ_INT)                                                  \
    FIELD(bytes_served, "bytes_served", PJ_BIGINT, RENDER_COUNT)                                   \
    FIELD(response_time_ms, "response_time_ms", PJ_INT, RENDER_COUNT)                              \
    FIELD(country, "country", PJ_TEXT)                                                             \
    FIELD(region, "region", PJ_TEXT, .most_chars = 100)                                            \
    FIELD(city, "city", PJ_TEXT, .most_chars = 100)
PJ_FIELDS(render_access_event, RENDER_ACCESS_EVENT);

/* --- render.metrics -------------------------------------------------------------------------- */

#define RENDER_METRIC_EVENT(FIELD)                                                                 \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(metric_name, "metric_name", PJ_TEXT, RENDER_REQUIRED(100))                               \
    FIELD(metric_type, "metric_type", PJ_TEXT, RENDER_WORD(render_metric_types))                   \
    FIELD(value, "value", PJ_NUMERIC, .required = true, RENDER_NUMERIC(15, 6))                     \
    FIELD(unit, "unit", PJ_TEXT, .most_chars = 20)                                                 \
    FIELD(labels, "labels", PJ_JSONB)
PJ_FIELDS(render_metric_event, RENDER_METRIC_EVENT);

/* --- rules ----------------------------------------------------------------------------------- */

/* Each fails, as a dead letter, where the record says what no table can have. */
int render_check_job(const struct render_job_event *event, struct pj_error *error) PJ_MUST_CHECK;
int render_check_element(const struct render_element_event *event,
                         struct pj_error *error) PJ_MUST_CHECK;
int render_check_step(const struct render_step_event *event, struct pj_error *error) PJ_MUST_CHECK;
int render_check_storage(const struct render_storage_event *event,
                         struct pj_error *error) PJ_MUST_CHECK;
int render_check_access(const struct render_access_event *event,
                        struct pj_error *error) PJ_MUST_CHECK;
int render_check_metric(const struct render_metric_event *event,
                        struct pj_error *error) PJ_MUST_CHECK;

/* The place of a word in its list. It is there: the field's rule says so. */
int render_word(const char *const words[], struct pj_text word);

/* --- jobs, and who refers to them ------------------------------------------------------------ */

#define RENDER_JOBS(COLUMN)                                                                        \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(status, PJ_TEXT, .sql_type = "job_status", .in_placeholder = "pending")                 \
    COLUMN(response_type, PJ_TEXT, .sql_type = "response_type", .in_placeholder = "async")         \
    COLUMN(output_format, PJ_TEXT, .in_placeholder = "mp4")                                        \
    COLUMN(width, PJ_INT, .in_placeholder = "1")                                                   \
    COLUMN(height, PJ_INT, .in_placeholder = "1")                                                  \
    COLUMN(estimated_duration, PJ_INT)                                                             \
    COLUMN(actual_duration, PJ_INT)                                                                \
    COLUMN(processing_started_at, PJ_TIMESTAMPTZ)                                                  \
    COLUMN(processing_completed_at, PJ_TIMESTAMPTZ)                                                \
    COLUMN(s3_bucket, PJ_TEXT)                                                                     \
    COLUMN(s3_key, PJ_TEXT)                                                                        \
    COLUMN(s3_region, PJ_TEXT)                                                                     \
    COLUMN(file_size, PJ_BIGINT)                                                                   \
    COLUMN(result_url, PJ_TEXT)                                                                    \
    COLUMN(progress_percentage, PJ_INT)                                                            \
    COLUMN(current_step, PJ_TEXT, .sql_type = "processing_step")                                   \
    COLUMN(error_message, PJ_TEXT)                                                                 \
    COLUMN(error_code, PJ_TEXT)                                                                    \
    COLUMN(retry_count, PJ_INT)                                                                    \
    COLUMN(client_ip, PJ_TEXT, .sql_type = "inet")                                                 \
    COLUMN(user_agent, PJ_TEXT)                                                                    \
    COLUMN(request_metadata, PJ_JSONB)                                                             \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(owner_id, PJ_UUID)                                                                      \
    COLUMN(placeholder, PJ_BOOL) /* stays null: the row is a placeholder no more */
PJ_COLUMNS(render_jobs, RENDER_JOBS);

extern const struct pj_table render_jobs_table;
extern const struct pj_table render_storage_operations_table;
extern const struct pj_table render_access_logs_table;

#endif
