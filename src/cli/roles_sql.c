/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/roles_sql.h"

#include "base/text.h"
#include "cli/migrations.h"
#include "fold/declaration.h"
#include "fold/wide.h"
#include "postgres/sql_text.h"
#include "store/tables.h"

#include <stdlib.h>
#include <string.h>

/* What the statement loops over: rows of VALUES. */
enum list { ROLES, SCHEMAS, RELATIONS, RIGHTS, CALLERS, POLICIES, PUBLISHED, LISTS };

struct script {
    const struct pj_roles *roles;
    struct pj_builder lists[LISTS];
    const struct pj_cli_projection *projection; /* of what is being added */
    char role[PJ_ROLE_NAME_SIZE];               /* its own */
    const char *schema;                         /* of its system's tables */
};

#define ENGINE PJ_MIGRATIONS_SCHEMA

/* "projectionist_video_catalog"; false where that is too long. */
static bool name_role(const struct pj_roles *roles, const char *what, char name[PJ_ROLE_NAME_SIZE])
{
    if (!pj_text_fits(name, PJ_ROLE_NAME_SIZE, "%s_%s", roles->prefix, what))
        return false;
    for (char *c = name; *c != '\0'; c++)
        *c = *c == '-' ? '_' : *c;
    return true;
}

/* A row of text literals, up to a NULL. */
static void add_row(struct script *script, enum list list, const char *const *values)
{
    struct pj_builder *rows = &script->lists[list];
    pj_builder_add(rows, "%s        (", rows->length > 0 ? ",\n" : "");
    for (size_t i = 0; values[i] != NULL; i++)
        pj_sql_literal(rows, i > 0 ? ", " : "", values[i]);
    pj_builder_add(rows, ")");
}

#define ADD(script, list, ...) add_row(script, list, (const char *const[]){__VA_ARGS__, NULL})

/* Of one of our own roles, by the end of its name. */
static void add_schema_right(struct script *script, const char *what, const char *schema,
                             const char *right)
{
    char role[PJ_ROLE_NAME_SIZE];
    (void)name_role(script->roles, what, role);
    ADD(script, SCHEMAS, role, schema, right);
}

/* --- tables ---------------------------------------------------------------------------------- */

static const char *schema_of(const struct script *script, const struct pj_table *table)
{
    return table->schema != NULL ? table->schema : script->schema;
}

static void add_right(struct script *script, const char *schema, const char *relation,
                      const char *rights)
{
    ADD(script, RIGHTS, script->role, schema, relation, rights);
}

/* A right to some columns. */
static void add_columns(struct script *script, const struct pj_table *table, const char *right,
                        uint64_t columns)
{
    struct pj_builder rights = {0};
    pj_builder_add(&rights, "%s (", right);
    pj_sql_columns(&rights, table, columns, ", ", "@");
    pj_builder_add(&rights, ")");
    char *text = pj_builder_take(&rights);
    add_right(script, schema_of(script, table), table->name, text);
    free(text);
}

/* The foreign keys of the table's children, and when they were first mentioned: whether somebody
 * still refers to a row. */
static void add_children(struct script *script, const struct pj_table *table)
{
    for (size_t i = 0; table->children != NULL && table->children[i] != NULL; i++) {
        const struct pj_table *child = table->children[i];
        for (const struct pj_parent *p = child->parents; p != NULL && p->table != NULL; p++) {
            uint64_t columns = 1ULL << p->seen_at;
            for (size_t k = 0; k < table->column_count && table->columns[k].key; k++)
                columns |= 1ULL << p->columns[k];
            if (p->table == table)
                add_columns(script, child, "SELECT", columns);
        }
    }
}

/* Placeholders, and nothing else of the table. */
static void add_parent(struct script *script, const struct pj_table *table)
{
    char name[PJ_ROLE_NAME_SIZE];
    uint64_t known = pj_sql_key(table) | 1ULL << table->placeholder;
    uint64_t filled = known;
    for (size_t c = 0; c < table->column_count; c++)
        filled |= (uint64_t)(table->columns[c].in_placeholder != NULL) << c;
    uint64_t timed = table->first_seen != 0 ? 1ULL << table->first_seen : 0;
    add_columns(script, table, "SELECT", known | timed);
    add_columns(script, table, "INSERT", filled | timed);
    /* Without one it locks the row by the right to a column that it never sets. */
    add_columns(script, table, "UPDATE", timed != 0 ? timed : 1ULL << table->placeholder);
    add_right(script, schema_of(script, table), table->name, "DELETE");
    add_children(script, table);
    if (!pj_text_fits(name, sizeof name, "%.50s_deletes", script->role))
        return;
    char *policy =
        pj_text_new("AS RESTRICTIVE FOR DELETE TO %s USING (%s)", pj_sql_name(script->role).text,
                    pj_sql_name(table->columns[table->placeholder].name).text);
    ADD(script, POLICIES, script->role, schema_of(script, table), table->name, name, policy);
    free(policy);
}

