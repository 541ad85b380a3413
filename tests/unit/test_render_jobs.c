/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of render's jobs, by their rows in every order. A number in a name is that of the edge
 * case. */
#include "lib/json_orders.h"
#include "projections/render/render_projections.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { JOBS, ELEMENTS, TIMELINE, STORAGE };

static struct json_orders j;

static void start(void)
{
    j = json_orders_start(&pj_render_jobs);
}

static void stop(void)
{
    json_orders_stop(&j);
}

TestSuite(render_jobs, .init = start, .fini = stop);

#define ID "00000000-0000-4000-8000-00000000000"

/* Of job 1. Times are in seconds. */
#define AT(seconds) (long)((seconds)*1000000)

static void job(int number, int attempt, double at, const char *body)
{
    json_say(&j, JOBS, "{'job_id':'" ID "%d','attempt':%d,'emitted_at':%ld,'body':{%s}}", number,
             attempt, AT(at), body);
}

static void created(double at)
{
    job(1, 1, at, "'type':'JobCreated','width':640,'height':480");
}

static void status(int attempt, const char *word, double at)
{
    char body[128];
    snprintf(body, sizeof body,
             "'type':'JobStatusChanged','status':'%s','error_message':'m%g','error_code':'c'", word,
             at);
    job(1, attempt, at, body);
}

static void progress(int attempt, int percent, double at)
{
    char body[64];
    snprintf(body, sizeof body, "'type':'JobProgressed','progress':%d", percent);
    job(1, attempt, at, body);
}

static void added(int number, int element, int order, double at)
{
    json_say(&j, ELEMENTS,
             "{'job_id':'" ID "%d','element_id':'" ID "%x','emitted_at':%ld,'body':{'ElementAdded':"
             "{'element_order':%d,'type':'image','source_url':'u%d'}}}",
             number, (unsigned)element, AT(at), order, element);
}

static void step(const char *body, int attempt, double at)
{
    json_say(&j, TIMELINE,
             "{'job_id':'" ID "1','attempt':%d,'emitted_at':%ld,'step':'encoding','step_order':2,"
             "'body':{%s}}",
             attempt, AT(at), body);
}

static void stored(const char *operation, const char *key, const char *rest, double at)
{
    json_say(&j, STORAGE,
             "{'emitted_at':%ld,'operation':'%s','bucket':'videos','key':'%s','success':true,"
             "'file_size':7%s}",
             AT(at), operation, key, rest);
}

#define OF_JOB ",'job_id':'" ID "1'"

/* The row that begins so has these texts, in every order. */
static void row(const char *begin, const char *one, const char *other)
{
    char *rows = pj_orders_rows(&j.orders, false);
    const char *at = strstr(rows, begin);
    cr_assert_not_null(at, "no row %s in:\n%s", begin, rows);
    char line[2048];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n") + 1, at);
    cr_assert_not_null(strstr(line, one), "not %s: %s", one, line);
    cr_assert_not_null(strstr(line, other), "not %s: %s", other, line);
    json_expect(&j, line);
    free(rows);
}

#define JOB_IS(one, other) row("jobs|id=" ID "1|", one, other)

/* What became of the event of that number. */
static void verdict(int event, const char *from, const char *to, const char *is)
{
    char begin[160];
    char text[128];
    snprintf(begin, sizeof begin, "job_status_history|event_id=" ID "%x|", (unsigned)event);
    snprintf(text, sizeof text, "|from_status=%s|to_status=%s|", from, to);
    char verdict_text[64];
    snprintf(verdict_text, sizeof verdict_text, "|verdict=%s|", is);
    row(begin, text, verdict_text);
}

static void is_refused(int element, const char *reason)
{
    char begin[160];
    char text[64];
    snprintf(begin, sizeof begin, "element_refusals|element_id=" ID "%x|job_id=" ID "1|",
             (unsigned)element);
    snprintf(text, sizeof text, "|reason=%s|", reason);
    row(begin, "|element_order=", text);
}

static void is_taken(int element, const char *text)
{
    char begin[160];
    snprintf(begin, sizeof begin, "elements|id=" ID "%x|job_id=" ID "1|", (unsigned)element);
    row(begin, "|source_url=u", text);
}

/* --- status ---------------------------------------------------------------------------------- */

