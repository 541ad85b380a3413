/* SPDX-License-Identifier: Apache-2.0 */
/* What a command makes, as production.h reads it: which items there are, and what counts for each.
 * Seen in the rows of the video catalog. */
#include "base/arena.h"
#include "lib/safari_orders.h"

#include <criterion/criterion.h>

static struct safari_orders s;

static void start(void)
{
    s = safari_orders_start(&pj_video_catalog);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(production, .init = start, .fini = stop);

static void frame(int64_t ms, const char *type, const char *payload)
{
    safari_telemetry(&s, 1, ms, type, payload);
}

static void again(void)
{
    stop();
    start();
}

/* Nothing of what has come so far is a video. */
static void expect_nothing(void)
{
    safari_refuse(&s, "safari_videos");
    again();
}

/* --- items ----------------------------------------------------------------------------------- */

Test(production, ids_are_those_of_the_command_and_the_index)
{
    safari_submitted(&s, 1, 1000, "sora.batch", "{\"prompts\":[\"a\",\"b\"]}");
    safari_expect(&s, "video_id=1473064a-566e-5c85-9bd7-e437b86f2b05|"
                      "command_id=00000000-0000-4000-8000-000000000001|prompt=a|");
    safari_expect(&s, "video_id=8d4035dc-2470-5da4-8dfe-3942ac4f1762|"
                      "command_id=00000000-0000-4000-8000-000000000001|prompt=b|");
}

Test(production, a_batch_has_as_many_as_anything_says)
{
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{\"prompts\":7}");
    safari_refuse(&s, "safari_videos");
    frame(1100, "sora.prompt.submitted", "{\"batch_index\":1}");
    safari_refuse(&s, "{\"batch_index\":0}");
    safari_expect(&s, "metadata={\"batch_index\":1}|");
    safari_refuse(&s, "{\"batch_index\":2}");
    frame(1200, "sora.video.cleaned", "{\"batch_index\":2}");
    safari_expect(&s, "metadata={\"batch_index\":2}|");
    safari_refuse(&s, "{\"batch_index\":3}");
    safari_status(&s, 1, 1300, "SUCCEEDED", "{\"results\":[{},{},{},{}]}", NULL);
    safari_expect(&s, "metadata={\"batch_index\":3}|");
    safari_refuse(&s, "{\"batch_index\":4}");
}

Test(production, without_a_submission_there_is_what_was_made)
{
    frame(1000, "sora.video.cleaned", "{\"input_path\":\"/r\",\"output_path\":\"/c\"}");
    frame(1100, "sora.polling.started", "{}");
    safari_status(&s, 1, 1200, "SUCCEEDED", "{\"input_path\":\"/r\",\"video_path\":\"/r\"}", NULL);
    expect_nothing();
    frame(1000, "sora.video.cleaned", "{\"batch_index\":0,\"output_path\":\"/c\"}");
    safari_expect(&s, "cleaned_path=/c|cleaned_size_bytes=null|status=CLEANED|"
                      "metadata={\"batch_index\":0}|");
    again();
    frame(1000, "sora.prompt.submitted", "{\"batch_index\":0}");
    safari_expect(&s, "status=GENERATING|metadata={\"batch_index\":0}|");
    again();
    frame(1000, "sora.prompt.submitted", "{\"character\":\"c\"}");
    safari_expect(&s, "prompt=null|character=c|duration=null|aspect_ratio=null|raw_path=null|"
                      "raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=GENERATING|metadata=null|created_at=1000000|");
    again();
    frame(1000, "sora.video.ready", "{\"video_url\":\"u\"}");
    safari_expect(&s, "status=GENERATING|metadata={\"video_url\":\"u\"}|");
    again();
    frame(1000, "sora.video.downloaded", "{\"file_path\":\"/r\"}");
    safari_expect(&s, "raw_path=/r|raw_size_bytes=null|");
    again();
    safari_status(&s, 1, 1000, "SUCCEEDED", "{\"video_path\":\"/r\",\"results\":\"odd\"}", NULL);
    safari_expect(&s, "raw_path=/r|raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=DOWNLOADED|metadata=null|");
    again();
    safari_status(&s, 1, 1000, "SUCCEEDED", "{\"results\":[{\"path\":\"/r\"}]}", NULL);
    safari_expect(&s, "raw_path=/r|raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=DOWNLOADED|metadata={\"batch_index\":0}|");
    again();
    safari_status(&s, 1, 1000, "FAILED", "{\"results\":[{\"prompt\":\"p\",\"success\":false}]}",
                  NULL);
    safari_expect(&s, "status=FAILED|metadata={\"batch_index\":0}|");
    again();
    safari_status(&s, 1, 1000, "SUCCEEDED",
                  "{\"results\":[{\"selector\":\"#a\",\"success\":true},{\"path\":\"\"}]}", NULL);
    expect_nothing();
}

Test(production, other_commands_make_no_videos_whatever_their_payload)
{
    safari_submitted(&s, 1, 1000, "flow.run", "[1]");
    frame(1100, "sora.video.downloaded", "{\"file_path\":\"/r\"}");
    safari_status(&s, 1, 1200, "SUCCEEDED", "{\"video_path\":\"/r\"}", NULL);
    expect_nothing();
}

/* --- indices --------------------------------------------------------------------------------- */

Test(production, an_index_is_a_number_from_0_to_9999)
{
    frame(1000, "sora.prompt.submitted", "{\"batch_index\":300,\"character\":\"c\"}");
    safari_expect(&s, "character=c|duration=null|aspect_ratio=null|raw_path=null|"
                      "raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=GENERATING|metadata={\"batch_index\":300}|");
    again();
    frame(1000, "sora.prompt.submitted", "{\"batch_index\":9999}");
    char *rows = pj_orders_rows(&s.orders, true);
    cr_assert_not_null(strstr(rows, "metadata={\"batch_index\":9999}|"));
    free(rows);
    again();
    static const char *const odd[] = {"{\"batch_index\":10000}", "{\"batch_index\":-1}",
                                      "{\"batch_index\":1.5}", "{\"batch_index\":\"1\"}"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        frame(1000, "sora.prompt.submitted", odd[i]);
        expect_nothing();
    }
}

Test(production, an_index_of_null_is_none)
{
    frame(1000, "sora.prompt.submitted", "{\"batch_index\":null}");
    safari_expect(&s, "metadata=null|");
}

Test(production, a_frame_with_an_odd_index_says_nothing_at_all)
{
    frame(100, "sora.prompt.submitted", "{\"batch_index\":-1}");
    frame(200, "sora.video.downloaded", "{\"file_path\":\"/r\"}");
    safari_expect(&s, "metadata=null|created_at=200000|");
}

Test(production, what_is_said_of_an_index_is_its_own)
{
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{\"prompts\":[\"a\",\"b\"]}");
    frame(1100, "sora.prompt.submitted", "{\"batch_index\":0,\"character\":\"c0\"}");
    frame(1200, "sora.prompt.submitted", "{\"batch_index\":1,\"character\":\"c1\"}");
    frame(1300, "sora.video.cleaned", "{\"batch_index\":0,\"input_path\":\"/r0\"}");
    frame(1400, "sora.video.cleaned", "{\"batch_index\":1,\"input_path\":\"/r1\"}");
    frame(1500, "sora.video.downloaded", "{\"file_path\":\"/odd\",\"file_size\":3}");
    frame(1600, "sora.video.ready", "{\"video_url\":\"u\"}");
    frame(1700, "action.attempted", "{\"action\":\"WATERMARK_REMOVAL\"}");
    safari_expect(&s, "prompt=a|character=c0|duration=null|aspect_ratio=null|raw_path=/r0|"
                      "raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=DOWNLOADED|metadata={\"batch_index\":0}|");
    safari_status(&s, 1, 1800, "SUCCEEDED",
                  "{\"video_path\":\"/odd\",\"file_size\":3,\"cleaned_path\":\"/odd\","
                  "\"cleaned_size\":3,\"clean_error\":\"odd\",\"duration_ms\":3}",
                  NULL);
    safari_expect(&s, "prompt=b|character=c1|duration=null|aspect_ratio=null|raw_path=/r1|"
                      "raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=DOWNLOADED|metadata={\"batch_index\":1}|");
}

/* Which of several it is about, nobody can tell; of one, everybody. */
Test(production, a_frame_without_an_index_is_about_the_only_one)
{
    frame(1100, "sora.prompt.submitted", "{\"character\":\"c\"}");
    frame(1200, "sora.video.cleaned", "{\"input_path\":\"/r\",\"output_path\":\"/c\"}");
    safari_expect(&s, "character=c|duration=null|aspect_ratio=null|raw_path=/r|"
                      "raw_size_bytes=null|cleaned_path=/c|");
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{\"prompts\":[\"a\"]}");
    safari_expect(&s, "prompt=a|character=c|duration=null|aspect_ratio=null|raw_path=/r|"
                      "raw_size_bytes=null|cleaned_path=/c|");
    frame(1050, "sora.video.cleaned", "{\"batch_index\":0,\"output_path\":\"/0\"}");
    safari_expect(&s, "raw_path=null|raw_size_bytes=null|cleaned_path=/0|");
    safari_status(&s, 1, 1300, "SUCCEEDED", "{\"results\":[{},{\"path\":\"/1\"}]}", NULL);
    safari_expect(&s, "prompt=a|character=null|duration=null|aspect_ratio=null|raw_path=null|"
                      "raw_size_bytes=null|cleaned_path=/0|");
    safari_expect(&s, "prompt=null|character=null|duration=null|aspect_ratio=null|raw_path=/1|"
                      "raw_size_bytes=null|cleaned_path=null|");
}

Test(production, a_later_frame_that_says_nothing_takes_nothing_back)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    frame(1100, "sora.prompt.submitted", "{\"character\":\"c\"}");
    frame(1200, "sora.prompt.submitted", "{\"character\":\"\"}");
    frame(1300, "sora.video.ready", "{\"video_url\":\"u\"}");
    frame(1400, "sora.video.ready", "{}");
    frame(1500, "sora.video.downloaded", "{\"file_path\":\"/r\",\"file_size\":3}");
    frame(1600, "sora.video.downloaded", "{\"file_size\":4}");
    frame(1700, "sora.video.cleaned", "{\"output_path\":\"/c\",\"file_size\":2}");
    frame(1800, "sora.video.cleaned", "{\"input_path\":\"/odd\",\"file_size\":5}");
    safari_expect(&s, "character=c|duration=null|aspect_ratio=null|raw_path=/r|raw_size_bytes=3|"
                      "cleaned_path=/c|cleaned_size_bytes=2|status=CLEANED|"
                      "metadata={\"video_url\":\"u\"}|");
}

