-- SPDX-License-Identifier: Apache-2.0
-- Made by deploy/render/generate from deploy/sql, to be run as often as one likes.
-- The tables are in the schema public, or that of the setting projectionist.tables_schema.
BEGIN;

-- engine/0001_migrations.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- The schema of Projectionist's own objects, and the record of the migrations applied to a
-- database. The schema may have been created, and granted, by somebody with more rights.

CREATE SCHEMA IF NOT EXISTS projectionist;
COMMENT ON SCHEMA projectionist IS
    'Projectionist''s own data: offsets, private state, dead letters, schemas';

CREATE TABLE projectionist.migrations (
    system TEXT NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    tables_schema TEXT,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (system, number)
);
COMMENT ON TABLE projectionist.migrations IS
    'The migrations applied to this database; written by "projectionist migrate"';
COMMENT ON COLUMN projectionist.migrations.system IS
    'What it belongs to: "engine", or a system of topics and tables such as "safari"';
COMMENT ON COLUMN projectionist.migrations.number IS 'The number that the file''s name begins with';
COMMENT ON COLUMN projectionist.migrations.name IS 'The file''s name';
COMMENT ON COLUMN projectionist.migrations.checksum IS
    'SHA-256 of the file when it was applied, in hex; a file that has changed since is an error';
COMMENT ON COLUMN projectionist.migrations.tables_schema IS
    'The schema that a system''s tables are in: one for all of its files; NULL of the engine''s';
$projectionist_file$;
    system TEXT := 'engine';
    number INTEGER := 1;
    schema TEXT := 'projectionist';
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', schema, true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0001_migrations.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- engine/0002_offsets.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- How far each consumer group has read, and the fence: offsets move in the transaction that writes
-- the rows, and only for the process that claimed the partition last.

-- --- offsets ----------------------------------------------------------------------------------

-- A few rows, updated with every batch: room on each page keeps those updates off the index.
CREATE TABLE projectionist.consumer_offsets (
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    start_offset BIGINT NOT NULL,
    next_offset BIGINT NOT NULL CHECK (next_offset >= 0),
    epoch BIGINT NOT NULL,
    owner TEXT,
    projection TEXT,
    stream_time TIMESTAMPTZ,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    topic_id TEXT,
    read_offset BIGINT,
    read_digest BIGINT,
    counted_from BIGINT,
    counted_to BIGINT,
    records BIGINT,
    checksum BIGINT,
    stop_code INTEGER,
    stop_reason TEXT,
    stopped_at TIMESTAMPTZ,
    PRIMARY KEY (cluster_id, consumer_group, topic, partition)
) WITH (fillfactor = 20);

COMMENT ON TABLE projectionist.consumer_offsets IS
    'How far each consumer has read each partition; advanced in the transaction that writes the rows';
COMMENT ON COLUMN projectionist.consumer_offsets.cluster_id IS 'The id that the Kafka cluster reports';
COMMENT ON COLUMN projectionist.consumer_offsets.consumer_group IS
    'The consumer group; by default the name of the projection';
COMMENT ON COLUMN projectionist.consumer_offsets.start_offset IS 'Where the group started reading';
COMMENT ON COLUMN projectionist.consumer_offsets.next_offset IS
    'The first offset that is not yet in the tables';
COMMENT ON COLUMN projectionist.consumer_offsets.epoch IS
    'Grows with each claim of the partition; a process with an older one can commit nothing';
COMMENT ON COLUMN projectionist.consumer_offsets.owner IS 'The process that claimed the partition last';
COMMENT ON COLUMN projectionist.consumer_offsets.projection IS
    'Whose tables the group writes; NULL until it has committed';
COMMENT ON COLUMN projectionist.consumer_offsets.stream_time IS
    'The latest event time read from the partition, if the projection keeps one';
COMMENT ON COLUMN projectionist.consumer_offsets.updated_at IS 'When next_offset last moved';
-- A recreated topic has another id, and offsets of the old one mean nothing in it. Where Kafka's
-- client does not know ids, the record read last shows the same: a recreated topic, or one whose
-- log lost its end, has a different record there.
COMMENT ON COLUMN projectionist.consumer_offsets.topic_id IS
    'Kafka''s id of the topic, where known; another id means that the topic was recreated';
COMMENT ON COLUMN projectionist.consumer_offsets.read_offset IS
    'The last record read, if known; there was none between it and next_offset';
COMMENT ON COLUMN projectionist.consumer_offsets.read_digest IS
    'A digest of that record; a different record at its offset means another topic';
-- What a rebuild checks before it trusts the topics: how many records the group has read, and
-- which, so that it notices records that are gone since, whatever removed them.
COMMENT ON COLUMN projectionist.consumer_offsets.counted_from IS
    'records counts from this offset on; it starts over when somebody else moves next_offset';
COMMENT ON COLUMN projectionist.consumer_offsets.counted_to IS
    'up to this one; if that is not next_offset, the count is void';
COMMENT ON COLUMN projectionist.consumer_offsets.records IS
    'How many records were read between the two; a topic with fewer there has lost some';
COMMENT ON COLUMN projectionist.consumer_offsets.checksum IS
    'Over their offsets, timestamps and lengths, in any order';
-- A restarted consumer must not continue as if nothing had happened, so a stop that needs a person
-- stays here until one acts.
COMMENT ON COLUMN projectionist.consumer_offsets.stop_code IS
    'The exit code of a stop that needs a person; NULL if there is none, or a person has acted';
COMMENT ON COLUMN projectionist.consumer_offsets.stop_reason IS 'Why it stopped, and what to do';
COMMENT ON COLUMN projectionist.consumer_offsets.stopped_at IS 'When it stopped';

CREATE VIEW projectionist.progress AS
SELECT cluster_id,
       consumer_group,
       count(*) AS partitions,
       sum(next_offset - start_offset)::bigint AS offsets_passed,
       jsonb_object_agg(topic || '/' || partition, next_offset ORDER BY topic, partition) AS offsets,
       max(stream_time) AS stream_time,
       max(updated_at) FILTER (WHERE next_offset > start_offset) AS last_commit,
       array_agg(DISTINCT owner ORDER BY owner) AS owners
FROM projectionist.consumer_offsets
GROUP BY cluster_id, consumer_group;
COMMENT ON VIEW projectionist.progress IS
    'How far each consumer group is, over all its partitions; only Kafka knows how far is left';
COMMENT ON COLUMN projectionist.progress.offsets_passed IS
    'The sum over the partitions of the offsets passed since the group started';
COMMENT ON COLUMN projectionist.progress.offsets IS
    'topic/partition: the first offset that is not yet in the tables';
COMMENT ON COLUMN projectionist.progress.last_commit IS 'NULL if nothing was committed yet';

CREATE VIEW projectionist.stops AS
SELECT cluster_id, consumer_group, topic, partition, next_offset, stop_code, stop_reason, stopped_at
FROM projectionist.consumer_offsets
WHERE stop_code IS NOT NULL;
COMMENT ON VIEW projectionist.stops IS
    'Partitions in which a consumer has stopped until a person acts, and why';

