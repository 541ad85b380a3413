-- SPDX-License-Identifier: Apache-2.0
--
-- Commits keep which record they read last (0015). As in 0016, but for that; older programs call it
-- without.

DROP FUNCTION projectionist.advance_offsets(
    TEXT, TEXT, TEXT[], INTEGER[], BIGINT[], BIGINT[], BIGINT[], TIMESTAMPTZ[], BIGINT[], BIGINT[],
    TEXT);
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
        -- Where only what is invisible was passed, the record that was read last stays the same.
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