static bool writes(const struct pj_projection *projection, const struct pj_table *table)
{
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t] == table)
            return true;
    }
    return false;
}

static void add_table(struct script *script, const struct pj_table *table)
{
    const char *schema = schema_of(script, table);
    char role[PJ_ROLE_NAME_SIZE];
    char *policy;
    add_right(script, schema, table->name, pj_table_rights(table));
    for (const struct pj_parent *p = table->parents; p != NULL && p->table != NULL; p++) {
        if (!writes(script->projection->projection, p->table))
            add_parent(script, p->table);
    }
    add_children(script, table);
    if (table->part_of != NULL)
        return;
    ADD(script, RELATIONS, schema, table->name, "secured");
    (void)name_role(script->roles, "writer", role);
    policy = pj_text_new("FOR ALL TO %s USING (true) WITH CHECK (true)", pj_sql_name(role).text);
    ADD(script, POLICIES, role, schema, table->name, role, policy);
    free(policy);
    (void)name_role(script->roles, "analyst", role);
    policy = pj_text_new("FOR SELECT TO %s USING (true)", pj_sql_name(role).text);
    ADD(script, POLICIES, role, schema, table->name, role, policy);
    free(policy);
    ADD(script, RIGHTS, role, schema, table->name, "SELECT");
    if (strcmp(schema, ENGINE) == 0)
        return;
    ADD(script, RIGHTS, "service_role", schema, table->name, "ALL");
    ADD(script, POLICIES, "service_role", schema, table->name, ENGINE "_service_role",
        "FOR ALL TO service_role USING (true) WITH CHECK (true)");
}

/* --- projections ----------------------------------------------------------------------------- */

/* What all consumers write: of the offsets and dead letters those of their own group. */
static void add_engine(struct script *script)
{
    static const char *const of_groups[] = {
        "schema_readers", "accepted_topics", "consumer_offsets", "dead_letters", "gaps", "rules"};
    struct pj_builder mine = {0};
    pj_builder_add(&mine, "FOR ALL TO %s USING (consumer_group = ", pj_sql_name(script->role).text);
    pj_sql_literal(&mine, "", script->projection->group);
    pj_sql_literal(&mine, ") WITH CHECK (consumer_group = ", script->projection->group);
    pj_builder_add(&mine, ")");
    char *policy = pj_builder_take(&mine);
    for (const struct pj_engine_right *right = pj_engine_rights; right->table != NULL; right++)
        add_right(script, ENGINE, right->table, right->rights);
    for (size_t i = 0; i < sizeof of_groups / sizeof of_groups[0]; i++)
        ADD(script, POLICIES, script->role, ENGINE, of_groups[i], script->role, policy);
    free(policy);
}

static void add_state(struct script *script, const char *entity)
{
    char name[PJ_STATE_NAME_SIZE];
    pj_declaration_state_name(script->projection->projection, entity, name);
    ADD(script, RELATIONS, ENGINE, name, "");
    add_right(script, ENGINE, name, pj_state_rights);
}

static void add_wide_state(struct script *script, const struct pj_entity_kind *entity)
{
    char name[PJ_STATE_NAME_SIZE];
    if (!pj_wide_has(entity))
        return;
    pj_declaration_wide_name(script->projection->projection, entity->name, name);
    ADD(script, RELATIONS, ENGINE, name, "");
    add_right(script, ENGINE, name, pj_wide_state_rights);
}

static void add_projection(struct script *script)
{
    const struct pj_projection *projection = script->projection->projection;
    char *meaning = pj_text_new("the consumer %s: its own tables alone", projection->name);
    ADD(script, ROLES, script->role, meaning, "writer");
    free(meaning);
    ADD(script, SCHEMAS, script->role, ENGINE, "USAGE");
    ADD(script, SCHEMAS, script->role, script->schema, "USAGE");
    add_engine(script);
    for (size_t i = 0; i < projection->entity_count; i++) {
        add_state(script, projection->entities[i].name);
        add_wide_state(script, &projection->entities[i]);
    }
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t]->claimed != NULL)
            add_state(script, projection->tables[t]->claimed);
        add_table(script, projection->tables[t]);
    }
}

