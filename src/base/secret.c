/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include "base/memory.h"
#include "base/text.h"

#include <ctype.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HIDDEN "***"

/* A short secret is hidden only as a whole word: it may be part of any word of ours. */
enum { SECRET_LEAST = 4, SHORT_MOST = 7 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char **secrets;
static size_t secret_count;

static void keep(const char *text, size_t length)
{
    if (length < SECRET_LEAST)
        return;
    pthread_mutex_lock(&mutex);
    bool known = false;
    for (size_t i = 0; i < secret_count; i++)
        known |= strlen(secrets[i]) == length && memcmp(secrets[i], text, length) == 0;
    if (!known) {
        secrets = pj_resize(secrets, secret_count + 1, sizeof *secrets);
        /* The longest first: it may contain a shorter one. */
        size_t at = secret_count++;
        for (; at > 0 && strlen(secrets[at - 1]) < length; at--)
            secrets[at] = secrets[at - 1];
        secrets[at] = pj_strndup(text, length);
    }
    pthread_mutex_unlock(&mutex);
}

void pj_secret_keep(const char *secret)
{
    if (secret != NULL)
        keep(secret, strlen(secret));
}

/* --- in URLs and key=value pairs ------------------------------------------------------------- */

/* As given, and as a server would see it. */
static void keep_encoded(const char *text, size_t length)
{
    char *decoded = pj_alloc(length);
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '%' && i + 2 < length && pj_hex_digit(text[i + 1]) >= 0 &&
            pj_hex_digit(text[i + 2]) >= 0) {
            decoded[count++] = (char)(pj_hex_digit(text[i + 1]) * 16 + pj_hex_digit(text[i + 2]));
            i += 2;
        } else {
            decoded[count++] = text[i];
        }
    }
    keep(text, length);
    if (memchr(decoded, '\0', count) == NULL)
        keep(decoded, count);
    free(decoded);
}

/* user:password@: up to the last @, for passwords with an unencoded one. A password equal to the
 * user's name is not secret, and would hide a word that is everywhere. */
static void keep_password(const char *authority)
{
    const char *at = strrchr(authority, '@');
    const char *colon = at != NULL ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    if (colon == NULL)
        return;
    const char *password = colon + 1;
    size_t user = (size_t)(colon - authority);
    const char *first_at = strchr(password, '@');
    size_t lengths[] = {(size_t)(at - password), (size_t)(first_at - password)};
    for (size_t i = 0; i < 2; i++) {
        if (lengths[i] != user || memcmp(password, authority, user) != 0)
            keep_encoded(password, lengths[i]);
    }
}

static bool is_secret_name(const char *name, size_t length)
{
    static const char *const words[] = {"password", "passwd", "token",     "secret",
                                        "key",      "auth",   "signature", "credential"};
    char copy[64];
    pj_text_whole(copy, sizeof copy, "%.*s", (int)(length < sizeof copy ? length : sizeof copy - 1),
                  name);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasestr(copy, words[i]) != NULL)
            return true;
    }
    return false;
}

/* A value of a key=value pair: quoted with backslashes, or up to a blank. */
static void keep_value(const char *value)
{
    value += strspn(value, " \t\n");
    if (*value != '\'') {
        keep_encoded(value, strcspn(value, " \t\n&#"));
        keep_encoded(value, strcspn(value, " \t\n"));
        return;
    }
    char *plain = pj_strdup(value + 1);
    size_t count = 0, i = 0;
    for (; plain[i] != '\0' && plain[i] != '\''; i++) {
        i += plain[i] == '\\' && plain[i + 1] != '\0';
        plain[count++] = plain[i];
    }
    keep(value + 1, i);
    keep(plain, count);
    free(plain);
}

void pj_secret_keep_url(const char *text)
{
    if (text == NULL)
        return;
    const char *authority = strstr(text, "://");
    if (authority != NULL)
        keep_password(authority + 3);
    for (const char *equals = text; (equals = strchr(equals, '=')) != NULL; equals++) {
        const char *end = equals;
        while (end > text && isspace((unsigned char)end[-1]))
            end--;
        const char *name = end;
        while (name > text && (isalnum((unsigned char)name[-1]) || strchr("_-.", name[-1]) != NULL))
            name--;
        if (is_secret_name(name, (size_t)(end - name)))
            keep_value(equals + 1);
    }
}

void pj_url_shown(const char *url, char *out, size_t size)
{
    const char *scheme = strstr(url, "://");
    size_t length = scheme != NULL ? (size_t)(scheme - url) + 3 : 0;
    const char *at = strrchr(url, '@');
    const char *rest = at != NULL && at >= url + length ? at + 1 : url + length;
    pj_text_show(out, size, "%.*s%.*s", (int)length, url, (int)strcspn(rest, "?#"), rest);
}

/* --- hiding ---------------------------------------------------------------------------------- */

/* The next place of the secret in the text, which begins at `start`; NULL: none. */
static char *find(const char *start, const char *from, const char *secret)
{
    size_t length = strlen(secret);
    for (; (from = strstr(from, secret)) != NULL; from++) {
        bool begins = from == start || !isalnum((unsigned char)from[-1]);
        if (length > SHORT_MOST || (begins && !isalnum((unsigned char)from[length])))
            break;
    }
    return (char *)(uintptr_t)from;
}

bool pj_secret_is_in(const char *text)
{
    bool found = false;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < secret_count && !found; i++)
        found = find(text, text, secrets[i]) != NULL;
    pthread_mutex_unlock(&mutex);
    return found;
}

void pj_secret_hide(char *text)
{
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < secret_count; i++) {
        size_t length = strlen(secrets[i]);
        for (char *at = text; (at = find(text, at, secrets[i])) != NULL; at += strlen(HIDDEN)) {
            memmove(at + strlen(HIDDEN), at + length, strlen(at + length) + 1);
            memcpy(at, HIDDEN, strlen(HIDDEN));
        }
    }
    pthread_mutex_unlock(&mutex);
}
