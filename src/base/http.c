/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http.h"

#include "base/memory.h"
#include "base/text.h"

#include <string.h>
#include <strings.h>

enum { METHOD_MOST = 32, LENGTH_DIGITS = 18, CHUNK_DIGITS = 15, OVERHEAD_MOST = 16 << 10 };

static int64_t fail(struct pj_http_fault *fault, int status, const char *reason)
{
    *fault = (struct pj_http_fault){status, reason};
    return -1;
}

static bool is_alphanumeric(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_one_of(unsigned char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_token_char(unsigned char c)
{
    return is_alphanumeric(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}

static bool is_control(unsigned char c)
{
    return (c < ' ' && c != '\t') || c == 0x7f;
}

bool pj_http_is_token(const char *text)
{
    size_t i = 0;
    while (is_token_char((unsigned char)text[i]))
        i++;
    return i > 0 && text[i] == '\0';
}

bool pj_http_is_value(const char *text)
{
    for (; *text != '\0'; text++) {
        if (is_control((unsigned char)*text))
            return false;
    }
    return true;
}

/* The next member of a list; NULL at its end. Empty members do not count. */
static const char *next_member(const char **rest, size_t *length)
{
    const char *member = *rest + strspn(*rest, " \t,");
    *length = strcspn(member, ",");
    *rest = member + *length;
    while (*length > 0 && is_one_of((unsigned char)member[*length - 1], " \t"))
        (*length)--;
    return *member != '\0' ? member : NULL;
}

bool pj_http_list_has(const char *list, const char *token)
{
    size_t length = 0;
    for (const char *member; (member = next_member(&list, &length)) != NULL;) {
        if (length == strlen(token) && strncasecmp(member, token, length) == 0)
            return true;
    }
    return false;
}

static bool is_same_name(const char *name, const char *known)
{
    for (; *name != '\0' && *known != '\0'; name++, known++) {
        char c = *name == '_' ? '-' : *name;
        if (strncasecmp(&c, known, 1) != 0)
            return false;
    }
    return *name == *known;
}

bool pj_http_is_of_connection(const char *name)
{
    static const char *const names[] = {
        "Connection", "Keep-Alive",       "Proxy-Authenticate", "Proxy-Authorization",
        "TE",         "Proxy-Connection", "Transfer-Encoding",  "Content-Length",
        "Trailer",    "Upgrade",          "HTTP2-Settings",     "Host",
        "Expect",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (is_same_name(name, names[i]))
            return true;
    }
    return false;
}

/* --- the first line -------------------------------------------------------------------------- */

/* Browsers leave some characters of a query unescaped that RFC 3986 would have escaped. */
static bool is_target(const char *target, size_t length)
{
    bool in_query = false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)target[i];
        if (c == '%' && !(i + 2 < length && pj_hex_digit(target[i + 1]) >= 0 &&
                          pj_hex_digit(target[i + 2]) >= 0))
            return false;
        if (c == '?')
            in_query = true;
        if (!is_alphanumeric(c) && !is_one_of(c, "-._~!$&'()*+,;=:@/?%") &&
            !(in_query && is_one_of(c, "[]{}|^`")))
            return false;
    }
    return true;
}

struct line {
    const char *method, *target, *authority; /* the authority of an absolute target, or NULL */
    size_t method_length, target_length, authority_length;
    bool is_1_0;
};

/* http://host:port/path, which clients send to a proxy, means /path on that host. */
static bool take_authority(struct line *line)
{
    size_t scheme = line->target_length > 7 && strncasecmp(line->target, "http://", 7) == 0    ? 7
                    : line->target_length > 8 && strncasecmp(line->target, "https://", 8) == 0 ? 8
                                                                                               : 0;
    if (scheme == 0)
        return false;
    line->authority = line->target + scheme;
    size_t rest = line->target_length - scheme;
    const char *path = memchr(line->authority, '/', rest);
    if (path == NULL)
        return false;
    line->authority_length = (size_t)(path - line->authority);
    line->target_length = rest - line->authority_length;
    line->target = path;
    return line->authority_length > 0;
}

static int parse_line(struct line *line, const char *data, size_t length,
                      struct pj_http_fault *fault)
{
    const char *end = data + length;
    *line = (struct line){.method = data};
    while (line->method_length < length && is_token_char((unsigned char)data[line->method_length]))
        line->method_length++;
    const char *at = data + line->method_length;
    if (line->method_length == 0 || line->method_length > METHOD_MOST || at == end || *at != ' ')
        return (int)fail(fault, 400, "the request does not begin with a method and one space");
    line->target = at + 1;
    at = memchr(line->target, ' ', (size_t)(end - line->target));
    if (at == NULL)
        return (int)fail(fault, 400, "the request line does not end with an HTTP version");
    line->target_length = (size_t)(at - line->target);
    bool is_options = line->method_length == 7 && memcmp(data, "OPTIONS", 7) == 0;
    bool is_star = line->target_length == 1 && *line->target == '*' && is_options;
    if (!is_star && line->target_length > 0 && *line->target != '/' && !take_authority(line))
        return (int)fail(fault, 400, "the target of the request is not a path");
    if (line->target_length == 0 || !is_target(line->target, line->target_length))
        return (int)fail(fault, 400,
                         "the target of the request has characters that are not allowed in a URL");
    line->is_1_0 = end - at == 9 && memcmp(at + 1, "HTTP/1.0", 8) == 0;
    if (!line->is_1_0 && !(end - at == 9 && memcmp(at + 1, "HTTP/1.1", 8) == 0))
        return (int)fail(fault, 400, "the version is neither HTTP/1.1 nor HTTP/1.0");
    return 0;
}

int64_t pj_http_scan(struct pj_http_scan *scan, const char *data, size_t length,
                     struct pj_http_fault *fault)
{
    for (; scan->at < length; scan->at++) {
        unsigned char c = (unsigned char)data[scan->at];
        if (scan->after_cr != (c == '\n'))
            return fail(fault, 400,
                        "a line of the head does not end with carriage return and line feed");
        scan->after_cr = c == '\r';
        if (c != '\n' && c != '\r' && is_control(c))
            return fail(fault, 400, "the head has a control character");
        if (c != '\n')
            continue;
        const char *text = data + scan->line;
        size_t line_length = scan->at - 1 - scan->line;
        struct line line;
        scan->line = scan->at + 1;
        if (line_length > 0) {
            if (scan->lines++ == 0 && parse_line(&line, text, line_length, fault) != 0)
                return -1;
        } else if (scan->lines > 0) {
            return (int64_t)scan->at + 1;
        } else if (scan->empty_lines++ > 0) { /* the RFC says to skip one */
            return fail(fault, 400, "the request begins with empty lines");
        }
    }
    return 0;
}

/* --- fields ---------------------------------------------------------------------------------- */

const char *pj_http_field(const struct pj_http_head *head, const char *name)
{
    for (size_t i = 0; i < head->field_count; i++) {
        if (strcasecmp(head->fields[i].name, name) == 0)
            return head->fields[i].value;
    }
    return NULL;
}

size_t pj_http_count(const struct pj_http_head *head, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < head->field_count; i++)
        count += strcasecmp(head->fields[i].name, name) == 0;
    return count;
}

