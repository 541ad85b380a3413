/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/plan.h"

#include "base/fit.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>

struct planning {
    struct pj_plan *plan;
    const struct pj_field *fields;
    size_t field_count;
    struct pj_arena *arena;
    size_t size; /* fields and branches planned so far */
};

/* Unions of the same records multiply from level to level: a small schema can ask for a large
 * plan. */
enum { PATH_MOST = 512, SIZE_MOST = 1 << 15 };

/* --- which fields are wanted where ----------------------------------------------------------- */

/* The path itself is a field's, or leads to one. */
static bool wanted(const struct planning *planning, const char *path)
{
    size_t length = strlen(path);
    if (length == 0)
        return true;
    for (size_t i = 0; i < planning->field_count; i++) {
        const char *field = planning->fields[i].path;
        if (strncmp(field, path, length) == 0 && (field[length] == '\0' || field[length] == '.'))
            return true;
    }
    return false;
}

static void step(char *out, const char *path, const char *name)
{
    /* No projection has a path as long as this; cut, it could only be mistaken for another. */
    if (!pj_text_fits(out, PATH_MOST, "%s%s%s", path, *path ? "." : "", name))
        pj_text_whole(out, PATH_MOST, "?");
}

static bool names(const json_t *aliases, const char *name)
{
    size_t i;
    json_t *alias;
    json_array_foreach(aliases, i, alias)
    {
        const char *text = json_string_value(alias);
        if (text != NULL && strcmp(pj_schema_short_name(text), name) == 0)
            return true;
    }
    return false;
}

/* --- pairing the writer's types with ours ---------------------------------------------------- */

static bool is_record_union(const struct pj_avro_type *type)
{
    size_t records = 0;
    for (size_t i = 0; type->kind == PJ_AVRO_UNION && i < type->count; i++)
        records += type->branches[i]->kind == PJ_AVRO_RECORD;
    return records > 1;
}

/* How two things can be one, the surest way first. */
enum { BY_NAME, BY_OUR_ALIAS, BY_THEIR_ALIAS, WAYS };

static bool same(int way, const char *ours, const json_t *our_aliases, const char *theirs,
                 const json_t *their_aliases)
{
    return way == BY_NAME        ? strcmp(ours, theirs) == 0
           : way == BY_OUR_ALIAS ? names(our_aliases, theirs)
                                 : names(their_aliases, ours);
}

/* Our record, of several, for the writer's. */
static const struct pj_avro_type *our_record(const struct pj_avro_type *ours,
                                             const struct pj_avro_type *theirs)
{
    for (int way = BY_NAME; way < WAYS; way++) {
        for (size_t i = 0; i < ours->count; i++) {
            const struct pj_avro_type *branch = ours->branches[i];
            if (branch->kind == PJ_AVRO_RECORD &&
                same(way, pj_schema_short_name(branch->name), branch->aliases,
                     pj_schema_short_name(theirs->name), theirs->aliases))
                return branch;
        }
    }
    return NULL;
}

/* Our branch for the writer's type; NULL where there is none. Leaves need not match here: whether
 * they convert is asked of the field's own type. */
static const struct pj_avro_type *our_branch(const struct pj_avro_type *ours,
                                             const struct pj_avro_type *theirs)
{
    if (ours == NULL || ours->kind != PJ_AVRO_UNION)
        return ours;
    if (theirs->kind == PJ_AVRO_RECORD && is_record_union(ours))
        return our_record(ours, theirs);
    const struct pj_avro_type *any = NULL;
    for (size_t i = 0; i < ours->count; i++) {
        const struct pj_avro_type *branch = ours->branches[i];
        if (branch->kind == theirs->kind)
            return branch;
        if (branch->kind != PJ_AVRO_NULL && branch->kind != PJ_AVRO_RECORD)
            any = branch;
    }
    return theirs->kind == PJ_AVRO_RECORD || theirs->kind == PJ_AVRO_NULL ? NULL : any;
}

static bool has_field(const struct pj_avro_type *record, const char *name)
{
    for (size_t i = 0; i < record->count; i++) {
        if (strcmp(record->fields[i].name, name) == 0)
            return true;
    }
    return false;
}

/* The writer's field for ours. One that has the name of another of ours, or is bound already, is
 * not taken by an alias. */
static bool find_field(const struct pj_plan_node *node, const struct pj_avro_type *record,
                       const struct pj_avro_field *ours, size_t *index)
{
    for (int way = BY_NAME; way < WAYS; way++) {
        for (size_t i = 0; i < node->type->count; i++) {
            const struct pj_avro_field *theirs = &node->type->fields[i];
            if (!same(way, ours->name, ours->aliases, theirs->name, theirs->aliases))
                continue;
            if (way != BY_NAME && (node->children[i] != NULL || has_field(record, theirs->name)))
                continue;
            *index = i;
            return true;
        }
    }
    return false;
}