Test(production, a_batch_has_the_prompts_of_its_list)
{
    safari_submitted(&s, 1, 1000, "sora.batch", "{\"prompt\":\"odd\",\"prompts\":[\"a\",7]}");
    safari_expect(&s, "prompt=a|");
    safari_expect(&s, "prompt=null|");
    safari_refuse(&s, "prompt=odd|");
}

Test(production, a_batch_knows_no_cleaned_size_but_that_of_the_frame)
{
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{}");
    frame(1200, "sora.video.cleaned", "{\"batch_index\":0,\"output_path\":\"/c\"}");
    frame(1200, "sora.video.cleaned", "{\"batch_index\":1,\"output_path\":\"/d\",\"file_size\":4}");
    safari_status(&s, 1, 1800, "SUCCEEDED", "{\"cleaned_size\":3}", NULL);
    safari_expect(&s, "cleaned_path=/c|cleaned_size_bytes=null|");
    safari_expect(&s, "cleaned_path=/d|cleaned_size_bytes=4|");
}

Test(production, an_error_is_that_of_the_index_then_of_the_command)
{
    safari_submitted(&s, 1, 1000, "sora.batch", "{\"prompts\":[\"a\",\"b\"]}");
    safari_status(&s, 1, 1800, "FAILED", "{\"results\":[{\"error\":\"own\"}]}", "why");
    safari_expect(&s, "status=FAILED|metadata={\"batch_index\":0,\"error\":\"own\"}|");
    safari_expect(&s, "status=FAILED|metadata={\"batch_index\":1,\"error\":\"why\"}|");
}

