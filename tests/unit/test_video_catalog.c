/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of safari_videos, each by its rows in every order, and every order of a mixture. */
#include "base/arena.h"
#include "fold/fold.h"
#include "lib/safari_orders.h"

#include <criterion/criterion.h>

#define NINES "9999999999999999999" /* with a digit before it: beyond 64 bits */

static struct safari_orders s;

static void start(void)
{
    s = safari_orders_start(&pj_video_catalog);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(video_catalog, .init = start, .fini = stop);

Test(video_catalog, a_clean_generate)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean",
                     "{\"prompt\":\"a fox\",\"duration\":\"10s\",\"aspect_ratio\":\"16:9\"}");
    safari_telemetry(&s, 1, 1100, "sora.prompt.submitted", "{\"character\":\"isaiah\"}");
    safari_telemetry(&s, 1, 2000, "sora.video.downloaded",
                     "{\"file_path\":\"/raw\",\"file_size\":10}");
    safari_telemetry(&s, 1, 2100, "action.attempted",
                     "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/raw\"}");
    safari_expect(&s, "prompt=a fox|character=isaiah|duration=10s|aspect_ratio=16:9|raw_path=/raw|"
                      "raw_size_bytes=10|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=CLEANING|metadata=null|created_at=1000000|");
    safari_telemetry(&s, 1, 3000, "sora.video.cleaned",
                     "{\"input_path\":\"/raw\",\"output_path\":\"/clean\",\"file_size\":9}");
    safari_expect(&s, "cleaned_path=/clean|cleaned_size_bytes=9|status=CLEANED|");
}

Test(video_catalog, succeeded_with_clean_error_is_downloaded)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{\"prompt\":\"x\"}");
    safari_telemetry(&s, 1, 2100, "action.attempted", "{\"action\":\"WATERMARK_REMOVAL\"}");
    safari_status(&s, 1, 3000, "SUCCEEDED",
                  "{\"video_path\":\"/raw\",\"file_size\":5,\"clean_error\":\"no gpu\"}", NULL);
    safari_expect(&s, "raw_path=/raw|raw_size_bytes=5|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=DOWNLOADED|metadata={\"clean_error\":\"no gpu\"}|");
}

Test(video_catalog, failed_without_a_path)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{\"prompt\":\"x\"}");
    safari_expect(&s, "status=GENERATING|");
    safari_status(&s, 1, 3000, "FAILED", NULL, "blocked");
    safari_expect(&s, "status=FAILED|metadata={\"error\":\"blocked\"}|");
}

Test(video_catalog, cancelled_and_executed_all_the_same)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{\"prompt\":\"x\"}");
    safari_status(&s, 1, 1100, "CANCELLED", NULL, NULL);
    safari_expect(&s, "status=FAILED|");
    safari_status(&s, 1, 1200, "RUNNING", NULL, NULL);
    safari_expect(&s, "status=GENERATING|");
    safari_status(&s, 1, 1300, "SUCCEEDED", "{\"video_path\":\"/raw\"}", NULL);
    safari_expect(&s, "status=DOWNLOADED|");
}

Test(video_catalog, a_result_counts_once_the_command_has_ended)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{\"prompt\":\"x\"}");
    safari_status(&s, 1, 1200, "RUNNING",
                  "{\"video_path\":\"/raw\",\"clean_error\":\"e\",\"duration_ms\":1}", NULL);
    safari_expect(&s, "raw_path=null|raw_size_bytes=null|cleaned_path=null|"
                      "cleaned_size_bytes=null|status=GENERATING|metadata=null|");
}