/* --- defaults -------------------------------------------------------------------------------- */

static bool default_value(struct planning *planning, const struct pj_avro_type *ours,
                          const struct pj_field *field, const json_t *json, struct pj_value *value)
{
    *value = (struct pj_value){.present = true, .shape = (uint8_t)pj_type_shape(field->type)};
    const char *text = json_string_value(json);
    if (field->type == PJ_JSONB && (text == NULL || ours->kind != PJ_AVRO_STRING)) {
        char *dumped = pj_must(json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY));
        *value = pj_text(pj_arena_string(planning->arena, dumped, strlen(dumped)));
        free(dumped);
        return true;
    }
    switch (field->type) {
    case PJ_TEXT:
    case PJ_JSONB:
        *value = pj_text(text);
        return text != NULL;
    case PJ_UUID:
        return text != NULL && pj_uuid_parse(text, strlen(text), value->uuid);
    case PJ_BOOL:
        value->boolean = json_is_boolean(json) ? json_is_true(json) : true;
        return true;
    case PJ_INT:
    case PJ_BIGINT:
        value->integer = json_integer_value(json);
        return json_is_integer(json) && pj_value_fits(field->type, value);
    case PJ_TIMESTAMPTZ:
        return json_is_integer(json) &&
               pj_plan_time(ours->logical, json_integer_value(json), &value->integer);
    case PJ_DOUBLE:
        value->real = json_number_value(json);
        return json_is_number(json);
    case PJ_NUMERIC:
    case PJ_BYTEA:
    case PJ_COUNTS:
        return false;
    }
    return false;
}

/* Is there a required field at or below the path? */
static const struct pj_field *required_field(const struct planning *planning, const char *path)
{
    size_t length = strlen(path);
    for (size_t i = 0; i < planning->field_count; i++) {
        const struct pj_field *field = &planning->fields[i];
        if (field->required && strncmp(field->path, path, length) == 0 &&
            (length == 0 || field->path[length] == '\0' || field->path[length] == '.'))
            return field;
    }
    return NULL;
}

static void plan_default(struct planning *planning, struct pj_plan_node *node,
                         const struct pj_avro_type *ours, const json_t *json, const char *path);

static struct planning planning_of(const struct planning *planning, const struct pj_items *items)
{
    struct planning inner = *planning;
    inner.fields = items->fields;
    inner.field_count = items->field_count;
    return inner;
}

static bool default_items(struct planning *planning, const struct pj_avro_type *ours,
                          const struct pj_items *items, const json_t *json, struct pj_value *value)
{
    struct planning inner = planning_of(planning, items);
    size_t width = items->field_count;
    size_t count = json_array_size(json);
    struct pj_value *values = pj_arena_alloc(planning->arena, count * width * sizeof *values);
    for (size_t i = 0; ours->kind == PJ_AVRO_ARRAY && i < count; i++) {
        struct pj_plan_node item = {
            .defaults = pj_arena_alloc(planning->arena, width * sizeof *item.defaults)};
        plan_default(&inner, &item, ours->branches[0], json_array_get(json, i), "");
        if (item.missing != NULL)
            return false;
        for (size_t d = 0; d < item.default_count; d++)
            values[i * width + item.defaults[d].slot] = item.defaults[d].value;
    }
    *value = pj_items_of(values, count, width);
    return json_is_array(json);
}

static void default_slots(struct planning *planning, struct pj_plan_node *node,
                          const struct pj_avro_type *type, const json_t *json, const char *path)
{
    for (size_t i = 0; i < planning->field_count; i++) {
        const struct pj_field *field = &planning->fields[i];
        if (strcmp(field->path, path) != 0)
            continue;
        if (json_is_null(json)) {
            if (field->required)
                node->missing = field->path;
            continue;
        }
        struct pj_plan_default *filled = &node->defaults[node->default_count];
        if (field->items != NULL ? default_items(planning, type, field->items, json, &filled->value)
                                 : default_value(planning, type, field, json, &filled->value)) {
            filled->slot = i;
            node->default_count++;
        } else {
            node->missing = field->path;
        }
    }
}

/* What the writer lacks at `path`: our default, for the fields there and below. A default is of a
 * union's first branch. */
