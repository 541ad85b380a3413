-- SPDX-License-Identifier: Apache-2.0
--
-- For those who look after the consumers: the audit of offsets that a person moved, and views for
-- whoever has only psql.

CREATE TABLE IF NOT EXISTS projectionist.offset_changes (
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
CREATE INDEX IF NOT EXISTS idx_offset_changes_place
    ON projectionist.offset_changes (cluster_id, consumer_group, topic, partition, id);

COMMENT ON TABLE projectionist.offset_changes IS
    'Offsets that a person moved ("projectionist offsets set"); what a consumer commits is not here';
COMMENT ON COLUMN projectionist.offset_changes.changed_by IS 'The role that was logged in';
COMMENT ON COLUMN projectionist.offset_changes.from_offset IS
    'Where the group would have gone on; NULL where it had not read the partition yet';
COMMENT ON COLUMN projectionist.offset_changes.to_offset IS
    'Where it goes on; greater than from_offset means that the records between are skipped';
COMMENT ON COLUMN projectionist.offset_changes.epoch IS
    'That of the change: it keeps the consumer of the epoch before from committing';
COMMENT ON COLUMN projectionist.offset_changes.reason IS 'What was asked for';

-- Takes the partitions like a consumer that takes over, so that none commits past the change; then
-- moves them. Rows are locked in take_partitions's order, and a partition whose epoch is the first
-- is one that the group had not read.
CREATE OR REPLACE FUNCTION projectionist.set_offsets(
    p_cluster TEXT, p_group TEXT, p_topics TEXT[], p_partitions INTEGER[], p_offsets BIGINT[],
    p_reason TEXT)
RETURNS TABLE (moved_topic TEXT, moved_partition INTEGER, from_offset BIGINT, to_offset BIGINT,
               new_epoch BIGINT)
LANGUAGE plpgsql AS $$
DECLARE
    taken RECORD;
BEGIN
    FOR taken IN
        SELECT t.topic, t.partition, t.next_offset, t.epoch, g.target
        FROM projectionist.take_partitions(
            p_cluster, p_group, 'offsets set', p_topics, p_partitions, p_offsets) AS t
        JOIN unnest(p_topics, p_partitions, p_offsets) AS g (topic, partition, target)
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
            updated_at = clock_timestamp()
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
    'Moves the offsets of a group, fences whoever had the partitions, and writes it down';

-- --- views ------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW projectionist.progress AS
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
    'How far each consumer group is, over all its partitions; only Kafka knows how far there is to go';
COMMENT ON COLUMN projectionist.progress.offsets_passed IS
    'The sum of how far each partition is from where the group began';
COMMENT ON COLUMN projectionist.progress.offsets IS
    'topic/partition: the first offset that is not yet in the tables';
COMMENT ON COLUMN projectionist.progress.last_commit IS 'NULL where nothing was committed yet';

CREATE OR REPLACE VIEW projectionist.dead_letters_by_reason AS
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
    'Dead letters counted by why; numbers within a reason are left out, so that likes are together';

CREATE OR REPLACE VIEW projectionist.gaps_by_group AS
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
    'What each group goes on without because retention removed it before it was read';