Test(video_catalog, a_number_that_is_too_great_hides_nothing_else)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{\"prompt\":\"x\",\"seed\":1" NINES "}");
    safari_telemetry(&s, 1, 1500, "sora.video.cleaned",
                     "{\"input_path\":\"/raw\",\"output_path\":\"/c\",\"file_size\":1" NINES "}");
    safari_status(&s, 1, 2000, "SUCCEEDED",
                  "{\"video_path\":\"/raw\",\"file_size\":1" NINES ",\"duration_ms\":7}", NULL);
    safari_expect(&s, "prompt=x|character=null|duration=null|aspect_ratio=null|raw_path=/raw|"
                      "raw_size_bytes=null|cleaned_path=/c|cleaned_size_bytes=null|status=CLEANED|"
                      "metadata={\"duration_ms\":7}|");
}

Test(video_catalog, a_whole_number_may_be_written_with_a_point)
{
    safari_telemetry(&s, 1, 1500, "sora.video.cleaned",
                     "{\"batch_index\":1.0,\"output_path\":\"/c\",\"file_size\":9.0}");
    safari_telemetry(&s, 1, 1500, "sora.video.cleaned",
                     "{\"batch_index\":2.5,\"output_path\":\"/d\"}");
    safari_telemetry(&s, 1, 1500, "sora.video.cleaned",
                     "{\"batch_index\":3,\"output_path\":\"/e\",\"file_size\":-9.0}");
    safari_expect(&s, "cleaned_path=/c|cleaned_size_bytes=9|status=CLEANED|"
                      "metadata={\"batch_index\":1}|");
    safari_expect(&s, "cleaned_path=/e|cleaned_size_bytes=null|status=CLEANED|"
                      "metadata={\"batch_index\":3}|");
    safari_submitted(&s, 2, 1000, "sora.generate", "{}");
    safari_status(&s, 2, 2000, "SUCCEEDED", "{\"file_size\":1e3,\"duration_ms\":0.5}", NULL);
    safari_expect(&s, "raw_size_bytes=1000|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=FAILED|metadata={\"duration_ms\":0.5}|");
}

Test(video_catalog, an_index_counts_where_a_frame_can_have_one)
{
    safari_telemetry(&s, 1, 1500, "sora.video.downloaded",
                     "{\"file_path\":\"/raw\",\"batch_index\":\"none\"}");
    safari_telemetry(&s, 1, 1600, "sora.video.cleaned",
                     "{\"output_path\":\"/c\",\"batch_index\":null}");
    safari_expect(&s, "raw_path=/raw|raw_size_bytes=null|cleaned_path=/c|cleaned_size_bytes=null|"
                      "status=CLEANED|metadata=null|");
}

#define LONG "0123456789012345678901234567890123456789012345678901" /* 52 characters */

Test(video_catalog, what_is_not_read_may_be_anything)
{
    safari_submitted(&s, 1, 1000, "sora.usage", "null");
    safari_submitted(&s, 2, 1000, "sora.download", "{\"duration\":\"" LONG "\"}");
    for (unsigned command = 1; command < 3; command++)
        safari_telemetry(&s, command, 1500, "sora.video.downloaded", "{\"file_path\":\"/raw\"}");
    char *rows = pj_orders_rows(&s.orders, false);
    cr_expect_str_empty(rows, "%s", rows); /* neither makes a video */
    free(rows);
    safari_submitted(&s, 3, 1000, "sora.generate", "{}");
    safari_telemetry(&s, 3, 1500, "action.attempted",
                     "{\"action\":\"WATERMARK_REMOVAL\",\"method\":\"" LONG "\"}");
    safari_telemetry(&s, 3, 1600, "sora.video.downloaded",
                     "{\"file_path\":\"/raw\",\"duration\":\"" LONG "\"}");
    safari_expect(&s, "raw_path=/raw|raw_size_bytes=null|cleaned_path=null|"
                      "cleaned_size_bytes=null|status=CLEANING|");
    safari_submitted(&s, 4, 1000, "action.run", "{}");
    safari_status(&s, 4, 1000, "SUCCEEDED", "[1]", NULL);
    safari_submitted(&s, 5, 1000, "sora.generate", "{}");
    safari_status(&s, 5, 1000, "SUCCEEDED", "\"done\"", NULL);
    safari_expect(&s, "cleaned_size_bytes=null|status=FAILED|metadata=null|");
}

