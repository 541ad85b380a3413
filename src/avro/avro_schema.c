/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/avro_schema.h"

#include "base/arena.h"
#include "base/text.h"

#include <limits.h>
#include <string.h>

enum { DEPTH_MOST = 64, SCHEMA_BYTES_MOST = 1 << 20, FIXED_BYTES_MOST = 1 << 20 };

struct named {
    const char *name;
    struct pj_avro_type *type;
    struct named *next;
};

struct pj_schema {
    json_t *json; /* names, aliases and defaults point into it */
    struct pj_arena *arena;
    struct named *names;
    struct pj_avro_type *root;
};

const char *pj_avro_kind_name(enum pj_avro_kind kind)
{
    static const char *const names[] = {"null",   "boolean", "int",    "long",   "float",
                                        "double", "bytes",   "string", "record", "enum",
                                        "array",  "map",     "union",  "fixed"};
    return names[kind];
}

static const struct {
    const char *name;
    enum pj_avro_logical logical;
    unsigned kinds; /* which underlying types it is valid on; elsewhere it is ignored */
} logicals[] = {
    {"uuid", PJ_LOGICAL_UUID, 1u << PJ_AVRO_STRING | 1u << PJ_AVRO_FIXED},
    {"date", PJ_LOGICAL_DATE, 1u << PJ_AVRO_INT},
    {"time-millis", PJ_LOGICAL_TIME_MILLIS, 1u << PJ_AVRO_INT},
    {"time-micros", PJ_LOGICAL_TIME_MICROS, 1u << PJ_AVRO_LONG},
    {"timestamp-millis", PJ_LOGICAL_TIMESTAMP_MILLIS, 1u << PJ_AVRO_LONG},
    {"timestamp-micros", PJ_LOGICAL_TIMESTAMP_MICROS, 1u << PJ_AVRO_LONG},
    {"timestamp-nanos", PJ_LOGICAL_TIMESTAMP_NANOS, 1u << PJ_AVRO_LONG},
    {"local-timestamp-millis", PJ_LOGICAL_TIMESTAMP_MILLIS, 1u << PJ_AVRO_LONG},
    {"local-timestamp-micros", PJ_LOGICAL_TIMESTAMP_MICROS, 1u << PJ_AVRO_LONG},
    {"local-timestamp-nanos", PJ_LOGICAL_TIMESTAMP_NANOS, 1u << PJ_AVRO_LONG},
    {"decimal", PJ_LOGICAL_DECIMAL, 1u << PJ_AVRO_BYTES | 1u << PJ_AVRO_FIXED},
};

const char *pj_schema_short_name(const char *full_name)
{
    const char *dot = strrchr(full_name, '.');
    return dot != NULL ? dot + 1 : full_name;
}

static int bad(struct pj_error *error, const char *what, const char *name)
{
    return pj_error_set(error, PJ_POISON, "the Avro schema %s%s%s%s", what,
                        name != NULL ? " \"" : "", name != NULL ? name : "",
                        name != NULL ? "\"" : "");
}

static struct pj_avro_type *find_name(struct pj_schema *schema, const char *name, const char *space)
{
    if (strchr(name, '.') == NULL && space != NULL)
        name = pj_arena_printf(schema->arena, "%s.%s", space, name);
    for (struct named *named = schema->names; named != NULL; named = named->next) {
        if (strcmp(named->name, name) == 0)
            return named->type;
    }
    return NULL;
}

static int parse_type(struct pj_schema *schema, const json_t *json, const char *space, int depth,
                      struct pj_avro_type **out, struct pj_error *error);

static int parse_reference(struct pj_schema *schema, const char *name, const char *space,
                           struct pj_avro_type **out, struct pj_error *error)
{
    for (enum pj_avro_kind kind = PJ_AVRO_NULL; kind <= PJ_AVRO_STRING; kind++) {
        if (strcmp(pj_avro_kind_name(kind), name) == 0) {
            *out = pj_arena_alloc(schema->arena, sizeof **out);
            (*out)->kind = kind;
            return 0;
        }
    }
    *out = find_name(schema, name, space);
    /* A name without a namespace may also be one of the null namespace. */
    if (*out == NULL && space != NULL)
        *out = find_name(schema, name, NULL);
    return *out != NULL ? 0 : bad(error, "names an unknown type", name);
}