-- --- the fence --------------------------------------------------------------------------------

-- Claims partitions: the row lock waits for the old owner's transaction, the new epoch then keeps
-- it from committing another. Every function locks rows in the order of topic and partition, so
-- that two processes cannot deadlock. One statement in SQL, so that the names of the returned
-- columns do not hide the table's.
CREATE FUNCTION projectionist.claim_partitions(
    p_cluster TEXT, p_group TEXT, p_owner TEXT,
    p_topics TEXT[], p_partitions INTEGER[], p_start_offsets BIGINT[],
    p_topic_ids TEXT[] DEFAULT NULL)
RETURNS TABLE (topic TEXT, partition INTEGER, next_offset BIGINT, epoch BIGINT,
               stream_time TIMESTAMPTZ, topic_id TEXT, read_offset BIGINT, read_digest BIGINT,
               stop_code INTEGER, stop_reason TEXT)
LANGUAGE sql AS $$
    INSERT INTO projectionist.consumer_offsets AS o
        (cluster_id, consumer_group, topic, partition, next_offset, start_offset, epoch, owner,
         topic_id)
    SELECT p_cluster, p_group, g.topic, g.partition, g.start_offset, g.start_offset, 1, p_owner,
        g.topic_id
    FROM unnest(p_topics, p_partitions, p_start_offsets, p_topic_ids)
        AS g (topic, partition, start_offset, topic_id)
    ORDER BY g.topic, g.partition
    ON CONFLICT (cluster_id, consumer_group, topic, partition)
        DO UPDATE SET epoch = o.epoch + 1, owner = excluded.owner,
            -- The offset 0 is the same place in every topic.
            topic_id = CASE WHEN o.next_offset = 0 THEN coalesce(excluded.topic_id, o.topic_id)
                            ELSE coalesce(o.topic_id, excluded.topic_id) END
    RETURNING o.topic, o.partition, o.next_offset, o.epoch, o.stream_time, o.topic_id,
        o.read_offset, o.read_digest, o.stop_code, o.stop_reason
$$;
COMMENT ON FUNCTION projectionist.claim_partitions IS
    'Makes a process the owner of partitions; start_offsets count only where the group is new, and '
    'topic_ids only where it has read nothing or the topic''s id was unknown';