static const char *prompts(size_t count)
{
    char *json = pj_arena_alloc(s.orders.arena, 3 * count + 20);
    char *at = stpcpy(json, "{\"prompts\":[");
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, i == 0 ? "\"\"" : ",\"\"");
    stpcpy(at, "]}");
    return json;
}

/* What the last event is refused for; "" where it is not. */
static const char *refusal(void)
{
    static struct pj_error error;
    struct pj_event event = {.values = s.orders.events[s.orders.count - 1].values};
    struct pj_fold *fold = pj_fold_new(&pj_video_catalog, NULL, s.orders.arena);
    bool taken = pj_fold_observe(fold, &pj_video_catalog.sources[0], &event, &error) == 0;
    return taken ? "" : error.message;
}

Test(video_catalog, a_batch_has_at_most_10000_prompts)
{
    safari_submitted(&s, 1, 1000, "sora.batch", prompts(10000));
    cr_expect_str_empty(refusal());
    safari_submitted(&s, 2, 1000, "sora.generate", prompts(10001)); /* has one, whatever it says */
    cr_expect_str_empty(refusal());
    safari_submitted(&s, 3, 1000, "sora.batch.clean", prompts(10001));
    cr_expect_str_eq(refusal(), "payload.prompts has 10001 prompts, a batch can have 10000: send "
                                "the rest as another command");
}

Test(video_catalog, an_index_beyond_the_prompts_makes_no_video_between)
{
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{\"prompts\":[\"a\"]}");
    safari_telemetry(&s, 1, 1500, "sora.video.cleaned",
                     "{\"batch_index\":3,\"output_path\":\"/c\"}");
    safari_expect(&s, "prompt=a|");
    safari_expect(&s, "prompt=null|character=null|duration=null|aspect_ratio=null|raw_path=null|"
                      "raw_size_bytes=null|cleaned_path=/c|cleaned_size_bytes=null|status=CLEANED|"
                      "metadata={\"batch_index\":3}|");
    char *rows = pj_orders_rows(&s.orders, false);
    cr_expect_null(strstr(rows, "status=GENERATING|metadata={\"batch_index\":1}"), "%s", rows);
    free(rows);
}

/* As the service of wire v2 names what frames and results have. */
Test(video_catalog, wire_v2)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{\"prompt\":\"x\"}");
    safari_telemetry(&s, 1, 1500, "sora.video.downloaded",
                     "{\"videoPath\":\"/raw\",\"fileSize\":10}");
    safari_expect(&s, "raw_path=/raw|raw_size_bytes=10|cleaned_path=null|");
    safari_telemetry(&s, 1, 1600, "sora.video.cleaned",
                     "{\"inputPath\":\"/raw\",\"cleanedPath\":\"/c\",\"cleanedSize\":9}");
    safari_expect(&s, "raw_path=/raw|raw_size_bytes=10|cleaned_path=/c|cleaned_size_bytes=9|");
    safari_status(&s, 1, 2000, "SUCCEEDED", "{\"durationMs\":7,\"cleanError\":\"e\"}", NULL);
    safari_expect(&s, "status=CLEANED|metadata={\"clean_error\":\"e\",\"duration_ms\":7}|");
    safari_submitted(&s, 2, 1000, "sora.batch.clean", "{\"prompts\":[\"a\",\"b\"]}");
    safari_telemetry(&s, 2, 1600, "sora.video.cleaned",
                     "{\"inputPath\":\"/r1\",\"cleanedPath\":\"/c1\",\"batchIndex\":1}");
    safari_status(&s, 2, 2000, "SUCCEEDED",
                  "{\"results\":[{\"path\":\"/r0\",\"cleanedPath\":\"/c0\"}]}", NULL);
    safari_expect(&s, "prompt=a|character=null|duration=null|aspect_ratio=null|raw_path=/r0|"
                      "raw_size_bytes=null|cleaned_path=/c0|");
    safari_expect(&s, "prompt=b|character=null|duration=null|aspect_ratio=null|raw_path=/r1|"
                      "raw_size_bytes=null|cleaned_path=/c1|");
}

