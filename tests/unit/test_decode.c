/* SPDX-License-Identifier: Apache-2.0 */
/* Records of writers whose schemas are not ours, read as ours. */
#include "projections/safari/safari.h"
#include "schemas.h"
#include "unit/encode.h"

#define COMMAND_AT(member) PJ_INDEX(safari_command, member)
#define FRAME_AT(member)   PJ_INDEX(safari_frame, member)

TestSuite(decode, .init = given_start, .fini = given_stop);

#define ID     "11111111-2222-4333-8444-555555555555"
#define ID_HEX "11111111222243338444555555555555"

/* --- the three topics ------------------------------------------------------------------------ */

static void decode_submitted(void)
{
    decode_whole(pj_schema_safari_commands, safari_command_fields, PJ_COUNT(safari_command_fields),
                 pj_schema_safari_commands,
                 "{'event_id':'" ID "','command_id':'AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE',"
                 "'cursor':'1000-7','emitted_at':1795237594968123,"
                 "'body':{'@0':{'type':'sora.generate','payload':'{}','requested_at':-1,"
                 "'requester_service':'s','target':{'session_id':'" ID "','platform':'x'}}}}");
}

Test(decode, a_submitted_command)
{
    decode_submitted();
    IS_UUID(COMMAND_AT(event_id), ID_HEX);
    IS_UUID(COMMAND_AT(command_id), "aaaaaaaabbbb4ccc8dddeeeeeeeeeeee");
    IS_TEXT(COMMAND_AT(cursor), "1000-7");
    IS_INTEGER(COMMAND_AT(emitted_at), 1795237594968123);
    IS_BOOL(COMMAND_AT(submitted), true);
    IS_TEXT(COMMAND_AT(type), "sora.generate");
    IS_TEXT(COMMAND_AT(payload), "{}");
    IS_NULL(COMMAND_AT(idempotency_key));
    IS_INTEGER(COMMAND_AT(requested_at), -1);
    IS_TEXT(COMMAND_AT(requester_service), "s");
    IS_JSON(COMMAND_AT(target), "{'session_id':'" ID "','account_id':null,'platform':'x'}");
    IS_UUID(COMMAND_AT(session_id), ID_HEX);
    IS_NULL(COMMAND_AT(status_changed));
    IS_NULL(COMMAND_AT(status));
}

Test(decode, a_changed_status)
{
    decode_whole(pj_schema_safari_commands, safari_command_fields, PJ_COUNT(safari_command_fields),
                 pj_schema_safari_commands,
                 "{'event_id':'" ID "','command_id':'" ID "','emitted_at':0,"
                 "'body':{'@1':{'status':'FAILED','error':'no'}}}");
    IS_NULL(COMMAND_AT(submitted));
    IS_NULL(COMMAND_AT(type));
    IS_BOOL(COMMAND_AT(status_changed), true);
    IS_TEXT(COMMAND_AT(status), "FAILED");
    IS_NULL(COMMAND_AT(result));
    IS_TEXT(COMMAND_AT(error), "no");
}

/* Values of the batch before must not show through. */
Test(decode, one_record_after_another)
{
    decode_submitted();
    encode(pj_schema_safari_commands, "{'event_id':'" ID "','command_id':'" ID "','emitted_at':5,"
                                      "'body':{'@1':{'status':'QUEUED'}}}");
    decode_body();
    IS_INTEGER(COMMAND_AT(emitted_at), 5);
    IS_NULL(COMMAND_AT(submitted));
    IS_NULL(COMMAND_AT(type));
    IS_NULL(COMMAND_AT(target));
    IS_NULL(COMMAND_AT(cursor));
    IS_TEXT(COMMAND_AT(status), "QUEUED");
}

Test(decode, an_older_telemetry_writer)
{
    decode_whole(pj_schema_safari_telemetry, safari_frame_fields, PJ_COUNT(safari_frame_fields),
                 "{'type':'record','name':'TelemetryEvent','fields':["
                 "{'name':'emitted_at','type':{'type':'long','logicalType':'timestamp-millis'}},"
                 "{'name':'type','type':{'type':'enum','name':'T','symbols':['a.b','c']}},"
                 "{'name':'extra','type':{'type':'map','values':['null','int']}},"
                 "{'name':'event_id','type':{'type':'fixed','size':16,'name':'U',"
                 "'logicalType':'uuid'}}]}",
                 "{'emitted_at':-1,'type':'c','extra':{'x':5,'y':null},'event_id':'" ID_HEX "'}");
    IS_UUID(FRAME_AT(event_id), ID_HEX);
    IS_TEXT(FRAME_AT(version), "1.0");
    IS_TEXT(FRAME_AT(type), "c");
    IS_TEXT(FRAME_AT(severity), "info");
    IS_NULL(FRAME_AT(command_id));
    IS_NULL(FRAME_AT(target));
    IS_INTEGER(FRAME_AT(emitted_at), -1000);
}

