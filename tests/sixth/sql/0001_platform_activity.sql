-- SPDX-License-Identifier: Apache-2.0
--
-- What the platform activity needs: its two tables, and its private state. The tables are made in the
-- schema that --tables-schema names.

CREATE TABLE platform_activity (
    platform VARCHAR(50) NOT NULL,
    day TIMESTAMPTZ NOT NULL,
    submitted BIGINT NOT NULL DEFAULT 0,
    succeeded BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (platform, day)
);
COMMENT ON TABLE platform_activity IS 'Commands by platform and the UTC day they were submitted on';
COMMENT ON COLUMN platform_activity.day IS 'The midnight (UTC) that the day begins with';
COMMENT ON COLUMN platform_activity.succeeded IS 'Those of submitted whose last status is SUCCEEDED';
COMMENT ON COLUMN platform_activity.failed IS 'Those of submitted whose last status is FAILED';

CREATE TABLE platform_last_command (
    platform VARCHAR(50) PRIMARY KEY,
    command_id UUID NOT NULL,
    type VARCHAR(100) NOT NULL,
    submitted_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE platform_last_command IS 'The command that each platform was sent last';

-- Sums are right by the addition alone; a bucket that everything has left goes.
CREATE FUNCTION projectionist.refresh_platform_activity(
    p_platforms TEXT[], p_days TIMESTAMPTZ[], p_extremes BOOLEAN[]) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM platform_activity AS a
    USING unnest(p_platforms, p_days) AS g (platform, day)
    WHERE a.platform = g.platform AND a.day = g.day AND a.submitted = 0
$$;
COMMENT ON FUNCTION projectionist.refresh_platform_activity IS
    'Removes empty buckets, where commands were taken back';

-- Facts are rewritten whole, so a page keeps room for the new version of a row.
CREATE TABLE projectionist.state_platform_activity_command (
    key UUID PRIMARY KEY,
    facts BYTEA NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE projectionist.state_platform_activity_platform (
    key UUID PRIMARY KEY,
    facts BYTEA NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE projectionist.state_platform_activity_command IS
    'Private state of a projection: what its rows follow from';
COMMENT ON TABLE projectionist.state_platform_activity_platform IS
    'Private state of a projection: what its rows follow from';