Test(video_catalog, a_clean_of_wire_v2)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{\"prompt\":\"x\"}");
    safari_status(&s, 1, 2000, "SUCCEEDED", "{\"videoPath\":\"/raw\"}", NULL);
    safari_submitted(&s, 2, 3000, "sora.clean", "{\"input_path\":\"/raw\"}");
    safari_status(&s, 2, 4000, "SUCCEEDED", "{\"cleanedPath\":\"/c\",\"cleanedSize\":7}", NULL);
    safari_expect(&s, "cleaned_path=/c|cleaned_size_bytes=7|status=CLEANED|");
}

Test(video_catalog, a_batch_counts_from_zero)
{
    safari_submitted(&s, 1, 1000, "sora.batch.clean",
                     "{\"prompts\":[\"one\",\"two\",\"three\"],\"character\":\"c\"}");
    safari_telemetry(&s, 1, 2000, "sora.video.cleaned",
                     "{\"batch_index\":1,\"input_path\":\"/r1\",\"output_path\":\"/c1\"}");
    safari_status(&s, 1, 3000, "SUCCEEDED",
                  "{\"results\":[{\"success\":true,\"path\":\"/r0\",\"error\":\"no gpu\"},"
                  "{\"success\":true,\"path\":\"/r1\",\"cleaned_path\":\"/c1\"},"
                  "{\"success\":false,\"error\":\"blocked\"}]}",
                  NULL);
    safari_expect(&s, "prompt=one|character=c|duration=null|aspect_ratio=null|raw_path=/r0|"
                      "raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=DOWNLOADED|metadata={\"batch_index\":0,\"error\":\"no gpu\"}|");
    safari_expect(&s, "prompt=two|character=c|duration=null|aspect_ratio=null|raw_path=/r1|"
                      "raw_size_bytes=null|cleaned_path=/c1|cleaned_size_bytes=null|"
                      "status=CLEANED|metadata={\"batch_index\":1}|");
    safari_expect(&s, "prompt=three|character=c|duration=null|aspect_ratio=null|raw_path=null|"
                      "raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=FAILED|metadata={\"batch_index\":2,\"error\":\"blocked\"}|");
}

Test(video_catalog, a_list_of_results_counts_for_one_video_too)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{\"prompt\":\"x\"}");
    safari_status(&s, 1, 3000, "SUCCEEDED",
                  "{\"results\":[{\"path\":\"/r\",\"cleaned_path\":\"/c\"}]}", NULL);
    safari_expect(&s, "raw_path=/r|raw_size_bytes=null|cleaned_path=/c|cleaned_size_bytes=null|"
                      "status=CLEANED|");
}

Test(video_catalog, a_clean_of_a_catalogued_path)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{\"prompt\":\"x\"}");
    safari_status(&s, 1, 2000, "SUCCEEDED", "{\"video_path\":\"/raw\"}", NULL);
    safari_submitted(&s, 2, 3000, "sora.clean", "{\"input_path\":\"/raw\"}");
    safari_status(&s, 2, 4000, "SUCCEEDED", "{\"output_path\":\"/clean\",\"file_size\":7}", NULL);
    safari_expect(&s, "raw_path=/raw|raw_size_bytes=null|cleaned_path=/clean|"
                      "cleaned_size_bytes=7|status=CLEANED|");
    safari_status(&s, 2, 5000, "FAILED", NULL, "after all");
    safari_expect(&s, "raw_path=/raw|raw_size_bytes=null|cleaned_path=null|"
                      "cleaned_size_bytes=null|status=DOWNLOADED|");
}

