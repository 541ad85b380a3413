/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of projects, scenes, clips, exports, audio files, project_saves and studio_waiting, by
 * their rows in every order. A number in a name is that of the mistake or the edge case. */
#include "lib/json_orders.h"
#include "projectionist/ids.h"
#include "projections/studio/studio_projections.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <uuid/uuid.h>

#define P       "aaaaaaaa-0000-4000-8000-000000000001"
#define Q       "aaaaaaaa-0000-4000-8000-000000000002"
#define A       "cccccccc-0000-4000-8000-00000000000a"
#define B       "cccccccc-0000-4000-8000-00000000000b"
#define C       "cccccccc-0000-4000-8000-00000000000c"
#define S       "dddddddd-0000-4000-8000-00000000000d"
#define ONE     "eeeeeeee-0000-4000-8000-000000000001"
#define TWO     "eeeeeeee-0000-4000-8000-000000000002"
#define SCENE_1 "00be81b5-3d1a-5530-949c-debf12d52aa2" /* of P, by the text scene-1 */

static struct json_orders j;

static void start(void)
{
    j = json_orders_start(&pj_studio_catalog);
}

static void stop(void)
{
    json_orders_stop(&j);
}

TestSuite(studio_catalog, .init = start, .fini = stop);

static void say_of(const char *project, size_t source, long revision, const char *type,
                   const char *members)
{
    json_say(&j, source, "{'project_id':'%s','revision':%ld,'body':{'type':'%s'%s%s}}", project,
             revision, type, *members != '\0' ? "," : "", members);
}

static void save(long revision, const char *members)
{
    say_of(P, 0, revision, "ProjectSaved", members);
}

static void clip(long revision, const char *members)
{
    say_of(P, 1, revision, "ClipSaved", members);
}

static void say_as(const char *user, long revision, const char *type, const char *members)
{
    json_say(&j, 0, "{'project_id':'" P "','revision':%ld,'user_id':%s,'body':{'type':'%s'%s%s}}",
             revision, user, type, *members != '\0' ? "," : "", members);
}

static void refused(const char *text, size_t source, const char *type, const char *members)
{
    json_refused(&j, source, text, "{'project_id':'" P "','revision':1,'body':{'type':'%s',%s}}",
                 type, members);
}

/* Fails unless there are so many rows that have the text, in every order. */
static void rows_with(const char *text, size_t count)
{
    char *rows = pj_orders_rows(&j.orders, false);
    size_t found = 0;
    for (const char *at = strstr(rows, text); at != NULL; at = strstr(at + 1, text))
        found++;
    cr_assert_eq(found, count, "%zu, not %zu: %s", found, count, rows);
    free(rows);
}

/* --- saves ----------------------------------------------------------------------------------- */

Test(studio_catalog, case_1_the_same_save_five_times)
{
    for (int i = 0; i < 5; i++)
        json_say(&j, 0,
                 "{'event_id':'" ONE "','project_id':'" P "','revision':1,"
                 "'body':{'type':'ProjectSaved','title':'t','scenes':[{'scene_id':'scene-1'}]}}");
    json_expect(&j, "projects|id=" P "|user_id=null|title=t|description=null|script=null|"
                    "status=draft|thumbnail_url=null|seo_title=null|seo_description=null|"
                    "seo_tags=null|seo_hashtags=null|seo_chapters=null|created_at=1000000|"
                    "revision=1|saved_at=1000000\n");
    json_expect(&j, "scenes|project_id=" P "|id=" SCENE_1 "|number=1|title=null|description=null|"
                    "prompt=null|created_at=1000000|position=1|client_id=scene-1\n");
    rows_with("project_saves|", 1);
    rows_with("scenes|", 1);
}

Test(studio_catalog, case_2_saves_in_reverse)
{
    for (long i = 9; i > 0; i--) {
        char members[64];
        snprintf(members, sizeof members, "'title':'t%ld','script':'s%ld'", i, i);
        save(i, members);
    }
    json_expect(&j, "|title=t9|description=null|script=s9|");
    json_expect(&j, "|created_at=1000000|revision=9|saved_at=9000000\n");
    rows_with("project_saves|", 9);
}

