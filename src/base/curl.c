/* SPDX-License-Identifier: Apache-2.0 */
#include "base/curl.h"

#include "base/memory.h"

#include <string.h>

CURL *pj_curl_new(void)
{
    /* libcurl's own first step, safe from any thread since 7.84, fails for want of memory alone. */
    return pj_must(curl_easy_init());
}

void pj_curl_set_up(CURL *curl, const char *url, const char *ca_file, long connect_timeout_ms)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms);
    if (ca_file == NULL)
        return;
    curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* nobody else's roots */
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* the file may be another by now */
#endif
}

bool pj_url_has(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool found = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return found;
}

bool pj_url_has_port_0(CURLU *url)
{
    char *port = NULL;
    bool found = curl_url_get(url, CURLUPART_PORT, &port, 0) == CURLUE_OK &&
                 strspn(port, "0") == strlen(port);
    curl_free(port);
    return found;
}
