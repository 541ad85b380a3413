/* SPDX-License-Identifier: Apache-2.0 */
/* What render logs, by its rows in every order. */
#include "lib/json_orders.h"
#include "projections/render/render_projections.h"

#include <criterion/criterion.h>

static struct json_orders j;

static void stop(void)
{
    json_orders_stop(&j);
}

TestSuite(render_logs, .fini = stop);

#define ID "00000000-0000-4000-8000-00000000000"

Test(render_logs, operations)
{
    j = json_orders_start(&pj_render_storage);
    json_say(&j, 0,
             "{'job_id':'" ID "7','emitted_at':5,'operation':'upload','bucket':'abc','key':'k',"
             "'success':true,'file_size':9,'duration_ms':3,'error_message':'e','metadata':'{}'}");
    json_say(&j, 0,
             "{'emitted_at':6,'operation':'delete','bucket':'abc','key':'k','region':'x',"
             "'success':false}");
    json_expect(&j,
                "storage_operations|id=" ID "1|job_id=" ID "7|operation=upload|bucket=abc|key=k|"
                "region=us-east-1|success=true|file_size=9|duration_ms=3|error_message=e|"
                "metadata={}|created_at=5\n");
    json_expect(&j, "storage_operations|id=" ID "2|job_id=null|operation=delete|bucket=abc|key=k|"
                    "region=x|success=false|file_size=null|duration_ms=null|error_message=null|"
                    "metadata=null|created_at=6\n");
    json_refused(&j, 0, "key has 0 bytes", /* what render-jobs refuses */
                 "{'emitted_at':6,'operation':'delete','bucket':'abc','key':'','success':true}");
}

Test(render_logs, accesses)
{
    j = json_orders_start(&pj_render_access);
    json_say(&j, 0,
             "{'job_id':'" ID "7','emitted_at':5,'url':'u','access_type':'gaze','client_ip':'::1',"
             "'user_agent':'a','referer':'r','response_code':200,'bytes_served':0,"
             "'response_time_ms':1,'country':'cH','region':'ZH','city':'Z'}");
    json_say(&j, 0, "{'emitted_at':6,'url':'','access_type':'stream','client_ip':''}");
    json_expect(&j,
                "url_access_logs|id=" ID "1|job_id=" ID "7|url=u|access_type=gaze|client_ip=::1|"
                "user_agent=a|referer=r|response_code=200|bytes_served=0|response_time_ms=1|"
                "country=cH|region=ZH|city=Z|accessed_at=5\n");
    json_expect(&j,
                "url_access_logs|id=" ID "2|job_id=null|url=|access_type=stream|client_ip=null|");
#define ACCESS_REFUSED(text, rest)                                                                 \
    json_refused(&j, 0, text, "{'emitted_at':6,'url':'u','access_type':'stream'" rest "}")
    ACCESS_REFUSED("country is \"CHE\"", ",'country':'CHE'");
    ACCESS_REFUSED("country is \"C1\"", ",'country':'C1'");
    ACCESS_REFUSED("country is \"\"", ",'country':''");
    ACCESS_REFUSED("client_ip is \"x\"", ",'client_ip':'x'");
    ACCESS_REFUSED("bytes_served is -1", ",'bytes_served':-1");
    ACCESS_REFUSED("response_time_ms is -1", ",'response_time_ms':-1");
    ACCESS_REFUSED("region has 101 characters",
                   ",'region':'12345678901234567890123456789012345678901234567890"
                   "123456789012345678901234567890123456789012345678901'");
}

Test(render_logs, metrics)
{
    j = json_orders_start(&pj_render_metrics);
    json_say(&j, 0,
             "{'emitted_at':5,'metric_name':'n','metric_type':'counter','value':'0.25','unit':'u',"
             "'labels':{'a':1}}");
    json_say(&j, 0, "{'emitted_at':6,'metric_name':'n','metric_type':'gauge','value':-1}");
    json_expect(&j, "system_metrics|id=" ID "1|metric_name=n|metric_type=counter|value=0.250000|"
                    "unit=u|labels={\"a\":1}|recorded_at=5\n");
    json_expect(&j, "system_metrics|id=" ID "2|metric_name=n|metric_type=gauge|value=-1.000000|");
#define METRIC_REFUSED(text, name, type, value)                                                    \
    json_refused(&j, 0, text,                                                                      \
                 "{'emitted_at':6,'metric_name':'" name "','metric_type':'" type                   \
                 "','value':" value "}")
    METRIC_REFUSED("metric_name is empty", "", "gauge", "1");
    METRIC_REFUSED("metric_type is \"size\"", "n", "size", "1");
    METRIC_REFUSED("value is -0.000001", "n", "counter", "'-0.000001'");
    METRIC_REFUSED("unit has 21 characters", "n", "gauge", "1,'unit':'123456789012345678901'");
}