/* --- systems --------------------------------------------------------------------------------- */

static void add_reader(struct script *script, const struct pj_reader *reader, bool is_view)
{
    ADD(script, SCHEMAS, reader->role, script->schema, "USAGE");
    ADD(script, RIGHTS, reader->role, script->schema, reader->relation, "SELECT");
    if (is_view)
        return;
    char *name = pj_text_new(ENGINE "_%s", reader->role);
    char *policy = pj_text_new("FOR SELECT TO %s USING (%s)", pj_sql_name(reader->role).text,
                               reader->rows != NULL ? reader->rows : "true");
    ADD(script, POLICIES, reader->role, script->schema, reader->relation, name, policy);
    free(policy);
    free(name);
}

static bool is_view(const struct pj_system *system, const char *relation)
{
    for (const char *const *view = system->views; view != NULL && *view != NULL; view++) {
        if (strcmp(*view, relation) == 0)
            return true;
    }
    return false;
}

/* outbox-relay deletes what it has published, and sets apart what it cannot. */
static void add_outbox(struct script *script, const char *schema)
{
    char relay[PJ_ROLE_NAME_SIZE];
    (void)name_role(script->roles, "outbox_relay", relay);
    ADD(script, ROLES, relay, "outbox-relay: the outboxes alone", "");
    ADD(script, SCHEMAS, relay, schema, "USAGE");
    ADD(script, RELATIONS, schema, "outbox", "");
    ADD(script, RELATIONS, schema, "outbox_failed", "");
    ADD(script, RIGHTS, relay, schema, "outbox", "SELECT, DELETE");
    ADD(script, RIGHTS, relay, schema, "outbox_failed", "SELECT, INSERT");
}

/* event-ingest asks whose a thing is, and where the tables are. */
static void add_ingested(struct script *script, const struct pj_ingested *ingested)
{
    char ingest[PJ_ROLE_NAME_SIZE];
    char *right = pj_text_new("SELECT (%s)", ingested->columns);
    (void)name_role(script->roles, "event_ingest", ingest);
    char *policy = pj_text_new("FOR SELECT TO %s USING (true)", pj_sql_name(ingest).text);
    ADD(script, ROLES, ingest, "event-ingest: whose things are, and in which version", "");
    ADD(script, SCHEMAS, ingest, ENGINE, "USAGE");
    ADD(script, SCHEMAS, ingest, script->schema, "USAGE");
    ADD(script, RIGHTS, ingest, ENGINE, "migrations", "SELECT");
    ADD(script, RIGHTS, ingest, script->schema, ingested->relation, right);
    ADD(script, POLICIES, ingest, script->schema, ingested->relation, ingest, policy);
    free(right);
    free(policy);
}

static void add_system(struct script *script, const struct pj_system *system)
{
    char analyst[PJ_ROLE_NAME_SIZE];
    (void)name_role(script->roles, "analyst", analyst);
    add_schema_right(script, "owner", script->schema, "CREATE");
    add_schema_right(script, "owner", script->schema, "USAGE");
    add_schema_right(script, "analyst", script->schema, "USAGE");
    ADD(script, SCHEMAS, "service_role", script->schema, "USAGE");
    for (const char *const *view = system->views; view != NULL && *view != NULL; view++) {
        ADD(script, RELATIONS, script->schema, *view, "invoker");
        ADD(script, RIGHTS, analyst, script->schema, *view, "SELECT");
        ADD(script, RIGHTS, "service_role", script->schema, *view, "SELECT");
    }
    for (size_t i = 0; i < system->reader_count; i++)
        add_reader(script, &system->readers[i], is_view(system, system->readers[i].relation));
    for (size_t i = 0; i < system->caller_count; i++)
        ADD(script, CALLERS, script->schema, system->callers[i].function, system->callers[i].role);
    if (system->outbox != NULL)
        add_outbox(script, system->outbox);
    for (size_t i = 0; i < system->ingested_count; i++)
        add_ingested(script, &system->ingested[i]);
    for (const char *const *name = system->published; name != NULL && *name != NULL; name++)
        ADD(script, PUBLISHED, script->schema, *name);
}