Test(render_jobs, a_job)
{
    job(1, 1, 5,
        "'type':'JobCreated','output_format':'webm','width':7680,'height':4320,"
        "'estimated_duration':31,'client_ip':'10.0.0.1','user_agent':'a',"
        "'request_metadata':{'m':1},'owner_id':'" ID "9','requested_at':4000000");
    JOB_IS("|status=pending|response_type=async|output_format=webm|width=7680|height=4320|"
           "estimated_duration=31|actual_duration=null|processing_started_at=null|"
           "processing_completed_at=null|s3_bucket=null|s3_key=null|s3_region=null|file_size=null|"
           "result_url=null|progress_percentage=0|current_step=null|error_message=null|",
           "|retry_count=0|client_ip=10.0.0.1|user_agent=a|request_metadata={\"m\":1}|"
           "created_at=4000000|owner_id=" ID "9|placeholder=null\n");
}

Test(render_jobs, how_a_request_is_answered)
{
    job(1, 1, 1, "'type':'JobCreated','width':1,'height':1,'estimated_duration':30");
    JOB_IS("|response_type=immediate|", "|client_ip=null|");
    job(1, 1, 0,
        "'type':'JobCreated','width':1,'height':1,'estimated_duration':30,'client_ip':'',"
        "'response_type':'async'");
    JOB_IS("|response_type=async|", "|client_ip=null|");
}

Test(render_jobs, case_1_a_status_before_its_job)
{
    status(1, "processing", 2);
    json_unexpected(&j, "jobs|");
    json_unexpected(&j, "job_status_history|");
    created(1);
    JOB_IS("|status=processing|", "|processing_started_at=2000000|");
}

Test(render_jobs, case_2_created_twice)
{
    job(1, 1, 2, "'type':'JobCreated','width':200,'height':1");
    job(1, 1, 1, "'type':'JobCreated','width':100,'height':1");
    job(1, 1, 1, "'type':'JobCreated','width':300,'height':1");
    JOB_IS("|width=100|", "|created_at=1000000|");
}

Test(render_jobs, case_3_only_an_end)
{
    created(1);
    status(1, "completed", 9);
    JOB_IS("|status=completed|", "|actual_duration=null|processing_started_at=null|"
                                 "processing_completed_at=9000000|");
    JOB_IS("|progress_percentage=100|", "|error_message=null|error_code=null|retry_count=0|");
    verdict(2, "pending", "completed", "implied start");
}

Test(render_jobs, case_3_only_an_end_that_says_how_long)
{
    created(1);
    job(1, 1, 9,
        "'type':'JobStatusChanged','status':'failed','processing_ms':2500,'result_url':'u'");
    JOB_IS("|status=failed|", "|actual_duration=3|processing_started_at=null|");
    JOB_IS("|result_url=u|", "|error_message=null|");
}

Test(render_jobs, case_4_cancelled_while_pending)
{
    created(1);
    status(1, "cancelled", 3);
    JOB_IS("|status=cancelled|", "|actual_duration=null|processing_started_at=null|"
                                 "processing_completed_at=3000000|");
    JOB_IS("|error_message=m3|", "|retry_count=0|");
    verdict(2, "pending", "cancelled", "accepted");
}

Test(render_jobs, case_5_an_end_before_its_start)
{
    created(1);
    status(1, "completed", 10);
    status(1, "processing", 11);
    JOB_IS("|status=completed|",
           "|actual_duration=0|processing_started_at=11000000|processing_completed_at=10000000|");
    verdict(2, "processing", "completed", "accepted");
    verdict(3, "pending", "processing", "accepted");
}

Test(render_jobs, case_6_a_new_attempt_of_what_is_completed)
{
    created(1);
    status(1, "completed", 2);
    status(2, "processing", 3);
    JOB_IS("|status=completed|", "|retry_count=0|");
    verdict(3, "completed", "processing", "rejected");
}

Test(render_jobs, case_7_a_timeout_and_then_it_works)
{
    created(1);
    status(1, "timeout", 2);
    status(2, "processing", 3);
    JOB_IS("|status=processing|", "|processing_completed_at=null|");
    JOB_IS("|error_message=null|error_code=null|", "|retry_count=1|");
    status(2, "completed", 4.4);
    JOB_IS("|status=completed|", "|actual_duration=1|");
    JOB_IS("|error_message=null|error_code=null|", "|retry_count=1|");
}

Test(render_jobs, case_8_failed_twice)
{
    created(1);
    status(1, "processing", 2);
    status(1, "failed", 3);
    status(1, "failed", 4);
    JOB_IS("|status=failed|", "|error_message=m3|error_code=c|");
    verdict(4, "failed", "failed", "repeated");
    status(2, "failed", 5); /* of a start that nobody told of */
    JOB_IS("|status=failed|", "|error_message=m5|error_code=c|retry_count=1|");
    verdict(5, "failed", "failed", "implied start");
}