Test(decode, a_session)
{
    static const struct pj_field fields[] = {
        {"session_id", PJ_UUID, .required = true},
        {"body.SessionOpened", PJ_BOOL},
        {"body.SessionOpened.platform", PJ_TEXT, .required = true},
        {"body.SessionOpened.browser_pid", PJ_INT},
        {"body.SessionClosed", PJ_BOOL},
        {"body.SessionClosed.reason", PJ_TEXT},
    };
    decode_whole(pj_schema_safari_sessions, fields, 6, pj_schema_safari_sessions,
                 "{'event_id':'" ID "','session_id':'" ID "','emitted_at':0,"
                 "'body':{'@0':{'platform':'sora','browser_pid':-7}}}");
    IS_BOOL(1, true);
    IS_TEXT(2, "sora");
    IS_INTEGER(3, -7);
    IS_NULL(4);
    encode(pj_schema_safari_sessions, "{'event_id':'" ID "','session_id':'" ID "','emitted_at':0,"
                                      "'body':{'@1':{'reason':'done'}}}");
    decode_body();
    IS_NULL(1);
    IS_NULL(2);
    IS_BOOL(4, true);
    IS_TEXT(5, "done");
}

/* --- fields that come, go and move ----------------------------------------------------------- */

#define INT_A  "{'name':'a','type':'int'}"
#define TEXT_B "{'name':'b','type':'string'}"

Test(decode, the_same_schema)
{
    GIVEN(INT_A "," TEXT_B, INT_A "," TEXT_B, "{'a':-5,'b':'x'}", {"a", PJ_INT}, {"b", PJ_TEXT});
    IS_INTEGER(0, -5);
    IS_TEXT(1, "x");
}

Test(decode, fields_added_by_the_writer_are_passed_over)
{
    GIVEN(INT_A,
          "{'name':'x','type':{'type':'array','items':['null','string','double']}}," INT_A
          ",{'name':'y','type':{'type':'record','name':'Y','fields':[{'name':'a','type':'float'},"
          "{'name':'z','type':'bytes'},{'name':'t','type':'boolean'},{'name':'n','type':'null'},"
          "{'name':'f','type':{'type':'fixed','name':'F','size':3}}]}}",
          "{'x':[null,{'@1':'s'},{'@2':1.5}],'a':7,"
          "'y':{'a':1,'z':'ff00','t':true,'f':'010203'}}",
          {"a", PJ_INT});
    IS_INTEGER(0, 7);
}

Test(decode, fields_in_another_order)
{
    GIVEN(INT_A "," TEXT_B, TEXT_B "," INT_A, "{'a':7,'b':'x'}", {"a", PJ_INT}, {"b", PJ_TEXT});
    IS_INTEGER(0, 7);
    IS_TEXT(1, "x");
}

Test(decode, our_defaults_fill_what_the_writer_lacks)
{
    GIVEN(INT_A ",{'name':'i','type':'int','default':-3},"
                "{'name':'l','type':'long','default':8589934592},"
                "{'name':'d','type':'double','default':2.5},"
                "{'name':'s','type':'string','default':'words'},"
                "{'name':'t','type':'boolean','default':false},"
                "{'name':'n','type':['null','string'],'default':null},"
                "{'name':'u','type':['string','null'],'default':'first'},"
                "{'name':'m','type':{'type':'long','logicalType':'timestamp-millis'},'default':-9},"
                "{'name':'j','type':{'type':'array','items':'int'},'default':[1,2]},"
                "{'name':'e','type':{'type':'enum','name':'E','symbols':['P','Q']},'default':'Q'},"
                "{'name':'k','type':{'type':'string','logicalType':'uuid'},'default':'" ID "'}",
          INT_A, "{'a':1}", {"i", PJ_INT, .required = true}, {"l", PJ_BIGINT}, {"d", PJ_DOUBLE},
          {"s", PJ_TEXT}, {"t", PJ_BOOL}, {"n", PJ_TEXT}, {"u", PJ_TEXT}, {"m", PJ_TIMESTAMPTZ},
          {"j", PJ_JSONB}, {"e", PJ_TEXT}, {"k", PJ_UUID});
    IS_INTEGER(0, -3);
    IS_INTEGER(1, 8589934592);
    IS_REAL(2, 2.5);
    IS_TEXT(3, "words");
    IS_BOOL(4, false);
    IS_NULL(5);
    IS_TEXT(6, "first");
    IS_INTEGER(7, -9000);
    IS_TEXT(8, "[1,2]");
    IS_TEXT(9, "Q");
    IS_UUID(10, ID_HEX);
}