static int parse_union(struct pj_schema *schema, const json_t *json, const char *space, int depth,
                       struct pj_avro_type *type, struct pj_error *error)
{
    type->kind = PJ_AVRO_UNION;
    type->count = json_array_size(json);
    if (type->count == 0)
        return bad(error, "has an empty union", NULL);
    type->branches = pj_arena_alloc(schema->arena, type->count * sizeof *type->branches);
    for (size_t i = 0; i < type->count; i++) {
        if (parse_type(schema, json_array_get(json, i), space, depth, &type->branches[i], error) !=
            0)
            return -1;
    }
    return 0;
}

/* The full name, which is then known to the rest of the schema; *space becomes its namespace. */
static int declare(struct pj_schema *schema, const json_t *json, const char **space,
                   struct pj_avro_type *type, struct pj_error *error)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *own_space = json_string_value(json_object_get(json, "namespace"));
    if (name == NULL || *name == '\0')
        return bad(error, "has a named type without a name", NULL);
    if (strchr(name, '.') == NULL) {
        const char *in = own_space != NULL ? own_space : *space;
        if (in != NULL && *in != '\0')
            name = pj_arena_printf(schema->arena, "%s.%s", in, name);
    }
    const char *dot = strrchr(name, '.');
    *space = dot != NULL ? pj_arena_string(schema->arena, name, (size_t)(dot - name)) : NULL;
    type->name = name;
    type->aliases = json_object_get(json, "aliases");
    struct named *named = pj_arena_alloc(schema->arena, sizeof *named);
    *named = (struct named){name, type, schema->names};
    schema->names = named;
    return 0;
}

static int parse_record(struct pj_schema *schema, const json_t *json, const char *space, int depth,
                        struct pj_avro_type *type, struct pj_error *error)
{
    type->kind = PJ_AVRO_RECORD;
    if (declare(schema, json, &space, type, error) != 0)
        return -1;
    const json_t *fields = json_object_get(json, "fields");
    if (!json_is_array(fields))
        return bad(error, "has a record without fields:", type->name);
    type->count = json_array_size(fields);
    type->fields = pj_arena_alloc(schema->arena, type->count * sizeof *type->fields);
    for (size_t i = 0; i < type->count; i++) {
        const json_t *field = json_array_get(fields, i);
        struct pj_avro_field *out = &type->fields[i];
        out->name = json_string_value(json_object_get(field, "name"));
        if (out->name == NULL)
            return bad(error, "has a field without a name in", type->name);
        out->aliases = json_object_get(field, "aliases");
        out->default_json = json_object_get(field, "default");
        const char *doc = json_string_value(json_object_get(field, "doc"));
        out->holds_json = doc != NULL && pj_text_begins(doc, "JSON text");
        if (parse_type(schema, json_object_get(field, "type"), space, depth, &out->type, error) !=
            0)
            return -1;
    }
    return 0;
}

static int parse_enum(struct pj_schema *schema, const json_t *json, const char *space,
                      struct pj_avro_type *type, struct pj_error *error)
{
    type->kind = PJ_AVRO_ENUM;
    if (declare(schema, json, &space, type, error) != 0)
        return -1;
    const json_t *symbols = json_object_get(json, "symbols");
    type->count = json_array_size(symbols);
    type->symbols = pj_arena_alloc(schema->arena, type->count * sizeof *type->symbols);
    for (size_t i = 0; i < type->count; i++) {
        type->symbols[i] = json_string_value(json_array_get(symbols, i));
        if (type->symbols[i] == NULL)
            return bad(error, "has an enum symbol that is not a string in", type->name);
    }
    return 0;
}

static int parse_items(struct pj_schema *schema, const json_t *json, const char *space, int depth,
                       struct pj_avro_type *type, struct pj_error *error)
{
    type->count = 1;
    type->branches = pj_arena_alloc(schema->arena, sizeof *type->branches);
    const char *member = type->kind == PJ_AVRO_MAP ? "values" : "items";
    return parse_type(schema, json_object_get(json, member), space, depth, &type->branches[0],
                      error);
}