Test(production, what_ended_a_batch_is_no_error_of_what_was_done)
{
    safari_submitted(&s, 1, 1000, "sora.batch", "{\"prompts\":[\"a\",\"b\"]}");
    safari_status(&s, 1, 1800, "FAILED", "{\"results\":[{\"path\":\"/r\"}]}", "why");
    safari_expect(&s, "status=DOWNLOADED|metadata={\"batch_index\":0}|");
    safari_expect(&s, "status=FAILED|metadata={\"batch_index\":1,\"error\":\"why\"}|");
}

Test(production, results_count_when_the_batch_has_ended)
{
    static const char *const results = "{\"results\":[{\"success\":false,\"error\":\"own\"},"
                                       "{\"success\":true,\"path\":\"/r\"}]}";
    safari_submitted(&s, 1, 1000, "sora.batch", "{\"prompts\":[\"a\",\"b\",\"c\"]}");
    safari_status(&s, 1, 1800, "RUNNING", results, "odd");
    safari_expect(&s, "status=GENERATING|metadata={\"batch_index\":0}|");
    safari_expect(&s, "status=GENERATING|metadata={\"batch_index\":1}|");
    safari_status(&s, 1, 1900, "FAILED", results, NULL);
    safari_expect(&s, "status=FAILED|metadata={\"batch_index\":0,\"error\":\"own\"}|");
    safari_expect(&s, "status=DOWNLOADED|metadata={\"batch_index\":1}|");
}

