/* SPDX-License-Identifier: Apache-2.0 */
#include "base/url_parts.h"

#include <string.h>

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
