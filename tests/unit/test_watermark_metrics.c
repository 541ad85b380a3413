/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of watermark_removals and its rollup, by their rows in every order. */
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

TestSuite(watermark_metrics, .init = start, .fini = stop);

static void generate_clean(unsigned command, int64_t ms)
{
    safari_submitted(&s, command, ms, "sora.generate.clean",
                     "{\"prompt\":\"x\",\"method\":\"ai\"}");
    safari_telemetry(&s, command, ms + 500, "sora.video.downloaded",
                     "{\"file_path\":\"/raw\",\"file_size\":10}");
    safari_telemetry(&s, command, ms + 1000, "action.attempted",
                     "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/raw\"}");
}

Test(watermark_metrics, attempted_then_cleaned)
{
    generate_clean(1, 1000);
    safari_expect(&s, "input_path=/raw|output_path=null|input_size_bytes=10|output_size_bytes=null|"
                      "method=ai|processing_time_ms=null|success=false|error_message=null|"
                      "created_at=2000000|completed_at=null\n");
    safari_expect(&s, "watermark_metrics|bucket_start=0|method=ai|attempts=1|succeeded=0|failed=0|"
                      "input_bytes=10|output_bytes=0|processing_ms_sum=0|processing_ms_min=null|"
                      "processing_ms_max=null|histogram=\n");
    safari_telemetry(&s, 1, 2300, "sora.video.cleaned",
                     "{\"input_path\":\"/raw\",\"output_path\":\"/c\",\"file_size\":8}");
    safari_expect(&s, "output_path=/c|input_size_bytes=10|output_size_bytes=8|method=ai|"
                      "processing_time_ms=300|success=true|error_message=null|created_at=2000000|"
                      "completed_at=2300000\n");
    safari_expect(&s, "attempts=1|succeeded=1|failed=0|input_bytes=10|output_bytes=8|"
                      "processing_ms_sum=300|processing_ms_min=300|processing_ms_max=300|"
                      "histogram=66:1,\n");
}

Test(watermark_metrics, wire_v2)
{
    safari_submitted(&s, 1, 1000, "sora.clean", "{\"input_path\":\"/raw\"}");
    safari_status(&s, 1, 4000, "SUCCEEDED", "{\"cleanedPath\":\"/c\",\"fileSize\":7}", NULL);
    safari_expect(&s, "input_path=/raw|output_path=/c|input_size_bytes=null|output_size_bytes=7|");
    safari_submitted(&s, 2, 1000, "sora.generate.clean", "{}");
    safari_telemetry(&s, 2, 1500, "sora.video.cleaned",
                     "{\"inputPath\":\"/r\",\"cleanedPath\":\"/d\",\"fileSize\":8}");
    safari_expect(&s, "input_path=/r|output_path=/d|input_size_bytes=null|output_size_bytes=8|");
}

Test(watermark_metrics, an_empty_path_is_none)
{
    safari_submitted(&s, 1, 1000, "sora.clean", "{\"input_path\":\"\"}");
    safari_submitted(&s, 2, 1000, "sora.clean", "{\"input_path\":\"/r\"}");
    safari_status(&s, 2, 2000, "SUCCEEDED", "{\"output_path\":\"\"}", NULL);
    safari_expect(&s, "input_path=/r|output_path=null|");
    safari_expect(&s, "attempts=1|succeeded=0|failed=0|"); /* open: nothing tells of a failure */
}

Test(watermark_metrics, a_failure_is_told_by_the_result)
{
    generate_clean(1, 1000);
    safari_status(&s, 1, 5000, "SUCCEEDED", "{\"video_path\":\"/raw\",\"clean_error\":\"no gpu\"}",
                  NULL);
    safari_expect(&s, "processing_time_ms=3000|success=false|error_message=no gpu|"
                      "created_at=2000000|completed_at=5000000\n");
    safari_expect(&s, "attempts=1|succeeded=0|failed=1|");
}

Test(watermark_metrics, a_clean_joins_the_video_of_its_path)
{
    safari_submitted(&s, 2, 3000, "sora.clean", "{\"input_path\":\"/raw\"}");
    safari_expect(&s, "video_id=null|command_id=00000000-0000-4000-8000-000000000002|"
                      "input_path=/raw|output_path=null|input_size_bytes=null|");
    safari_submitted(&s, 1, 1000, "sora.generate", "{\"prompt\":\"x\"}");
    safari_status(&s, 1, 2000, "SUCCEEDED", "{\"video_path\":\"/raw\",\"file_size\":5}", NULL);
    safari_expect(&s, "input_path=/raw|output_path=null|input_size_bytes=5|");
    char *rows = pj_orders_rows(&s.orders, false);
    cr_assert_null(strstr(rows, "video_id=null"), "%s", rows);
    free(rows);
}

Test(watermark_metrics, a_batch_has_one_for_each_that_was_tried)
{
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{\"prompts\":[\"a\",\"b\",\"c\"]}");
    safari_telemetry(&s, 1, 2000, "sora.video.cleaned",
                     "{\"batch_index\":1,\"input_path\":\"/r1\",\"output_path\":\"/c1\"}");
    safari_status(&s, 1, 3000, "SUCCEEDED",
                  "{\"results\":[{\"path\":\"/r0\",\"error\":\"no gpu\"},"
                  "{\"path\":\"/r1\",\"cleaned_path\":\"/c1\"},{\"error\":\"blocked\"}]}",
                  NULL);
    safari_expect(&s, "input_path=/r0|output_path=null|input_size_bytes=null|"
                      "output_size_bytes=null|method=lama|processing_time_ms=null|success=false|"
                      "error_message=no gpu|created_at=1000000|completed_at=3000000\n");
    safari_expect(&s, "input_path=/r1|output_path=/c1|input_size_bytes=null|"
                      "output_size_bytes=null|method=lama|processing_time_ms=null|success=true|"
                      "error_message=null|created_at=2000000|completed_at=2000000\n");
    safari_expect(&s, "attempts=2|succeeded=1|failed=1|");
}