Test(render_jobs, case_9_progress_does_not_go_back)
{
    created(1);
    progress(1, 80, 2);
    progress(1, 30, 3);
    JOB_IS("|progress_percentage=80|", "|status=pending|");
}

Test(render_jobs, case_10_a_new_attempt_begins_again)
{
    created(1);
    status(1, "processing", 1);
    progress(1, 80, 2);
    status(2, "processing", 3);
    JOB_IS("|progress_percentage=0|", "|retry_count=1|");
    progress(2, 10, 4);
    JOB_IS("|progress_percentage=10|", "|status=processing|");
}

Test(render_jobs, case_11_and_mistake_8_a_failure_after_100_percent)
{
    created(1);
    status(1, "processing", 2);
    progress(1, 100, 10);
    JOB_IS("|status=completed|", "|actual_duration=8|");
    status(1, "failed", 12);
    JOB_IS("|status=failed|", "|error_message=m12|");
    verdict(3, "failed", "completed", "rejected");
}

Test(render_jobs, case_12_100_percent_while_pending)
{
    created(1);
    progress(1, 100, 2);
    progress(1, 100, 3);
    JOB_IS("|status=completed|", "|actual_duration=null|processing_started_at=null|");
    verdict(2, "pending", "completed", "implied start");
    verdict(3, "completed", "completed", "repeated");
}

Test(render_jobs, only_the_last_attempt_ends_by_100_percent)
{
    created(1);
    status(1, "processing", 2);
    progress(1, 100, 3);
    status(2, "processing", 4);
    JOB_IS("|status=processing|", "|retry_count=1|");
    verdict(3, "processing", "completed", "rejected");
}

Test(render_jobs, case_13_two_ends_at_one_time)
{
    created(1);
    status(1, "processing", 2);
    status(1, "cancelled", 3);
    status(1, "completed", 3);
    JOB_IS("|status=cancelled|", "|actual_duration=1|");
    verdict(4, "cancelled", "completed", "rejected");
}

Test(render_jobs, a_cancellation_stands_where_it_was_said)
{
    created(1);
    status(1, "failed", 2);
    status(2, "processing", 3);
    status(1, "cancelled", 4);
    status(2, "completed", 5);
    JOB_IS("|status=cancelled|", "|retry_count=1|");
    row("job_status_history|event_id=" ID "4|", "|attempt=2|", "|verdict=accepted|");
    verdict(5, "cancelled", "completed", "rejected");
}

Test(render_jobs, one_attempt_that_says_failed_and_goes_on)
{
    created(1);
    status(1, "processing", 2);
    status(1, "failed", 3);
    status(1, "processing", 4);
    JOB_IS("|status=failed|", "|retry_count=0|");
    status(1, "completed", 5);
    JOB_IS("|status=completed|", "|error_message=null|error_code=null|retry_count=1|");
    verdict(4, "processing", "processing", "repeated");
    verdict(5, "failed", "completed", "implied start");
}

Test(render_jobs, a_worker_that_was_lost)
{
    created(1);
    status(1, "processing", 2);
    status(2, "processing", 3);
    JOB_IS("|status=processing|", "|processing_started_at=2000000|");
}

Test(render_jobs, told_pending)
{
    created(1);
    status(2, "pending", 1);
    verdict(2, "pending", "pending", "repeated");
    status(1, "processing", 2);
    verdict(2, "processing", "pending", "rejected");
    JOB_IS("|status=processing|", "|retry_count=0|");
}

Test(render_jobs, an_end_of_another_attempt_than_the_start)
{
    created(1);
    status(1, "processing", 2);
    status(2, "completed", 9);
    JOB_IS("|status=completed|", "|actual_duration=null|processing_started_at=2000000|");
    verdict(3, "processing", "completed", "accepted");
}

Test(render_jobs, case_30_cancelled_after_a_failure)
{
    created(1);
    status(1, "processing", 2);
    status(1, "failed", 3);
    status(1, "cancelled", 4);
    JOB_IS("|status=failed|", "|error_message=m3|");
    verdict(4, "failed", "cancelled", "rejected");
}

Test(render_jobs, mistake_7_nothing_is_left_of_an_error)
{
    created(1);
    status(1, "processing", 2);
    status(1, "failed", 3);
    status(2, "processing", 4);
    status(2, "completed", 5);
    JOB_IS("|status=completed|", "|error_message=null|error_code=null|retry_count=1|");
}