/* --- cleans of a path ------------------------------------------------------------------------ */

static struct safari_command *clean_ends(unsigned command, const char *cursor, const char *status)
{
    safari_submitted(&s, command, 2000, "sora.clean", "{\"input_path\":\"/r\"}");
    struct safari_command *v =
        safari_status(&s, command, 3000, status,
                      pj_arena_printf(s.orders.arena, "{\"output_path\":\"/c%u\"}", command), NULL);
    v->cursor = PJ_TEXT(cursor);
    return v;
}

Test(production, of_several_cleans_of_a_path_the_last_to_succeed_counts)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{}");
    frame(1100, "sora.video.downloaded", "{\"file_path\":\"/r\"}");
    frame(1100, "sora.video.cleaned", "{\"output_path\":\"/own\",\"file_size\":4}");
    safari_expect(&s, "cleaned_path=/own|cleaned_size_bytes=4|");
    clean_ends(9, "4000-9", "SUCCEEDED")->event_id = PJ_UUID(pj_orders_uuid(9999));
    safari_expect(&s, "cleaned_path=/c9|cleaned_size_bytes=null|");
    clean_ends(2, "4000-10", "SUCCEEDED");
    safari_expect(&s, "cleaned_path=/c2|");
    clean_ends(8, "3999-11", "SUCCEEDED")->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(9000));
    safari_expect(&s, "cleaned_path=/c2|");
    clean_ends(3, "4000-10", "SUCCEEDED")->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(3001));
    safari_expect(&s, "cleaned_path=/c3|");
    clean_ends(4, "4000-10", "SUCCEEDED")->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(2999));
    safari_expect(&s, "cleaned_path=/c3|");
    struct safari_command *v = clean_ends(7, "4000-10", "SUCCEEDED");
    v->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(3001));
    v->event_id = PJ_UUID(pj_orders_uuid(1));
    safari_expect(&s, "cleaned_path=/c3|");
    clean_ends(5, "4000-10", "SUCCEEDED")->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(3001));
    safari_expect(&s, "cleaned_path=/c5|");
    clean_ends(4, "6000-1", "SUCCEEDED")->result = PJ_JSONB(pj_null()); /* of no output */
    safari_expect(&s, "cleaned_path=/c5|");
    clean_ends(6, "5000-1", "FAILED");
    safari_expect(&s, "cleaned_path=/c5|");
}