Test(studio_catalog, case_3_two_tabs_at_one_revision)
{
    json_say(&j, 0,
             "{'event_id':'" TWO "','project_id':'" P "','revision':5,'body':{"
             "'type':'ProjectSaved','base_revision':1,'title':'two','description':null}}");
    json_say(&j, 0,
             "{'event_id':'" ONE "','project_id':'" P "','revision':5,'body':{"
             "'type':'ProjectSaved','base_revision':1,'title':'one','description':'one'}}");
    json_expect(&j, "|title=two|description=null|");
    rows_with("|base_revision=1|", 2);
}

Test(studio_catalog, case_4_a_clock_that_is_behind)
{
    save(7200, "'title':'seen','script':'long'");
    json_say(&j, 0,
             "{'project_id':'" P "','revision':7201,'emitted_at':1,'body':{'type':'ProjectSaved',"
             "'base_revision':7200,'title':'its own'}}");
    json_expect(&j, "|title=its own|description=null|script=null|");
    json_expect(&j, "|created_at=7200000000|revision=7201|saved_at=1\n");
}

Test(studio_catalog, case_5_and_mistake_10_a_partial_save_leaves_the_rest)
{
    save(1, "'title':'a','script':'s','seo_title':'q','seo_tags':['x']");
    save(2, "'fields':['script','shoe_size'],'script':'changed','title':'passed over'");
    json_expect(&j, "|title=a|description=null|script=changed|");
    json_expect(&j, "|seo_title=q|seo_description=null|seo_tags={\"x\"}|");
    json_expect(&j, "|fields=[\"script\",\"shoe_size\"]|script_chars=7|scene_count=null\n");
    save(3, "'title':'whole'");
    json_expect(&j, "|title=whole|description=null|script=null|");
    json_expect(&j, "|seo_title=null|seo_description=null|seo_tags=null|");
    json_expect(&j, "|fields=null|script_chars=0|scene_count=null\n");
    save(4, "'fields':[],'title':'nothing is named'");
    json_expect(&j, "|title=whole|");
    json_expect(&j, "|fields=[]|script_chars=null|scene_count=null\n");
    save(5, "'fields':['title']");
    json_expect(&j, "|title=null|");
}

Test(studio_catalog, case_6_and_mistake_4_scenes)
{
    save(1, "'scenes':[{'scene_id':'scene-1','number':7,'title':'t','description':'d',"
            "'prompt':'p','created_at':5},{'scene_id':'" S "'}]");
    save(2, "'scenes':null");
    save(3, "'fields':['title']");
    json_expect(&j, "|id=" SCENE_1 "|number=7|title=t|description=d|prompt=p|created_at=5|"
                    "position=1|client_id=scene-1\n");
    json_expect(&j, "|id=" S "|number=2|");
    save(4, "'fields':['title'],'scenes':[{'scene_id':'" S "'}]"); /* never named in fields */
    json_unexpected(&j, SCENE_1);
    json_expect(&j, "|id=" S "|number=1|");
    save(5, "'scenes':[]");
    json_unexpected(&j, "scenes|");
    json_expect(&j, "|scene_count=0\n");
}

Test(studio_catalog, mistake_2_saves_of_unchanged_scenes)
{
    for (long i = 1; i <= 20; i++)
        save(i, "'title':'t','scenes':[{'scene_id':'scene-1'},{'scene_id':'" S "'}]");
    json_expect(&j, "scenes|project_id=" P "|id=" SCENE_1 "|number=1|title=null|description=null|"
                    "prompt=null|created_at=1000000|position=1|client_id=scene-1\n");
    rows_with("scenes|", 2);
}

