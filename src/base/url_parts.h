/* SPDX-License-Identifier: Apache-2.0 */
/* What a URL that libcurl has parsed holds. */
#ifndef PJ_BASE_URL_PARTS_H
#define PJ_BASE_URL_PARTS_H

#include <curl/curl.h>
#include <stdbool.h>

/* Whether it has the part, such as CURLUPART_USER. */
bool pj_url_has(CURLU *url, CURLUPart part);

/* libcurl accepts port 0, where nothing can listen. */
bool pj_url_has_port_0(CURLU *url);

#endif