Test(production, only_a_clean_cleans_the_video_of_another)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{}");
    frame(1100, "sora.video.downloaded", "{\"file_path\":\"/r\"}");
    safari_submitted(&s, 2, 2000, "flow.run", "{\"input_path\":\"/r\"}");
    safari_submitted(&s, 3, 2000, "sora.clean", "{\"input_path\":\"/other\"}");
    for (unsigned command = 2; command <= 3; command++)
        safari_status(&s, command, 3000, "SUCCEEDED",
                      command == 2 ? "{\"input_path\":\"/r\",\"output_path\":\"/c\"}"
                                   : "{\"output_path\":\"/c\"}",
                      NULL);
    safari_expect(&s, "cleaned_path=null|");
}

Test(production, where_a_clean_says_what_it_read_and_wrote)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{}");
    frame(1100, "sora.video.downloaded", "{\"file_path\":\"/r\"}");
    safari_submitted(&s, 2, 2000, "sora.clean", "{\"outputPath\":\"/wish\"}");
    safari_status(&s, 2, 3000, "SUCCEEDED", "{\"file_size\":-1}", NULL);
    safari_expect(&s, "cleaned_path=null|");
    safari_telemetry(&s, 2, 2100, "action.attempted",
                     "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/r\"}");
    safari_expect(&s, "cleaned_path=/wish|cleaned_size_bytes=null|");
    safari_status(&s, 2, 3001, "SUCCEEDED", "{\"outputPath\":\"/done\",\"fileSize\":7}", NULL);
    safari_expect(&s, "cleaned_path=/done|cleaned_size_bytes=7|");
    safari_telemetry(&s, 2, 2200, "sora.video.cleaned",
                     "{\"input_path\":\"/x\",\"output_path\":\"/said\",\"file_size\":6}");
    safari_expect(&s, "cleaned_path=/said|cleaned_size_bytes=6|"); /* as in watermark_removals */
    safari_submitted(&s, 2, 1999, "sora.clean", "{\"inputPath\":\"/elsewhere\"}");
    safari_expect(&s, "cleaned_path=null|");
}

/* --- values ---------------------------------------------------------------------------------- */

Test(production, requested_at_is_when_it_was_created)
{
    frame(100, "sora.polling.started", "{}");
    safari_status(&s, 1, 200, "QUEUED", NULL, NULL);
    safari_submitted(&s, 1, 1000, "sora.generate", "{}")->requested_at =
        PJ_TIMESTAMPTZ(pj_orders_time(900));
    safari_expect(&s, "created_at=900000|");
}

Test(production, without_a_submission_the_first_lifecycle_event_then_the_first_frame_is)
{
    frame(200, "sora.video.downloaded", "{\"file_path\":\"/r\"}");
    frame(100, "sora.polling.started", "{}");
    safari_expect(&s, "created_at=100000|");
    safari_status(&s, 1, 500, "RUNNING", NULL, NULL);
    safari_status(&s, 1, 400, "QUEUED", NULL, NULL);
    safari_expect(&s, "created_at=400000|");
}

Test(production, the_earlier_submission_counts)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{\"prompt\":\"early\"}");
    safari_submitted(&s, 1, 1001, "sora.generate", "{\"prompt\":\"late\"}");
    safari_expect(&s, "prompt=early|");
}

Test(production, the_frame_of_the_greatest_cursor_counts)
{
    static const struct {
        const char *cursor, *name;
    } said[] = {{"1000-99", "\"1\""}, {"1000-100", "\"2\""}, {"1000-9", "\"3\""}};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        static const char *const types[] = {"sora.prompt.submitted", "sora.video.ready",
                                            "sora.video.downloaded", "sora.video.cleaned"};
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            const char *payload = pj_arena_printf(
                s.orders.arena,
                "{\"character\":%s,\"video_url\":%s,\"file_path\":%s,\"output_path\":%s}",
                said[i].name, said[i].name, said[i].name, said[i].name);
            safari_telemetry(&s, 1, 1000, types[t], payload)->cursor = PJ_TEXT(said[i].cursor);
        }
    }
    safari_expect(&s, "character=2|duration=null|aspect_ratio=null|raw_path=2|raw_size_bytes=null|"
                      "cleaned_path=2|cleaned_size_bytes=null|status=CLEANED|"
                      "metadata={\"video_url\":\"2\"}|");
}