Test(render_jobs, case_28_an_unknown_word)
{
    json_refused(&j, JOBS, "status is \"paused\"",
                 "{'job_id':'" ID "1','emitted_at':1,'body':{'type':'JobStatusChanged',"
                 "'status':'paused'}}");
}

/* --- steps ----------------------------------------------------------------------------------- */

#define STEP_IS(one, other) row("processing_timeline|id=", one, other)

Test(render_jobs, case_18_an_end_without_a_start)
{
    created(1);
    step("'type':'StepCompleted','success':true,'progress':40,'details':'{}','cpu_usage':12.34,"
         "'memory_usage':9",
         1, 5);
    STEP_IS("|step=encoding|step_order=2|started_at=5000000|completed_at=5000000|duration_ms=null|"
            "success=true|progress_percentage=40|details={}|error_message=null|cpu_usage=12.34|"
            "memory_usage=9|created_at=5000000|attempt=1\n",
            "|job_id=" ID "1|");
    JOB_IS("|progress_percentage=40|", "|current_step=null|");
    step("'type':'StepStarted','details':'[1]'", 1, 3);
    step("'type':'StepStarted','details':'[2]'", 1, 2.9995);
    STEP_IS("|started_at=2999500|completed_at=5000000|duration_ms=2001|", "|details={}|");
    JOB_IS("|progress_percentage=40|", "|current_step=encoding|");
}

Test(render_jobs, case_19_an_end_before_its_start)
{
    created(1);
    step("'type':'StepStarted','details':'[1]'", 1, 5);
    step("'type':'StepCompleted','success':false", 1, 4);
    STEP_IS("|started_at=5000000|completed_at=4000000|duration_ms=0|success=false|",
            "|progress_percentage=0|details=[1]|");
}

Test(render_jobs, case_20_and_mistake_10_a_step_in_two_attempts)
{
    created(1);
    step("'type':'StepStarted'", 1, 1);
    step("'type':'StepCompleted','success':false,'error_message':'e'", 1, 2);
    step("'type':'StepStarted'", 2, 3);
    STEP_IS("|started_at=3000000|completed_at=null|duration_ms=null|success=null|",
            "|error_message=null|");
    step("'type':'StepCompleted','success':true", 2, 4);
    step("'type':'StepCompleted','success':false", 1, 9);
    STEP_IS("|started_at=3000000|completed_at=4000000|duration_ms=1000|success=true|",
            "|attempt=2\n");
}

Test(render_jobs, the_latest_of_two_ends_of_a_step)
{
    created(1);
    step("'type':'StepCompleted','success':true", 1, 9);
    step("'type':'StepCompleted','success':false", 1, 4);
    STEP_IS("|completed_at=9000000|duration_ms=null|success=true|", "|attempt=1\n");
}

Test(render_jobs, the_step_of_the_attempt_that_holds)
{
    created(1);
    status(1, "processing", 1);
    step("'type':'StepStarted'", 2, 3);
    JOB_IS("|current_step=null|", "|status=processing|");
    job(1, 1, 2, "'type':'JobProgressed','progress':1,'step':'download'");
    JOB_IS("|current_step=download|", "|status=processing|");
    status(2, "processing", 4);
    JOB_IS("|current_step=encoding|", "|progress_percentage=0|");
}

/* --- elements -------------------------------------------------------------------------------- */

Test(render_jobs, an_element)
{
    created(1);
    json_say(
        &j, ELEMENTS,
        "{'job_id':'" ID "1','element_id':'" ID "2','emitted_at':2000000,'body':{"
        "'ElementAdded':{'element_order':3,'type':'audio','source_url':'u',"
        "'source_filename':'f','source_size':5,'source_duration':'1.5','track':2,"
        "'x_position':'1.25%%','y_position':'2%%','width':'3%%','height':'4%%','fit_mode':'fill',"
        "'start_time':'0.5','end_time':'0.501','metadata':'{}'}}}");
    row("elements|id=" ID "2|job_id=" ID "1|element_order=3|type=audio|source_url=u|"
        "source_filename=f|source_size=5|source_duration=1.500|track=2|x_position=1.25%|"
        "y_position=2%|width=3%|height=4%|fit_mode=fill|start_time=0.500|end_time=0.501|",
        "|downloaded=false|processed=false|error_message=null|local_path=null|processed_path=null|",
        "|metadata={}|created_at=2000000\n");
}