static void add_groups(struct script *script)
{
    static const char *const of_groups[] = {
        "schema_readers", "accepted_topics", "consumer_offsets", "dead_letters", "gaps", "rules"};
    static const char *const others[] = {"migrations", "trims", "schemas"};
    static const char *const views[] = {"progress", "stops", "gaps_by_group",
                                        "dead_letters_by_reason", "last_rebuilds"};
    static const char *const groups[][2] = {
        {"owner", "migrations, rebuilds and the other commands"},
        {"writer", "whom policies let write; the consumers are its members"},
        {"analyst", "reads the tables, and how far consumers are"},
    };
    char name[PJ_ROLE_NAME_SIZE];
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        (void)name_role(script->roles, groups[i][0], name);
        ADD(script, ROLES, name, groups[i][1], "");
    }
    add_schema_right(script, "owner", ENGINE, "CREATE");
    add_schema_right(script, "owner", ENGINE, "USAGE");
    add_schema_right(script, "analyst", ENGINE, "USAGE");
    /* Its functions are called by the views. */
    ADD(script, SCHEMAS, "service_role", ENGINE, "USAGE");
    for (size_t i = 0; i < sizeof of_groups / sizeof of_groups[0]; i++)
        ADD(script, RELATIONS, ENGINE, of_groups[i], "secured");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        ADD(script, RELATIONS, ENGINE, others[i], "");
    (void)name_role(script->roles, "analyst", name);
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        ADD(script, RELATIONS, ENGINE, views[i], "");
        ADD(script, RIGHTS, name, ENGINE, views[i], "SELECT");
    }
}

/* --- the statement --------------------------------------------------------------------------- */

/* `lists` are put in place of %s, ours of roles, the owner's and the writer's name in place of the
 * others; see pj_roles_sql. */
static const char begin[] =
    "-- Made by `projectionist roles` (" PJ_VERSION "). Whoever runs it owns the tables, and may "
    "create roles where\n-- some are missing; before and after migrations, as often as one likes.\n"
    "DO $roles$\n"
    "DECLARE\n"
    "    item RECORD;\n"
    "    name TEXT;\n"
    "    routine TEXT;\n"
    "    mine TEXT[];\n"
    "    taken TEXT[] := '{}';\n"
    "    path TEXT := current_setting('search_path');\n"
    "BEGIN\n"
    "    PERFORM pg_advisory_xact_lock(" PJ_MIGRATIONS_LOCK ");\n"
    "\n"
    "    -- Nobody can log in as one of these before ALTER ROLE … LOGIN PASSWORD …, or before a "
    "role "
    "that can\n    -- is made its member.\n";

static const char make_roles[] =
    "\n    ) AS v (role, meaning, of) LOOP\n"
    "        mine := mine || item.role;\n"
    "        IF to_regrole(quote_ident(item.role)) IS NULL THEN\n"
    "            EXECUTE format('CREATE ROLE %%I NOLOGIN', item.role);\n"
    "            EXECUTE format('COMMENT ON ROLE %%I IS %%L', item.role, item.meaning);\n"
    "        END IF;\n"
    "        IF item.of <> '' AND NOT pg_has_role(item.role, '%1$s_' || item.of, 'USAGE') THEN\n"
    "            EXECUTE format('GRANT %%I TO %%I', '%1$s_' || item.of, item.role);\n"
    "        END IF;\n"
    "        IF NOT has_database_privilege(item.role, current_database(), 'CONNECT') THEN\n"
    "            EXECUTE format('GRANT CONNECT ON DATABASE %%I TO %%I', current_database(), "
    "item.role);\n"
    "        END IF;\n"
    "    END LOOP;\n"
    "    IF NOT (has_database_privilege('%1$s_owner', current_database(), 'CREATE')\n"
    "            AND has_database_privilege('%1$s_owner', current_database(), 'TEMPORARY')) THEN\n"
    "        EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %%I TO %%I', current_database(),\n"
    "            '%1$s_owner');\n"
    "    END IF;\n";

static const char make_schemas[] =
    "\n    ) AS v (role, schema, power) LOOP\n"
    "        IF to_regrole(quote_ident(item.role)) IS NOT NULL\n"
    "            AND to_regnamespace(quote_ident(item.schema)) IS NOT NULL\n"
    "            AND NOT has_schema_privilege(item.role, item.schema, item.power) THEN\n"
    "            EXECUTE format('GRANT %s ON SCHEMA %I TO %I', item.power, item.schema, "
    "item.role);\n"
    "        END IF;\n"
    "    END LOOP;\n";