/* Splits a line in place; it ends in a zero byte. */
static int parse_field(struct pj_http_field *field, char *line, struct pj_http_fault *fault)
{
    size_t length = 0;
    if (*line == ' ' || *line == '\t')
        return (int)fail(fault, 400, "a header field continues on the next line");
    while (is_token_char((unsigned char)line[length]))
        length++;
    if (length == 0 || line[length] != ':')
        return (int)fail(fault, 400,
                         "the name of a header field is not a token followed by a colon");
    line[length] = '\0';
    char *value = line + length + 1;
    value += strspn(value, " \t");
    size_t end = strlen(value);
    while (end > 0 && is_one_of((unsigned char)value[end - 1], " \t"))
        end--;
    value[end] = '\0';
    *field = (struct pj_http_field){line, value};
    return 0;
}

static bool is_host(const char *host, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)host[i];
        if (!is_alphanumeric(c) && !is_one_of(c, "-._~!$&'()*+,;=:[]%"))
            return false;
    }
    return length > 0;
}

static int check_host(const struct pj_http_head *head, const struct line *line,
                      struct pj_http_fault *fault)
{
    size_t count = pj_http_count(head, "Host");
    const char *host = pj_http_field(head, "Host");
    if (count > 1)
        return (int)fail(fault, 400, "there is more than one Host");
    if (count == 0 && head->is_1_0)
        return 0;
    if (count == 0)
        return (int)fail(fault, 400, "there is no Host");
    if (!is_host(host, strlen(host)))
        return (int)fail(fault, 400, "the Host is not valid");
    if (line->authority != NULL && (strlen(host) != line->authority_length ||
                                    strncasecmp(host, line->authority, strlen(host)) != 0))
        return (int)fail(fault, 400, "the target of the request and its Host name different hosts");
    return 0;
}

