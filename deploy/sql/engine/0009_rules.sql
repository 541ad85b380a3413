-- SPDX-License-Identifier: Apache-2.0
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
