-- SPDX-License-Identifier: Apache-2.0
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
