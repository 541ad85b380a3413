/* SPDX-License-Identifier: Apache-2.0 */
/* Which commands make removals, and where each column of them and of their sums comes from. */
#include "base/arena.h"
#include "lib/safari_orders.h"

#include <criterion/criterion.h>

static struct safari_orders s;

static void start(void)
{
    s = safari_orders_start(&pj_watermark_metrics);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(watermark_removals, .init = start, .fini = stop);

static void again(void)
{
    stop();
    start();
}

static struct safari_frame *frame(int64_t ms, const char *type, const char *payload)
{
    return safari_telemetry(&s, 1, ms, type, payload);
}

static struct safari_frame *attempted(int64_t ms)
{
    return frame(ms, "action.attempted",
                 "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/in\"}");
}

static struct safari_frame *cleaned(int64_t ms)
{
    return frame(ms, "sora.video.cleaned", "{\"output_path\":\"/out\",\"file_size\":8}");
}

/* Nothing of what has come so far is a removal. */
static void expect_nothing(void)
{
    safari_refuse(&s, "watermark_");
    again();
}

/* --- which there are ------------------------------------------------------------------------- */

Test(watermark_removals, only_commands_that_clean_make_them)
{
    static const char *const types[] = {"sora.generate", "sora.batch", "flow.run"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        safari_submitted(&s, 1, 1000, types[i], "{\"input_path\":\"/in\",\"prompts\":[\"a\"]}");
        attempted(1100);
        cleaned(1200);
        safari_status(&s, 1, 1300, "SUCCEEDED",
                      "{\"results\":[{\"path\":\"/in\",\"cleaned_path\":\"/out\"}],"
                      "\"cleaned_path\":\"/out\",\"output_path\":\"/out\"}",
                      NULL);
        expect_nothing();
    }
}

Test(watermark_removals, a_clean_without_a_path_makes_none)
{
    safari_submitted(&s, 1, 1000, "sora.clean", "{}");
    safari_status(&s, 1, 1300, "FAILED", NULL, "input_path is missing");
    expect_nothing();
}

Test(watermark_removals, a_generate_makes_one_once_it_is_known_of)
{
    static const char *const results[] = {"{\"video_path\":\"/r\",\"clean_error\":\"e\"}",
                                          "{\"video_path\":\"/r\",\"cleaned_path\":\"/c\"}",
                                          "{\"videoPath\":\"/r\",\"cleanError\":\"e\"}",
                                          "{\"videoPath\":\"/r\",\"cleanedPath\":\"/c\"}"};
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
        frame(1100, "sora.video.downloaded", "{\"file_path\":\"/r\"}");
        safari_refuse(&s, "watermark_");
        safari_status(&s, 1, 1200, "SUCCEEDED", results[i], NULL);
        safari_expect(&s, "input_path=/r|");
        again();
    }
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    attempted(1100);
    safari_expect(&s, "removal_id=99e1b7a1-7049-5ec7-bd5e-5f1721a3fde5|"
                      "video_id=1473064a-566e-5c85-9bd7-e437b86f2b05|");
    again();
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    frame(1100, "sora.video.cleaned", "{\"input_path\":\"/x\"}");
    safari_expect(&s, "input_path=/x|output_path=null|");
}

Test(watermark_removals, without_a_submission_there_is_what_frames_say)
{
    attempted(1100);
    safari_expect(&s, "video_id=null|command_id=00000000-0000-4000-8000-000000000001|"
                      "input_path=/in|output_path=null|input_size_bytes=null|"
                      "output_size_bytes=null|method=lama|processing_time_ms=null|success=false|"
                      "error_message=null|created_at=1100000|completed_at=null\n");
    again();
    frame(1100, "sora.video.cleaned", "{\"input_path\":\"/x\",\"output_path\":\"/c\"}");
    safari_expect(&s, "input_path=/x|output_path=/c|");
}

