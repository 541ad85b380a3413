-- SPDX-License-Identifier: Apache-2.0
--
-- What our projections add to the Safari tables: nullable columns after the existing ones, so that
-- present readers and writers of the tables keep working, and events in replay order.

-- --- columns ----------------------------------------------------------------------------------

ALTER TABLE safari_commands
    ADD COLUMN IF NOT EXISTS correlation_id UUID,
    ADD COLUMN IF NOT EXISTS requester_service TEXT,
    ADD COLUMN IF NOT EXISTS requester_instance TEXT,
    ADD COLUMN IF NOT EXISTS placeholder BOOLEAN;
COMMENT ON COLUMN safari_commands.correlation_id IS 'Set by the sender, to follow related commands';
COMMENT ON COLUMN safari_commands.requester_service IS 'The service that sent the command';
COMMENT ON COLUMN safari_commands.requester_instance IS 'Which instance of that service';
COMMENT ON COLUMN safari_commands.placeholder IS
    'True while the row exists only so that foreign keys hold; NULL once the command is known';

ALTER TABLE safari_videos ADD COLUMN IF NOT EXISTS placeholder BOOLEAN;
COMMENT ON COLUMN safari_videos.placeholder IS
    'True while the row exists only so that a foreign key holds; NULL once the video is known';

ALTER TABLE safari_events
    ADD COLUMN IF NOT EXISTS version VARCHAR(20),
    ADD COLUMN IF NOT EXISTS target JSONB;
COMMENT ON COLUMN safari_events.version IS 'The wire format version of the frame';
COMMENT ON COLUMN safari_events.target IS 'The frame''s own target; the command''s may be more exact';

ALTER TABLE safari_sessions ADD COLUMN IF NOT EXISTS last_activity_at TIMESTAMPTZ;
COMMENT ON COLUMN safari_sessions.last_activity_at IS
    'The latest opening, command, lifecycle event or telemetry of the session';

-- --- events in replay order -------------------------------------------------------------------

-- A cursor is `<epoch ms>-<counter>` and sorts as two integers; as text, -99 comes after -100.
-- These are computed when they are read: columns or an index would be paid for with every event,
-- and idx_safari_events_emitted_at already finds the events of a time. A cursor in any other form,
-- or with more than 18 digits, gives NULL in both.
CREATE FUNCTION projectionist.cursor_ms(p_cursor TEXT) RETURNS BIGINT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_cursor ~ '^[0-9]{1,18}-[0-9]{1,18}$'
        THEN split_part(p_cursor, '-', 1)::BIGINT END
$$;
COMMENT ON FUNCTION projectionist.cursor_ms IS
    'The milliseconds of a telemetry cursor, NULL where it is malformed';

CREATE FUNCTION projectionist.cursor_counter(p_cursor TEXT) RETURNS BIGINT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_cursor ~ '^[0-9]{1,18}-[0-9]{1,18}$'
        THEN split_part(p_cursor, '-', 2)::BIGINT END
$$;
COMMENT ON FUNCTION projectionist.cursor_counter IS
    'The counter of a telemetry cursor, NULL where it is malformed';

CREATE OR REPLACE VIEW safari_events_enriched AS
SELECT
    e.event_id,
    e.command_id,
    COALESCE(e.correlation_id, c.correlation_id) AS correlation_id,
    e.type,
    e.severity,
    e.payload,
    e.cursor,
    e.emitted_at,
    e.stored_at,
    e.version,
    CASE WHEN jsonb_strip_nulls(e.target) <> '{}' THEN e.target ELSE c.target END AS target,
    c.type AS command_type,
    projectionist.cursor_ms(e.cursor) AS cursor_ms,
    projectionist.cursor_counter(e.cursor) AS cursor_counter
FROM safari_events e
LEFT JOIN safari_commands c ON c.command_id = e.command_id
ORDER BY cursor_ms, cursor_counter, e.emitted_at, e.event_id;
COMMENT ON VIEW safari_events_enriched IS
    'Events in replay order, with data of their command; restrict emitted_at to use its index';
COMMENT ON COLUMN safari_events_enriched.correlation_id IS 'The frame''s, else the command''s';
COMMENT ON COLUMN safari_events_enriched.target IS
    'The frame''s, else (if missing or empty) the command''s';
COMMENT ON COLUMN safari_events_enriched.command_type IS
    'The command''s type; "unknown" until the command itself has been seen';