/* The UUID of version 5, written. */
static const char *v5(const char *a, const char *b, const char *c)
{
    static char texts[8][UUID_STR_LEN];
    static size_t next;
    const struct pj_value parts[] = {pj_text("studio/scene"), pj_text(a), pj_text(b), pj_text(c)};
    uint8_t id[16];
    char *text = texts[next++ % 8];
    pj_uuid_of_texts(parts, c != NULL ? 4 : 3, id);
    uuid_unparse_lower(id, text);
    return text;
}

static void expect_scene(const char *id, int position)
{
    char wanted[128];
    snprintf(wanted, sizeof wanted, "scenes|project_id=" P "|id=%s|number=%d|", id, position);
    json_expect(&j, wanted);
}

Test(studio_catalog, case_7_two_scenes_of_one_id)
{
    cr_assert_str_eq(v5(P, "scene-1", NULL), SCENE_1);
    save(1, "'scenes':[{'scene_id':'scene-1'},{'scene_id':'scene-1'},{'scene_id':''},"
            "{'scene_id':'3'},{'scene_id':'DDDDDDDD-0000-4000-8000-00000000000D'},"
            "{'scene_id':'" S "'},{'scene_id':'scene-1'}]");
    expect_scene(SCENE_1, 1);
    expect_scene(v5(P, SCENE_1, "2"), 2);
    expect_scene(v5(P, "3", NULL), 3);
    expect_scene(v5(P, v5(P, "3", NULL), "2"), 4);
    expect_scene(S, 5);
    expect_scene(v5(P, S, "2"), 6);
    expect_scene(v5(P, SCENE_1, "3"), 7);
    json_expect(&j, "|position=5|client_id=DDDDDDDD-0000-4000-8000-00000000000D\n");
    json_expect(&j, "|position=3|client_id=\n");
    rows_with("scenes|", 7);
}

Test(studio_catalog, an_id_that_a_scene_has_literally_is_taken_first)
{
    char scenes[512];
    const char *second = v5(P, SCENE_1, "2");
    snprintf(scenes, sizeof scenes,
             "'scenes':[{'scene_id':'scene-1'},{'scene_id':'scene-1'},{'scene_id':'%s'},"
             "{'scene_id':'" SCENE_1 "'}]",
             second);
    save(1, scenes);
    expect_scene(SCENE_1, 4);
    expect_scene(second, 3);
    expect_scene(v5(P, SCENE_1, "3"), 1);
    expect_scene(v5(P, SCENE_1, "4"), 2);
}

Test(studio_catalog, case_18_and_19_texts)
{
    save(1, "'title':null,'script':'\xf0\x9f\x8e\xac\xd7\xa9 x\\n','seo_tags':['a,b','c\\\"d',"
            "'{e}',''],'seo_hashtags':[],'seo_chapters':[{'at':0.5}]");
    json_expect(&j, "|title=null|description=null|script=\xf0\x9f\x8e\xac\xd7\xa9 x\n|");
    json_expect(&j, "|seo_tags={\"a,b\",\"c\\\"d\",\"{e}\",\"\"}|seo_hashtags={}|"
                    "seo_chapters=[{\"at\":0.5}]|");
    json_expect(&j, "|script_chars=5|");
    refused("script", 0, "ProjectSaved", "'script':'\\u0000'");
    refused("title", 0, "ProjectSaved", "'fields':[],'title':'\\u0000'");
    refused("seo_chapters", 0, "ProjectSaved", "'seo_chapters':'\\u0000'");
    refused("scenes[1].title", 0, "ProjectSaved",
            "'scenes':[{'scene_id':'a'},{'scene_id':'b','title':'\\u0000'}]");
}

Test(studio_catalog, mistake_9_a_save_leaves_the_status)
{
    save(1, "'title':'t'");
    say_of(P, 0, 2, "ProjectStatusChanged", "'status':'rendering'");
    say_of(P, 0, 3, "ProjectThumbnailSet", "'thumbnail_url':'u'");
    save(4, "'title':'t'");
    json_expect(&j, "|status=rendering|thumbnail_url=u|");
    say_of(P, 0, 5, "ProjectThumbnailSet", "'thumbnail_url':null");
    json_expect(&j, "|thumbnail_url=null|");
}