Test(watermark_removals, without_a_submission_the_result_may_tell_of_one)
{
    static const struct {
        const char *result;
        const char *removal;
    } told[] = {
        {"{\"video_path\":\"/r\",\"file_size\":9,\"cleanedPath\":\"/c\",\"cleanedSize\":8}",
         "input_path=/r|output_path=/c|input_size_bytes=9|output_size_bytes=8|"},
        {"{\"video_path\":\"/r\",\"clean_error\":\"e\"}",
         "input_path=/r|output_path=null|input_size_bytes=null|output_size_bytes=null|method=lama|"
         "processing_time_ms=null|success=false|error_message=e|"},
        {"{\"input_path\":\"/r\",\"output_path\":\"/c\",\"file_size\":8}",
         "video_id=null|command_id=00000000-0000-4000-8000-000000000001|input_path=/r|"
         "output_path=/c|input_size_bytes=null|output_size_bytes=8|"},
        {"{\"results\":[{\"path\":\"/p\",\"error\":\"e\"},"
         "{\"path\":\"/r\",\"cleaned_path\":\"/c\"}]}",
         "input_path=/r|output_path=/c|input_size_bytes=null|output_size_bytes=null|"},
    };
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        safari_status(&s, 1, 1300, "SUCCEEDED", told[i].result, NULL);
        safari_expect(&s, told[i].removal);
        safari_expect(&s, "attempts=1|");
        safari_submitted(&s, 1, 1000, "sora.generate", "{}");
        expect_nothing();
    }
    frame(1000, "action.attempted", "{\"action\":\"WATERMARK_REMOVAL\"}");
    safari_refuse(&s, "watermark_");
    frame(1100, "sora.video.downloaded", "{\"file_path\":\"/r\",\"file_size\":7}");
    safari_expect(&s, "input_path=/r|output_path=null|input_size_bytes=7|");
    again();
    safari_status(&s, 1, 1300, "SUCCEEDED", "{\"video_path\":\"/r\"}", NULL);
    safari_status(&s, 2, 1300, "FAILED", "{\"input_path\":\"/r\",\"output_path\":\"/c\"}", "why");
    safari_status(&s, 3, 1300, "FAILED", "{\"results\":[{\"path\":\"/p\",\"error\":\"e\"}]}",
                  "why");
    expect_nothing();
}

Test(watermark_removals, a_batch_makes_one_for_each_index_that_was_tried)
{
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{\"prompts\":[\"a\",\"b\",\"c\",\"d\"]}");
    attempted(1100); /* batches send none: it counts for nothing */
    frame(1200, "sora.video.cleaned", "{\"batch_index\":3,\"input_path\":\"/3\"}");
    safari_status(&s, 1, 1300, "SUCCEEDED",
                  "{\"results\":[{\"path\":\"/0\"},{\"path\":\"/1\",\"cleanedPath\":\"/c\"},"
                  "{\"path\":\"/2\",\"error\":\"e\"}]}",
                  NULL);
    safari_refuse(&s, "input_path=/0");
    safari_expect(&s, "removal_id=19e7060d-c843-5b3e-9ecc-24e793d20e1f|"
                      "video_id=8d4035dc-2470-5da4-8dfe-3942ac4f1762|"
                      "command_id=00000000-0000-4000-8000-000000000001|input_path=/1|"
                      "output_path=/c|input_size_bytes=null|output_size_bytes=null|method=lama|"
                      "processing_time_ms=null|success=true|error_message=null|"
                      "created_at=1000000|completed_at=1300000\n");
    safari_expect(&s, "input_path=/2|output_path=null|");
    safari_expect(&s, "input_path=/3|output_path=null|");
    safari_expect(&s, "attempts=3|succeeded=1|failed=1|");
}

Test(watermark_removals, a_frame_without_an_index_is_none_of_several)
{
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{\"prompts\":[\"a\",\"b\"]}");
    frame(1100, "sora.video.cleaned", "{\"input_path\":\"/1\",\"output_path\":\"/c\"}");
    safari_refuse(&s, "watermark_");
    safari_status(&s, 1, 1300, "SUCCEEDED",
                  "{\"results\":[{\"success\":false,\"error\":\"e\"},"
                  "{\"path\":\"/1\",\"cleaned_path\":\"/c\"}]}",
                  NULL);
    safari_expect(&s, "attempts=1|succeeded=1|failed=0|");
}