-- Advances offsets, or raises PJ001. It must raise: a row count of zero would not stop a COMMIT
-- that is already on its way.
CREATE FUNCTION projectionist.advance_offsets(
    p_cluster TEXT, p_group TEXT, p_topics TEXT[], p_partitions INTEGER[], p_epochs BIGINT[],
    p_expected BIGINT[], p_next BIGINT[], p_stream_times TIMESTAMPTZ[],
    p_records BIGINT[] DEFAULT NULL, p_checksums BIGINT[] DEFAULT NULL,
    p_projection TEXT DEFAULT NULL,
    p_read_offsets BIGINT[] DEFAULT NULL, p_read_digests BIGINT[] DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    advanced INTEGER;
    lost TEXT;
BEGIN
    PERFORM
    FROM projectionist.consumer_offsets AS o
    JOIN unnest(p_topics, p_partitions) AS g (topic, partition)
        ON o.topic = g.topic AND o.partition = g.partition
    WHERE o.cluster_id = p_cluster AND o.consumer_group = p_group
    ORDER BY o.topic, o.partition
    FOR NO KEY UPDATE OF o;

    UPDATE projectionist.consumer_offsets AS o
    SET next_offset = g.next,
        stream_time = greatest(o.stream_time, g.stream_time),
        updated_at = clock_timestamp(),
        projection = p_projection,
        counted_from = CASE WHEN o.counted_to = g.expected THEN o.counted_from ELSE g.expected END,
        counted_to = CASE WHEN g.records IS NOT NULL THEN g.next END,
        records = CASE WHEN o.counted_to = g.expected THEN o.records ELSE 0 END + g.records,
        checksum = CASE WHEN o.counted_to = g.expected THEN o.checksum ELSE 0 END # g.checksum,
        -- Control records are passed but not read: the record read last stays.
        read_offset = coalesce(g.read_offset, o.read_offset),
        read_digest = CASE WHEN g.read_offset IS NULL THEN o.read_digest ELSE g.read_digest END
    FROM unnest(p_topics, p_partitions, p_epochs, p_expected, p_next, p_stream_times, p_records,
            p_checksums, p_read_offsets, p_read_digests)
        AS g (topic, partition, epoch, expected, next, stream_time, records, checksum,
            read_offset, read_digest)
    WHERE o.cluster_id = p_cluster AND o.consumer_group = p_group
        AND o.topic = g.topic AND o.partition = g.partition
        AND o.epoch = g.epoch AND o.next_offset = g.expected;
    GET DIAGNOSTICS advanced = ROW_COUNT;
    IF advanced = cardinality(p_topics) THEN
        RETURN;
    END IF;

    -- The rows that the UPDATE did reach have the new offset now; the transaction is lost anyway.
    SELECT string_agg(
            format('%s [%s] (%s)', g.topic, g.partition,
                CASE
                    WHEN o.epoch IS NULL THEN 'it has no row'
                    WHEN o.epoch <> g.epoch THEN
                        format('epoch %s of %s, ours is %s', o.epoch, o.owner, g.epoch)
                    ELSE format('offset %s, ours is %s', o.next_offset, g.expected)
                END),
            ', ' ORDER BY g.topic, g.partition)
    INTO lost
    FROM unnest(p_topics, p_partitions, p_epochs, p_expected, p_next)
        AS g (topic, partition, epoch, expected, next)
    LEFT JOIN projectionist.consumer_offsets AS o
        ON o.cluster_id = p_cluster AND o.consumer_group = p_group
        AND o.topic = g.topic AND o.partition = g.partition
    WHERE o.epoch IS DISTINCT FROM g.epoch OR o.next_offset <> g.next;
    RAISE EXCEPTION 'fenced: another owner has claimed partition %', lost USING ERRCODE = 'PJ001';
END;
$$;
COMMENT ON FUNCTION projectionist.advance_offsets IS
    'Advances the offsets of a batch, all or none; raises PJ001 when another owner has claimed one';

-- --- what a person does to offsets ------------------------------------------------------------

CREATE TABLE projectionist.offset_changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    changed_by TEXT NOT NULL DEFAULT session_user,
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    from_offset BIGINT,
    to_offset BIGINT NOT NULL CHECK (to_offset >= 0),
    epoch BIGINT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX idx_offset_changes_place
    ON projectionist.offset_changes (cluster_id, consumer_group, topic, partition, id);

COMMENT ON TABLE projectionist.offset_changes IS
    'Offsets that a person moved ("projectionist offsets set"); consumers'' commits are not here';
COMMENT ON COLUMN projectionist.offset_changes.changed_by IS 'The role that was logged in';
COMMENT ON COLUMN projectionist.offset_changes.from_offset IS
    'Where the group would have continued; NULL if it had not read the partition yet';
COMMENT ON COLUMN projectionist.offset_changes.to_offset IS
    'Where it continues; greater than from_offset means that the records between are skipped';
COMMENT ON COLUMN projectionist.offset_changes.epoch IS
    'The epoch of the change, which keeps the previous owner from committing';
COMMENT ON COLUMN projectionist.offset_changes.reason IS 'The request';

-- Claims the partitions like a consumer that takes over, so that none commits past the change; then
-- moves them. Rows are locked in claim_partitions's order; a partition whose epoch is the first is
-- one that the group had not read. It lifts a stop. The offset belongs to the current topic: an id
-- that is not given is cleared until the next claim, and the record before the offset is unknown.
CREATE FUNCTION projectionist.set_offsets(
    p_cluster TEXT, p_group TEXT, p_topics TEXT[], p_partitions INTEGER[], p_offsets BIGINT[],
    p_reason TEXT, p_topic_ids TEXT[] DEFAULT NULL)
RETURNS TABLE (moved_topic TEXT, moved_partition INTEGER, from_offset BIGINT, to_offset BIGINT,
               new_epoch BIGINT)
LANGUAGE plpgsql AS $$
DECLARE
    taken RECORD;
BEGIN
    FOR taken IN
        SELECT t.topic, t.partition, t.next_offset, t.epoch, g.target, g.topic_id
        FROM projectionist.claim_partitions(
            p_cluster, p_group, 'offsets set', p_topics, p_partitions, p_offsets) AS t
        JOIN unnest(p_topics, p_partitions, p_offsets, p_topic_ids)
                AS g (topic, partition, target, topic_id)
            ON g.topic = t.topic AND g.partition = t.partition
        ORDER BY t.topic, t.partition
    LOOP
        moved_topic := taken.topic;
        moved_partition := taken.partition;
        from_offset := CASE WHEN taken.epoch > 1 THEN taken.next_offset END;
        to_offset := taken.target;
        new_epoch := taken.epoch;
        UPDATE projectionist.consumer_offsets AS o
        SET next_offset = to_offset,
            start_offset = least(o.start_offset, to_offset),
            topic_id = taken.topic_id,
            updated_at = clock_timestamp(),
            read_offset = NULL, read_digest = NULL,
            stop_code = NULL, stop_reason = NULL, stopped_at = NULL
        WHERE o.cluster_id = p_cluster AND o.consumer_group = p_group
            AND o.topic = moved_topic AND o.partition = moved_partition;
        INSERT INTO projectionist.offset_changes AS c
            (cluster_id, consumer_group, topic, partition, from_offset, to_offset, epoch, reason)
        VALUES (p_cluster, p_group, moved_topic, moved_partition, set_offsets.from_offset,
            set_offsets.to_offset, new_epoch, p_reason);
        RETURN NEXT;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION projectionist.set_offsets IS
    'Moves the offsets of a group, fences the owners of the partitions, and records the change';

CREATE TABLE projectionist.gaps (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    from_offset BIGINT NOT NULL,
    to_offset BIGINT NOT NULL CHECK (to_offset > from_offset),
    reason TEXT NOT NULL,
    accepted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    accepted_by TEXT NOT NULL DEFAULT session_user
);
COMMENT ON TABLE projectionist.gaps IS
    'Records that were gone before they were read, and that somebody chose to continue without';
COMMENT ON COLUMN projectionist.gaps.from_offset IS 'The first offset that was never read';
COMMENT ON COLUMN projectionist.gaps.to_offset IS 'The first offset after the gap';
COMMENT ON COLUMN projectionist.gaps.accepted_by IS 'The process or the role that accepted the gap';

CREATE VIEW projectionist.gaps_by_group AS
SELECT cluster_id,
       consumer_group,
       topic,
       count(*) AS gaps,
       count(DISTINCT partition) AS partitions,
       sum(to_offset - from_offset)::bigint AS offsets_lost,
       min(accepted_at) AS first_accepted_at,
       max(accepted_at) AS last_accepted_at
FROM projectionist.gaps
GROUP BY cluster_id, consumer_group, topic;
COMMENT ON VIEW projectionist.gaps_by_group IS
    'What each group continues without because retention removed it before it was read';
$projectionist_file$;
    system TEXT := 'engine';
    number INTEGER := 2;
    schema TEXT := 'projectionist';
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', schema, true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0002_offsets.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- engine/0003_dead_letters.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- Records that could not be applied, kept whole until a person replays or discards them.

CREATE TABLE projectionist.dead_letters (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    projection TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    record_offset BIGINT NOT NULL,
    record_timestamp TIMESTAMPTZ,
    key BYTEA,
    value BYTEA,
    headers JSONB,
    schema_id INTEGER,
    error_class TEXT NOT NULL,
    sqlstate TEXT,
    message TEXT NOT NULL,
    failed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'replayed', 'discarded')),
    resolved_at TIMESTAMPTZ,
    UNIQUE (cluster_id, consumer_group, topic, partition, record_offset)
);
CREATE INDEX idx_dead_letters_open
    ON projectionist.dead_letters (consumer_group, id) WHERE status = 'open';

COMMENT ON TABLE projectionist.dead_letters IS
    'Records that could not be applied, whole; see "projectionist dead-letters"';
COMMENT ON COLUMN projectionist.dead_letters.id IS 'The argument of "projectionist dead-letters show"';
COMMENT ON COLUMN projectionist.dead_letters.record_offset IS 'The record''s offset';
COMMENT ON COLUMN projectionist.dead_letters.record_timestamp IS 'Kafka''s timestamp of the record';
COMMENT ON COLUMN projectionist.dead_letters.key IS 'The record''s key, byte for byte';
COMMENT ON COLUMN projectionist.dead_letters.value IS 'The record''s value, byte for byte';
COMMENT ON COLUMN projectionist.dead_letters.schema_id IS
    'The registry''s id of the writer''s schema, if the value begins with one';
COMMENT ON COLUMN projectionist.dead_letters.error_class IS 'The class of the error';
COMMENT ON COLUMN projectionist.dead_letters.sqlstate IS 'Postgres''s code, if Postgres refused it';
COMMENT ON COLUMN projectionist.dead_letters.message IS 'The error in one sentence';
COMMENT ON COLUMN projectionist.dead_letters.status IS
    'open, replayed (applied later, exactly once) or discarded (by a person)';
COMMENT ON COLUMN projectionist.dead_letters.resolved_at IS 'When it stopped being open';

CREATE VIEW projectionist.dead_letters_by_reason AS
SELECT consumer_group,
       projection,
       topic,
       status,
       error_class,
       sqlstate,
       regexp_replace(message, '[0-9]+', 'N', 'g') AS reason,
       count(*) AS letters,
       min(failed_at) AS first_failed_at,
       max(failed_at) AS last_failed_at,
       min(id) AS first_id,
       max(id) AS last_id
FROM projectionist.dead_letters
GROUP BY consumer_group, projection, topic, status, error_class, sqlstate,
         regexp_replace(message, '[0-9]+', 'N', 'g');
COMMENT ON VIEW projectionist.dead_letters_by_reason IS
    'Dead letters counted by reason; numbers within a reason are left out to group similar ones';

