/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/address.h"

#include "base/memory.h"
#include "base/secret.h"
#include "base/text.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

/* "" where the URL has no such part; malloc'ed. */
static char *part_of(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool found = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    char *copy = pj_strdup(found ? text : "");
    curl_free(text);
    return copy;
}

static int refuse(struct pj_error *error, const char *what)
{
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "the telemetry-url is not a WebSocket URL: it %s; give one such as "
                          "ws://127.0.0.1:7071/v1/stream or "
                          "wss://HOST/v1/stream",
                          what);
}

static int parse(struct pj_address *address, CURLU *url, const char *text, struct pj_error *error)
{
    const unsigned flags = CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS | CURLU_URLENCODE;
    const char *host_at = strstr(text, "://");
    if (host_at == NULL)
        return refuse(error, "has no scheme");
    if (host_at[3] == '/' || host_at[3] == '\0') /* libcurl would take what follows for the host */
        return refuse(error, "has no host");
    if (strchr(text, '#') != NULL)
        return refuse(error, "has a #, and a WebSocket has no fragments");
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, flags);
    if (code == CURLUE_BAD_PORT_NUMBER)
        return refuse(error, "has a port that is not a number from 1 to 65535");
    if (code != CURLUE_OK)
        return refuse(error, "cannot be parsed");
    char *scheme = part_of(url, CURLUPART_SCHEME), *host = part_of(url, CURLUPART_HOST);
    char *zone = part_of(url, CURLUPART_ZONEID), *port = part_of(url, CURLUPART_PORT);
    char *path = part_of(url, CURLUPART_PATH), *query = part_of(url, CURLUPART_QUERY);
    bool is_secure = strcasecmp(scheme, "wss") == 0;
    const long usual = is_secure ? 443 : 80;
    const long number = *port != '\0' ? strtol(port, NULL, 10) : usual;
    int status = 0;
    if (!is_secure && strcasecmp(scheme, "ws") != 0)
        status = refuse(error, "is neither ws:// nor wss://");
    else if (*host == '\0')
        status = refuse(error, "has no host");
    else if (number < 1 || number > 65535)
        status = refuse(error, "has a port that is not a number from 1 to 65535");
    if (status == 0) {
        bool is_usual = number == usual;
        bool is_zoned = *zone != '\0' && host[strlen(host) - 1] == ']';
        size_t shown = strlen(text) + 1;
        address->shown = pj_alloc(shown);
        pj_url_shown(text, address->shown, shown);
        address->connect = pj_text_new("%s://%.*s%s%s%s:%ld/", is_secure ? "https" : "http",
                                       (int)strlen(host) - is_zoned, host, is_zoned ? "%25" : "",
                                       zone, is_zoned ? "]" : "", number);
        address->host = pj_text_new("%s%s%s", host, is_usual ? "" : ":", is_usual ? "" : port);
        address->path =
            pj_text_new("%s%s%s", *path != '\0' ? path : "/", *query != '\0' ? "?" : "", query);
    }
    free(scheme);
    free(host);
    free(zone);
    free(port);
    free(path);
    free(query);
    return status;
}

int pj_address_parse(struct pj_address *address, const char *text, struct pj_error *error)
{
    *address = (struct pj_address){0};
    if (strchr(text, '@') != NULL)
        return pj_error_fatal(
            error, PJ_EXIT_USAGE,
            "the telemetry-url must not contain a user name or password; "
            "put a token into the file that PROJECTIONIST_TELEMETRY_TOKEN_FILE names");
    CURLU *url = pj_must(curl_url());
    int status = parse(address, url, text, error);
    curl_url_cleanup(url);
    return status;
}

void pj_address_free(struct pj_address *address)
{
    free(address->connect);
    free(address->host);
    free(address->path);
    free(address->shown);
    *address = (struct pj_address){0};
}