Test(studio_catalog, case_17_and_mistake_15_the_owner)
{
    say_as("null", 1, "ProjectSaved", "");
    say_as("'" ONE "'", 2, "ProjectSaved", "");
    say_as("null", 3, "ProjectSaved", "");
    say_as("'" TWO "'", 4, "ProjectStatusChanged", "'status':'x'");
    json_expect(&j, "projects|id=" P "|user_id=" ONE "|");
    say_as("'" TWO "'", 1, "ProjectSaved", ""); /* earlier, and late */
    json_expect(&j, "projects|id=" P "|user_id=" TWO "|");
    json_agree(&j, 300, 17);
}

/* --- lives ----------------------------------------------------------------------------------- */

static void say_all(long revision)
{
    save(revision, "'title':'t','scenes':[{'scene_id':'scene-1'}]");
    clip(revision, "'clip_id':'" A "'");
    say_of(P, 2, revision, "ExportSaved", "'export_id':'" A "','file_url':'f'");
    say_of(P, 2, revision, "AudioFileSaved", "'audio_id':'" A "','file_url':'f'");
}

Test(studio_catalog, case_11_a_deletion_is_final)
{
    say_all(1);
    say_of(P, 0, 2, "ProjectDeleted", "");
    say_all(3);
    json_unexpected(&j, "projects|");
    json_unexpected(&j, "scenes|");
    json_unexpected(&j, "clips|");
    json_unexpected(&j, "exports|");
    json_unexpected(&j, "audio_files|");
    json_unexpected(&j, "studio_waiting|");
    rows_with("project_saves|", 2);
    json_agree(&j, 500, 11);
}

Test(studio_catalog, case_12_a_deletion_comes_first)
{
    say_of(P, 0, 1, "ProjectDeleted", "");
    say_all(9);
    json_unexpected(&j, "projects|");
    json_unexpected(&j, "clips|");
}

Test(studio_catalog, mistake_5_the_first_save_makes_the_project)
{
    say_of(P, 0, 1, "ProjectStatusChanged", "'status':'generating'");
    json_unexpected(&j, "projects|");
    save(2, "'fields':['script'],'script':'s'");
    json_expect(&j, "projects|id=" P "|user_id=null|title=null|description=null|script=s|"
                    "status=generating|");
    json_expect(&j, "|created_at=2000000|revision=2|saved_at=2000000\n");
    save(1, "'created_at':7"); /* when the page made it */
    json_expect(&j, "|created_at=7|revision=2|saved_at=2000000\n");
}

Test(studio_catalog, case_9_what_waits_for_its_project)
{
    clip(2, "'clip_id':'" A "'");
    clip(5, "'clip_id':'" A "','created_at':1");
    clip(3, "'clip_id':'" B "'");
    say_of(P, 1, 4, "ClipDeleted", "'clip_id':'" B "'");
    say_of(P, 1, 4, "ClipTrimmed", "'clip_id':'" C "'"); /* nobody saved it */
    say_of(P, 2, 3, "ExportSaved", "'export_id':'" A "','file_url':'f','created_at':1");
    say_of(P, 2, 3, "AudioFileSaved", "'audio_id':'" A "','file_url':'f'");
    json_expect(&j, "studio_waiting|project_id=" P "|kind=clip|id=" A "|since=2000000\n");
    json_expect(&j, "studio_waiting|project_id=" P "|kind=export|id=" A "|since=3000000\n");
    json_expect(&j, "studio_waiting|project_id=" P "|kind=audio_file|id=" A "|since=3000000\n");
    rows_with("studio_waiting|", 3);
    json_unexpected(&j, "clips|");
    save(9, "");
    json_unexpected(&j, "studio_waiting|");
    json_expect(&j, "clips|project_id=" P "|id=" A "|");
    json_expect(&j, "exports|project_id=" P "|id=" A "|");
    json_expect(&j, "audio_files|project_id=" P "|id=" A "|");
    rows_with("clips|", 1);
    json_agree(&j, 500, 9);
}

