/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/fetch.h"

#include "base/curl.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 5000, BODY_MOST = 1 << 20 };

bool pj_fetch_allows(const char *url)
{
    static const char local[] = "http://127.0.0.1";
    if (strchr(url, '@') != NULL) /* a user, behind which the host could hide */
        return false;
    return pj_text_begins(url, "https://") ||
           (pj_text_begins(url, local) && strchr(":/", url[sizeof local - 1]) != NULL);
}

static size_t receive(char *data, size_t size, size_t count, void *context)
{
    struct pj_builder *body = context;
    size_t length = size * count;
    if (length > BODY_MOST - body->length)
        return 0; /* libcurl gives the transfer up */
    pj_builder_add_bytes(body, data, length);
    return length;
}

char *pj_fetch(const char *url, const char *ca_file, size_t *length, struct pj_error *error)
{
    char reason[CURL_ERROR_SIZE] = "";
    struct pj_builder body = {0};
    long status = 0;
    if (!pj_fetch_allows(url)) {
        (void)pj_error_set(error, PJ_FATAL, "%.200s is not an https URL", url);
        return NULL;
    }
    CURL *curl = pj_curl_new();
    pj_curl_set_up(curl, url, ca_file, TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "projectionist");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    *length = body.length;
    char *text = pj_builder_take(&body);
    if (code == CURLE_OK && status >= 200 && status < 300)
        return text;
    free(text);
    if (code != CURLE_OK)
        (void)pj_error_set(error, PJ_RETRY, "%.200s cannot be read: %.200s", url,
                           reason[0] != '\0' ? reason : curl_easy_strerror(code));
    else
        (void)pj_error_set(error, PJ_FATAL, "%.200s answers HTTP %ld", url, status);
    return NULL;
}