-- Dead letters do not help a consumer that refuses everything: it stops at the hundredth from a
-- topic of which it has accepted nothing yet.
CREATE TABLE projectionist.accepted_topics (
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    accepted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, consumer_group, topic)
);
COMMENT ON TABLE projectionist.accepted_topics IS
    'The topics of which a consumer group has applied at least one record';
COMMENT ON COLUMN projectionist.accepted_topics.accepted_at IS 'When it applied the first one';
$projectionist_file$;
    system TEXT := 'engine';
    number INTEGER := 3;
    schema TEXT := 'projectionist';
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', schema, true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0003_dead_letters.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- engine/0004_schemas.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- The schemas that records were written with, and the registries they came from.

CREATE TABLE projectionist.schemas (
    registry TEXT NOT NULL,
    schema_id INTEGER NOT NULL,
    schema TEXT NOT NULL,
    fetched_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (registry, schema_id)
);
COMMENT ON TABLE projectionist.schemas IS
    'The schemas that records were written with, so that a rebuild needs no schema registry';
COMMENT ON COLUMN projectionist.schemas.registry IS 'The registry that assigned the id';
COMMENT ON COLUMN projectionist.schemas.schema IS 'The Avro schema, as the registry returned it';

-- Shows when an id means another schema at another registry, or at the same one after it was
-- refilled.
CREATE TABLE projectionist.schema_readers (
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    registry TEXT NOT NULL,
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, consumer_group, registry)
);
COMMENT ON TABLE projectionist.schema_readers IS
    'The schema registries in which each group looked up the schema ids of its records';

CREATE TABLE projectionist.forgotten_schemas (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    registry TEXT NOT NULL,
    schema_id INTEGER NOT NULL,
    schema TEXT NOT NULL,
    fetched_at TIMESTAMPTZ NOT NULL,
    forgotten_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    forgotten_by TEXT NOT NULL DEFAULT session_user
);
COMMENT ON TABLE projectionist.forgotten_schemas IS
    'Stored schemas that a person removed ("projectionist schemas forget")';
COMMENT ON COLUMN projectionist.forgotten_schemas.forgotten_by IS 'The role that was logged in';
$projectionist_file$;
    system TEXT := 'engine';
    number INTEGER := 4;
    schema TEXT := 'projectionist';
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', schema, true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0004_schemas.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- engine/0005_rebuilds.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- Rebuilding tables from their topics, and proving that they match: what was rebuilt and verified,
-- and what else rows were derived from.

CREATE TABLE projectionist.rebuilds (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('rebuild', 'verify')),
    projection TEXT NOT NULL,
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    done_by TEXT NOT NULL DEFAULT session_user,
    differing_rows BIGINT NOT NULL,
    differences JSONB NOT NULL,
    ranges JSONB NOT NULL,
    kept_retained BOOLEAN NOT NULL
);
CREATE INDEX idx_rebuilds_last
    ON projectionist.rebuilds (cluster_id, consumer_group, kind, id DESC);
COMMENT ON TABLE projectionist.rebuilds IS
    'Runs of "projectionist rebuild" and "projectionist verify"';
COMMENT ON COLUMN projectionist.rebuilds.differing_rows IS
    'How many rows differed from the topics; a rebuild has written them';
COMMENT ON COLUMN projectionist.rebuilds.differences IS
    'Per table: rows, and how many were missing, extra or changed, and in which columns';
COMMENT ON COLUMN projectionist.rebuilds.ranges IS
    'topic/partition: the first offset read, and the one after the last';
COMMENT ON COLUMN projectionist.rebuilds.kept_retained IS
    'Rows were kept that stem from records which retention has removed';

CREATE VIEW projectionist.last_rebuilds AS
SELECT DISTINCT ON (cluster_id, consumer_group, kind)
       cluster_id, consumer_group, projection, kind, started_at, finished_at,
       finished_at - started_at AS took, done_by, differing_rows, differences
FROM projectionist.rebuilds
ORDER BY cluster_id, consumer_group, kind, id DESC;
COMMENT ON VIEW projectionist.last_rebuilds IS
    'The last rebuild and the last verification of each consumer group, and what they found';

CREATE TABLE projectionist.other_sources (
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    source TEXT NOT NULL,
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, consumer_group, source)
);
COMMENT ON TABLE projectionist.other_sources IS
    'What rows derive from besides the group''s topics: recordings that a rebuild read; removed once '
    'a rebuild has dropped those rows';
$projectionist_file$;
    system TEXT := 'engine';
    number INTEGER := 5;
    schema TEXT := 'projectionist';
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', schema, true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0005_rebuilds.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- engine/0006_rows.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- Functions that the statements which write rows call.

-- A row derived from one entity is not overwritten by another: an insert calls this where the row
-- already exists and is not a placeholder.
CREATE FUNCTION projectionist.refuse_row(p_row TEXT, p_value ANYELEMENT)
    RETURNS ANYELEMENT
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'PJ003', MESSAGE = p_row;
END;
$$;
COMMENT ON FUNCTION projectionist.refuse_row IS
    'Refuses a row that another entity already has; p_row names it, p_value is never returned';

-- For Postgres it is not an error when a statement writes fewer rows than it was given: it skips
-- rows that somebody deleted, that row security hides or that a trigger suppresses. So every write
-- counts its rows, and fails its transaction by this function if the numbers differ.
CREATE FUNCTION projectionist.refuse_unwritten(
    p_projection TEXT, p_table REGCLASS, p_verb TEXT, p_queued BIGINT, p_written BIGINT)
RETURNS BOOLEAN
LANGUAGE plpgsql AS $$
DECLARE
    reason TEXT;
    triggers TEXT;
BEGIN
    -- Row triggers (1), BEFORE (2) or INSTEAD OF (64), for INSERT (4), DELETE (8), UPDATE (16). An
    -- INSERT may become an UPDATE.
    SELECT string_agg(DISTINCT quote_ident(g.tgname), ', ') INTO triggers
    FROM pg_trigger AS g
    WHERE g.tgrelid IN (SELECT p_table::oid UNION SELECT relid FROM pg_partition_tree(p_table))
        AND NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgtype & 1 = 1 AND g.tgtype & 66 <> 0
        AND g.tgtype & CASE p_verb WHEN 'INSERT' THEN 20 WHEN 'DELETE' THEN 8 ELSE 16 END <> 0;
    reason := CASE
        WHEN p_written > p_queued THEN 'its key is not unique'
        WHEN row_security_active(p_table) THEN format(
            'row security hides others from the role %I; give it a policy FOR ALL USING (true) '
            'WITH CHECK (true), or BYPASSRLS', current_user)
        WHEN triggers IS NOT NULL AND p_verb = 'INSERT' THEN format(
            'a trigger (%s) returned NULL for others; correct or drop it', triggers)
        WHEN p_verb = 'INSERT' THEN 'find out what suppresses others'
        ELSE format(
            'others were deleted by hand or by a foreign key''s ON DELETE; `projectionist rebuild '
            '%s` restores them%s', p_projection,
            ' (or a trigger returned NULL for them: ' || triggers || ')')
    END;
    RAISE EXCEPTION USING ERRCODE = 'PJ004', MESSAGE = format(
        'the table %s took %s of the %s rows of %s %s, so nothing of the transaction was kept: %s',
        (SELECT format('%I.%I', n.nspname, c.relname)
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.oid = p_table),
        p_written, p_queued, CASE p_verb WHEN 'DELETE' THEN 'a' ELSE 'an' END, p_verb,
        reason);