Test(watermark_removals, an_empty_method_is_none)
{
    safari_submitted(&s, 1, 1000, "sora.clean", "{\"input_path\":\"/r\",\"method\":\"\"}");
    safari_expect(&s, "method=lama|");
}

Test(watermark_removals, an_attempt_is_none_of_a_batch)
{
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{\"prompts\":[\"a\"]}");
    attempted(1100);
    frame(1200, "sora.video.cleaned", "{\"batch_index\":0,\"input_path\":\"/0\"}");
    safari_status(&s, 1, 1300, "SUCCEEDED", "{\"results\":[{\"path\":\"/later\",\"error\":\"e\"}]}",
                  NULL);
    safari_expect(&s, "input_path=/0|output_path=null|input_size_bytes=null|"
                      "output_size_bytes=null|method=lama|processing_time_ms=null|success=false|"
                      "error_message=e|created_at=1200000|completed_at=1300000\n");
}

Test(watermark_removals, a_batch_ends_with_index_9999)
{
    enum { MOST = 10000 };
    char *results = pj_arena_alloc(s.orders.arena, 64 + 3 * MOST);
    char *at = stpcpy(results, "{\"results\":[");
    for (int i = 0; i < MOST - 1; i++)
        at = stpcpy(at, "{},");
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{}");
    struct safari_command *v = safari_status(&s, 1, 1300, "SUCCEEDED", NULL, NULL);
    stpcpy(at, "{\"path\":\"/r\",\"error\":\"e\"}]}");
    v->result = PJ_JSONB(results);
    char *rows = pj_orders_rows(&s.orders, true);
    cr_assert_not_null(strstr(rows, "input_path=/r|"));
    free(rows);
    stpcpy(at, "{},{\"path\":\"/r\",\"error\":\"e\"}]}");
    v->result = PJ_JSONB(results);
    safari_refuse(&s, "watermark_");
}

/* --- columns --------------------------------------------------------------------------------- */

Test(watermark_removals, the_input_of_a_generate)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{\"input_path\":\"/payload\"}");
    safari_status(&s, 1, 5000, "SUCCEEDED",
                  "{\"input_path\":\"/result\",\"video_path\":\"/video\",\"clean_error\":\"e\"}",
                  NULL);
    safari_expect(&s, "input_path=/video|");
    frame(1100, "sora.video.cleaned", "{\"input_path\":\"/cleaned\"}");
    safari_expect(&s, "input_path=/cleaned|");
    attempted(1200);
    safari_expect(&s, "input_path=/in|");
}

Test(watermark_removals, the_input_of_a_clean)
{
    frame(1100, "sora.video.cleaned", "{\"input_path\":\"/cleaned\"}");
    safari_submitted(&s, 1, 1000, "sora.clean", "{}");
    safari_expect(&s, "input_path=/cleaned|");
    attempted(1200);
    safari_expect(&s, "input_path=/in|");
    safari_status(&s, 1, 5000, "SUCCEEDED", "{\"inputPath\":\"/result\"}", NULL);
    safari_expect(&s, "input_path=/result|");
    safari_submitted(&s, 1, 999, "sora.clean", "{\"inputPath\":\"/payload\"}");
    safari_expect(&s, "input_path=/payload|");
}

Test(watermark_removals, the_output_of_a_clean)
{
    safari_submitted(&s, 1, 1000, "sora.clean",
                     "{\"input_path\":\"/in\",\"output_path\":\"/wish\",\"method\":\"m\"}");
    safari_status(&s, 1, 5000, "FAILED", "{\"output_path\":\"/c\",\"file_size\":4}", "why");
    safari_expect(&s, "input_path=/in|output_path=null|input_size_bytes=null|"
                      "output_size_bytes=null|method=m|processing_time_ms=null|success=false|"
                      "error_message=why|created_at=1000000|completed_at=5000000\n");
    safari_status(&s, 1, 6000, "SUCCEEDED", "{\"outputPath\":\"/c\",\"fileSize\":4}", NULL);
    safari_expect(&s, "output_path=/c|input_size_bytes=null|output_size_bytes=4|");
    safari_status(&s, 1, 7000, "SUCCEEDED", "{\"file_size\":5}", NULL);
    safari_expect(&s, "output_path=/wish|input_size_bytes=null|output_size_bytes=5|method=m|"
                      "processing_time_ms=null|success=true|error_message=null|"
                      "created_at=1000000|completed_at=7000000\n");
    cleaned(2000);
    safari_expect(&s, "output_path=/out|input_size_bytes=null|output_size_bytes=8|method=m|"
                      "processing_time_ms=null|success=true|error_message=null|"
                      "created_at=2000000|completed_at=2000000\n");
}