static void parse_logical(const json_t *json, struct pj_avro_type *type)
{
    const char *name = json_string_value(json_object_get(json, "logicalType"));
    for (size_t i = 0; name != NULL && i < sizeof logicals / sizeof logicals[0]; i++) {
        if (strcmp(logicals[i].name, name) == 0 && (logicals[i].kinds >> type->kind & 1) != 0)
            type->logical = logicals[i].logical;
    }
    /* One that is invalid leaves the underlying type, as Avro says. */
    if (type->logical == PJ_LOGICAL_UUID && type->kind == PJ_AVRO_FIXED && type->size != 16)
        type->logical = PJ_LOGICAL_NONE;
    if (type->logical != PJ_LOGICAL_DECIMAL)
        return;
    json_int_t precision = json_integer_value(json_object_get(json, "precision"));
    json_int_t scale = json_integer_value(json_object_get(json, "scale"));
    if (precision < 1 || scale < 0 || scale > precision || scale > 1000)
        type->logical = PJ_LOGICAL_NONE;
    else {
        type->precision = (int)(precision < INT_MAX ? precision : INT_MAX);
        type->scale = (int)scale;
    }
}

static int parse_object(struct pj_schema *schema, const json_t *json, const char *space, int depth,
                        struct pj_avro_type **out, struct pj_error *error)
{
    const json_t *inner = json_object_get(json, "type");
    const char *name = json_string_value(inner);
    if (name == NULL)
        return parse_type(schema, inner, space, depth, out, error);
    struct pj_avro_type *type = pj_arena_alloc(schema->arena, sizeof *type);
    *out = type;
    if (strcmp(name, "record") == 0 || strcmp(name, "error") == 0)
        return parse_record(schema, json, space, depth, type, error);
    if (strcmp(name, "enum") == 0)
        return parse_enum(schema, json, space, type, error);
    if (strcmp(name, "array") == 0 || strcmp(name, "map") == 0) {
        type->kind = *name == 'a' ? PJ_AVRO_ARRAY : PJ_AVRO_MAP;
        return parse_items(schema, json, space, depth, type, error);
    }
    if (strcmp(name, "fixed") == 0) {
        type->kind = PJ_AVRO_FIXED;
        const json_t *given = json_object_get(json, "size");
        json_int_t size = json_integer_value(given);
        if (!json_is_integer(given) || size < 0 || size > FIXED_BYTES_MOST)
            return bad(error, "has a fixed of an impossible size", NULL);
        type->size = (size_t)size;
        if (declare(schema, json, &space, type, error) != 0)
            return -1;
        parse_logical(json, type);
        return 0;
    }
    if (parse_reference(schema, name, space, out, error) != 0)
        return -1;
    if ((*out)->name == NULL) /* a primitive, made for this place alone */
        parse_logical(json, *out);
    return 0;
}

static int parse_type(struct pj_schema *schema, const json_t *json, const char *space, int depth,
                      struct pj_avro_type **out, struct pj_error *error)
{
    if (depth >= DEPTH_MOST)
        return bad(error, "is nested more than 64 deep", NULL);
    if (json_is_string(json))
        return parse_reference(schema, json_string_value(json), space, out, error);
    if (json_is_array(json)) {
        *out = pj_arena_alloc(schema->arena, sizeof **out);
        return parse_union(schema, json, space, depth + 1, *out, error);
    }
    if (json_is_object(json))
        return parse_object(schema, json, space, depth + 1, out, error);
    return bad(error, "has a type that is neither a name, an object nor a union", NULL);
}

int pj_schema_parse(struct pj_schema **out, const char *text, struct pj_error *error)
{
    if (strlen(text) > SCHEMA_BYTES_MOST)
        return bad(error, "is larger than 1 MiB", NULL);
    json_error_t json_error;
    json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &json_error);
    if (json == NULL)
        return pj_error_set(error, PJ_POISON, "the Avro schema is not JSON: %s at line %d",
                            json_error.text, json_error.line);
    struct pj_arena *arena = pj_arena_new();
    struct pj_schema *schema = pj_arena_alloc(arena, sizeof *schema);
    schema->json = json;
    schema->arena = arena;
    if (parse_type(schema, json, NULL, 0, &schema->root, error) != 0) {
        pj_schema_free(schema);
        return -1;
    }
    *out = schema;
    return 0;
}

void pj_schema_free(struct pj_schema *schema)
{
    if (schema == NULL)
        return;
    json_decref(schema->json);
    pj_arena_free(schema->arena);
}

const struct pj_avro_type *pj_schema_root(const struct pj_schema *schema)
{
    return schema->root;
}