END;
$$;
COMMENT ON FUNCTION projectionist.refuse_unwritten IS
    'Raises PJ004: a statement wrote a different number of rows than it was given';

-- Histograms are arrays of counts, added element by element; a missing one is all zeros.
CREATE FUNCTION projectionist.add_counts(p_a BIGINT[], p_b BIGINT[]) RETURNS BIGINT[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_a IS NULL THEN p_b
        WHEN p_b IS NULL THEN p_a
        ELSE (SELECT array_agg(coalesce(g.a, 0) + coalesce(g.b, 0) ORDER BY g.i)
            FROM unnest(p_a, p_b) WITH ORDINALITY AS g (a, b, i))
    END
$$;
COMMENT ON FUNCTION projectionist.add_counts IS 'Adds two histograms element by element';
CREATE AGGREGATE projectionist.sum_counts(BIGINT[]) (
    SFUNC = projectionist.add_counts, STYPE = BIGINT[], PARALLEL = SAFE);
COMMENT ON AGGREGATE projectionist.sum_counts(BIGINT[]) IS 'Adds histograms element by element';
$projectionist_file$;
    system TEXT := 'engine';
    number INTEGER := 6;
    schema TEXT := 'projectionist';
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', schema, true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0006_rows.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- engine/0007_trims.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- Orders by which rows of append tables that are older than a time go, and stay away.

CREATE TABLE projectionist.trims (
    table_schema TEXT NOT NULL,
    table_name TEXT NOT NULL,
    before TIMESTAMPTZ NOT NULL,
    ordered_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_schema, table_name)
);
COMMENT ON TABLE projectionist.trims IS
    'Append tables whose rows older than a time are gone for good: consumers do not write them '
    'again, verify and rebuild skip them. Written by projectionist.order_trim';
COMMENT ON COLUMN projectionist.trims.table_schema IS 'The schema of the table';
COMMENT ON COLUMN projectionist.trims.table_name IS 'Its name';
COMMENT ON COLUMN projectionist.trims.before IS
    'Rows whose time is before this go; which column has a row''s time, its declaration says';
COMMENT ON COLUMN projectionist.trims.ordered_at IS 'When that was ordered';

CREATE FUNCTION projectionist.trimmed_before(p_table REGCLASS)
    RETURNS TIMESTAMPTZ
LANGUAGE sql STABLE AS $$
    SELECT t.before
    FROM projectionist.trims AS t
    JOIN pg_class AS c ON c.relname = t.table_name
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = t.table_schema
    WHERE c.oid = p_table;
$$;
COMMENT ON FUNCTION projectionist.trimmed_before IS
    'The time before which rows of the table are gone for good; NULL where none was ordered';

-- Who writes the table now is waited for, and who writes it later sees the order: no older row is
-- written once this has returned. It deletes nothing itself.
CREATE FUNCTION projectionist.order_trim(p_table REGCLASS, p_before TIMESTAMPTZ)
    RETURNS TIMESTAMPTZ
LANGUAGE plpgsql AS $$
BEGIN
    IF p_before IS NULL OR NOT isfinite(p_before) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the time before which rows go must be a time, and neither null nor infinite';
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', p_table);
    INSERT INTO projectionist.trims AS t (table_schema, table_name, before)
    SELECT n.nspname, c.relname, p_before
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = p_table
    ON CONFLICT (table_schema, table_name) DO UPDATE
        SET before = excluded.before, ordered_at = clock_timestamp()
        WHERE t.before < excluded.before;
    RETURN projectionist.trimmed_before(p_table);
END;
$$;
COMMENT ON FUNCTION projectionist.order_trim IS
    'Orders that rows of an append table older than a time go and stay away; a time that is earlier '
    'than the one ordered before changes nothing. Returns the time that holds';
$projectionist_file$;
    system TEXT := 'engine';
    number INTEGER := 7;
    schema TEXT := 'projectionist';
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', schema, true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0007_trims.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- engine/0008_expected_trims.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
-- Writers need not ask in each transaction what was ordered: they say what they know.

CREATE FUNCTION projectionist.expect_trim(p_table REGCLASS, p_before TIMESTAMPTZ)
    RETURNS VOID
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF projectionist.trimmed_before(p_table) IS DISTINCT FROM p_before THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = format(
            'a trim of %s was ordered meanwhile', p_table);
    END IF;
END;
$$;
COMMENT ON FUNCTION projectionist.expect_trim IS
    'Raises 40001 where another time than this one was ordered (order_trim); NULL: none was';
$projectionist_file$;
    system TEXT := 'engine';
    number INTEGER := 8;
    schema TEXT := 'projectionist';
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', schema, true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0008_expected_trims.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- engine/0009_rules.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- By which version of a projection's rules the rows of each consumer group were written.

CREATE TABLE projectionist.rules (
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    projection TEXT NOT NULL,
    version INTEGER NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (cluster_id, consumer_group)
);
COMMENT ON TABLE projectionist.rules IS
    'Which version of its projection''s rules a consumer group''s rows follow';
COMMENT ON COLUMN projectionist.rules.cluster_id IS 'The id that the Kafka cluster reports';
COMMENT ON COLUMN projectionist.rules.consumer_group IS 'The consumer group';
COMMENT ON COLUMN projectionist.rules.projection IS 'Whose tables it writes';
COMMENT ON COLUMN projectionist.rules.version IS
    'The .version of the projection that began the tables, that a rebuild wrote, or that a person '
    'accepted; 0 where it had none';
COMMENT ON COLUMN projectionist.rules.recorded_at IS 'When that was';

-- Rows that are there before anything was recorded follow from rules without a version.
CREATE FUNCTION projectionist.version_of_rows(
    p_cluster TEXT, p_group TEXT, p_projection TEXT, p_version INTEGER, p_accepted BOOLEAN)
RETURNS INTEGER
LANGUAGE plpgsql STRICT AS $$
BEGIN
    INSERT INTO projectionist.rules AS r (cluster_id, consumer_group, projection, version)
    SELECT p_cluster, p_group, p_projection, CASE WHEN p_accepted OR NOT EXISTS (
        SELECT FROM projectionist.consumer_offsets AS o
        WHERE o.cluster_id = p_cluster AND o.consumer_group = p_group
            AND o.projection IS NOT NULL) THEN p_version ELSE 0 END
    ON CONFLICT (cluster_id, consumer_group) DO UPDATE
        SET projection = excluded.projection, version = excluded.version,
            recorded_at = excluded.recorded_at
        WHERE p_accepted AND r.version <> excluded.version;
    RETURN (SELECT r.version FROM projectionist.rules AS r
            WHERE r.cluster_id = p_cluster AND r.consumer_group = p_group);
