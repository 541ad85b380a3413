/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of dramas, characters, episodes, scenes, assets and drama_saves, by their rows in every
 * order. A number in a name is that of the edge case. */
#include "lib/json_orders.h"
#include "projections/drama/drama_projections.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct json_orders j;

static void start(void)
{
    j = json_orders_start(&pj_drama_catalog);
}

static void stop(void)
{
    json_orders_stop(&j);
}

TestSuite(drama_catalog, .init = start, .fini = stop);

/* An event of the drama "d". */
static void say(long life, long revision, const char *type, const char *members)
{
    json_say(&j, 0, "{'drama_id':'d','life':%ld,'revision':%ld,'body':{'type':'%s'%s%s}}", life,
             revision, type, *members != '\0' ? "," : "", members);
}

static void save(long life, long revision, const char *members)
{
    say(life, revision, "DramaSaved", members);
}

static void media(long revision, const char *members)
{
    say(1, revision, "MediaSet", members);
}

static void refused(const char *text, const char *type, const char *members)
{
    json_refused(&j, 0, text, "{'drama_id':'d','life':1,'revision':1,'body':{'type':'%s',%s}}",
                 type, members);
}

/* --- saves ----------------------------------------------------------------------------------- */

Test(drama_catalog, case_1_the_later_save_counts_whole)
{
    save(1, 1, "'title':'old','description':'said once','characters':[{'id':'a'},{'id':'b'}]");
    save(1, 2, "'title':'new','characters':[{'id':'b','main':true}]");
    save(1, 1, "'title':'old'"); /* of the same revision, the greater id */
    json_expect(&j, "dramas|id=d|user_id=null|title=new|description=null|premise=null|"
                    "status=completed|url=null|cover_url=null|episode_count=0|metadata=null|"
                    "created_at=1000000|life=1|revision=2|saved_at=2000000|source=api|"
                    "error=null\n");
    json_expect(&j, "characters|drama_id=d|id=b|user_id=null|name=null|description=null|"
                    "gender=null|voice_description=null|is_main=true|url=null|premise_url=null|"
                    "metadata=null|created_at=1000000|position=1|extra=null\n");
    json_unexpected(&j, "id=a|"); /* mistake 1: what a save lacks goes */
    json_expect(&j, "|revision=1|base_revision=null|source=api|content_hash=null|"
                    "emitted_at=1000000|user_id=null|characters=2|episodes=null|scenes=null|"
                    "assets=0\n");
}

Test(drama_catalog, case_2_an_array_that_is_null_says_nothing)
{
    save(1, 1,
         "'characters':[{'id':'a'}],'episodes':[{'id':'e'}],'assets':[{'id':'x','kind':'i'}]");
    save(1, 2, "'characters':null,'episodes':[]");
    json_expect(&j, "characters|drama_id=d|id=a|");
    json_expect(&j, "assets|asset_key=");
    json_expect(&j, "episode_count=0|");
    json_unexpected(&j, "episodes|drama_id");
    save(1, 3, "'characters':[],'assets':[]");
    json_unexpected(&j, "characters|drama_id");
    json_unexpected(&j, "assets|asset_key=");
}

Test(drama_catalog, case_3_a_scene_moves)
{
    save(1, 1, "'episodes':[{'id':'ep1','scenes':[{'id':'s'}]},{'id':'ep2'}]");
    save(1, 2, "'episodes':[{'id':'ep1'},{'id':'ep2','scenes':[{'id':'s'}]}]");
    json_expect(&j, "scenes|drama_id=d|episode_id=ep2|id=s|");
    json_unexpected(&j, "episode_id=ep1|id=s|");
}

Test(drama_catalog, case_4_repeated_ids)
{
    save(1, 1,
         "'episodes':[{'id':'e','scenes':[{'id':'s1'},{'id':'s1'}]},"
         "{'id':'f','scenes':[{'id':'s1'}]}]");
    json_expect(&j, "episode_id=e|id=s1|");
    json_expect(&j, "episode_id=e|id=s1#2|user_id=null|description=null|image_url=null|"
                    "video_url=null|sequence_number=2|");
    json_expect(&j, "episode_id=f|id=s1|");
}