static void updated(const char *body, double at)
{
    json_say(&j, ELEMENTS,
             "{'job_id':'" ID "1','element_id':'" ID "2','emitted_at':%ld,'body':"
             "{'type':'ElementUpdated',%s}}",
             AT(at), body);
}

Test(render_jobs, case_16_an_element_is_updated_before_it_is_added)
{
    created(1);
    updated("'downloaded':true,'local_path':'l1','source_size':7,'error_message':'e'", 5);
    updated("'processed':true,'local_path':'l2','source_duration':2.5,'processed_path':'p'", 6);
    updated("'downloaded':false", 4);
    json_unexpected(&j, "elements|");
    added(1, 2, 0, 9);
    is_taken(2, "|source_size=7|source_duration=2.500|");
    is_taken(2, "|downloaded=true|processed=true|error_message=e|local_path=l2|processed_path=p|");
}

Test(render_jobs, case_14_elements_in_one_place)
{
    created(1);
    added(1, 2, 0, 2);
    added(1, 3, 0, 3);
    is_taken(2, "|element_order=0|");
    is_refused(3, "order taken");
    added(1, 4, 0, 1.5);
    is_taken(4, "|element_order=0|");
    is_refused(2, "order taken");
    is_refused(3, "order taken");
}

Test(render_jobs, case_15_and_mistake_9_eleven_elements)
{
    created(1);
    for (int element = 2; element <= 11; element++)
        added(1, element, element, element);
    updated("'processed':true", 20); /* of a job that is full */
    is_taken(11, "|processed=false|");
    is_taken(2, "|processed=true|");
    added(1, 12, 12, 12);
    is_refused(12, "eleventh");
    added(1, 13, 2, 13);
    is_refused(13, "order taken"); /* the first of two reasons */
    added(1, 14, 14, 1);
    is_taken(14, "|element_order=14|");
    is_refused(11, "eleventh");
}

Test(render_jobs, case_17_an_element_of_a_job_that_has_ended)
{
    created(1);
    added(1, 2, 0, 3);
    added(1, 3, 1, 2);
    status(1, "failed", 3);
    is_taken(2, "|element_order=0|");
    status(2, "cancelled", 3);
    is_taken(2, "|element_order=0|");
    status(2, "processing", 2.5);
    status(2, "cancelled", 3);
    is_refused(2, "job has ended");
    is_taken(3, "|element_order=1|");
}

Test(render_jobs, an_element_that_is_added_twice)
{
    created(1);
    added(1, 2, 5, 3);
    added(1, 2, 4, 2);
    is_taken(2, "|element_order=4|");
}

Test(render_jobs, an_element_of_two_jobs)
{
    created(1);
    added(1, 2, 0, 3);
    is_taken(2, "|element_order=0|");
    added(2, 2, 0, 2); /* of a job that nobody created */
    is_refused(2, "another job's");
    added(1, 3, 0, 4); /* it has taken no place */
    is_taken(3, "|element_order=0|");
    job(2, 1, 1, "'type':'JobCreated','width':1,'height':1");
    row("elements|id=" ID "2|", "|job_id=" ID "2|", "|element_order=0|");
    job(2, 1, 9, "'type':'JobDeleted','reason':'r'");
    is_taken(2, "|element_order=0|");
    is_refused(3, "order taken");
    json_unexpected(&j, "|job_id=" ID "2|");
}

/* --- what was uploaded ----------------------------------------------------------------------- */

Test(render_jobs, case_22_uploaded_and_deleted)
{
    created(1);
    stored("upload", "a b/ü~.mp4", OF_JOB, 2);
    JOB_IS("|s3_bucket=videos|s3_key=a b/ü~.mp4|s3_region=us-east-1|file_size=7|",
           "|result_url=https://videos.s3.us-east-1.amazonaws.com/a%20b/%C3%BC~.mp4|");
    job(1, 1, 3, "'type':'JobStatusChanged','status':'completed','result_url':'u'");
    JOB_IS("|result_url=u|", "|file_size=7|");
    stored("delete", "a b/ü~.mp4", "", 4);
    JOB_IS("|result_url=null|", "|file_size=7|");
    stored("upload", "a b/ü~.mp4", ",'region':'eu-1'", 5);
    JOB_IS("|result_url=u|", "|s3_region=eu-1|");
    stored("upload", "a b/ü~.mp4", ",'job_id':'" ID "2','region':'x'", 6);
    JOB_IS("|result_url=u|", "|s3_region=eu-1|");
}

