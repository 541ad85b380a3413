/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of voices and studio_objects, by their rows in every order. A number in a name is that
 * of the mistake or the edge case. */
#include "lib/json_orders.h"
#include "projections/studio/studio_projections.h"

#include <criterion/criterion.h>

static struct json_orders j;

/* --- voices ---------------------------------------------------------------------------------- */

static void start_voices(void)
{
    j = json_orders_start(&pj_studio_voices);
}

static void stop(void)
{
    json_orders_stop(&j);
}

TestSuite(studio_voices, .init = start_voices, .fini = stop);

#define USER "10000000-0000-4000-8000-000000000001"

static void voice(const char *user, const char *id, long revision, const char *body)
{
    json_say(&j, 0, "{'user_id':%s,'provider':'eleven','voice_id':'%s','revision':%ld,'body':{%s}}",
             user, id, revision, body);
}

Test(studio_voices, mistake_14_saved_ten_times_is_one_row)
{
    for (int i = 1; i <= 10; i++)
        voice("null", "v", i, "'type':'VoiceSaved','voice_name':'Ada','metadata':{'n':1}");
    json_expect(&j, "|user_id=null|provider=eleven|voice_name=Ada|voice_id=v|metadata={\"n\":1}|"
                    "created_at=1000000|revision=10\n");
    json_unexpected(&j, "revision=9");
}

Test(studio_voices, case_23_deleted_and_saved_again)
{
    voice("null", "v", 1, "'type':'VoiceSaved','voice_name':'a'");
    voice("null", "v", 2, "'type':'VoiceDeleted'");
    json_unexpected(&j, "voices|");
    voice("null", "v", 3, "'type':'VoiceSaved','voice_name':'b','created_at':9000000");
    json_expect(&j, "|voice_name=b|voice_id=v|metadata=null|created_at=1000000|revision=3\n");
}

Test(studio_voices, one_voice_in_two_libraries)
{
    voice("null", "v", 1, "'type':'VoiceSaved'");
    voice("'" USER "'", "v", 1, "'type':'VoiceSaved','created_at':5000000");
    json_expect(&j, "|user_id=null|provider=eleven|voice_name=null|voice_id=v|");
    json_expect(&j, "|user_id=" USER "|provider=eleven|voice_name=null|voice_id=v|metadata=null|"
                    "created_at=5000000|");
    /* uuid5 of "12:studio/voice,0:,6:eleven,1:v," in the namespace of pj_uuid_of_name */
    json_expect(&j, "voices|id=09fa771f-2bd0-504e-8d17-be4b648a9199|user_id=null|");
}

Test(studio_voices, what_is_refused)
{
    json_refused(&j, 0, "metadata",
                 "{'provider':'p','voice_id':'v','revision':1,"
                 "'body':{'type':'VoiceSaved','metadata':'\\u0000'}}");
}

Test(studio_voices, every_order)
{
    for (int i = 0; i < 12; i++)
        voice(i % 3 == 0 ? "'" USER "'" : "null", i % 2 == 0 ? "v" : "w", i / 2,
              i % 4 == 3 ? "'type':'VoiceDeleted'" : "'type':'VoiceSaved','voice_name':'n'");
    json_agree(&j, 500, 1);
}

/* --- objects --------------------------------------------------------------------------------- */

static void start_objects(void)
{
    j = json_orders_start(&pj_studio_objects);
}

TestSuite(studio_objects, .init = start_objects, .fini = stop);

static void object(const char *key, long revision, const char *body)
{
    json_say(&j, 0, "{'bucket':'clips','object_key':'%s','revision':%ld,'body':{%s}}", key,
             revision, body);
}

Test(studio_objects, case_24_overwritten_deleted_and_an_older_event_late)
{
    object("k", 1, "'type':'ObjectStored','size_bytes':1");
    object("k", 2,
           "'type':'ObjectStored','size_bytes':2,'content_type':'video/mp4','etag':'e',"
           "'public_url':'u'");
    json_expect(&j, "|bucket=clips|object_key=k|project_id=null|size_bytes=2|"
                    "content_type=video/mp4|etag=e|public_url=u|revision=2|stored_at=2000000\n");
    object("k", 4, "'type':'ObjectDeleted'");
    object("k", 3, "'type':'ObjectStored','size_bytes':3");
    json_unexpected(&j, "studio_objects|");
}

Test(studio_objects, mistake_13_the_project_of_a_key)
{
    object("projects/" USER "/clips/one.mp4", 1, "'type':'ObjectStored'");
    object("projects/" USER "/clips/two.mp4", 1, "'type':'ObjectStored'");
    object("projects/" USER, 1, "'type':'ObjectStored'");
    object("projects/proj-1/clips/one.mp4", 1, "'type':'ObjectStored'");
    object("projects/" USER "-old/clips/one.mp4", 1, "'type':'ObjectStored'");
    json_expect(&j, "|object_key=projects/" USER "-old/clips/one.mp4|project_id=null|");
    json_expect(&j, "|object_key=projects/" USER "/clips/one.mp4|project_id=" USER "|");
    json_expect(&j, "|object_key=projects/" USER "/clips/two.mp4|project_id=" USER "|");
    json_expect(&j, "|object_key=projects/" USER "|project_id=null|");
    json_expect(&j, "|object_key=projects/proj-1/clips/one.mp4|project_id=null|");
    json_expect(&j, "studio_objects|id=aa064dd8-e3b1-559b-aa44-81e588679ad4|bucket=clips|object_"
                    "key=projects/proj-1/");
}

Test(studio_objects, every_order)
{
    for (int i = 0; i < 12; i++)
        object(i % 2 == 0 ? "k" : "l", i / 3,
               i % 4 == 3 ? "'type':'ObjectDeleted'" : "'type':'ObjectStored','size_bytes':1");
    json_agree(&j, 500, 1);
}
