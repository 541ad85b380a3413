-- SPDX-License-Identifier: Apache-2.0
--
-- What a rebuild must know before it trusts the topics: how many records each group has read, and
-- which they were, so that records which have gone since are noticed whatever took them; whose
-- tables a group writes; and what rows follow from besides the topics of one group.

ALTER TABLE projectionist.consumer_offsets
    ADD COLUMN projection TEXT,
    ADD COLUMN counted_from BIGINT,
    ADD COLUMN counted_to BIGINT,
    ADD COLUMN records BIGINT,
    ADD COLUMN checksum BIGINT;
COMMENT ON COLUMN projectionist.consumer_offsets.projection IS
    'Whose tables the group writes; NULL where a program of before committed last';
COMMENT ON COLUMN projectionist.consumer_offsets.counted_from IS
    'records counts from this offset on; it begins anew wherever next_offset is moved by others';
COMMENT ON COLUMN projectionist.consumer_offsets.counted_to IS
    'and to this one; where it is not next_offset, the count is void';
COMMENT ON COLUMN projectionist.consumer_offsets.records IS
    'How many records were read between the two; a topic that has fewer there has lost some';
COMMENT ON COLUMN projectionist.consumer_offsets.checksum IS
    'Of their offsets, timestamps and lengths, in any order';

-- As in 0002, but that it counts; older programs call it without the counts.
DROP FUNCTION projectionist.advance_offsets(
    TEXT, TEXT, TEXT[], INTEGER[], BIGINT[], BIGINT[], BIGINT[], TIMESTAMPTZ[]);
CREATE FUNCTION projectionist.advance_offsets(
    p_cluster TEXT, p_group TEXT, p_topics TEXT[], p_partitions INTEGER[], p_epochs BIGINT[],
    p_expected BIGINT[], p_next BIGINT[], p_stream_times TIMESTAMPTZ[],
    p_records BIGINT[] DEFAULT NULL, p_checksums BIGINT[] DEFAULT NULL,
    p_projection TEXT DEFAULT NULL)
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
        checksum = CASE WHEN o.counted_to = g.expected THEN o.checksum ELSE 0 END # g.checksum
    FROM unnest(p_topics, p_partitions, p_epochs, p_expected, p_next, p_stream_times, p_records,
            p_checksums)
        AS g (topic, partition, epoch, expected, next, stream_time, records, checksum)
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

CREATE TABLE projectionist.other_sources (
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    source TEXT NOT NULL,
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, consumer_group, source)
);
COMMENT ON TABLE projectionist.other_sources IS
    'What rows follow from that the topics of the group do not have: recordings that a rebuild read; '
    'gone when a rebuild has let those rows go';