static void plan_default(struct planning *planning, struct pj_plan_node *node,
                         const struct pj_avro_type *ours, const json_t *json, const char *path)
{
    if (json == NULL) {
        const struct pj_field *required = required_field(planning, path);
        if (required != NULL)
            node->missing = required->path;
        return;
    }
    const struct pj_avro_type *type = ours->kind == PJ_AVRO_UNION ? ours->branches[0] : ours;
    char inside[PATH_MOST];
    default_slots(planning, node, type, json, path);
    if (type->kind != PJ_AVRO_RECORD || !json_is_object(json))
        return;
    if (is_record_union(ours)) {
        step(inside, path, pj_schema_short_name(type->name));
        default_slots(planning, node, type, json, inside);
        path = inside;
    }
    for (size_t i = 0; i < type->count; i++) {
        const struct pj_avro_field *inner = &type->fields[i];
        char below[PATH_MOST];
        step(below, path, inner->name);
        const json_t *own = json_object_get(json, inner->name);
        if (wanted(planning, below))
            plan_default(planning, node, inner->type, own != NULL ? own : inner->default_json,
                         below);
    }
}

/* --- the tree -------------------------------------------------------------------------------- */

static bool converts(enum pj_type to, const struct pj_avro_type *from)
{
    switch (from->kind) {
    case PJ_AVRO_NULL:
    case PJ_AVRO_UNION:
        return true;
    case PJ_AVRO_BOOLEAN:
    case PJ_AVRO_RECORD:
    case PJ_AVRO_ARRAY:
    case PJ_AVRO_MAP:
        return to == PJ_JSONB || to == PJ_BOOL;
    case PJ_AVRO_INT:
    case PJ_AVRO_LONG:
        return to == PJ_INT || to == PJ_BIGINT || to == PJ_DOUBLE || to == PJ_TIMESTAMPTZ ||
               to == PJ_JSONB;
    case PJ_AVRO_FLOAT:
    case PJ_AVRO_DOUBLE:
        return to == PJ_DOUBLE || to == PJ_JSONB;
    case PJ_AVRO_STRING:
        return to == PJ_TEXT || to == PJ_UUID || to == PJ_JSONB;
    case PJ_AVRO_ENUM:
        return to == PJ_TEXT || to == PJ_JSONB;
    case PJ_AVRO_BYTES:
    case PJ_AVRO_FIXED:
        if (from->logical == PJ_LOGICAL_DECIMAL)
            return to == PJ_NUMERIC || to == PJ_JSONB;
        return to == PJ_BYTEA || to == PJ_JSONB || (to == PJ_TEXT && from->kind == PJ_AVRO_BYTES) ||
               (to == PJ_UUID && from->kind == PJ_AVRO_FIXED && from->size == 16);
    }
    return false;
}

static bool field_converts(const struct pj_field *field, const struct pj_avro_type *from)
{
    if (field->items == NULL)
        return converts(field->type, from);
    return from->kind == PJ_AVRO_NULL || from->kind == PJ_AVRO_UNION || from->kind == PJ_AVRO_ARRAY;
}

/* For people; of a union, the first branch that is not null. */
static const char *type_name(const struct pj_avro_type *type)
{
    for (size_t i = 0; type->kind == PJ_AVRO_UNION && i < type->count; i++) {
        if (type->branches[i]->kind != PJ_AVRO_NULL)
            return type_name(type->branches[i]);
    }
    return type->logical == PJ_LOGICAL_DECIMAL ? "decimal" : pj_avro_kind_name(type->kind);
}

static void plan_slots(struct planning *planning, struct pj_plan_node *node, const char *path)
{
    if (node->slots == NULL)
        node->slots = pj_arena_alloc(planning->arena, planning->field_count * sizeof *node->slots);
    /* A union hands its value to the branch, where it is stored. */
    for (size_t i = 0; node->type->kind != PJ_AVRO_UNION && i < planning->field_count; i++) {
        const struct pj_field *field = &planning->fields[i];
        if (strcmp(field->path, path) != 0)
            continue;
        node->slots[node->slot_count++].slot = i;
        if (!field_converts(field, node->type))
            node->refused =
                pj_arena_printf(planning->arena, "%s is of the type %s in the writer's schema",
                                path, pj_avro_kind_name(node->type->kind));
    }
}

/* The writer has something else where our record is. */
static void refuse_below(struct planning *planning, struct pj_plan_node *node, const char *path)
{
    const struct pj_field *required = required_field(planning, path);
    if (required == NULL)
        return;
    if (node->type->kind == PJ_AVRO_NULL)
        node->refused = pj_arena_printf(planning->arena, "%s is null", required->path);
    else
        node->refused =
            pj_arena_printf(planning->arena, "%s is of the type %s in the writer's schema", path,
                            pj_avro_kind_name(node->type->kind));
}