/* --- clips ----------------------------------------------------------------------------------- */

static void expect_clip(const char *id, const char *scene, int place)
{
    char wanted[256];
    snprintf(wanted, sizeof wanted,
             "clips|project_id=" P "|id=%s|scene_id=%s|provider=null|status=draft|file_url=null|"
             "thumbnail_url=null|duration=null|order_index=%d|",
             id, scene, place);
    json_expect(&j, wanted);
}

Test(studio_catalog, case_27_and_mistake_6_a_clip_saved_twice)
{
    save(1, "");
    clip(2, "'clip_id':'" A "','status':'processing','provider':'pika'");
    clip(3, "'clip_id':'" A "','status':'completed','file_url':'f','thumbnail_url':'t',"
            "'duration':5.033333,'prompt':'p'");
    json_expect(&j, "clips|project_id=" P "|id=" A "|scene_id=null|provider=null|status=done|"
                    "file_url=f|thumbnail_url=t|duration=5.033333|order_index=0|"
                    "created_at=2000000|prompt=p|start_trim=null|end_trim=null|revision=3\n");
    rows_with("clips|", 1);
}

Test(studio_catalog, words_of_clips)
{
    save(1, "");
    clip(1, "'clip_id':'" A "','status':'error'");
    clip(1, "'clip_id':'" B "','status':'timeout'");
    clip(1, "'clip_id':'" C "','status':'something else'");
    rows_with("|status=failed|", 2);
    json_expect(&j, "|status=something else|");
}

Test(studio_catalog, case_8_and_mistake_1_the_scene_of_a_clip)
{
    save(1, "'scenes':[{'scene_id':'scene-1'},{'scene_id':'" S "'}]");
    clip(2, "'clip_id':'" A "','scene_id':'scene-1'");
    clip(3, "'clip_id':'" B "','scene_id':'" SCENE_1 "'"); /* the row's id */
    clip(4, "'clip_id':'" C "','scene_id':'DDDDDDDD-0000-4000-8000-00000000000D'");
    for (long i = 5; i < 12; i++)
        save(i, "'title':'again','scenes':[{'scene_id':'" S "'},{'scene_id':'scene-1'}]");
    expect_clip(A, SCENE_1, 0);
    expect_clip(B, SCENE_1, 1);
    expect_clip(C, S, 2);
    save(20, "'scenes':[{'scene_id':'scene-2'}]");
    expect_clip(A, "null", 0);
    expect_clip(C, "null", 2);
    save(21, "'scenes':[{'scene_id':'scene-1'}]");
    expect_clip(A, SCENE_1, 0);
    expect_clip(C, "null", 2);
}

Test(studio_catalog, case_10_and_25_two_projects)
{
    save(1, "'scenes':[{'scene_id':'scene-1'}]");
    say_of(Q, 0, 1, "ProjectSaved", "'scenes':[{'scene_id':'" S "'}]");
    clip(1, "'clip_id':'" A "','scene_id':'" S "'");
    say_of(Q, 1, 1, "ClipSaved", "'clip_id':'" A "','scene_id':'" S "'");
    say_of(Q, 1, 2, "ClipDeleted", "'clip_id':'" B "'");
    clip(2, "'clip_id':'" B "'");
    expect_clip(A, "null", 0);
    expect_clip(B, "null", 1);
    json_expect(&j, "clips|project_id=" Q "|id=" A "|scene_id=" S "|");
    rows_with("clips|", 3);
}

Test(studio_catalog, case_13_and_mistake_8_a_reorder)
{
    save(1, "");
    clip(1, "'clip_id':'" A "'");
    clip(2, "'clip_id':'" B "'");
    clip(3, "'clip_id':'" C "'");
    expect_clip(A, "null", 0);
    expect_clip(C, "null", 2);
    say_of(P, 1, 4, "ClipsReordered", "'clip_ids':['" C "','" S "','" A "','" C "']");
    expect_clip(C, "null", 0);
    expect_clip(A, "null", 1);
    expect_clip(B, "null", 2);
    say_of(P, 1, 5, "ClipDeleted", "'clip_id':'" C "'");
    expect_clip(A, "null", 0);
    expect_clip(B, "null", 1);
    json_expect(&j, "|prompt=null|start_trim=null|end_trim=null|revision=5\n");
    rows_with("clips|", 2);
}

