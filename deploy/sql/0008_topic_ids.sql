-- SPDX-License-Identifier: Apache-2.0
--
-- The ids of topics beside the offsets: a topic that was deleted and created anew under the same
-- name has another one, and an offset of the old one means nothing in it. The functions are as they
-- were in 0002 and 0005, but for the ids; older programs call them without, and so does who cannot
-- tell them.

DROP FUNCTION projectionist.take_partitions(TEXT, TEXT, TEXT, TEXT[], INTEGER[], BIGINT[]);
CREATE FUNCTION projectionist.take_partitions(
    p_cluster TEXT, p_group TEXT, p_owner TEXT,
    p_topics TEXT[], p_partitions INTEGER[], p_start_offsets BIGINT[],
    p_topic_ids TEXT[] DEFAULT NULL)
RETURNS TABLE (topic TEXT, partition INTEGER, next_offset BIGINT, epoch BIGINT,
               stream_time TIMESTAMPTZ, topic_id TEXT)
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
    RETURNING o.topic, o.partition, o.next_offset, o.epoch, o.stream_time, o.topic_id
$$;
COMMENT ON FUNCTION projectionist.take_partitions IS
    'Makes a process the owner of partitions; start_offsets count only where the group is new, and '
    'topic_ids where it has read nothing or its topic''s id was not known';

-- An offset that is set is one of the topic that is there now: whose id is not told is forgotten,
-- and known again when a consumer takes the partition.
DROP FUNCTION projectionist.set_offsets(TEXT, TEXT, TEXT[], INTEGER[], BIGINT[], TEXT);
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