static int read_length(struct pj_http_head *head, struct pj_http_fault *fault)
{
    size_t lengths = pj_http_count(head, "Content-Length");
    size_t encodings = pj_http_count(head, "Transfer-Encoding");
    if (lengths + encodings == 0)
        return 0;
    head->has_body = true;
    if (lengths + encodings > 1)
        return (int)fail(fault, 400, "the length of the body is given more than once");
    if (encodings == 1) {
        head->body_length = -1;
        if (head->is_1_0)
            return (int)fail(fault, 400, "HTTP/1.0 has no Transfer-Encoding");
        if (strcasecmp(pj_http_field(head, "Transfer-Encoding"), "chunked") != 0)
            return (int)fail(fault, 400, "the Transfer-Encoding is not chunked");
        return 0;
    }
    const char *text = pj_http_field(head, "Content-Length");
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > LENGTH_DIGITS || text[digits] != '\0')
        return (int)fail(fault, 400, "the Content-Length is not a number of bytes");
    head->body_length = strtoll(text, NULL, 10);
    return 0;
}

static int read_connection(struct pj_http_head *head, struct pj_http_fault *fault)
{
    head->keeps_alive = !head->is_1_0;
    for (size_t i = 0; i < head->field_count; i++) {
        const char *value = head->fields[i].value;
        size_t length = 0;
        if (strcasecmp(head->fields[i].name, "Expect") == 0) {
            if (strcasecmp(value, "100-continue") != 0)
                return (int)fail(fault, 417, "only 100-continue is supported in Expect");
            head->expects_continue = !head->is_1_0;
        }
        if (strcasecmp(head->fields[i].name, "Connection") != 0)
            continue;
        if (pj_http_list_has(value, "close"))
            head->keeps_alive = false;
        for (const char *member; (member = next_member(&value, &length)) != NULL;) {
            for (size_t j = 0; j < length; j++) {
                if (!is_token_char((unsigned char)member[j]))
                    return (int)fail(fault, 400, "Connection is not a list of names");
            }
        }
    }
    return 0;
}

static int parse_fields(struct pj_http_head *head, char *text, const char *end,
                        struct pj_http_fault *fault)
{
    size_t lines = 0;
    for (const char *c = text; c < end; c++)
        lines += *c == '\n';
    head->fields = pj_calloc(lines, sizeof *head->fields);
    while (text < end && *text != '\r') {
        char *line_end = memchr(text, '\r', (size_t)(end - text));
        *line_end = '\0';
        if (parse_field(&head->fields[head->field_count++], text, fault) != 0)
            return -1;
        text = line_end + 2;
    }
    return 0;
}