Test(studio_catalog, mistake_7_two_tabs_reorder)
{
    save(1, "");
    clip(1, "'clip_id':'" A "'");
    clip(1, "'clip_id':'" B "'");
    clip(1, "'clip_id':'" C "'");
    say_of(P, 1, 2, "ClipsReordered", "'clip_ids':['" A "','" B "','" C "']");
    say_of(P, 1, 2, "ClipsReordered", "'clip_ids':['" C "','" B "','" A "']");
    expect_clip(C, "null", 0);
    expect_clip(B, "null", 1);
    expect_clip(A, "null", 2);
}

Test(studio_catalog, case_14_a_reorder_before_any_clip)
{
    say_of(P, 1, 1, "ClipsReordered", "'clip_ids':['" B "','" A "']");
    save(2, "");
    json_unexpected(&j, "clips|");
    clip(3, "'clip_id':'" A "'");
    expect_clip(A, "null", 0);
    clip(4, "'clip_id':'" B "'");
    expect_clip(B, "null", 0);
    expect_clip(A, "null", 1);
    say_of(P, 1, 5, "ClipsReordered", "'clip_ids':[]");
    expect_clip(A, "null", 0);
    expect_clip(B, "null", 1);
}

Test(studio_catalog, case_15_trims)
{
    save(1, "");
    say_of(P, 1, 2, "ClipTrimmed", "'clip_id':'" A "','start_trim':0.5,'end_trim':'2.25'");
    json_unexpected(&j, "clips|");
    clip(1, "'clip_id':'" A "'");
    clip(3, "'clip_id':'" A "'"); /* leaves it */
    json_expect(&j, "|start_trim=0.500000|end_trim=2.250000|revision=3\n");
    say_of(P, 1, 4, "ClipTrimmed", "'clip_id':'" A "','end_trim':3");
    json_expect(&j, "|start_trim=null|end_trim=3.000000|revision=4\n");
    refused("end_trim 2.500000 is not after start_trim 2.500000", 1, "ClipTrimmed",
            "'clip_id':'" A "','start_trim':2.5,'end_trim':2.5");
    refused("end_trim", 1, "ClipTrimmed", "'clip_id':'" A "','start_trim':10,'end_trim':9");
    refused("start_trim", 1, "ClipTrimmed", "'clip_id':'" A "','start_trim':-0.000001");
    refused("end_trim", 1, "ClipTrimmed", "'clip_id':'" A "','end_trim':-1");
    refused("duration", 1, "ClipSaved", "'clip_id':'" A "','duration':-1");
    refused("duration", 2, "ExportSaved", "'export_id':'" A "','file_url':'f','duration':-1");
    refused("duration", 2, "AudioFileSaved", "'audio_id':'" A "','file_url':'f','duration':-1");
}

Test(studio_catalog, case_16_a_clip_that_was_deleted)
{
    save(1, "");
    clip(1, "'clip_id':'" A "'");
    say_of(P, 1, 2, "ClipDeleted", "'clip_id':'" A "'");
    clip(3, "'clip_id':'" A "'");
    say_of(P, 1, 4, "ClipTrimmed", "'clip_id':'" A "','end_trim':3");
    json_unexpected(&j, "clips|");
    json_agree(&j, 300, 16);
}

/* --- exports and audio files ----------------------------------------------------------------- */