Test(decode, defaults_of_other_times)
{
    GIVEN("{'name':'d','type':{'type':'int','logicalType':'date'},'default':-1},"
          "{'name':'n','type':{'type':'long','logicalType':'timestamp-nanos'},'default':-1}",
          "", "{}", {"d", PJ_TIMESTAMPTZ}, {"n", PJ_TIMESTAMPTZ});
    IS_INTEGER(0, -86400000000);
    IS_INTEGER(1, -1);
}

#define INNER                                                                                      \
    "{'type':'record','name':'I','fields':[{'name':'x','type':'int','default':4},"                 \
    "{'name':'y','type':['null','string'],'default':null}]}"

Test(decode, a_default_that_is_a_record)
{
    GIVEN("{'name':'r','type':" INNER ",'default':{'y':null}}", INT_A, "{'a':1}", {"r", PJ_JSONB},
          {"r.x", PJ_INT}, {"r.y", PJ_TEXT});
    IS_JSON(0, "{'y':null}");
    IS_INTEGER(1, 4);
    IS_NULL(2);
    GIVEN("{'name':'r','type':" INNER ",'default':{'x':9}}", INT_A, "{'a':1}", {"r.x", PJ_INT});
    IS_INTEGER(0, 9);
}

Test(decode, a_default_inside_a_record_that_is_there)
{
    GIVEN(
        "{'name':'r','type':" INNER "}",
        "{'name':'r','type':{'type':'record','name':'I','fields':[{'name':'y','type':'string'}]}}",
        "{'r':{'y':'w'}}", {"r.x", PJ_INT}, {"r.y", PJ_TEXT});
    IS_INTEGER(0, 4);
    IS_TEXT(1, "w");
}

Test(decode, a_default_that_is_one_of_several_records)
{
    GIVEN("{'name':'b','type':[{'type':'record','name':'P','fields':[{'name':'x','type':'int'}]},"
          "{'type':'record','name':'Q','fields':[]}],'default':{'x':6}}",
          INT_A, "{'a':1}", {"b.P", PJ_BOOL}, {"b.P.x", PJ_INT}, {"b.Q", PJ_BOOL});
    IS_BOOL(0, true);
    IS_INTEGER(1, 6);
    IS_NULL(2);
}

/* --- names ----------------------------------------------------------------------------------- */

Test(decode, renamed_by_our_alias)
{
    GIVEN("{'name':'new','aliases':['old'],'type':'int'}", "{'name':'old','type':'int'}",
          "{'old':5}", {"new", PJ_INT, .required = true});
    IS_INTEGER(0, 5);
}

Test(decode, renamed_by_the_writers_alias)
{
    GIVEN("{'name':'old','type':'int'}", "{'name':'new','aliases':['old'],'type':'int'}",
          "{'new':5}", {"old", PJ_INT, .required = true});
    IS_INTEGER(0, 5);
}

Test(decode, a_name_counts_more_than_an_alias)
{
    GIVEN("{'name':'new','aliases':['old'],'type':'int'}",
          "{'name':'old','type':'int'},{'name':'new','type':'int'}", "{'old':1,'new':2}",
          {"new", PJ_INT});
    IS_INTEGER(0, 2);
}

/* A field that we know by its own name is not another's former self. */
Test(decode, an_alias_does_not_take_a_field_of_ours)
{
    GIVEN("{'name':'a','type':'int'},{'name':'b','aliases':['a'],'type':'int','default':9}",
          "{'name':'a','type':'int'}", "{'a':1}", {"a", PJ_INT}, {"b", PJ_INT});
    IS_INTEGER(0, 1);
    IS_INTEGER(1, 9);
}

#define BODY(p, q)                                                                                 \
    "{'name':'body','type':[{'type':'record','name':'" p "','fields':[{'name':'x','type':'int'}]}" \
    ",{'type':'record','name':'" q "','fields':[{'name':'y','type':'string'}]}]}"