/* A view reads with the rights of whoever asks it; before Postgres 15 only with its owner's. */
static const char make_relations[] =
    "\n    ) AS v (schema, relation, kind) LOOP\n"
    "        CONTINUE WHEN to_regclass(format('%I.%I', item.schema, item.relation)) IS NULL;\n"
    "        FOREACH name IN ARRAY mine || ARRAY['anon', 'authenticated', 'service_role'] LOOP\n"
    "            IF to_regrole(quote_ident(name)) <> (SELECT relowner FROM pg_class\n"
    "                    WHERE oid = to_regclass(format('%I.%I', item.schema, item.relation))) "
    "THEN\n"
    "                EXECUTE format('REVOKE ALL ON %I.%I FROM %I', item.schema, item.relation, "
    "name);\n"
    "            END IF;\n"
    "        END LOOP;\n"
    "        EXECUTE format('REVOKE ALL ON %I.%I FROM PUBLIC', item.schema, item.relation);\n"
    "        IF item.kind = 'secured' THEN\n"
    "            EXECUTE format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY', item.schema,\n"
    "                item.relation);\n"
    "        ELSIF item.kind = 'invoker' AND current_setting('server_version_num')::int >= 150000 "
    "THEN\n"
    "            EXECUTE format('ALTER VIEW %I.%I SET (security_invoker = true)', item.schema,\n"
    "                item.relation);\n"
    "        END IF;\n"
    "    END LOOP;\n";

static const char make_rights[] =
    "\n    ) AS v (role, schema, relation, power) LOOP\n"
    "        IF to_regrole(quote_ident(item.role)) IS NOT NULL\n"
    "            AND to_regclass(format('%I.%I', item.schema, item.relation)) IS NOT NULL THEN\n"
    "            EXECUTE format('GRANT %s ON %I.%I TO %I', item.power, item.schema, "
    "item.relation,\n"
    "                item.role);\n"
    "        END IF;\n"
    "    END LOOP;\n";

/* What computes is for all who may use the schema; what a person orders is for the owner. */
static const char make_functions[] =
    "\n    -- Functions of the schema: those that only compute, and those that consumers call.\n"
    "    FOR item IN SELECT oid::regprocedure::text AS routine, provolatile = 'i' AS computes,\n"
    "            proname IN ('set_offsets', 'order_trim', 'create_outbox', 'retry_outbox')\n"
    "            AS ordered FROM pg_proc\n"
    "            WHERE pronamespace = to_regnamespace('" ENGINE "') LOOP\n"
    "        EXECUTE format('REVOKE ALL ON ROUTINE %%s FROM PUBLIC', item.routine);\n"
    "        IF NOT item.ordered THEN\n"
    "            EXECUTE format('GRANT EXECUTE ON ROUTINE %%s TO %%I', item.routine, "
    "'%1$s_writer');\n"
    "        END IF;\n"
    "        FOREACH name IN ARRAY ARRAY['%1$s_analyst', 'service_role'] LOOP\n"
    "            IF item.computes AND to_regrole(name) IS NOT NULL THEN\n"
    "                EXECUTE format('GRANT EXECUTE ON ROUTINE %%s TO %%I', item.routine, name);\n"
    "            END IF;\n"
    "        END LOOP;\n"
    "    END LOOP;\n";

static const char make_callers[] =
    "\n    ) AS v (schema, function, role) LOOP\n"
    "        FOR routine IN SELECT oid::regprocedure::text FROM pg_proc\n"
    "                WHERE pronamespace = to_regnamespace(quote_ident(item.schema))\n"
    "                AND proname = item.function LOOP\n"
    "            IF routine <> ALL (taken) THEN\n"
    "                taken := taken || routine;\n"
    "                EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', routine);\n"
    "                FOREACH name IN ARRAY mine || ARRAY['anon', 'authenticated', 'service_role'] "
    "LOOP\n"
    "                    IF to_regrole(quote_ident(name)) <> (SELECT proowner FROM pg_proc\n"
    "                            WHERE oid = routine::regprocedure) THEN\n"
    "                        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM %I', routine, name);\n"
    "                    END IF;\n"
    "                END LOOP;\n"
    "            END IF;\n"
    "            IF to_regrole(quote_ident(item.role)) IS NOT NULL THEN\n"
    "                EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', routine, item.role);\n"
    "            END IF;\n"
    "        END LOOP;\n"
    "    END LOOP;\n";

