-- SPDX-License-Identifier: Apache-2.0
--
-- Stops that need a person, beside the offset: a consumer that is started again must not go on as
-- if nothing had been. And which record was read last: a topic that was recreated, or whose log
-- lost its end, has another one there. The functions are as they were in 0002 and 0008, but for
-- that.

ALTER TABLE projectionist.consumer_offsets
    ADD COLUMN stop_code INTEGER,
    ADD COLUMN stop_reason TEXT,
    ADD COLUMN stopped_at TIMESTAMPTZ,
    ADD COLUMN read_offset BIGINT,
    ADD COLUMN read_digest BIGINT;
COMMENT ON COLUMN projectionist.consumer_offsets.stop_code IS
    'The exit code of a stop that needs a person; NULL once one has acted, and where there is none';
COMMENT ON COLUMN projectionist.consumer_offsets.stop_reason IS 'Why it is stopped, and what to do';
COMMENT ON COLUMN projectionist.consumer_offsets.stopped_at IS 'When that was seen';
COMMENT ON COLUMN projectionist.consumer_offsets.read_offset IS
    'The last record that was read, if it is known; between it and next_offset there was none';
COMMENT ON COLUMN projectionist.consumer_offsets.read_digest IS
    'A digest of that record: another one at its offset is of another topic';

CREATE VIEW projectionist.stops AS
SELECT cluster_id, consumer_group, topic, partition, next_offset, stop_code, stop_reason, stopped_at
FROM projectionist.consumer_offsets
WHERE stop_code IS NOT NULL;
COMMENT ON VIEW projectionist.stops IS
    'Partitions in which a consumer has stopped until a person acts, and why';

DROP FUNCTION projectionist.take_partitions(TEXT, TEXT, TEXT, TEXT[], INTEGER[], BIGINT[], TEXT[]);
CREATE FUNCTION projectionist.take_partitions(
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
COMMENT ON FUNCTION projectionist.take_partitions IS
    'Makes a process the owner of partitions; start_offsets count only where the group is new, and '
    'topic_ids where it has read nothing or its topic''s id was not known';

-- An offset that is set is a person's answer to a stop. Which record is before it is not known.
CREATE OR REPLACE FUNCTION projectionist.set_offsets(
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
        FROM projectionist.take_partitions(
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