END;
$$;
COMMENT ON FUNCTION projectionist.version_of_rows IS
    'The version of the rules that the group''s rows follow: this one, where there are no rows yet '
    'or it is accepted for them';
$projectionist_file$;
    system TEXT := 'engine';
    number INTEGER := 9;
    schema TEXT := 'projectionist';
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', schema, true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0009_rules.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- engine/0010_outbox.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- Outboxes: what functions of a system tell is an event, written in the caller's transaction, which
-- outbox-relay takes to Kafka. A system's migration makes its own by projectionist.create_outbox.

CREATE FUNCTION projectionist.notify_outbox() RETURNS TRIGGER
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_ARGV[0], '');
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION projectionist.notify_outbox IS 'Wakes the outbox-relay of the table';

-- Of no use without its schema, which nobody but the functions there and the relay reaches.
CREATE FUNCTION projectionist.create_outbox(p_schema TEXT) RETURNS VOID
LANGUAGE plpgsql STRICT AS $create$
BEGIN
    EXECUTE format($sql$
        CREATE TABLE %1$I.outbox (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            event_id UUID NOT NULL UNIQUE,
            topic TEXT NOT NULL CHECK (topic <> ''),
            key TEXT NOT NULL,
            body JSONB NOT NULL CHECK (jsonb_typeof(body) = 'object'),
            written_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
        ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
        COMMENT ON TABLE %1$I.outbox IS
            'Events that were committed and are not in Kafka yet; outbox-relay deletes what is';
        COMMENT ON COLUMN %1$I.outbox.id IS
            'The order of publication within a key, for writers that hold a lock of the key; not '
            'that of commits';
        COMMENT ON COLUMN %1$I.outbox.event_id IS 'The event_id of the record';
        COMMENT ON COLUMN %1$I.outbox.topic IS 'Where to, without the environment''s prefix';
        COMMENT ON COLUMN %1$I.outbox.key IS 'The key of the record';
        COMMENT ON COLUMN %1$I.outbox.body IS
            'The event, as the topic''s schema wants it; a missing event_id is the row''s';
        COMMENT ON COLUMN %1$I.outbox.written_at IS 'When it was written, before the commit';

        CREATE TABLE %1$I.outbox_failed (
            id BIGINT NOT NULL,
            event_id UUID NOT NULL,
            topic TEXT NOT NULL,
            key TEXT NOT NULL,
            body JSONB NOT NULL,
            written_at TIMESTAMPTZ NOT NULL,
            failed_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
            reason TEXT NOT NULL,
            PRIMARY KEY (id, event_id)
        );
        COMMENT ON TABLE %1$I.outbox_failed IS
            'Events that can never be published as they are; projectionist.retry_outbox puts them '
            'back';
        COMMENT ON COLUMN %1$I.outbox_failed.id IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.event_id IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.topic IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.key IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.body IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.written_at IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.failed_at IS 'When outbox-relay set it apart';
        COMMENT ON COLUMN %1$I.outbox_failed.reason IS 'Why it cannot be published';

        CREATE TRIGGER outbox_notify AFTER INSERT ON %1$I.outbox
            FOR EACH STATEMENT EXECUTE FUNCTION projectionist.notify_outbox(%2$L);

        CREATE FUNCTION %1$I.emit(p_topic TEXT, p_key TEXT, p_body JSONB,
            p_at TIMESTAMPTZ DEFAULT clock_timestamp(), p_event_id UUID DEFAULT gen_random_uuid())
            RETURNS UUID
        LANGUAGE sql AS $emit$
            INSERT INTO %1$I.outbox (event_id, topic, key, body)
            VALUES (p_event_id, p_topic, p_key, p_body || jsonb_build_object(
                'event_id', p_event_id,
                'emitted_at', (extract(epoch FROM p_at) * 1000000)::BIGINT))
            RETURNING event_id;
        $emit$;
        COMMENT ON FUNCTION %1$I.emit IS
            'Writes an event with its event_id and emitted_at into the outbox, in the transaction '
            'of the caller';
        REVOKE ALL ON FUNCTION %1$I.emit FROM PUBLIC;
    $sql$, p_schema, left(regexp_replace(p_schema, '_private$', '') || '_outbox', 63));
END;
$create$;
COMMENT ON FUNCTION projectionist.create_outbox IS
    'Makes outbox, outbox_failed and emit() in a schema; outbox-relay listens to the channel of the '
    'schema''s name without _private, with _outbox';

CREATE FUNCTION projectionist.retry_outbox(p_schema TEXT, p_ids BIGINT[] DEFAULT NULL)
    RETURNS BIGINT
LANGUAGE plpgsql AS $$
DECLARE
    v_count BIGINT;
BEGIN
    EXECUTE format('WITH back AS (DELETE FROM %1$I.outbox_failed '
        'WHERE $1 IS NULL OR id = ANY ($1) RETURNING *) '
        'INSERT INTO %1$I.outbox (event_id, topic, key, body, written_at) '
        'SELECT event_id, topic, key, body, written_at FROM back ORDER BY id', p_schema)
        USING p_ids;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END;
$$;
COMMENT ON FUNCTION projectionist.retry_outbox IS
    'Puts events of outbox_failed, all or those of these ids, back into the outbox, behind what is '
    'there; returns how many';
$projectionist_file$;
    system TEXT := 'engine';
    number INTEGER := 10;
    schema TEXT := 'projectionist';
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', schema, true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0010_outbox.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- render/0001_render_tables.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- What a platform that renders videos keeps: jobs with their elements and the steps of their work,
-- what was done in the object storage, who fetched the results, and measurements. Six tables and
-- six enums as the platform names them, and two tables more: what became of each word of a job's
-- status, and the elements that were refused.

-- On Supabase the extension is in the schema "extensions", and a function of this name may serve
-- other tables, too: neither is touched if it exists. The comment tells who may drop it again.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'uuid-ossp') THEN
        CREATE EXTENSION "uuid-ossp";
        COMMENT ON EXTENSION "uuid-ossp" IS
            'generate universally unique identifiers (UUIDs); made by Projectionist for render';
    END IF;
    IF to_regprocedure('update_updated_at_column()') IS NULL THEN
        CREATE FUNCTION update_updated_at_column() RETURNS TRIGGER AS $body$
        BEGIN
            NEW.updated_at = NOW();
            RETURN NEW;
        END;
        $body$ LANGUAGE plpgsql;
        COMMENT ON FUNCTION update_updated_at_column() IS
            'Sets updated_at to the time of the transaction';
    END IF;
END;
$$;

CREATE TYPE job_status AS ENUM (
    'pending', 'processing', 'completed', 'failed', 'cancelled', 'timeout');
COMMENT ON TYPE job_status IS 'How far a job is';
CREATE TYPE element_type AS ENUM ('video', 'image', 'audio', 'text', 'overlay');
COMMENT ON TYPE element_type IS 'What an element is';
CREATE TYPE fit_mode AS ENUM ('auto', 'contain', 'cover', 'fill', 'stretch');
COMMENT ON TYPE fit_mode IS 'How an element fills its place';
CREATE TYPE processing_step AS ENUM (
    'validation', 'download', 'processing', 'composition', 'encoding', 'upload', 'cleanup');