Test(production, another_action_is_no_removal)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    frame(1100, "sora.video.downloaded", "{\"file_path\":\"/r\"}");
    frame(1200, "action.attempted", "{\"action\":\"DOWNLOAD\"}");
    frame(1300, "action.attempted", "{}");
    safari_expect(&s, "status=DOWNLOADED|");
    frame(1400, "action.attempted", "{\"action\":\"WATERMARK_REMOVAL\"}");
    safari_expect(&s, "status=CLEANING|");
    safari_status(&s, 1, 1500, "FAILED", NULL, NULL);
    safari_expect(&s, "status=DOWNLOADED|");
}

Test(production, frames_count_more_than_results)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{\"character\":\"asked\"}");
    frame(1100, "sora.prompt.submitted", "{\"character\":\"said\"}");
    frame(1200, "sora.video.downloaded", "{\"file_path\":\"/r\",\"file_size\":1}");
    frame(1300, "sora.video.cleaned",
          "{\"input_path\":\"/x\",\"output_path\":\"/c\",\"file_size\":2}");
    safari_status(&s, 1, 1400, "SUCCEEDED",
                  "{\"video_path\":\"/y\",\"file_size\":8,\"cleaned_path\":\"/z\","
                  "\"cleaned_size\":9,\"results\":[{\"path\":\"/p\",\"cleaned_path\":\"/q\"}]}",
                  NULL);
    safari_expect(&s, "character=asked|duration=null|aspect_ratio=null|raw_path=/r|"
                      "raw_size_bytes=1|cleaned_path=/c|cleaned_size_bytes=2|");
}

Test(production, results_count_where_frames_say_nothing)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    frame(1200, "sora.video.downloaded", "{\"file_size\":-1}");
    frame(1300, "sora.video.cleaned", "{\"input_path\":\"/x\",\"file_size\":2}");
    safari_expect(&s, "raw_path=/x|raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|");
    safari_status(&s, 1, 1400, "SUCCEEDED",
                  "{\"video_path\":\"/y\",\"file_size\":8,\"cleaned_path\":\"/z\","
                  "\"cleaned_size\":9,\"duration_ms\":12,\"results\":[{\"path\":\"/p\","
                  "\"cleaned_path\":\"/q\"}]}",
                  NULL);
    safari_expect(&s, "raw_path=/y|raw_size_bytes=8|cleaned_path=/z|cleaned_size_bytes=9|"
                      "status=CLEANED|metadata={\"duration_ms\":12}|");
}

Test(production, a_cleaned_size_is_nothing_without_a_path)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    safari_status(&s, 1, 1400, "SUCCEEDED",
                  "{\"video_path\":\"/y\",\"file_size\":1.5,\"cleaned_size\":9,"
                  "\"duration_ms\":\"12\"}",
                  NULL);
    safari_expect(&s, "raw_path=/y|raw_size_bytes=null|cleaned_path=null|cleaned_size_bytes=null|"
                      "status=DOWNLOADED|metadata=null|");
}

Test(production, the_names_of_the_other_wire)
{
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{\"aspectRatio\":\"1:1\"}");
    frame(1100, "sora.video.ready", "{\"videoUrl\":\"u\"}");
    frame(1200, "sora.video.downloaded", "{\"filePath\":\"/r\",\"fileSize\":1}");
    safari_expect(&s, "aspect_ratio=1:1|raw_path=/r|raw_size_bytes=1|cleaned_path=null|"
                      "cleaned_size_bytes=null|status=DOWNLOADED|metadata={\"video_url\":\"u\"}|");
    frame(1300, "sora.video.cleaned",
          "{\"inputPath\":\"/x\",\"outputPath\":\"/c\",\"fileSize\":2}");
    safari_expect(&s, "cleaned_path=/c|cleaned_size_bytes=2|");
    again();
    safari_submitted(&s, 1, 1000, "sora.generate.clean", "{}");
    safari_status(&s, 1, 1400, "SUCCEEDED",
                  "{\"videoPath\":\"/y\",\"fileSize\":8,\"cleanedPath\":\"/z\","
                  "\"cleanedSize\":9,\"cleanError\":\"e\"}",
                  NULL);
    safari_expect(&s, "raw_path=/y|raw_size_bytes=8|cleaned_path=/z|cleaned_size_bytes=9|"
                      "status=CLEANED|metadata={\"clean_error\":\"e\"}|");
    again();
    frame(1000, "sora.prompt.submitted", "{\"batchIndex\":1}");
    safari_expect(&s, "metadata={\"batch_index\":1}|");
    again();
    frame(1000, "sora.video.cleaned", "{\"batchIndex\":1,\"inputPath\":\"/x\"}");
    safari_expect(&s, "raw_path=/x|");
    again();
    safari_status(&s, 1, 1400, "SUCCEEDED", "{\"videoPath\":\"/y\"}", NULL);
    safari_expect(&s, "raw_path=/y|");
    safari_status(&s, 1, 1500, "SUCCEEDED", "{\"videoPath\":\"/y\",\"inputPath\":\"/y\"}", NULL);
    expect_nothing();
    safari_submitted(&s, 1, 1000, "sora.batch.clean", "{}");
    safari_status(&s, 1, 1400, "SUCCEEDED", "{\"results\":[{\"cleanedPath\":\"/z\"}]}", NULL);
    safari_expect(&s, "cleaned_path=/z|");
}