Test(watermark_metrics, a_result_counts_when_the_command_has_ended)
{
    generate_clean(1, 1000);
    safari_status(&s, 1, 5000, "RUNNING", "{\"cleaned_path\":\"/c\"}", NULL);
    safari_expect(&s, "output_path=null|input_size_bytes=10|output_size_bytes=null|method=ai|"
                      "processing_time_ms=null|success=false|");
}

Test(watermark_metrics, a_success_that_tells_of_no_failure_leaves_it_open)
{
    generate_clean(1, 1000);
    safari_status(&s, 1, 5000, "SUCCEEDED", "{\"video_path\":\"/raw\"}", NULL);
    safari_expect(&s, "processing_time_ms=null|success=false|error_message=null|"
                      "created_at=2000000|completed_at=null\n");
    safari_expect(&s, "attempts=1|succeeded=0|failed=0|");
}

Test(watermark_metrics, the_end_of_a_command_that_failed_is_a_failure)
{
    generate_clean(1, 1000);
    safari_status(&s, 1, 5000, "CANCELLED", NULL, NULL);
    safari_expect(&s, "processing_time_ms=3000|success=false|error_message=null|"
                      "created_at=2000000|completed_at=5000000\n");
}

Test(watermark_metrics, the_result_has_the_size_that_cleaned_did_not_say)
{
    generate_clean(1, 1000);
    safari_telemetry(&s, 1, 2300, "sora.video.cleaned", "{\"output_path\":\"/c\"}");
    safari_status(&s, 1, 5000, "SUCCEEDED", "{\"cleaned_path\":\"/c\",\"cleaned_size\":8}", NULL);
    safari_expect(&s, "output_path=/c|input_size_bytes=10|output_size_bytes=8|");
}

Test(watermark_metrics, the_result_of_a_command_that_nobody_submitted_counts)
{
    safari_telemetry(&s, 1, 2000, "action.attempted",
                     "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/raw\"}");
    safari_status(&s, 1, 5000, "SUCCEEDED", "{\"cleaned_path\":\"/c\",\"cleaned_size\":8}", NULL);
    safari_telemetry(&s, 2, 2000, "action.attempted",
                     "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/raw2\"}");
    safari_status(&s, 2, 5000, "SUCCEEDED", "{\"clean_error\":\"no gpu\"}", NULL);
    safari_telemetry(&s, 3, 2000, "action.attempted",
                     "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/raw3\"}");
    safari_status(&s, 3, 5000, "SUCCEEDED", "{\"output_path\":\"/c3\",\"file_size\":7}", NULL);
    safari_expect(&s, "input_path=/raw|output_path=/c|input_size_bytes=null|output_size_bytes=8|"
                      "method=lama|processing_time_ms=3000|success=true|");
    safari_expect(&s, "input_path=/raw2|output_path=null|input_size_bytes=null|"
                      "output_size_bytes=null|method=lama|processing_time_ms=3000|success=false|"
                      "error_message=no gpu|");
    safari_expect(&s, "input_path=/raw3|output_path=/c3|input_size_bytes=null|"
                      "output_size_bytes=7|");
}

Test(watermark_metrics, ages_apart_is_no_time)
{
    safari_telemetry(&s, 1, -INT64_C(210866803200000), "action.attempted",
                     "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/raw\"}");
    safari_telemetry(&s, 1, INT64_MAX / 1000, "sora.video.cleaned", "{\"output_path\":\"/c\"}");
    safari_expect(&s, "processing_time_ms=null|success=true|");
}

Test(watermark_metrics, the_sizes_of_a_bucket_fit)
{
    for (unsigned command = 1; command <= 2; command++)
        safari_telemetry(&s, command, 2000, "sora.video.cleaned",
                         "{\"input_path\":\"/raw\",\"output_path\":\"/c\","
                         "\"file_size\":9000000000000000000}");
    safari_expect(&s, "output_size_bytes=null|");
    safari_expect(&s, "attempts=2|succeeded=2|failed=0|input_bytes=0|output_bytes=0|");
}

Test(watermark_metrics, a_removal_that_moves_to_another_hour_leaves_its_bucket)
{
    safari_submitted(&s, 1, 7300000, "sora.clean", "{\"input_path\":\"/raw\"}");
    safari_telemetry(&s, 1, 3500000, "action.attempted",
                     "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/raw\"}");
    safari_expect(&s, "watermark_metrics|bucket_start=0|method=lama|attempts=1|");
    char *rows = pj_orders_rows(&s.orders, false);
    cr_assert_null(strstr(rows, "bucket_start=7200000000"), "%s", rows);
    free(rows);
}

Test(watermark_metrics, order_independence)
{
    safari_orders_mixture(&s, 80, 9);
    cr_assert(pj_orders_agree(&s.orders, 200, 1));
}