static const struct pj_field body_fields[] = {
    {"body.P", PJ_BOOL},
    {"body.P.x", PJ_INT},
    {"body.Q", PJ_BOOL},
    {"body.Q.y", PJ_TEXT, .required = true},
};

static void decode_bodies(const char *reader, const char *writer, const char *value)
{
    decode_whole(record_of(reader), body_fields, 4, record_of(writer), value);
}

Test(decode, branches_in_another_order)
{
    decode_bodies(BODY("P", "Q"),
                  "{'name':'body','type':["
                  "{'type':'record','name':'Q','fields':[{'name':'y','type':'string'}]},"
                  "{'type':'record','name':'P','fields':[{'name':'x','type':'int'}]}]}",
                  "{'body':{'@0':{'y':'w'}}}");
    IS_NULL(0);
    IS_NULL(1);
    IS_BOOL(2, true);
    IS_TEXT(3, "w");
}

Test(decode, a_branch_that_nobody_knows)
{
    const char *writer =
        "{'name':'body','type':["
        "{'type':'record','name':'New','fields':[{'name':'x','type':'string'}]},"
        "{'type':'record','name':'P','fields':[{'name':'x','type':'int'}]},'string']}";
    decode_bodies(BODY("P", "Q"), writer, "{'body':{'@0':{'x':'w'}}}");
    DECODED();
    for (int slot = 0; slot < 4; slot++)
        IS_NULL(slot);
    decode_bodies(BODY("P", "Q"), writer, "{'body':{'@2':'loose'}}");
    DECODED();
    for (int slot = 0; slot < 4; slot++)
        IS_NULL(slot);
    decode_bodies(BODY("P", "Q"), writer, "{'body':{'@1':{'x':3}}}");
    IS_BOOL(0, true);
    IS_INTEGER(1, 3);
}

Test(decode, one_branch_written_without_the_union)
{
    decode_bodies(BODY("P", "Q"),
                  "{'name':'body','type':{'type':'record','name':'P','fields':["
                  "{'name':'x','type':'int'}]}}",
                  "{'body':{'x':3}}");
    IS_BOOL(0, true);
    IS_INTEGER(1, 3);
    IS_NULL(2);
}

Test(decode, a_record_renamed)
{
    decode_bodies("{'name':'body','type':[{'type':'record','name':'P','aliases':['Old'],'fields':["
                  "{'name':'x','type':'int'}]},{'type':'record','name':'Q','fields':["
                  "{'name':'y','type':'string'}]}]}",
                  BODY("Old", "Q"), "{'body':{'@0':{'x':3}}}");
    IS_BOOL(0, true);
    IS_INTEGER(1, 3);
    decode_bodies(BODY("P", "Q"),
                  "{'name':'body','type':[{'type':'record','name':'New','aliases':['ns.P'],"
                  "'fields':[{'name':'x','type':'int'}]},'null']}",
                  "{'body':{'@0':{'x':4}}}");
    IS_BOOL(0, true);
    IS_INTEGER(1, 4);
}

Test(decode, a_records_own_name_counts_more_than_an_alias)
{
    decode_bodies("{'name':'body','type':[{'type':'record','name':'P','aliases':['Q'],'fields':["
                  "{'name':'x','type':'int','default':0}]},{'type':'record','name':'Q','fields':["
                  "{'name':'y','type':'string'}]}]}",
                  BODY("P", "Q"), "{'body':{'@1':{'y':'w'}}}");
    IS_NULL(0);
    IS_BOOL(2, true);
    IS_TEXT(3, "w");
}

Test(decode, another_namespace)
{
    decode_bodies(BODY("P", "Q"), BODY("com.example.P", "com.example.Q"),
                  "{'body':{'@1':{'y':'w'}}}");
    IS_NULL(0);
    IS_TEXT(3, "w");
}

/* --- types ----------------------------------------------------------------------------------- */

Test(decode, numbers_are_widened)
{
    GIVEN("{'name':'l','type':'long'},{'name':'d','type':'double'},{'name':'e','type':'double'},"
          "{'name':'f','type':'double'}",
          "{'name':'l','type':'int'},{'name':'d','type':'float'},{'name':'e','type':'int'},"
          "{'name':'f','type':'long'}",
          "{'l':-2147483648,'d':0.5,'e':3,'f':-4}", {"l", PJ_BIGINT}, {"d", PJ_DOUBLE},
          {"e", PJ_DOUBLE}, {"f", PJ_DOUBLE});
    IS_INTEGER(0, INT32_MIN);
    IS_REAL(1, 0.5);
    IS_REAL(2, 3.0);
    IS_REAL(3, -4.0);
}