Test(studio_catalog, exports_and_audio_files)
{
    save(1, "");
    say_of(P, 2, 2, "ExportSaved", "'export_id':'" A "','file_url':'f','created_at':7");
    say_of(P, 2, 3, "ExportSaved",
           "'export_id':'" A "','file_url':'g','thumbnail_url':'t','resolution':'4k',"
           "'duration':90");
    json_expect(&j, "exports|project_id=" P "|id=" A "|file_url=g|thumbnail_url=t|resolution=4k|"
                    "duration=90.000000|created_at=7|revision=3\n");
    say_of(P, 2, 4, "AudioFileSaved",
           "'audio_id':'" A "','file_url':'f','filename':'n.wav','duration':1.5,"
           "'metadata':{'bpm':90}");
    json_expect(&j, "audio_files|project_id=" P "|id=" A "|kind=audio|file_url=f|filename=n.wav|"
                    "duration=1.500000|metadata={\"bpm\":90}|created_at=4000000|revision=4\n");
    say_of(P, 2, 5, "AudioFileSaved", "'audio_id':'" A "','file_url':'g','created_at':8");
    json_expect(&j, "|file_url=g|filename=null|duration=null|metadata=null|created_at=4000000|");
    say_of(P, 2, 5, "AudioFileSaved", "'audio_id':'" B "','file_url':'h','created_at':9");
    json_expect(&j, "|file_url=h|filename=null|duration=null|metadata=null|created_at=9|");
    say_of(P, 2, 1, "ExportDeleted", "'export_id':'" A "'");
    say_of(P, 2, 5, "AudioFileDeleted", "'audio_id':'" A "'");
    say_of(P, 2, 6, "AudioFileSaved", "'audio_id':'" A "','file_url':'f'");
    json_unexpected(&j, "exports|");
    json_unexpected(&j, "audio_files|project_id=" P "|id=" A "|");
}

/* --- every order ----------------------------------------------------------------------------- */

static const char *const clips[] = {A, B, C};

static void say_one(unsigned *seed, long revision)
{
    const char *project = rand_r(seed) % 4 == 0 ? Q : P;
    const char *id = clips[rand_r(seed) % 3];
    const char *other = clips[rand_r(seed) % 3];
    char members[256];
    snprintf(members, sizeof members, "'clip_id':'%s','scene_id':'%s'", id,
             rand_r(seed) % 2 == 0 ? "scene-1" : S);
    switch (rand_r(seed) % 12) {
    case 0:
        return say_of(project, 0, revision, "ProjectSaved",
                      "'title':'t','scenes':[{'scene_id':'scene-1'},{'scene_id':'scene-1'}]");
    case 1:
        return say_of(project, 0, revision, "ProjectSaved", "'fields':['script'],'script':'s'");
    case 2:
        return say_of(project, 0, revision, "ProjectSaved", "'scenes':[{'scene_id':'" S "'}]");
    case 3:
        return say_of(project, 0, revision, "ProjectStatusChanged", "'status':'x'");
    case 4:
        snprintf(members, sizeof members, "'clip_ids':['%s','%s']", id, other);
        return say_of(project, 1, revision, "ClipsReordered", members);
    case 5:
        snprintf(members, sizeof members, "'clip_id':'%s','end_trim':%ld", id, revision + 1);
        return say_of(project, 1, revision, "ClipTrimmed", members);
    case 6:
        snprintf(members, sizeof members, "'clip_id':'%s'", id);
        return say_of(project, 1, revision, "ClipDeleted", members);
    case 7:
        snprintf(members, sizeof members, "'export_id':'%s','file_url':'%ld'", id, revision);
        return say_of(project, 2, revision, "ExportSaved", members);
    case 8:
        return rand_r(seed) % 6 == 0 ? say_of(Q, 0, revision, "ProjectDeleted", "")
                                     : say_as("'" ONE "'", revision, "ProjectSaved", "");
    default:
        return say_of(project, 1, revision, "ClipSaved", members);
    }
}

Test(studio_catalog, every_order)
{
    for (unsigned seed = 1; seed <= 6; seed++) {
        unsigned chance = seed;
        for (int i = 0; i < 24; i++)
            say_one(&chance, rand_r(&chance) % 10);
        json_agree(&j, 250, seed);
        stop();
        start();
    }
}