static struct pj_plan_node *plan_node(struct planning *planning, const struct pj_avro_type *writer,
                                      const struct pj_avro_type *ours, const char *path);

static void plan_record(struct planning *planning, struct pj_plan_node *node,
                        const struct pj_avro_type *ours, const char *path)
{
    const struct pj_avro_type *writer = node->type;
    node->children = pj_arena_alloc(planning->arena, writer->count * sizeof(void *));
    node->defaults =
        pj_arena_alloc(planning->arena, planning->field_count * sizeof *node->defaults);
    for (size_t i = 0; i < ours->count && planning->size < SIZE_MOST; i++) {
        const struct pj_avro_field *field = &ours->fields[i];
        char below[PATH_MOST];
        size_t index;
        step(below, path, field->name);
        if (!wanted(planning, below))
            continue;
        if (find_field(node, ours, field, &index))
            node->children[index] =
                plan_node(planning, writer->fields[index].type, field->type, below);
        else
            plan_default(planning, node, field->type, field->default_json, below);
    }
}

static void plan_union(struct planning *planning, struct pj_plan_node *node,
                       const struct pj_avro_type *ours, const char *path)
{
    const struct pj_avro_type *writer = node->type;
    node->children = pj_arena_alloc(planning->arena, writer->count * sizeof(void *));
    for (size_t i = 0; i < writer->count && planning->size < SIZE_MOST; i++)
        node->children[i] = plan_node(planning, writer->branches[i], ours, path);
}

/* The items of an array, for the fields that want them. */
static void plan_items(struct planning *planning, struct pj_plan_node *node,
                       const struct pj_avro_type *ours)
{
    for (size_t i = 0; i < node->slot_count && planning->size < SIZE_MOST; i++) {
        const struct pj_items *items = planning->fields[node->slots[i].slot].items;
        if (items == NULL)
            continue;
        struct planning inner = planning_of(planning, items);
        node->slots[i].item = plan_node(&inner, node->type->branches[0], ours->branches[0], "");
        planning->size = inner.size;
    }
}

/* `ours` may be NULL or of another shape: then nothing below is ours, but the value itself may
 * still be wanted (null, or a record as JSON). */
static struct pj_plan_node *plan_node(struct planning *planning, const struct pj_avro_type *writer,
                                      const struct pj_avro_type *ours, const char *path)
{
    struct pj_plan_node *node = pj_arena_alloc(planning->arena, sizeof *node);
    node->type = writer;
    planning->size += 1 + writer->count;
    plan_slots(planning, node, path);
    if (writer->kind == PJ_AVRO_UNION) {
        plan_union(planning, node, ours, path);
        return node;
    }
    const struct pj_avro_type *branch = our_branch(ours, writer);
    node->time_unit = writer->logical != PJ_LOGICAL_NONE ? writer->logical
                      : branch != NULL                   ? branch->logical
                                                         : PJ_LOGICAL_NONE;
    node->text = writer->kind == PJ_AVRO_STRING ||
                 (writer->kind == PJ_AVRO_BYTES && writer->logical == PJ_LOGICAL_NONE &&
                  branch != NULL && branch->kind == PJ_AVRO_STRING);
    if (branch != NULL && branch->kind == PJ_AVRO_ARRAY && writer->kind == PJ_AVRO_ARRAY)
        plan_items(planning, node, branch);
    if (branch == NULL || branch->kind != PJ_AVRO_RECORD)
        return node;
    if (writer->kind != PJ_AVRO_RECORD) {
        refuse_below(planning, node, path);
        return node;
    }
    if (!is_record_union(ours)) {
        plan_record(planning, node, branch, path);
        return node;
    }
    /* Which of several records it is, is a step of the path. */
    char below[PATH_MOST];
    step(below, path, pj_schema_short_name(branch->name));
    plan_slots(planning, node, below);
    plan_record(planning, node, branch, below);
    return node;
}