Test(decode, a_long_must_fit_an_int)
{
    GIVEN("{'name':'a','type':'int'}", "{'name':'a','type':'long'}", "{'a':2147483647}",
          {"a", PJ_INT});
    IS_INTEGER(0, INT32_MAX);
    GIVEN("{'name':'a','type':'int'}", "{'name':'a','type':'long'}", "{'a':2147483648}",
          {"a", PJ_INT});
    POISONED("a is 2147483648, which does not fit 32 bits: a PJ_INT holds -2147483648 to");
}

Test(decode, a_long_must_fit_a_double)
{
    GIVEN("{'name':'a','type':'double'}", "{'name':'a','type':'long'}", "{'a':9007199254740992}",
          {"a", PJ_DOUBLE});
    IS_REAL(0, 9007199254740992.0);
    GIVEN("{'name':'a','type':'double'}", "{'name':'a','type':'long'}", "{'a':9007199254740993}",
          {"a", PJ_DOUBLE});
    POISONED("a is 9007199254740993, of which a PJ_DOUBLE would keep 53 bits only");
    GIVEN("{'name':'a','type':'double'}", "{'name':'a','type':'long'}", "{'a':9223372036854775807}",
          {"a", PJ_DOUBLE});
    POISONED("a is 9223372036854775807");
}

Test(decode, extreme_longs)
{
    GIVEN("{'name':'a','type':'long'},{'name':'b','type':'long'}",
          "{'name':'a','type':'long'},{'name':'b','type':'long'}",
          "{'a':9223372036854775807,'b':-9223372036854775808}", {"a", PJ_BIGINT}, {"b", PJ_BIGINT});
    IS_INTEGER(0, INT64_MAX);
    IS_INTEGER(1, INT64_MIN);
}

Test(decode, an_enum_becomes_a_text)
{
    GIVEN(TEXT_B, "{'name':'b','type':{'type':'enum','name':'E','symbols':['P','Q']}}", "{'b':'Q'}",
          {"b", PJ_TEXT});
    IS_TEXT(0, "Q");
}

Test(decode, what_was_optional_is_required_and_back)
{
    GIVEN("{'name':'b','type':'string'}", "{'name':'b','type':['null','string']}", "{'b':'x'}",
          {"b", PJ_TEXT, .required = true});
    IS_TEXT(0, "x");
    GIVEN("{'name':'b','type':'string'}", "{'name':'b','type':['null','string']}", "{}",
          {"b", PJ_TEXT, .required = true});
    POISONED("b is null");
    GIVEN("{'name':'b','type':['null','string'],'default':null}", "{'name':'b','type':'string'}",
          "{'b':'x'}", {"b", PJ_TEXT});
    IS_TEXT(0, "x");
    GIVEN("{'name':'b','type':['null','string']}", "{'name':'b','type':['string','null']}",
          "{'b':'x'}", {"b", PJ_TEXT});
    IS_TEXT(0, "x");
}

#define RECORD_X(x) "{'type':'record','name':'I','fields':[{'name':'x','type':" x "}]}"

Test(decode, a_record_that_must_be_there)
{
    static const char ours[] = "{'name':'r','type':" RECORD_X("'int'") "}";
    GIVEN(ours, "{'name':'r','type':['null'," RECORD_X("'int'") "]}", "{'r':{'x':3}}",
          {"r.x", PJ_INT, .required = true});
    IS_INTEGER(0, 3);
    GIVEN(ours, "{'name':'r','type':['null'," RECORD_X("'int'") "]}", "{}",
          {"r.x", PJ_INT, .required = true});
    POISONED("r.x is null");
    GIVEN(ours, INT_A, "{'a':1}", {"r.x", PJ_INT, .required = true});
    POISONED("r.x is missing");
    GIVEN(ours, "{'name':'r','type':'string'}", "{'r':'w'}", {"r.x", PJ_INT, .required = true});
    POISONED("r is of the type string");
}