Test(watermark_removals, a_size_is_nothing_without_a_path)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    frame(1200, "sora.video.cleaned", "{\"file_size\":8}");
    attempted(1100);
    safari_status(&s, 1, 5000, "SUCCEEDED", "{\"cleaned_size\":9,\"clean_error\":\"e\"}", NULL);
    safari_expect(&s, "output_size_bytes=null|method=lama|processing_time_ms=3900|success=false|"
                      "error_message=e|created_at=1100000|completed_at=5000000\n");
    safari_status(&s, 1, 6000, "SUCCEEDED", "{\"cleanedPath\":\"/c\",\"cleanedSize\":9}", NULL);
    safari_expect(&s, "output_path=/c|input_size_bytes=null|output_size_bytes=8|");
}

Test(watermark_removals, an_error_is_that_of_the_removal_then_of_the_command)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    attempted(1100);
    safari_status(&s, 1, 5000, "FAILED", "{\"results\":[{\"error\":\"item\"}]}", "why");
    safari_expect(&s, "error_message=why|");
    safari_status(&s, 1, 6000, "FAILED", "{\"cleanError\":\"own\"}", "why");
    safari_expect(&s, "error_message=own|");
    again();
    safari_submitted(&s, 1, 1000, "sora.clean", "{\"input_path\":\"/in\"}");
    safari_status(&s, 1, 5000, "FAILED", "{\"clean_error\":\"other\"}", "why");
    safari_expect(&s, "error_message=why|");
    again();
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{}");
    safari_status(&s, 1, 5000, "FAILED",
                  "{\"results\":[{\"path\":\"/0\",\"error\":\"item\"}],\"clean_error\":\"odd\"}",
                  "why");
    safari_expect(&s, "error_message=item|");
    safari_expect(&s, "attempts=1|succeeded=0|failed=1|");
    frame(2000, "sora.video.cleaned", "{\"batch_index\":0,\"output_path\":\"/out\"}");
    safari_expect(&s, "success=true|error_message=null|");
}

Test(watermark_removals, what_is_open_has_no_error)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    attempted(1100);
    safari_status(&s, 1, 5000, "RUNNING", "{\"clean_error\":\"e\"}", "odd");
    safari_expect(&s, "success=false|error_message=null|created_at=1100000|completed_at=null\n");
    safari_expect(&s, "attempts=1|succeeded=0|failed=0|");
}

Test(watermark_removals, the_first_attempt_counts)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    frame(3000, "action.attempted", "{\"action\":\"WATERMARK_REMOVAL\",\"inputPath\":\"/second\"}");
    safari_expect(&s, "input_path=/second|");
    attempted(2000);
    safari_expect(&s, "input_path=/in|");
    safari_expect(&s, "created_at=2000000|completed_at=null\n");
}

/* --- times and sums -------------------------------------------------------------------------- */

static void takes(int64_t microseconds, const char *processing, const char *bin)
{
    safari_submitted(&s, 1, 1000, "sora.clean", "{\"input_path\":\"/in\"}");
    attempted(5000);
    cleaned(5000)->emitted_at = PJ_TIMESTAMPTZ(5000000 + microseconds);
    safari_expect(&s, pj_arena_printf(s.orders.arena, "|processing_time_ms=%s|", processing));
    safari_expect(&s, pj_arena_printf(s.orders.arena, "|histogram=%s\n", bin));
    again();
}