Test(drama_catalog, ids_of_siblings_take_the_least_number_that_is_free)
{
    save(1, 1,
         "'characters':[{'id':'a'},{'id':''},{'id':'a'},{'id':'a#2'},{'id':'a'},{'id':''},"
         "{'id':'#6'},{'id':'a#2'}]");
    json_expect(&j, "|id=#2|");
    json_expect(&j, "|id=a#3|");
    json_expect(&j, "|id=a#4|");
    json_expect(&j, "|id=a#2|");
    json_expect(&j, "|id=a#2#2|");
    json_expect(&j, "|id=#6|");
    json_expect(&j, "|id=#6#2|");
}

/* --- media ----------------------------------------------------------------------------------- */

Test(drama_catalog, case_5_media_wait_for_their_thing)
{
    media(5, "'level':'character','path':['a'],'value':'u'");
    media(6, "'level':'character','path':['nobody'],'value':'v'");
    json_unexpected(&j, "dramas|");
    save(1, 1, "'characters':[{'id':'a'}]");
    json_expect(&j, "|id=a|user_id=null|name=null|description=null|gender=null|"
                    "voice_description=null|is_main=false|url=u|");
    json_unexpected(&j, "=v|");
    json_expect(&j, "|life=1|revision=6|saved_at=1000000|");
}

Test(drama_catalog, case_6_the_latest_value_of_a_slot_counts)
{
    save(1, 1, "'episodes':[{'id':'e','url':'old'}]");
    media(9, "'level':'episode','path':['e'],'value':'set'");
    save(1, 10, "'episodes':[{'id':'e'}]"); /* read before the image was there */
    json_expect(&j, "premise=null|url=set|sequence_number=1|");
    save(1, 11, "'episodes':[{'id':'e','url':'new'}]");
    json_expect(&j, "premise=null|url=new|sequence_number=1|");
    media(12, "'level':'episode','path':['e'],'value':null");
    json_expect(&j, "premise=null|url=null|sequence_number=1|");
}

Test(drama_catalog, every_level_has_its_slots)
{
    save(1, 1,
         "'url':'d0','characters':[{'id':'c','premise_url':'c0','assets':[{'id':'x','kind':'k'}]}],"
         "'episodes':[{'id':'e','assets':[{'id':'y','kind':'k','url':'y0'}],'scenes':[{'id':'s',"
         "'video_url':'s0','assets':[{'id':'z','kind':'k','depends_on':['c'],'duration':15}]}]}],"
         "'assets':[{'id':'w','kind':'k'}]");
    json_expect(&j, "status=completed|url=d0|cover_url=d0|");
    json_expect(&j, "url=null|premise_url=c0|");
    json_expect(&j, "image_url=null|video_url=s0|");
    media(2, "'level':'drama','path':[],'slot':'cover_url','value':'d1'");
    media(2, "'level':'drama_asset','path':['w'],'value':'w1'");
    media(2, "'level':'character_asset','path':['c','x'],'value':'x1'");
    media(2, "'level':'scene','path':['e','s'],'slot':'image_url','value':'s1'");
    media(2, "'level':'scene_asset','path':['e','s','z'],'value':'z1'");
    json_expect(&j, "status=completed|url=d0|cover_url=d1|");
    json_expect(&j, "|owner=drama|character_id=null|episode_id=null|scene_id=null|id=w|kind=k|"
                    "depends_on=[]|prompt=null|duration=null|url=w1|");
    json_expect(&j, "|owner=character|character_id=c|episode_id=null|scene_id=null|id=x|kind=k|"
                    "depends_on=[]|prompt=null|duration=null|url=x1|");
    json_expect(&j, "|owner=episode|character_id=null|episode_id=e|scene_id=null|id=y|kind=k|"
                    "depends_on=[]|prompt=null|duration=null|url=y0|");
    json_expect(&j, "|owner=scene|character_id=null|episode_id=e|scene_id=s|id=z|kind=k|"
                    "depends_on=[\"c\"]|prompt=null|duration=15|url=z1|");
    json_expect(&j, "image_url=s1|video_url=s0|");
    media(3, "'level':'drama','path':[],'slot':'cover_url','value':null");
    json_expect(&j, "status=completed|url=d0|cover_url=d0|");
}