/* A rule finds what it names in its table's schema. */
static const char make_policies[] =
    "\n    ) AS v (role, schema, relation, policy, rule) LOOP\n"
    "        CONTINUE WHEN to_regrole(quote_ident(item.role)) IS NULL\n"
    "            OR to_regclass(format('%I.%I', item.schema, item.relation)) IS NULL;\n"
    "        EXECUTE format('DROP POLICY IF EXISTS %I ON %I.%I', item.policy, item.schema,\n"
    "            item.relation);\n"
    "        PERFORM set_config('search_path', concat_ws(', ',\n"
    "            quote_ident(item.schema), nullif(path, '')), true);\n"
    "        EXECUTE format('CREATE POLICY %I ON %I.%I %s', item.policy, item.schema,\n"
    "            item.relation, item.rule);\n"
    "        PERFORM set_config('search_path', path, true);\n"
    "    END LOOP;\n";

static const char make_published[] =
    "\n    ) AS v (schema, relation) LOOP\n"
    "        IF EXISTS (SELECT FROM pg_publication WHERE pubname = 'supabase_realtime')\n"
    "            AND to_regclass(format('%I.%I', item.schema, item.relation)) IS NOT NULL\n"
    "            AND NOT EXISTS (SELECT FROM pg_publication_tables AS p WHERE\n"
    "                p.pubname = 'supabase_realtime' AND p.schemaname = item.schema\n"
    "                AND p.tablename = item.relation) THEN\n"
    "            EXECUTE format('ALTER PUBLICATION supabase_realtime ADD TABLE %I.%I', "
    "item.schema,\n"
    "                item.relation);\n"
    "        END IF;\n"
    "    END LOOP;\n";

static void add_loop(struct pj_builder *sql, struct script *script, enum list list,
                     const char *comment, const char *body)
{
    char *rows = pj_builder_take(&script->lists[list]);
    if (*rows != '\0')
        pj_builder_add(sql, "\n    -- %s\n    FOR item IN SELECT * FROM (VALUES\n%s%s", comment,
                       rows, body);
    free(rows);
}

static int add_projections(struct script *script, struct pj_error *error)
{
    const struct pj_system *last = NULL;
    for (size_t i = 0; i < pj_cli_projection_count; i++) {
        script->projection = &pj_cli_projections[i];
        const struct pj_system *system = script->projection->system;
        const char *name = script->projection->projection->name;
        script->schema = script->roles->schema_of(system, script->roles->context);
        if (!name_role(script->roles, name, script->role))
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "the role %s_%s would be longer than the %d bytes that Postgres "
                                  "keeps; give a shorter --role-prefix",
                                  script->roles->prefix, name, PJ_SQL_IDENTIFIER_MOST);
        if (system != last)
            add_system(script, system);
        last = system;
        add_projection(script);
    }
    return 0;
}

char *pj_roles_sql(const struct pj_roles *roles, struct pj_error *error)
{
    struct script script = {.roles = roles};
    struct pj_builder sql = {0};
    add_groups(&script);
    if (add_projections(&script, error) != 0) {
        for (int i = 0; i < LISTS; i++)
            pj_builder_free(&script.lists[i]);
        return NULL;
    }
    char *roles_body = pj_text_new(make_roles, roles->prefix);
    pj_builder_add(&sql, "%s", begin);
    add_loop(&sql, &script, ROLES, "Roles, what for, and of which group they are members.",
             roles_body);
    free(roles_body);
    add_loop(&sql, &script, SCHEMAS, "Schemas.", make_schemas);
    add_loop(&sql, &script, RELATIONS,
             "What anybody had is taken back; row security is switched on.", make_relations);
    add_loop(&sql, &script, RIGHTS, "Who may do what.", make_rights);
    pj_builder_add(&sql, make_functions, roles->prefix);
    add_loop(&sql, &script, CALLERS, "Who may call which function of the systems.", make_callers);
    add_loop(&sql, &script, POLICIES, "Which rows each of them sees.", make_policies);
    add_loop(&sql, &script, PUBLISHED, "For Supabase's Realtime, where it is.", make_published);
    pj_builder_add(&sql, "END;\n$roles$;\n");
    return pj_builder_take(&sql);
}