Test(watermark_removals, the_histogram_has_eight_bins_for_each_doubling)
{
    takes(0, "0", "0:1,");
    takes(999, "0", "0:1,");
    takes(1000, "1", "1:1,");
    takes(-1, "-1", "0:1,");
    takes(-1000, "-1", "0:1,");
    takes(2000, "2", "9:1,");
    takes(9000, "9", "26:1,");
    takes(INT64_C(2147483647000), "2147483647", "248:1,");
    takes(INT64_C(2147483648000), "null", "");
    takes(INT64_C(-2147483648000), "-2147483648", "0:1,");
    takes(INT64_C(-2147483649000), "null", "");
}

Test(watermark_removals, the_bucket_is_the_hour)
{
    safari_submitted(&s, 1, 3599999, "sora.clean", "{\"input_path\":\"/in\"}");
    safari_expect(&s, "bucket_start=0|");
    again();
    safari_submitted(&s, 1, 3600000, "sora.clean", "{\"input_path\":\"/in\"}");
    safari_expect(&s, "bucket_start=3600000000|");
    again();
    safari_submitted(&s, 1, -1, "sora.clean", "{\"input_path\":\"/in\"}");
    safari_expect(&s, "bucket_start=-3600000000|");
    again();
    safari_submitted(&s, 1, -3600000, "sora.clean", "{\"input_path\":\"/in\"}");
    safari_expect(&s, "bucket_start=-3600000000|");
}

Test(watermark_removals, sums_of_several)
{
    for (unsigned command = 1; command <= 3; command++) {
        safari_submitted(&s, command, 1000, "sora.clean", "{\"input_path\":\"/in\"}");
        safari_telemetry(&s, command, 2000, "action.attempted",
                         "{\"action\":\"WATERMARK_REMOVAL\"}");
        safari_telemetry(&s, command, 2000 + 100 * command, "sora.video.cleaned",
                         "{\"output_path\":\"/out\",\"file_size\":8}");
    }
    safari_submitted(&s, 4, 1000, "sora.generate", "{}");
    safari_telemetry(&s, 4, 1100, "sora.video.downloaded",
                     "{\"file_path\":\"/in\",\"file_size\":5}");
    safari_expect(&s, "attempts=3|succeeded=3|failed=0|input_bytes=15|output_bytes=24|"
                      "processing_ms_sum=600|processing_ms_min=100|processing_ms_max=300|"
                      "histogram=53:1,61:1,66:1,\n");
}

/* --- the video of a path --------------------------------------------------------------------- */

Test(watermark_removals, the_oldest_video_of_a_path_is_it)
{
    safari_submitted(&s, 9, 9000, "sora.clean", "{\"input_path\":\"/in\"}");
    for (unsigned command = 1; command <= 3; command++) {
        safari_submitted(&s, command, command == 1 ? 1000 : 2000 + command, "sora.generate", "{}");
        safari_telemetry(&s, command, 5000, "sora.video.downloaded",
                         command == 1 ? "{\"file_path\":\"/in\",\"file_size\":1}"
                                      : "{\"file_path\":\"/in\",\"file_size\":2}");
    }
    safari_expect(&s, "video_id=1473064a-566e-5c85-9bd7-e437b86f2b05|"
                      "command_id=00000000-0000-4000-8000-000000000009|input_path=/in|"
                      "output_path=null|input_size_bytes=1|");
    safari_submitted(&s, 1, 10, "sora.generate", "{}")->requested_at =
        PJ_TIMESTAMPTZ(pj_orders_time(8000));
    safari_refuse(&s, "video_id=1473064a-566e-5c85-9bd7-e437b86f2b05|"
                      "command_id=00000000-0000-4000-8000-000000000009");
}

Test(watermark_removals, of_two_videos_as_old_the_smaller_id_is_it)
{
    safari_submitted(&s, 9, 9000, "sora.clean", "{\"input_path\":\"/in\"}");
    safari_submitted(&s, 1, 1000, "sora.batch", "{\"prompts\":[\"a\",\"b\"]}");
    safari_status(&s, 1, 5000, "SUCCEEDED", "{\"results\":[{\"path\":\"/in\"},{\"path\":\"/in\"}]}",
                  NULL);
    safari_expect(&s, "video_id=1473064a-566e-5c85-9bd7-e437b86f2b05|"
                      "command_id=00000000-0000-4000-8000-000000000009|");
}