Test(drama_catalog, mistake_13_ten_images_at_once_are_all_there)
{
    save(1, 1,
         "'characters':[{'id':'0'},{'id':'1'},{'id':'2'},{'id':'3'},{'id':'4'},{'id':'5'},"
         "{'id':'6'},{'id':'7'},{'id':'8'},{'id':'9'}]");
    for (int i = 0; i < 10; i++)
        json_say(&j, 0,
                 "{'drama_id':'d','life':1,'revision':2,'body':{'type':'MediaSet',"
                 "'level':'character','path':['%d'],'value':'u%d'}}",
                 i, i);
    for (int i = 0; i < 10; i++) {
        char text[32];
        snprintf(text, sizeof text, "|url=u%d|", i);
        json_expect(&j, text);
    }
}

/* --- lives ----------------------------------------------------------------------------------- */

Test(drama_catalog, case_7_nothing_revives_what_is_deleted)
{
    save(1, 1, "'title':'t'");
    say(1, 2, "DramaDeleted", "");
    save(1, 3, "'title':'late','characters':[{'id':'a'}]"); /* mistake 16, too */
    media(4, "'level':'drama','path':[],'value':'u'");
    json_unexpected(&j, "dramas|");
    json_unexpected(&j, "characters|drama_id");
}

Test(drama_catalog, case_8_a_new_life_begins_clean)
{
    save(1, 1,
         "'title':'old','characters':[{'id':'a','url':'u'}],'assets':[{'id':'x','kind':'k'}]");
    media(2, "'level':'character','path':['a'],'value':'v'");
    say(1, 3, "DramaDeleted", "");
    say(1, 9, "DramaStatusChanged", "'status':'failed'");
    save(5, 5, "'characters':[{'id':'a'}]");
    json_expect(&j, "dramas|id=d|user_id=null|title=null|description=null|premise=null|"
                    "status=completed|url=null|cover_url=null|episode_count=0|metadata=null|"
                    "created_at=5000000|life=5|revision=5|");
    json_expect(&j, "is_main=false|url=null|premise_url=null|metadata=null|created_at=5000000|");
    json_unexpected(&j, "assets|asset_key");
}

/* Where nobody said that the old one was deleted, or nobody yet. */
Test(drama_catalog, a_new_life_shows_nothing_of_the_one_before)
{
    save(1, 1,
         "'characters':[{'id':'a','assets':[{'id':'x','kind':'k'}]}],'assets':[{'id':'y','kind':'k'"
         "}],"
         "'episodes':[{'id':'e','assets':[{'id':'z','kind':'k'}],'scenes':[{'id':'s'}]}]");
    json_expect(&j, "|episode_count=1|");
    save(5, 5, "'title':'new'");
    json_expect(&j, "|title=new|description=null|premise=null|status=completed|url=null|"
                    "cover_url=null|episode_count=0|");
    json_unexpected(&j, "characters|");
    json_unexpected(&j, "episodes|");
    json_unexpected(&j, "scenes|");
    json_unexpected(&j, "assets|");
}

Test(drama_catalog, a_new_life_has_what_was_said_of_it_before)
{
    save(1, 1, "'title':'old'");
    say(5, 6, "MediaSet", "'level':'drama','path':[],'value':'u'");
    say(5, 6, "DramaStatusChanged", "'status':'running'");
    json_expect(&j, "|title=old|description=null|premise=null|status=completed|url=null|");
    save(5, 5, "'title':'new'");
    json_expect(&j, "|title=new|description=null|premise=null|status=processing|url=u|");
}

Test(drama_catalog, case_9_an_import_never_comes_over_what_was_made)
{
    save(0, 900, "'source':'import','title':'old'");
    json_expect(&j, "|title=old|");
    save(5, 5, "'title':'made'");
    json_expect(&j, "|title=made|");
    say(5, 6, "DramaDeleted", "");
    json_unexpected(&j, "dramas|");
}

Test(drama_catalog, case_10_a_newer_file_is_imported_over_an_older_one)
{
    save(0, 10, "'source':'import','title':'old','content_hash':'a'");
    save(0, 20, "'source':'import','title':'new','content_hash':'b','created_at':7");
    json_expect(&j, "|title=new|");
    json_expect(&j, "|created_at=10000000|life=0|revision=20|saved_at=20000000|source=import|");
}