COMMENT ON TYPE processing_step IS 'The steps of a job''s work';
CREATE TYPE storage_operation AS ENUM ('upload', 'download', 'delete', 'access');
COMMENT ON TYPE storage_operation IS 'What is done in the object storage';
CREATE TYPE response_type AS ENUM ('immediate', 'async');
COMMENT ON TYPE response_type IS 'Whether a request is answered with the video or with an id';

-- Jobs --------------------------------------------------------------------------------------------

CREATE TABLE jobs (
    id UUID PRIMARY KEY,
    status job_status NOT NULL DEFAULT 'pending',
    response_type response_type NOT NULL,
    output_format VARCHAR(10) NOT NULL DEFAULT 'mp4',
    width INTEGER NOT NULL CHECK (width BETWEEN 1 AND 7680),
    height INTEGER NOT NULL CHECK (height BETWEEN 1 AND 4320),
    estimated_duration INTEGER,
    actual_duration INTEGER,
    processing_started_at TIMESTAMPTZ,
    processing_completed_at TIMESTAMPTZ,
    s3_bucket VARCHAR(255),
    s3_key VARCHAR(1024),
    s3_region VARCHAR(50) DEFAULT 'us-east-1',
    file_size BIGINT,
    result_url TEXT,
    progress_percentage INTEGER DEFAULT 0 CHECK (progress_percentage BETWEEN 0 AND 100),
    current_step processing_step,
    error_message TEXT,
    error_code VARCHAR(50),
    retry_count INTEGER DEFAULT 0,
    client_ip INET,
    user_agent TEXT,
    request_metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    owner_id UUID,
    placeholder BOOLEAN
);
CREATE INDEX idx_jobs_status ON jobs (status);
CREATE INDEX idx_jobs_created_at ON jobs (created_at DESC);
CREATE INDEX idx_jobs_response_type ON jobs (response_type);
CREATE INDEX idx_jobs_processing_time ON jobs (processing_started_at, processing_completed_at);
CREATE INDEX idx_jobs_s3_location ON jobs (s3_bucket, s3_key);
CREATE INDEX idx_jobs_client_ip ON jobs (client_ip);
CREATE INDEX idx_jobs_client_ip_status ON jobs (client_ip, status);
CREATE INDEX idx_jobs_created_at_client_ip ON jobs (created_at DESC, client_ip);
CREATE INDEX idx_jobs_owner_id ON jobs (owner_id) WHERE owner_id IS NOT NULL;
COMMENT ON TABLE jobs IS 'Videos to be made, and how far they are (render-jobs)';
COMMENT ON COLUMN jobs.response_type IS
    'As it was asked for, else immediate where at most 30 s of work are expected';
COMMENT ON COLUMN jobs.estimated_duration IS 'Seconds of work that were expected';
COMMENT ON COLUMN jobs.actual_duration IS
    'Seconds: what the worker says, else from the start to the end of one attempt; NULL where the '
    'start was never told';
COMMENT ON COLUMN jobs.processing_started_at IS 'When work began first; NULL where nobody told';
COMMENT ON COLUMN jobs.processing_completed_at IS 'Of the end that holds; NULL while there is none';
COMMENT ON COLUMN jobs.s3_bucket IS 'Of the latest upload that is the result; and so on';
COMMENT ON COLUMN jobs.result_url IS
    'As it was told, else that of the object; NULL once that was deleted';
COMMENT ON COLUMN jobs.progress_percentage IS 'Percent, of the attempt that holds';
COMMENT ON COLUMN jobs.retry_count IS 'How often work began again';
COMMENT ON COLUMN jobs.owner_id IS 'The user whose job it is; NULL: a request without a login';
COMMENT ON COLUMN jobs.placeholder IS
    'True while the row exists only so that foreign keys hold; NULL once the job is known';

CREATE TABLE job_status_history (
    event_id UUID PRIMARY KEY,
    job_id UUID NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    from_status job_status NOT NULL,
    to_status job_status NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('accepted', 'implied start', 'repeated', 'rejected')),
    cause TEXT NOT NULL CHECK (cause IN ('status', 'progress')),
    error_message TEXT,
    error_code VARCHAR(50)
);
CREATE INDEX idx_job_status_history_job_id ON job_status_history (job_id, at);
COMMENT ON TABLE job_status_history IS
    'Every word of a job''s status, and what became of it (render-jobs)';
COMMENT ON COLUMN job_status_history.attempt IS
    'The worker''s; of a cancellation, the one that was known then';
COMMENT ON COLUMN job_status_history.from_status IS 'What the job was before it';
COMMENT ON COLUMN job_status_history.to_status IS 'What the event says';
COMMENT ON COLUMN job_status_history.verdict IS
    'accepted; implied start: so is that work had begun; repeated: it was so already; rejected: it '
    'changes nothing';
COMMENT ON COLUMN job_status_history.cause IS 'A status, or a progress of 100 %';

-- What jobs consist of ----------------------------------------------------------------------------