int pj_plan_new(struct pj_plan **out, const struct pj_decoder *decoder, const char *writer_schema,
                struct pj_error *error)
{
    struct pj_schema *writer;
    if (pj_schema_parse(&writer, writer_schema, error) != 0)
        return -1;
    struct pj_arena *arena = pj_arena_new();
    struct pj_plan *plan = pj_arena_alloc(arena, sizeof *plan);
    plan->decoder = decoder;
    plan->writer = writer;
    plan->arena = arena;
    struct planning planning = {plan, decoder->source->fields, decoder->source->field_count, arena,
                                0};
    const struct pj_avro_type *theirs = pj_schema_root(writer);
    const struct pj_avro_type *ours = pj_schema_root(decoder->schema);
    if (theirs->kind != PJ_AVRO_RECORD && !(is_record_union(ours) && is_record_union(theirs))) {
        pj_error_set(error, PJ_POISON, "the writer's schema is of the type %s, not a record",
                     pj_avro_kind_name(theirs->kind));
        pj_plan_free(plan);
        return -1;
    }
    plan->root = plan_node(&planning, theirs, ours, "");
    if (planning.size >= SIZE_MOST) {
        pj_error_set(error, PJ_POISON, "the writer's schema is too large to be read as ours");
        pj_plan_free(plan);
        return -1;
    }
    *out = plan;
    return 0;
}

void pj_plan_free(struct pj_plan *plan)
{
    if (plan == NULL)
        return;
    pj_schema_free(plan->writer);
    pj_arena_free(plan->arena);
}

/* --- the decoder ----------------------------------------------------------------------------- */

/* Follows a field's path through our schema: its type, or NULL. */
static const struct pj_avro_type *type_at(const struct pj_avro_type *type, const char *path)
{
    if (*path == '\0')
        return type;
    size_t length = strcspn(path, ".");
    const char *rest = path[length] == '.' ? path + length + 1 : path + length;
    if (type->kind == PJ_AVRO_UNION) {
        bool by_name = is_record_union(type);
        for (size_t i = 0; i < type->count; i++) {
            const struct pj_avro_type *branch = type->branches[i];
            if (branch->kind != PJ_AVRO_RECORD)
                continue;
            const char *name = pj_schema_short_name(branch->name);
            if (!by_name)
                return type_at(branch, path);
            if (strlen(name) == length && strncmp(name, path, length) == 0)
                return type_at(branch, rest);
        }
        return NULL;
    }
    for (size_t i = 0; type->kind == PJ_AVRO_RECORD && i < type->count; i++) {
        const char *name = type->fields[i].name;
        if (strlen(name) == length && strncmp(name, path, length) == 0)
            return type_at(type->fields[i].type, rest);
    }
    return NULL;
}

/* The type, or the branch of it, that the field can be read from; NULL: none. */
static const struct pj_avro_type *readable(const struct pj_field *field,
                                           const struct pj_avro_type *ours)
{
    if (ours->kind != PJ_AVRO_UNION)
        return ours->kind != PJ_AVRO_NULL && field_converts(field, ours) ? ours : NULL;
    const struct pj_avro_type *found = NULL;
    for (size_t i = 0; i < ours->count && found == NULL; i++)
        found = readable(field, ours->branches[i]);
    return found;
}

static int check_fields(const struct pj_decoder *decoder, const struct pj_avro_type *type,
                        const struct pj_field *fields, size_t count, struct pj_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const struct pj_field *field = &fields[i];
        const struct pj_avro_type *ours = type_at(type, field->path);
        if (ours == NULL)
            return pj_error_fatal(error, PJ_EXIT_DECLARATION, "the schema of %s has no field %s",
                                  decoder->source->topic, field->path);
        const struct pj_avro_type *found = readable(field, ours);
        if (found == NULL)
            return pj_error_fatal(
                error, PJ_EXIT_DECLARATION,
                "the field %s is declared as %s, but is of the type %s in the schema of %s; "
                "correct one of the two",
                field->path, field->items != NULL ? "an array" : pj_type_name(field->type),
                type_name(ours), decoder->source->topic);
        if (field->items != NULL && check_fields(decoder, found->branches[0], field->items->fields,
                                                 field->items->field_count, error) != 0)
            return -1;
    }
    return 0;
}

int pj_decoder_new(struct pj_decoder **out, const struct pj_source *source, struct pj_error *error)
{
    struct pj_decoder *decoder = pj_alloc(sizeof *decoder);
    decoder->source = source;
    if (pj_schema_parse(&decoder->schema, source->schema, error) != 0) {
        error->class = PJ_FATAL;
        error->exit_code = PJ_EXIT_DECLARATION;
        pj_decoder_free(decoder);
        return -1;
    }
    if (check_fields(decoder, pj_schema_root(decoder->schema), source->fields, source->field_count,
                     error) != 0) {
        pj_decoder_free(decoder);
        return -1;
    }
    *out = decoder;
    return 0;
}

void pj_decoder_free(struct pj_decoder *decoder)
{
    if (decoder == NULL)
        return;
    pj_schema_free(decoder->schema);
    free(decoder);
}