Test(drama_catalog, case_11_two_saves_of_one_base)
{
    save(1, 1, "");
    save(1, 2, "'base_revision':1,'title':'a'");
    save(1, 3, "'base_revision':1,'title':'b'");
    json_expect(&j, "|title=b|");
    json_expect(&j, "|life=1|revision=2|base_revision=1|");
    json_expect(&j, "|life=1|revision=3|base_revision=1|");
}

Test(drama_catalog, case_12_a_drama_without_children)
{
    save(1, 1, "'title':'t'");
    json_expect(&j, "|title=t|description=null|premise=null|status=completed|url=null|"
                    "cover_url=null|episode_count=0|");
}

Test(drama_catalog, case_13_a_status_alone_is_no_drama)
{
    say(1, 2, "DramaStatusChanged", "'status':'failed','error':'e'");
    json_unexpected(&j, "dramas|");
    save(1, 1, "");
    json_expect(&j, "|status=failed|");
    json_expect(&j, "|error=e\n");
    say(1, 3, "DramaStatusChanged", "'status':'processing','error':'e'");
    json_expect(&j, "|status=processing|");
    json_expect(&j, "|error=null\n");
}

Test(drama_catalog, the_owner_is_the_first_who_says_so)
{
    save(1, 1, "'characters':[{'id':'a'}]");
    json_say(
        &j, 0,
        "{'drama_id':'d','life':1,'revision':3,'user_id':'late','body':{'type':'DramaSaved'}}");
    json_say(&j, 0,
             "{'drama_id':'d','life':1,'revision':2,'user_id':'first',"
             "'body':{'type':'DramaStatusChanged','status':'completed'}}");
    json_expect(&j, "dramas|id=d|user_id=first|");
    json_expect(&j, "characters|drama_id=d|id=a|user_id=first|");
    json_say(&j, 0,
             "{'drama_id':'d','life':1,'revision':2,'user_id':'second',"
             "'body':{'type':'DramaStatusChanged','status':'completed'}}"); /* a greater event_id */
    json_expect(&j, "dramas|id=d|user_id=first|");
}

Test(drama_catalog, mistake_4_equal_ids_in_two_dramas)
{
    save(1, 1, "'episodes':[{'id':'ep1','scenes':[{'id':'s','assets':[{'id':'x','kind':'k'}]}]}]");
    json_say(&j, 0,
             "{'drama_id':'f','life':1,'revision':1,'body':{'type':'DramaSaved','episodes':"
             "[{'id':'ep1','scenes':[{'id':'s','assets':[{'id':'x','kind':'k'}]}]}]}}");
    json_expect(&j, "scenes|drama_id=d|episode_id=ep1|id=s|");
    json_expect(&j, "scenes|drama_id=f|episode_id=ep1|id=s|");
    json_expect(&j, "|drama_id=d|owner=scene|");
    json_expect(&j, "|drama_id=f|owner=scene|");
}

/* --- what is refused ------------------------------------------------------------------------- */

Test(drama_catalog, case_23_a_status_that_nobody_knows)
{
    refused("status", "DramaStatusChanged", "'status':'queued'");
}

Test(drama_catalog, case_27_ids_of_any_characters)
{
    char id[201];
    memset(id, 'x', 200);
    id[200] = '\0';
    json_say(&j, 0,
             "{'drama_id':'a/b:c \xf0\x9f\x8e\xac','life':1,'revision':1,"
             "'body':{'type':'DramaSaved'}}");
    json_say(&j, 0, "{'drama_id':'%s','life':1,'revision':1,'body':{'type':'DramaSaved'}}", id);
    json_expect(&j, "dramas|id=a/b:c \xf0\x9f\x8e\xac|");
    json_expect(&j, "dramas|id=xxx");
    json_refused(&j, 0, "200",
                 "{'drama_id':'%sx','life':1,'revision':1,'body':{'type':'DramaSaved'}}", id);
    json_refused(&j, 0, "drama_id is empty",
                 "{'drama_id':'','life':1,'revision':1,'body':{'type':'DramaSaved'}}");
    json_refused(
        &j, 0, "user_id is empty",
        "{'drama_id':'d','life':1,'revision':1,'user_id':'','body':{'type':'DramaSaved'}}");
    json_refused(&j, 0, "characters[0].id",
                 "{'drama_id':'d','life':1,'revision':1,'body':{'type':'DramaSaved','characters':"
                 "[{'id':'%sx'}]}}",
                 id);
}

