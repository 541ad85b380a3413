/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/schema_references.h"

#include "base/memory.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 256 };

struct resolving {
    const json_t *definitions;
    json_t *placed; /* the names of those already in the schema */
    int depth;
    struct pj_error *error;
};

static json_t *resolve(struct resolving *resolving, const json_t *schema, const char *space);

/* malloc'ed: the name in its namespace, where it has none of its own. */
static char *full_name(const char *name, const char *space)
{
    bool is_full = strchr(name, '.') != NULL || space == NULL || *space == '\0';
    return is_full ? pj_strdup(name) : pj_text_new("%s.%s", space, name);
}

/* The definition where the name stands for the first time, else the name. */
static json_t *place(struct resolving *resolving, const char *name)
{
    const json_t *definition = json_object_get(resolving->definitions, name);
    if (definition == NULL || json_object_get(resolving->placed, name) != NULL)
        return json_string(name);
    json_object_set_new(resolving->placed, name, json_true());
    json_t *copy = json_deep_copy(definition);
    const char *own = json_string_value(json_object_get(copy, "name"));
    /* Elsewhere it would take on the namespace of what is around it. */
    if (own != NULL && strchr(own, '.') == NULL && json_object_get(copy, "namespace") == NULL)
        json_object_set_new(copy, "namespace", json_string(""));
    json_t *resolved = resolve(resolving, copy, NULL);
    json_decref(copy);
    return resolved;
}

/* A name without a namespace may also be one of the null namespace. */
static json_t *resolve_name(struct resolving *resolving, const char *name, const char *space)
{
    char *full = full_name(name, space);
    bool known = json_object_get(resolving->definitions, full) != NULL;
    json_t *resolved = place(resolving, known ? full : name);
    free(full);
    return resolved;
}

static bool is_named_kind(const char *type)
{
    static const char *const kinds[] = {"record", "error", "enum", "fixed"};
    for (size_t i = 0; type != NULL && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(type, kinds[i]) == 0)
            return true;
    }
    return false;
}

/* Sets a member to what it resolves to; false: it cannot be. */
static bool resolve_member(struct resolving *resolving, json_t *object, const char *member,
                           const char *space)
{
    const json_t *is = json_object_get(object, member);
    json_t *resolved = is != NULL ? resolve(resolving, is, space) : NULL;
    if (resolved == NULL)
        return is == NULL;
    json_object_set_new(object, member, resolved);
    return true;
}

static bool resolve_fields(struct resolving *resolving, json_t *object, const char *space)
{
    json_t *fields = json_array();
    size_t index;
    json_t *field;
    bool whole = true;
    json_array_foreach(json_object_get(object, "fields"), index, field)
    {
        json_t *copy = json_copy(field);
        if (json_is_object(copy) && whole)
            whole = resolve_member(resolving, copy, "type", space);
        json_array_append_new(fields, copy);
    }
    if (json_object_get(object, "fields") != NULL)
        json_object_set(object, "fields", fields);
    json_decref(fields);
    return whole;
}

static json_t *resolve_object(struct resolving *resolving, const json_t *schema, const char *space)
{
    json_t *object = json_copy((json_t *)schema);
    const char *type = json_string_value(json_object_get(object, "type"));
    bool whole = true;
    if (is_named_kind(type)) {
        const char *name = json_string_value(json_object_get(object, "name"));
        const char *own = json_string_value(json_object_get(object, "namespace"));
        char *full = full_name(name != NULL ? name : "", own != NULL ? own : space);
        char *dot = strrchr(full, '.');
        json_object_set_new(resolving->placed, full, json_true());
        if (dot != NULL)
            *dot = '\0';
        whole = resolve_fields(resolving, object, dot != NULL ? full : "");
        free(full);
    } else {
        whole = resolve_member(resolving, object, "type", space) &&
                resolve_member(resolving, object, "items", space) &&
                resolve_member(resolving, object, "values", space);
    }
    if (whole)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *resolve_union(struct resolving *resolving, const json_t *schema, const char *space)
{
    json_t *branches = json_array();
    size_t index;
    json_t *branch;
    json_array_foreach((json_t *)schema, index, branch)
    {
        json_t *resolved = resolve(resolving, branch, space);
        if (resolved == NULL) {
            json_decref(branches);
            return NULL;
        }
        json_array_append_new(branches, resolved);
    }
    return branches;
}

static json_t *resolve(struct resolving *resolving, const json_t *schema, const char *space)
{
    json_t *resolved;
    if (resolving->depth >= DEPTH_MOST) {
        (void)pj_error_set(resolving->error, PJ_POISON, "the schema is nested too deeply");
        return NULL;
    }
    resolving->depth++;
    if (json_is_string(schema))
        resolved = resolve_name(resolving, json_string_value(schema), space);
    else if (json_is_array(schema))
        resolved = resolve_union(resolving, schema, space);
    else if (json_is_object(schema))
        resolved = resolve_object(resolving, schema, space);
    else
        resolved = json_deep_copy(schema);
    resolving->depth--;
    return resolved;
}

json_t *pj_schema_references_resolve(const json_t *schema, const json_t *definitions,
                                     struct pj_error *error)
{
    struct resolving resolving = {
        .definitions = definitions, .placed = json_object(), .error = error};
    json_t *resolved = resolve(&resolving, schema, NULL);
    json_decref(resolving.placed);
    return resolved;
}
