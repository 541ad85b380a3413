/* SPDX-License-Identifier: Apache-2.0 */
#include "base/form.h"

#include "base/text.h"
#include "base/time_text.h"

#include <arpa/inet.h>

static bool is_inet(const char *text)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    size_t length = strcspn(text, "/");
    if (!pj_text_fits(address, sizeof address, "%.*s", (int)length, text))
        return false;
    bool old = inet_pton(AF_INET, address, &parsed) == 1;
    if (!old && inet_pton(AF_INET6, address, &parsed) != 1)
        return false;
    if (text[length] == '\0')
        return true;
    const char *bits = text + length + 1;
    int number = 0;
    size_t digits = strspn(bits, "0123456789");
    for (size_t i = 0; i < digits && i < 3; i++)
        number = number * 10 + (bits[i] - '0');
    return digits >= 1 && digits <= 3 && bits[digits] == '\0' && number <= (old ? 32 : 128);
}

bool pj_form_holds(enum pj_form form, const struct pj_value *text)
{
    const char *before = form == PJ_FORM_TIME ? "2000-01-01T" : "";
    const char *after = form == PJ_FORM_TIME ? "Z" : form == PJ_FORM_DATE ? "T00:00:00Z" : "";
    char whole[80];
    uint8_t uuid[16];
    int64_t time;
    if (form == PJ_FORM_ANY)
        return true;
    if (form == PJ_FORM_UUID)
        return pj_uuid_parse(text->text.data, text->text.length, uuid);
    if (text->text.length > 64 || memchr(text->text.data, '\0', text->text.length) != NULL)
        return false;
    pj_text_whole(whole, sizeof whole, "%s%.*s%s", before, (int)text->text.length, text->text.data,
                  after);
    return form == PJ_FORM_INET ? is_inet(whole) : pj_time_read(whole, &time);
}

const char *pj_form_name(enum pj_form form)
{
    static const char *const names[] = {"a text",
                                        "a UUID",
                                        "an IP address",
                                        "a date such as 2026-11-21",
                                        "a time of day such as 05:06:34",
                                        "a time such as 2026-11-21T05:06:34Z (RFC 3339)"};
    return names[form];
}