Test(drama_catalog, case_30_a_duration)
{
    save(1, 1, "'assets':[{'id':'a','kind':'video','duration':15},{'id':'b','kind':'video'}]");
    json_expect(&j, "|prompt=null|duration=15|");
    json_expect(&j, "|prompt=null|duration=null|");
    refused("duration", "DramaSaved", "'assets':[{'id':'a','kind':'k','duration':3000000000}]");
}

Test(drama_catalog, media_of_nothing_are_refused)
{
    refused("level \"prop\"", "MediaSet", "'level':'prop','path':[]");
    refused("path has 2 ids, and that of a character has 1", "MediaSet",
            "'level':'character','path':['a','b']");
    refused("slot \"url\" is not one that a scene has", "MediaSet",
            "'level':'scene','path':['e','s']");
    refused("slot \"image_url\"", "MediaSet", "'level':'episode','path':['e'],'slot':'image_url'");
    refused(
        "path[0]", "MediaSet",
        "'level':'character','path':['xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx']");
}

Test(drama_catalog, json_that_no_column_holds_is_refused_wherever_it_is)
{
    refused("metadata", "DramaSaved", "'metadata':'\\u0000'");
    refused("characters[0].assets[0].extra", "DramaSaved",
            "'characters':[{'id':'a','assets':[{'id':'x','kind':'k','extra':'{'}]}]");
    save(1, 1, "'metadata':{'model':'m','n':1.50},'episodes':[{'id':'e','extra':[1]}]");
    json_expect(&j, "|metadata={\"model\"");
    json_expect(&j, "|extra=[1]\n");
}

/* --- order ----------------------------------------------------------------------------------- */

static const char *pick(unsigned *seed, const char *const *texts, size_t count)
{
    return texts[(size_t)rand_r(seed) % count];
}
#define PICK(...)                                                                                  \
    pick(&seed, (const char *const[]){__VA_ARGS__},                                                \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void mixture(int count, unsigned seed)
{
    for (int i = 0; i < count; i++) {
        const char *user = PICK("", "'user_id':'u',", "'user_id':'w',");
        const char *drama = PICK("d", "d", "f");
        const char *members = PICK(
            "'type':'DramaSaved','title':'a','characters':[{'id':'a','url':'u'},{'id':'b'}]",
            "'type':'DramaSaved','url':'u','episodes':[{'id':'e','scenes':[{'id':'s','assets':"
            "[{'id':'x','kind':'k','url':'v'}]},{'id':'s'}]},{'id':'f','assets':[{'id':'',"
            "'kind':'k'}]}]",
            "'type':'DramaSaved','title':'b','characters':[{'id':'b','assets':[{'id':'y',"
            "'kind':'k'}]}],'assets':[{'id':'z','kind':'k'},{'id':'z','kind':'k'}]",
            "'type':'DramaSaved','characters':[],'episodes':[],'base_revision':1",
            "'type':'MediaSet','level':'character','path':['b'],'value':'m'",
            "'type':'MediaSet','level':'scene','path':['e','s#2'],'slot':'image_url','value':'n'",
            "'type':'MediaSet','level':'drama','path':[],'slot':'cover_url'",
            "'type':'MediaSet','level':'drama_asset','path':['z#2'],'value':'o'",
            "'type':'DramaStatusChanged','status':'failed','error':'e'",
            "'type':'DramaStatusChanged','status':'running'", "'type':'DramaDeleted'");
        int life = 1 + rand_r(&seed) % (strstr(members, "Deleted") != NULL ? 2 : 3);
        json_say(&j, 0, "{'drama_id':'%s','life':%d,'revision':%d,%s'body':{%s}}", drama, life,
                 life + rand_r(&seed) % 6, user, members);
    }
}

Test(drama_catalog, order_makes_no_difference)
{
    j.partitions = 5;
    mixture(120, 1);
    cr_assert(pj_orders_reaches(&j.orders));
    json_agree(&j, 200, 42);
}

Test(drama_catalog, order_makes_no_difference_to_a_few)
{
    for (unsigned seed = 1; seed <= 15; seed++) {
        stop();
        start();
        mixture(12, seed);
        json_agree(&j, 40, seed);
    }
}