Test(video_catalog, a_clean_reads_what_its_attempt_names)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{\"prompt\":\"x\"}");
    safari_status(&s, 1, 2000, "SUCCEEDED", "{\"video_path\":\"/raw\"}", NULL);
    safari_submitted(&s, 2, 3000, "sora.clean", "{}");
    safari_telemetry(&s, 2, 3500, "action.attempted",
                     "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/raw\"}");
    safari_status(&s, 2, 4000, "SUCCEEDED", "{\"output_path\":\"/clean\"}", NULL);
    safari_expect(&s, "raw_path=/raw|raw_size_bytes=null|cleaned_path=/clean|");
}

Test(video_catalog, an_empty_text_is_none)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean",
                     "{\"prompt\":\"x\",\"character\":\"\",\"duration\":\"\"}");
    safari_telemetry(&s, 1, 1100, "sora.prompt.submitted", "{\"character\":\"isaiah\"}");
    safari_status(&s, 1, 2000, "SUCCEEDED", "{\"video_path\":\"/raw\",\"clean_error\":\"\"}", "");
    safari_expect(&s, "character=isaiah|duration=null|");
    safari_expect(&s, "status=DOWNLOADED|metadata=null|");
}

Test(video_catalog, a_duration_is_the_number_that_was_sent)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{}");
    safari_status(&s, 1, 2000, "SUCCEEDED", "{\"duration_ms\":1234.56}", NULL);
    safari_expect(&s, "metadata={\"duration_ms\":1234.56}|");
}

Test(video_catalog, an_empty_path_is_none)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{\"prompt\":\"\"}");
    safari_telemetry(&s, 1, 1500, "sora.video.downloaded", "{\"file_path\":\"\"}");
    safari_telemetry(&s, 1, 1600, "sora.video.cleaned",
                     "{\"input_path\":\"\",\"output_path\":\"\"}");
    safari_expect(&s, "raw_path=null|raw_size_bytes=null|cleaned_path=null|"
                      "cleaned_size_bytes=null|status=GENERATING|");
    safari_status(&s, 1, 2000, "SUCCEEDED", "{\"video_path\":\"/raw\",\"cleaned_path\":\"\"}",
                  NULL);
    safari_expect(&s, "prompt=|character=null|duration=null|aspect_ratio=null|raw_path=/raw|"
                      "raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=DOWNLOADED|");
    safari_submitted(&s, 2, 1000, "sora.batch", "{\"prompts\":[\"a\"]}");
    safari_status(&s, 2, 2000, "SUCCEEDED", "{\"results\":[{\"success\":false,\"path\":\"\"}]}",
                  NULL);
    safari_expect(&s, "raw_path=null|raw_size_bytes=null|cleaned_path=null|"
                      "cleaned_size_bytes=null|status=FAILED|metadata={\"batch_index\":0}|");
}

Test(video_catalog, of_two_cleans_the_later_counts)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{\"prompt\":\"x\"}");
    safari_status(&s, 1, 2000, "SUCCEEDED", "{\"video_path\":\"/raw\"}", NULL);
    safari_submitted(&s, 2, 3000, "sora.clean", "{\"input_path\":\"/raw\"}");
    safari_status(&s, 2, 9000, "SUCCEEDED", "{\"output_path\":\"/late\"}", NULL);
    safari_submitted(&s, 3, 3000, "sora.clean", "{\"input_path\":\"/raw\"}");
    safari_status(&s, 3, 8000, "SUCCEEDED", "{\"output_path\":\"/early\"}", NULL);
    safari_expect(&s, "cleaned_path=/late|");
}

Test(video_catalog, a_clean_makes_no_video)
{
    safari_telemetry(&s, 2, 3500, "sora.video.cleaned",
                     "{\"input_path\":\"/raw\",\"output_path\":\"/c\"}");
    safari_submitted(&s, 2, 3000, "sora.clean", "{\"input_path\":\"/raw\"}");
    char *rows = pj_orders_rows(&s.orders, false);
    cr_assert_str_empty(rows);
    free(rows);
}

Test(video_catalog, order_independence)
{
    safari_orders_mixture(&s, 80, 5);
    cr_assert(pj_orders_agree(&s.orders, 400, 1));
}
