/* SPDX-License-Identifier: Apache-2.0 */
/* What all requests of ours have, and what a URL that libcurl has parsed holds. */
#ifndef PJ_BASE_CURL_H
#define PJ_BASE_CURL_H

#include <curl/curl.h>
#include <stdbool.h>

/* A handle, to be given to curl_easy_cleanup. */
CURL *pj_curl_new(void) __attribute__((returns_nonnull));

/* To that http or https URL itself, by no proxy that the environment names. A ca_file is read again
 * for each connection, and its authorities are trusted alone; NULL: the system's are. */
void pj_curl_set_up(CURL *curl, const char *url, const char *ca_file, long connect_timeout_ms);

/* Whether it has the part, such as CURLUPART_USER. */
bool pj_url_has(CURLU *url, CURLUPart part);

/* libcurl accepts port 0, where nothing can listen. */
bool pj_url_has_port_0(CURLU *url);

#endif