int pj_http_head_parse(struct pj_http_head *head, const char *data, size_t length,
                       struct pj_http_fault *fault)
{
    struct pj_http_scan scan = {0};
    struct line line;
    *head = (struct pj_http_head){0};
    int64_t found = pj_http_scan(&scan, data, length, fault);
    if (found < 0)
        return -1;
    if ((size_t)found != length)
        return (int)fail(fault, 400, "the head is incomplete");
    head->text = pj_strndup(data, length);
    char *text = head->text;
    if (*text == '\r')
        text += 2;
    char *line_end = strchr(text, '\r');
    int status = parse_line(&line, text, (size_t)(line_end - text), fault);
    if (status == 0) {
        head->is_1_0 = line.is_1_0;
        head->method = line.method;
        head->target = line.target;
        status = parse_fields(head, line_end + 2, head->text + length, fault);
    }
    if (status == 0)
        status = check_host(head, &line, fault);
    if (status == 0)
        status = read_length(head, fault);
    if (status == 0)
        status = read_connection(head, fault);
    if (status != 0) {
        pj_http_head_free(head);
        return -1;
    }
    head->text[line.method + line.method_length - head->text] = '\0';
    head->text[line.target + line.target_length - head->text] = '\0';
    return 0;
}

void pj_http_head_free(struct pj_http_head *head)
{
    free(head->fields);
    free(head->text);
    *head = (struct pj_http_head){0};
}

/* --- chunks ---------------------------------------------------------------------------------- */

enum chunk_state {
    SIZE, /* the first one, as in {0} */
    EXTENSION,
    SIZE_END,
    DATA,
    DATA_CR,
    DATA_END,
    TRAILER,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_END,
    LAST_END,
};

static int64_t no_chunks(struct pj_http_fault *fault)
{
    return fail(fault, 400, "the body is not chunked as its head says");
}

/* One byte of the framing, not of the body itself; false: it is not allowed there. */
static bool take_byte(struct pj_http_chunks *chunks, unsigned char c)
{
    bool ends_line = c == '\r';
    switch ((enum chunk_state)chunks->state) {
    case SIZE:
        if (pj_hex_digit((char)c) >= 0) {
            chunks->left = chunks->left * 16 + (uint64_t)pj_hex_digit((char)c);
            return ++chunks->digits <= CHUNK_DIGITS;
        }
        chunks->state = ends_line ? SIZE_END : EXTENSION;
        return chunks->digits > 0 && (ends_line || c == ';');
    case EXTENSION:
        if (ends_line)
            chunks->state = SIZE_END;
        return (ends_line || !is_control(c)) && ++chunks->overhead <= OVERHEAD_MOST;
    case SIZE_END:
        chunks->state = chunks->left > 0 ? DATA : TRAILER;
        chunks->digits = 0;
        return c == '\n';
    case DATA_CR:
        chunks->state = DATA_END;
        return ends_line;
    case DATA_END:
        chunks->state = SIZE;
        return c == '\n';
    case TRAILER:
        chunks->state = ends_line ? LAST_END : TRAILER_NAME;
        return (ends_line || is_token_char(c)) && ++chunks->overhead <= OVERHEAD_MOST;
    case TRAILER_NAME:
        if (c == ':')
            chunks->state = TRAILER_VALUE;
        return (c == ':' || is_token_char(c)) && ++chunks->overhead <= OVERHEAD_MOST;
    case TRAILER_VALUE:
        if (ends_line)
            chunks->state = TRAILER_END;
        return (ends_line || !is_control(c)) && ++chunks->overhead <= OVERHEAD_MOST;
    case TRAILER_END:
        chunks->state = TRAILER;
        return c == '\n';
    case LAST_END:
        chunks->is_whole = true;
        return c == '\n';
    case DATA:
        break;
    }
    return false;
}

int64_t pj_http_chunks_take(struct pj_http_chunks *chunks, const char *data, size_t length,
                            const char **piece, size_t *piece_length, struct pj_http_fault *fault)
{
    size_t at = 0;
    *piece = data;
    *piece_length = 0;
    while (at < length && !chunks->is_whole) {
        if (chunks->state == DATA) {
            size_t most = length - at;
            *piece = data + at;
            *piece_length = chunks->left < most ? (size_t)chunks->left : most;
            chunks->left -= *piece_length;
            if (chunks->left == 0)
                chunks->state = DATA_CR;
            return (int64_t)(at + *piece_length);
        }
        if (!take_byte(chunks, (unsigned char)data[at++]))
            return no_chunks(fault);
    }
    return (int64_t)at;
}