-- Two rows may swap their orders within a transaction.
CREATE TABLE elements (
    id UUID PRIMARY KEY,
    job_id UUID NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    element_order INTEGER NOT NULL CHECK (element_order >= 0),
    type element_type NOT NULL,
    source_url TEXT NOT NULL,
    source_filename VARCHAR(255),
    source_size BIGINT,
    source_duration NUMERIC(10, 3),
    track INTEGER NOT NULL DEFAULT 0,
    x_position VARCHAR(10) DEFAULT '0%',
    y_position VARCHAR(10) DEFAULT '0%',
    width VARCHAR(10) DEFAULT '100%',
    height VARCHAR(10) DEFAULT '100%',
    fit_mode fit_mode DEFAULT 'auto',
    start_time NUMERIC(10, 3) DEFAULT 0,
    end_time NUMERIC(10, 3),
    downloaded BOOLEAN DEFAULT false,
    processed BOOLEAN DEFAULT false,
    error_message TEXT,
    local_path TEXT,
    processed_path TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    UNIQUE (job_id, element_order) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX idx_elements_job_id ON elements (job_id);
CREATE INDEX idx_elements_type ON elements (type);
CREATE INDEX idx_elements_status ON elements (downloaded, processed);
COMMENT ON TABLE elements IS 'What a video is composed of: at most ten a job (render-jobs)';
COMMENT ON COLUMN elements.source_duration IS 'Seconds';
COMMENT ON COLUMN elements.x_position IS 'Percent, such as 12.5%; and so on';
COMMENT ON COLUMN elements.start_time IS 'Seconds from the beginning of the video';
COMMENT ON COLUMN elements.error_message IS 'What went wrong with it last';

CREATE TABLE element_refusals (
    element_id UUID,
    job_id UUID REFERENCES jobs (id) ON DELETE CASCADE,
    element_order INTEGER NOT NULL,
    reason TEXT NOT NULL CHECK (
        reason IN ('another job''s', 'job has ended', 'order taken', 'eleventh')),
    emitted_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (element_id, job_id)
);
CREATE INDEX idx_element_refusals_job_id ON element_refusals (job_id);
COMMENT ON TABLE element_refusals IS
    'Elements that were added and are not in the table of elements (render-jobs)';
COMMENT ON COLUMN element_refusals.reason IS
    'The first of: it is another job''s, the job had ended, its place was taken, ten came before it';

CREATE TABLE processing_timeline (
    id UUID PRIMARY KEY,
    job_id UUID NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    step processing_step NOT NULL,
    step_order INTEGER NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ,
    duration_ms INTEGER,
    success BOOLEAN,
    progress_percentage INTEGER DEFAULT 0 CHECK (progress_percentage BETWEEN 0 AND 100),
    details JSONB,
    error_message TEXT,
    cpu_usage NUMERIC(5, 2),
    memory_usage BIGINT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    attempt INTEGER,
    UNIQUE (job_id, step, step_order) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX idx_processing_timeline_job_id ON processing_timeline (job_id, step_order);
CREATE INDEX idx_processing_timeline_step ON processing_timeline (step);
CREATE INDEX idx_processing_timeline_started_at ON processing_timeline (started_at DESC);
COMMENT ON TABLE processing_timeline IS
    'The steps of a job''s work, each as its greatest attempt had it (render-jobs)';
COMMENT ON COLUMN processing_timeline.id IS
    'The UUID (version 5) made of job, step and step_order, which others have, too';
COMMENT ON COLUMN processing_timeline.started_at IS
    'When it began; where only its end was told, that';
COMMENT ON COLUMN processing_timeline.duration_ms IS
    'From start to end, not negative; NULL where the start was not told';
COMMENT ON COLUMN processing_timeline.details IS 'What its end says, else its start';
COMMENT ON COLUMN processing_timeline.cpu_usage IS 'Percent';
COMMENT ON COLUMN processing_timeline.memory_usage IS 'Bytes';
COMMENT ON COLUMN processing_timeline.attempt IS 'The attempt that the row shows';

-- What is logged ----------------------------------------------------------------------------------

CREATE TABLE storage_operations (
    id UUID PRIMARY KEY,
    job_id UUID REFERENCES jobs (id) ON DELETE CASCADE,
    operation storage_operation NOT NULL,
    bucket VARCHAR(255) NOT NULL,
    key VARCHAR(1024) NOT NULL,
    region VARCHAR(50) NOT NULL DEFAULT 'us-east-1',
    success BOOLEAN NOT NULL DEFAULT false,
    file_size BIGINT,
    duration_ms INTEGER,
    error_message TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX idx_storage_operations_job_id ON storage_operations (job_id);
CREATE INDEX idx_storage_operations_operation ON storage_operations (operation);
CREATE INDEX idx_storage_operations_created_at ON storage_operations (created_at DESC);
CREATE INDEX idx_storage_operations_success ON storage_operations (success);
CREATE INDEX idx_storage_operations_object ON storage_operations (bucket, key);
COMMENT ON TABLE storage_operations IS
    'Every call of the object storage, also of jobs that are gone (render-storage)';
COMMENT ON COLUMN storage_operations.id IS 'The event''s';

CREATE TABLE url_access_logs (
    id UUID PRIMARY KEY,
    job_id UUID REFERENCES jobs (id) ON DELETE SET NULL,
    url TEXT NOT NULL,
    access_type VARCHAR(50) NOT NULL,
    client_ip INET,
    user_agent TEXT,
    referer TEXT,
    response_code INTEGER,
    bytes_served BIGINT,
    response_time_ms INTEGER,
    country VARCHAR(2),
    region VARCHAR(100),
    city VARCHAR(100),
    accessed_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX idx_url_access_logs_job_id ON url_access_logs (job_id);
CREATE INDEX idx_url_access_logs_accessed_at ON url_access_logs (accessed_at DESC);
CREATE INDEX idx_url_access_logs_client_ip ON url_access_logs (client_ip);
CREATE INDEX idx_url_access_logs_response_code ON url_access_logs (response_code);
COMMENT ON TABLE url_access_logs IS
    'Who fetched results, also of jobs that are gone (render-access)';
COMMENT ON COLUMN url_access_logs.id IS 'The event''s';
COMMENT ON COLUMN url_access_logs.access_type IS 'download, stream, preview, or another word';

CREATE TABLE system_metrics (
    id UUID PRIMARY KEY,
    metric_name VARCHAR(100) NOT NULL,
    metric_type VARCHAR(50) NOT NULL,
    value NUMERIC(15, 6) NOT NULL,
    unit VARCHAR(20),
    labels JSONB,
    recorded_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX idx_system_metrics_name_type ON system_metrics (metric_name, metric_type);
CREATE INDEX idx_system_metrics_recorded_at ON system_metrics (recorded_at DESC);
CREATE INDEX idx_system_metrics_labels ON system_metrics USING GIN (labels);
CREATE INDEX idx_system_metrics_requests ON system_metrics (metric_name, recorded_at DESC)
    WHERE metric_name IN ('security_event', 'api_request');
COMMENT ON TABLE system_metrics IS 'Measurements, and what security wants to know (render-metrics)';
COMMENT ON COLUMN system_metrics.id IS 'The event''s';
COMMENT ON COLUMN system_metrics.metric_type IS 'counter, gauge, histogram or timer';

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['jobs', 'elements', 'processing_timeline'] LOOP
        EXECUTE format('CREATE TRIGGER update_%s_updated_at BEFORE UPDATE ON %I '
                       'FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()', name, name);
    END LOOP;
END;
$$;

-- Private state -----------------------------------------------------------------------------------

DO $$
DECLARE
    state TEXT;
BEGIN
    FOREACH state IN ARRAY ARRAY[
        'render_jobs_object', 'render_jobs_additions', 'render_jobs_element', 'render_jobs_job'] LOOP
        EXECUTE format('CREATE TABLE projectionist.%I (
            key UUID PRIMARY KEY, facts BYTEA NOT NULL) WITH (fillfactor = 80)', 'state_' || state);
        EXECUTE format('COMMENT ON TABLE projectionist.%I IS %L', 'state_' || state,
            'Private state of a projection, from which its rows are derived');
    END LOOP;
END;
$$;

CREATE TABLE projectionist.state_render_jobs_job_wide (
    key UUID,
    kind INTEGER,
    subkey UUID,
    facts BYTEA NOT NULL,
    PRIMARY KEY (key, kind, subkey)
) WITH (fillfactor = 80);
COMMENT ON TABLE projectionist.state_render_jobs_job_wide IS
    'Private state of a projection: a row for each thing that is known of a job';
$projectionist_file$;
    system TEXT := 'render';
    number INTEGER := 1;
    schema TEXT := coalesce(nullif(current_setting('projectionist.tables_schema', true), ''), 'public');
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', concat_ws(', ', quote_ident(schema), nullif(path, ''), (
        SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ') FROM pg_extension AS e
        JOIN pg_namespace AS n ON n.oid = e.extnamespace)), true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0001_render_tables.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

COMMIT;