Test(production, a_size_may_be_zero)
{
    frame(1200, "sora.video.downloaded", "{\"file_path\":\"/r\",\"file_size\":0}");
    safari_expect(&s, "raw_path=/r|raw_size_bytes=0|");
}

Test(production, the_name_of_this_wire_counts_first)
{
    safari_submitted(&s, 1, 1000, "sora.generate", "{}");
    frame(1200, "sora.video.downloaded", "{\"filePath\":\"/other\",\"file_path\":\"/r\"}");
    safari_expect(&s, "raw_path=/r|");
}

/* --- what does not fit ----------------------------------------------------------------------- */

#define TEN(character)                                                                             \
    character character character character character character character character character      \
        character

Test(production, a_text_as_long_as_its_column_fits)
{
    safari_submitted(&s, 1, 1000, "sora.generate",
                     "{\"duration\":\"" TEN("é") TEN("é") "\",\"aspect_ratio\":\"" TEN("é")
                         TEN("é") "\",\"method\":\"" TEN("éé") TEN("ééé") "\"}");
    frame(1100, "sora.prompt.submitted", "{\"character\":\"" TEN("éééééééééé") "\"}");
    safari_expect(&s, "character=" TEN("éééééééééé") "|duration=" TEN("é")
                          TEN("é") "|aspect_ratio=" TEN("é") TEN("é") "|");
}

Test(production, a_longer_text_is_a_dead_letter)
{
    static const char *const payloads[] = {
        "{\"duration\":\"" TEN("é") TEN("é") "!\"}",
        "{\"aspect_ratio\":\"" TEN("é") TEN("é") "!\"}",
        "{\"aspectRatio\":\"" TEN("é") TEN("é") "!\"}",
        "{\"method\":\"" TEN("éé") TEN("ééé") "!\"}",
        "{\"character\":\"" TEN("éééééééééé") "!\"}",
    };
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        safari_submitted(&s, 1, 1000, "sora.generate", payloads[i]);
        expect_nothing();
    }
    frame(1100, "sora.prompt.submitted", "{\"character\":\"" TEN("éééééééééé") "!\"}");
    expect_nothing();
}

Test(production, a_payload_that_is_no_object_has_no_members)
{
    static const char *const payloads[] = {"[1]", "null", "7", "\"done\""};
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        safari_submitted(&s, 1, 1000, "sora.generate", payloads[i]);
        frame(1100, "sora.prompt.submitted", payloads[i]);
        frame(1200, "action.attempted", payloads[i]);
        frame(1300, "sora.video.cleaned", payloads[i]);
        safari_expect(&s, "prompt=null|character=null|duration=null|aspect_ratio=null|"
                          "raw_path=null|raw_size_bytes=null|cleaned_path=null|"
                          "cleaned_size_bytes=null|status=GENERATING|metadata=null|"
                          "created_at=1000000|");
        again();
        safari_submitted(&s, 1, 1000, "sora.batch", payloads[i]);
        expect_nothing();
        again();
    }
}