Test(render_jobs, case_23_what_is_not_the_result)
{
    created(1);
    stored("upload", "small", OF_JOB ",'metadata':{'role':'thumbnail'}", 5);
    JOB_IS("|s3_key=null|", "|result_url=null|");
    stored("upload", "large", OF_JOB, 4);
    JOB_IS("|s3_key=large|", "|status=pending|");
    stored("download", "large", ",'metadata':{'role':'preview'}", 1);
    JOB_IS("|s3_key=null|", "|status=pending|");
    stored("access", "large", ",'metadata':{'role':'result'}", 2);
    JOB_IS("|s3_key=large|", "|status=pending|");
    stored("access", "large", ",'metadata':{'role':7}", 3);
    stored("access", "large", ",'metadata':['role']", 3);
    JOB_IS("|s3_key=large|", "|status=pending|");
    json_say(&j, STORAGE,
             "{'job_id':'" ID "1','emitted_at':9000000,'operation':'upload','bucket':'videos',"
             "'key':'larger','success':false}");
    JOB_IS("|s3_key=large|", "|status=pending|");
}

Test(render_jobs, an_upload_of_a_job_that_was_cancelled)
{
    created(1);
    status(1, "processing", 2);
    status(1, "cancelled", 3);
    stored("upload", "k", OF_JOB, 4);
    status(1, "completed", 5);
    JOB_IS("|status=cancelled|", "|s3_key=k|");
    verdict(5, "cancelled", "completed", "rejected");
}

/* --- deletion -------------------------------------------------------------------------------- */

Test(render_jobs, case_24_deleted_before_it_was_created)
{
    job(1, 1, 1, "'type':'JobDeleted','reason':'r'");
    created(2);
    added(1, 2, 0, 3);
    status(1, "processing", 4);
    step("'type':'StepStarted'", 1, 5);
    stored("upload", "k", OF_JOB, 6);
    json_unexpected(&j, ID "1|");
}

/* --- what is refused ------------------------------------------------------------------------- */

static void job_refused(const char *text, const char *body)
{
    json_refused(&j, JOBS, text, "{'job_id':'" ID "1','emitted_at':1,'body':{%s}}", body);
}

Test(render_jobs, jobs_that_are_dead_letters)
{
#define JOB_CREATED "'type':'JobCreated','height':1,"
    job_refused("width is 0", JOB_CREATED "'width':0");
    job_refused("width is 7681", JOB_CREATED "'width':7681");
    job_refused("height is 4321", "'type':'JobCreated','width':1,'height':4321");
    job_refused("output_format is \"gif\"", JOB_CREATED "'width':1,'output_format':'gif'");
    job_refused("response_type is \"soon\"", JOB_CREATED "'width':1,'response_type':'soon'");
    job_refused("client_ip is \"1.2.3.4, 5.6.7.8\"", /* case 26 */
                JOB_CREATED "'width':1,'client_ip':'1.2.3.4, 5.6.7.8'");
    job_refused("progress is 101", "'type':'JobProgressed','progress':101");
    job_refused("progress is -1", "'type':'JobProgressed','progress':-1");
    job_refused("step is \"rest\"", "'type':'JobProgressed','progress':1,'step':'rest'");
    job_refused("error_code has 51 characters",
                "'type':'JobStatusChanged','status':'failed','error_code':"
                "'123456789012345678901234567890123456789012345678901'");
    job_refused("processing_ms is -1",
                "'type':'JobStatusChanged','status':'failed','processing_ms':-1");
    job_refused("processing_ms is 2147483647500",
                "'type':'JobStatusChanged','status':'failed','processing_ms':2147483647500");
    json_refused(&j, JOBS, "attempt is 0",
                 "{'job_id':'" ID "1','emitted_at':1,'attempt':0,'body':{'type':'JobDeleted',"
                 "'reason':'r'}}");
    json_refused(&j, JOBS, "attempt is 1001",
                 "{'job_id':'" ID "1','emitted_at':1,'attempt':1001,'body':{'type':'JobDeleted',"
                 "'reason':'r'}}");
    /* The most that there may be. */
    created(1);
    job(1, 1000, 2, "'type':'JobStatusChanged','status':'failed','processing_ms':2147483647499");
    JOB_IS("|actual_duration=2147483647|", "|status=failed|");
}

