-- SPDX-License-Identifier: Apache-2.0
--
-- What the engine needs, whatever it projects: the offsets and the fence, dead letters, the
-- schemas that records were written with, and the list of accepted gaps.

-- --- offsets and the fence --------------------------------------------------------------------

-- A few rows that are updated with every batch: room on each page keeps those updates off the
-- index.
CREATE TABLE IF NOT EXISTS projectionist.consumer_offsets (
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset BIGINT NOT NULL CHECK (next_offset >= 0),
    epoch BIGINT NOT NULL,
    owner TEXT,
    stream_time TIMESTAMPTZ,
    topic_id TEXT,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    start_offset BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, consumer_group, topic, partition)
) WITH (fillfactor = 20);

COMMENT ON TABLE projectionist.consumer_offsets IS
    'How far each consumer has read each partition; advanced in the transaction that writes the rows';
COMMENT ON COLUMN projectionist.consumer_offsets.cluster_id IS 'The id that the Kafka cluster reports';
COMMENT ON COLUMN projectionist.consumer_offsets.consumer_group IS
    'The consumer group; by default the name of the projection';
COMMENT ON COLUMN projectionist.consumer_offsets.next_offset IS
    'The first offset that is not yet in the tables';
COMMENT ON COLUMN projectionist.consumer_offsets.epoch IS
    'Grows each time a process takes the partition; a process with an older one can commit nothing';
COMMENT ON COLUMN projectionist.consumer_offsets.owner IS 'The process that took the partition last';
COMMENT ON COLUMN projectionist.consumer_offsets.stream_time IS
    'The greatest event time read from the partition, where the projection keeps one';
COMMENT ON COLUMN projectionist.consumer_offsets.topic_id IS
    'Kafka''s id of the topic, where known; another id means that the topic was made anew';
COMMENT ON COLUMN projectionist.consumer_offsets.updated_at IS 'When next_offset last moved';
COMMENT ON COLUMN projectionist.consumer_offsets.start_offset IS 'Where the group began to read';

-- Takes partitions: the row lock waits for the old owner's transaction, the new epoch then keeps
-- it from committing another. Rows are locked by topic and partition, in every function alike, so
-- that two processes cannot deadlock. One statement, so the names of the columns it returns do not
-- stand in the way of the table's.
CREATE OR REPLACE FUNCTION projectionist.take_partitions(
    p_cluster TEXT, p_group TEXT, p_owner TEXT,
    p_topics TEXT[], p_partitions INTEGER[], p_start_offsets BIGINT[])
RETURNS TABLE (topic TEXT, partition INTEGER, next_offset BIGINT, epoch BIGINT,
               stream_time TIMESTAMPTZ, topic_id TEXT)
LANGUAGE sql AS $$
    INSERT INTO projectionist.consumer_offsets AS o
        (cluster_id, consumer_group, topic, partition, next_offset, start_offset, epoch, owner)
    SELECT p_cluster, p_group, g.topic, g.partition, g.start_offset, g.start_offset, 1, p_owner
    FROM unnest(p_topics, p_partitions, p_start_offsets) AS g (topic, partition, start_offset)
    ORDER BY g.topic, g.partition
    ON CONFLICT (cluster_id, consumer_group, topic, partition)
        DO UPDATE SET epoch = o.epoch + 1, owner = excluded.owner
    RETURNING o.topic, o.partition, o.next_offset, o.epoch, o.stream_time, o.topic_id
$$;
COMMENT ON FUNCTION projectionist.take_partitions IS
    'Makes a process the owner of partitions; start_offsets count only where the group is new';

-- Advances offsets, or raises PJ001. It must raise: a row count of zero would not stop a COMMIT
-- that is already on its way.
CREATE OR REPLACE FUNCTION projectionist.advance_offsets(
    p_cluster TEXT, p_group TEXT, p_topics TEXT[], p_partitions INTEGER[], p_epochs BIGINT[],
    p_expected BIGINT[], p_next BIGINT[], p_stream_times TIMESTAMPTZ[])
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
        updated_at = clock_timestamp()
    FROM unnest(p_topics, p_partitions, p_epochs, p_expected, p_next, p_stream_times)
        AS g (topic, partition, epoch, expected, next, stream_time)
    WHERE o.cluster_id = p_cluster AND o.consumer_group = p_group
        AND o.topic = g.topic AND o.partition = g.partition
        AND o.epoch = g.epoch AND o.next_offset = g.expected;
    GET DIAGNOSTICS advanced = ROW_COUNT;
    IF advanced = cardinality(p_topics) THEN
        RETURN;
    END IF;

    -- Those that the UPDATE did reach have the new offset now, and the transaction is lost anyway.
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
    RAISE EXCEPTION 'fenced: another owner has taken partition %', lost USING ERRCODE = 'PJ001';
END;
$$;
COMMENT ON FUNCTION projectionist.advance_offsets IS
    'Moves the offsets of a batch on, all or none; raises PJ001 when another owner has taken one';

-- --- dead letters -----------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS projectionist.dead_letters (
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
CREATE INDEX IF NOT EXISTS idx_dead_letters_open
    ON projectionist.dead_letters (consumer_group, id) WHERE status = 'open';

COMMENT ON TABLE projectionist.dead_letters IS
    'Records that could not be applied, whole; see "projectionist dead-letters"';
COMMENT ON COLUMN projectionist.dead_letters.id IS 'What "projectionist dead-letters show" takes';
COMMENT ON COLUMN projectionist.dead_letters.record_offset IS 'The record''s place in its partition';
COMMENT ON COLUMN projectionist.dead_letters.record_timestamp IS 'Kafka''s timestamp of the record';
COMMENT ON COLUMN projectionist.dead_letters.key IS 'The record''s key, byte for byte';
COMMENT ON COLUMN projectionist.dead_letters.value IS 'The record''s value, byte for byte';
COMMENT ON COLUMN projectionist.dead_letters.schema_id IS
    'The registry''s id of the writer''s schema, where the value begins with one';
COMMENT ON COLUMN projectionist.dead_letters.error_class IS 'Why: what kind of error';
COMMENT ON COLUMN projectionist.dead_letters.sqlstate IS 'Postgres''s code, where Postgres refused it';
COMMENT ON COLUMN projectionist.dead_letters.message IS 'Why: one sentence';
COMMENT ON COLUMN projectionist.dead_letters.status IS
    'open, replayed (applied later, exactly once) or discarded (given up by a person)';
COMMENT ON COLUMN projectionist.dead_letters.resolved_at IS 'When it stopped being open';

-- --- schemas and gaps -------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS projectionist.schemas (
    registry TEXT NOT NULL,
    schema_id INTEGER NOT NULL,
    schema TEXT NOT NULL,
    fetched_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (registry, schema_id)
);
COMMENT ON TABLE projectionist.schemas IS
    'The schemas that records were written with, so that a rebuild needs no schema registry';
COMMENT ON COLUMN projectionist.schemas.registry IS 'The registry that gave the id';
COMMENT ON COLUMN projectionist.schemas.schema IS 'The Avro schema, as the registry gave it';

CREATE TABLE IF NOT EXISTS projectionist.gaps (
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
    'Records that were gone before they were read, and that somebody chose to go on without';
COMMENT ON COLUMN projectionist.gaps.from_offset IS 'The first offset that was never read';
COMMENT ON COLUMN projectionist.gaps.to_offset IS 'The first offset after the gap';
COMMENT ON COLUMN projectionist.gaps.accepted_by IS 'The process or the role that accepted the gap';