Test(decode, a_record_that_may_be_away)
{
    static const char ours[] = "{'name':'r','type':['null'," RECORD_X("'int'") "],'default':null}";
    GIVEN(ours, "{'name':'r','type':['null'," RECORD_X("'int'") "]}", "{}",
          {"r.x", PJ_INT, .required = true}, {"r", PJ_BOOL});
    DECODED();
    IS_NULL(0);
    IS_NULL(1);
    GIVEN(ours, INT_A, "{'a':1}", {"r.x", PJ_INT, .required = true}, {"r", PJ_BOOL});
    DECODED();
    IS_NULL(0);
    IS_NULL(1);
    GIVEN(ours, "{'name':'r','type':" RECORD_X("'int'") "}", "{'r':{'x':4}}",
          {"r.x", PJ_INT, .required = true}, {"r", PJ_BOOL});
    IS_INTEGER(0, 4);
    IS_BOOL(1, true);
}

Test(decode, a_required_field_that_the_writer_lacks)
{
    GIVEN(INT_A "," TEXT_B, INT_A, "{'a':1}", {"a", PJ_INT}, {"b", PJ_TEXT, .required = true});
    POISONED("b is missing");
}

/* A writer without a body tells nothing that a command event is about. */
Test(decode, a_required_union_that_the_writer_lacks)
{
    decode_whole(pj_schema_safari_commands, safari_command_fields, PJ_COUNT(safari_command_fields),
                 "{'type':'record','name':'CommandEvent','fields':["
                 "{'name':'event_id','type':'string'},{'name':'command_id','type':'string'},"
                 "{'name':'emitted_at','type':'long'}]}",
                 "{'event_id':'" ID "','command_id':'" ID "','emitted_at':0}");
    POISONED("body.CommandSubmitted.type is missing");
}

Test(decode, another_type_names_the_field_and_the_type)
{
    GIVEN("{'name':'a','type':'int'}", "{'name':'a','type':'string'}", "{'a':'x'}", {"a", PJ_INT});
    POISONED("a is of the type string");
    GIVEN("{'name':'a','type':'string'}", "{'name':'a','type':['null','double']}", "{'a':1.5}",
          {"a", PJ_TEXT});
    POISONED("a is of the type double");
    /* … which a null is not. */
    GIVEN("{'name':'a','type':'string'}", "{'name':'a','type':['null','double']}", "{}",
          {"a", PJ_TEXT});
    DECODED();
    IS_NULL(0);
}

Test(decode, a_writer_that_is_no_record)
{
    struct pj_field field = {"a", PJ_INT};
    plan_for(record_of(INT_A), &field, 1, "'string'");
    POISONED("of the type string, not a record");
}

Test(decode, a_field_that_our_schema_lacks_stops_the_start)
{
    struct pj_field field = {"r.zz", PJ_INT};
    given.source = (struct pj_source){.topic = "t", .fields = &field, .field_count = 1};
    given.source.schema = quoted(record_of("{'name':'r','type':" RECORD_X("'int'") "}"));
    cr_assert_eq(pj_decoder_new(&given.decoder, &given.source, &given.error), -1);
    cr_assert_eq(given.error.class, PJ_FATAL);
    cr_assert_not_null(strstr(given.error.message, "r.zz"));
    given.decoder = NULL;
}

Test(decode, bytes_left_over)
{
    GIVEN(INT_A, INT_A, "{'a':1}", {"a", PJ_INT});
    given.body[given.length++] = 0;
    decode_body();
    POISONED("1 bytes are left over");
}

/* A schema of a few kilobytes whose unions multiply, level by level, must not fill the memory. */
Test(decode, unions_that_multiply, .timeout = 30)
{
    const char *strings = ",'string'";
    const char *records = ",'I'";
    for (int i = 0; i < 9; i++) { /* 512 of each */
        strings = pj_arena_printf(given.arena, "%s%s", strings, strings);
        records = pj_arena_printf(given.arena, "%s%s", records, records);
    }
    const char *writer = record_of(pj_arena_printf(
        given.arena,
        "{'name':'r','type':[{'type':'record','name':'J','fields':[{'name':'s','type':[{'type':"
        "'record','name':'I','fields':[{'name':'x','type':['null'%s]}]}%s]}]},'null'"
        ",'J','J','J','J','J','J','J','J','J','J','J','J','J','J','J','J']}",
        strings, records));
    static const char ours[] =
        "{'name':'r','type':{'type':'record','name':'J','fields':[{'name':'s','type':{'type':"
        "'record','name':'I','fields':[{'name':'x','type':['null','string']}]}}]}}";
    struct pj_field field = {"r.s.x", PJ_TEXT};
    plan_for(record_of(ours), &field, 1, writer);
    POISONED("too large");
}