static void element_refused(const char *text, const char *rest)
{
    json_refused(&j, ELEMENTS, text,
                 "{'job_id':'" ID "1','element_id':'" ID "2','emitted_at':1,'body':{"
                 "'ElementAdded':{'source_url':'u'%s}}}",
                 rest);
}

Test(render_jobs, elements_that_are_dead_letters)
{
#define VIDEO ",'element_order':1,'type':'video'"
    element_refused("element_order is -1", ",'element_order':-1,'type':'video'");
    element_refused("type is \"gif\"", ",'element_order':1,'type':'gif'");
    element_refused("fit_mode is \"tight\"", VIDEO ",'fit_mode':'tight'");
    element_refused("x_position is \"1\"", VIDEO ",'x_position':'1'");
    element_refused("y_position is \"1.%\"", VIDEO ",'y_position':'1.%'");
    element_refused("width is \".5%\"", VIDEO ",'width':'.5%'");
    element_refused("height is \"-1%\"", VIDEO ",'height':'-1%'");
    element_refused("height is \"1%%\"", VIDEO ",'height':'1%%'");
    element_refused("height is \"\"", VIDEO ",'height':''");
    element_refused("height has 11 characters", VIDEO ",'height':'1.00000000%'");
    element_refused("start_time is -0.500", VIDEO ",'start_time':-0.5");
    element_refused("end_time is 2.000", VIDEO ",'start_time':2,'end_time':2");
    element_refused("source_size is -1", VIDEO ",'source_size':-1");
    element_refused("source_duration is -0.001", VIDEO ",'source_duration':'-0.001'");
    element_refused("source_filename has 256 characters",
                    VIDEO ",'source_filename':'"
                          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'");
    json_say(&j, ELEMENTS, /* only what plays has times that must make sense */
             "{'job_id':'" ID "1','element_id':'" ID "2','emitted_at':1,'body':{'ElementAdded':{"
             "'source_url':'u','element_order':1,'type':'text','start_time':-1,'end_time':-2}}}");
}

static void step_refused(const char *text, const char *word, int order, const char *rest)
{
    json_refused(&j, TIMELINE, text,
                 "{'job_id':'" ID "1','emitted_at':1,'step':'%s','step_order':%d,'body':{"
                 "'type':'StepCompleted','success':true%s}}",
                 word, order, rest);
}

Test(render_jobs, steps_that_are_dead_letters)
{
    step_refused("step is \"rest\"", "rest", 1, "");
    step_refused("step_order is -1", "upload", -1, "");
    step_refused("progress is 101", "upload", 1, ",'progress':101");
    step_refused("memory_usage is -1", "upload", 1, ",'memory_usage':-1");
}

#define STORAGE_EVENT "{'emitted_at':1,'operation':'%s','bucket':'%s','key':'%s','success':true%s}"

static void storage_refused(const char *text, const char *operation, const char *bucket,
                            const char *key, const char *rest)
{
    json_refused(&j, STORAGE, text, STORAGE_EVENT, operation, bucket, key, rest);
}

Test(render_jobs, operations_that_are_dead_letters)
{
    char many[1030] = "";
    memset(many, 'k', 1025);
    storage_refused("operation is \"rename\"", "rename", "videos", "k", "");
    storage_refused("bucket is \"ab\"", "delete", "ab", "k", "");
    storage_refused("bucket is \"Videos\"", "delete", "Videos", "k", "");
    storage_refused("bucket is \"-videos\"", "delete", "-videos", "k", "");
    storage_refused("bucket is \"videos.\"", "delete", "videos.", "k", "");
    storage_refused("key has 0 bytes", "delete", "videos", "", "");
    storage_refused("key has 1025 characters", "delete", "videos", many, "");
    for (size_t i = 0; i < 1024; i += 2) /* of two bytes each */
        memcpy(many + i, "ü", 2);
    many[1024] = '\0';
    json_say(&j, STORAGE, STORAGE_EVENT, "delete", "videos", many, "");
    memcpy(many + 1024, "ü", 3);
    storage_refused("key has 1026 bytes", "delete", "videos", many, "");
    storage_refused("file_size is null", "upload", "videos", "k", "");
    storage_refused("file_size is 0", "upload", "videos", "k", ",'file_size':0");
    storage_refused("file_size is -1", "delete", "videos", "k", ",'file_size':-1");
    storage_refused("duration_ms is -1", "delete", "videos", "k", ",'duration_ms':-1");
}

/* --- order ----------------------------------------------------------------------------------- */

static const char *choose(const char *const *words, size_t count, unsigned *seed)
{
    return words[(size_t)rand_r(seed) % count];
}

#define CHOOSE(words, seed) choose(words, sizeof words / sizeof words[0], seed)

static void mix_job(int number, int at, unsigned *seed)
{
    static const char *const words[] = {"pending", "processing", "processing", "completed",
                                        "failed",  "cancelled",  "timeout"};
    static const char *const steps[] = {"", ",'step':'upload'", ",'step':'download'"};
    char body[192];
    switch (rand_r(seed) % 12) {
    case 0:
        snprintf(body, sizeof body, "'type':'JobDeleted','reason':'r'");
        break;
    case 1:
    case 2:
        snprintf(body, sizeof body, "'type':'JobCreated','width':%d,'height':1", 1 + at);
        break;
    case 3:
    case 4:
        snprintf(body, sizeof body, "'type':'JobProgressed','progress':%d%s",
                 rand_r(seed) % 2 == 0 ? 100 : at, CHOOSE(steps, seed));
        break;
    default:
        snprintf(body, sizeof body, "'type':'JobStatusChanged','status':'%s','error_message':'m%d'",
                 CHOOSE(words, seed), at);
    }
    job(number, 1 + rand_r(seed) % 3, at, body);
}

static void mix_element(int number, int at, unsigned *seed)
{
    int element = 2 + rand_r(seed) % 14;
    if (rand_r(seed) % 4 == 0)
        updated("'downloaded':true,'local_path':'l'", at);
    else
        added(number, element, rand_r(seed) % 14, at);
}

static void mix_step(int number, int at, unsigned *seed)
{
    static const char *const bodies[] = {"'type':'StepStarted','details':'[1]'",
                                         "'type':'StepCompleted','success':true,'progress':50"};
    json_say(&j, TIMELINE,
             "{'job_id':'" ID "%d','attempt':%d,'emitted_at':%ld,'step':'encoding','step_order':%d,"
             "'body':{%s}}",
             number, 1 + rand_r(seed) % 3, AT(at), rand_r(seed) % 2, CHOOSE(bodies, seed));
}

static void mix_operation(int at, unsigned *seed)
{
    static const char *const operations[] = {"upload", "upload", "upload", "delete", "access"};
    static const char *const jobs[] = {"", OF_JOB, OF_JOB, ",'job_id':'" ID "2'"};
    static const char *const roles[] = {"", "", ",'metadata':{'role':'result'}",
                                        ",'metadata':{'role':'other'}"};
    static const char *const keys[] = {"k", "l", "m"};
    char rest[128];
    snprintf(rest, sizeof rest, "%s%s", CHOOSE(jobs, seed), CHOOSE(roles, seed));
    stored(CHOOSE(operations, seed), CHOOSE(keys, seed), rest, at);
}

static void mixture(int count, unsigned seed)
{
    for (int i = 0; i < count; i++) {
        int number = 1 + rand_r(&seed) % 2;
        int at = rand_r(&seed) % 12;
        switch (rand_r(&seed) % 8) {
        case 0:
            mix_step(number, at, &seed);
            break;
        case 1:
            mix_operation(at, &seed);
            break;
        case 2:
        case 3:
            mix_element(number, at, &seed);
            break;
        default:
            mix_job(number, at, &seed);
        }
    }
}

/* Without deletions, for what they leave is little. */
static void mixture_that_stays(int count, unsigned seed)
{
    created(1);
    job(2, 1, 1, "'type':'JobCreated','width':1,'height':1");
    for (int i = 0; i < count; i++) {
        int number = 1 + rand_r(&seed) % 2;
        int at = rand_r(&seed) % 40;
        switch (rand_r(&seed) % 4) {
        case 0:
            mix_step(number, at, &seed);
            break;
        case 1:
            mix_operation(at, &seed);
            break;
        case 2:
            mix_element(number, at, &seed);
            break;
        default:
            status(1 + rand_r(&seed) % 3, rand_r(&seed) % 2 == 0 ? "processing" : "failed", at);
        }
    }
}

Test(render_jobs, case_31_order_makes_no_difference)
{
    j.partitions = 5;
    mixture_that_stays(90, 3);
    cr_assert(pj_orders_reaches(&j.orders));
    json_agree(&j, 200, 42);
}

Test(render_jobs, case_31_order_makes_no_difference_to_a_few)
{
    for (unsigned seed = 1; seed <= 40; seed++) {
        stop();
        start();
        mixture(14, seed);
        json_agree(&j, 40, seed);
    }
}
