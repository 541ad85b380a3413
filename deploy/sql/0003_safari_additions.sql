-- SPDX-License-Identifier: Apache-2.0
--
-- What our projections add to the Safari tables: nullable columns after the existing ones, so that
-- whoever writes or reads the tables today can go on, and the private state of the projections.

-- Tables are found and the view is made where the operator's search_path says, but never in our own schema, which is
-- first in the path of a role that happens to have its name. (The file runs in one transaction.)
SELECT set_config('search_path',
    (SELECT coalesce(string_agg(quote_ident(s.name), ', ' ORDER BY s.place), '')
     FROM unnest(current_schemas(false)) WITH ORDINALITY AS s (name, place)
     WHERE s.name <> 'projectionist'),
    true);

-- --- safari_commands --------------------------------------------------------------------------

ALTER TABLE safari_commands
    ADD COLUMN IF NOT EXISTS correlation_id UUID,
    ADD COLUMN IF NOT EXISTS requester_service TEXT,
    ADD COLUMN IF NOT EXISTS requester_instance TEXT,
    ADD COLUMN IF NOT EXISTS placeholder BOOLEAN;
COMMENT ON COLUMN safari_commands.correlation_id IS 'Given by the sender, to follow related commands';
COMMENT ON COLUMN safari_commands.requester_service IS 'The service that sent the command';
COMMENT ON COLUMN safari_commands.requester_instance IS 'Which instance of that service';
COMMENT ON COLUMN safari_commands.placeholder IS
    'True while the row was only made so that foreign keys hold; NULL once the command is known';

-- Makes placeholder rows for commands that events name and that are not there yet. A key is
-- settled once its row is no placeholder; until then an earlier event may still move created_at,
-- so that the row does not depend on the order in which events come.
CREATE OR REPLACE FUNCTION projectionist.ensure_commands(
    p_keys UUID[], p_seen TIMESTAMPTZ[], OUT settled UUID[], OUT created BIGINT)
LANGUAGE sql AS $$
    WITH wanted AS (
        SELECT g.key, min(g.seen) AS seen
        FROM unnest(p_keys, p_seen) AS g (key, seen)
        GROUP BY g.key
    ), known AS (
        SELECT w.key, w.seen, c.command_id IS NOT NULL AND c.placeholder IS NOT TRUE AS settled,
            c.command_id IS NULL OR (c.placeholder AND c.created_at > w.seen) AS due
        FROM wanted AS w LEFT JOIN safari_commands AS c ON c.command_id = w.key
    ), made AS (
        INSERT INTO safari_commands AS c (command_id, type, status, created_at, placeholder)
        SELECT k.key, 'unknown', 'QUEUED', k.seen, true FROM known AS k WHERE k.due ORDER BY k.key
        ON CONFLICT (command_id) DO UPDATE SET created_at = excluded.created_at
            WHERE c.placeholder AND c.created_at > excluded.created_at
        RETURNING c.xmax = 0 AS inserted
    )
    SELECT (SELECT coalesce(array_agg(k.key), '{}') FROM known AS k WHERE k.settled),
        (SELECT count(*) FROM made AS m WHERE m.inserted)
$$;
COMMENT ON FUNCTION projectionist.ensure_commands IS
    'Makes placeholder rows in safari_commands; returns the keys that need none, and how many it made';

CREATE TABLE IF NOT EXISTS projectionist.idempotency_conflicts (
    idempotency_key VARCHAR(255) NOT NULL,
    command_id UUID NOT NULL,
    kept_by UUID NOT NULL,
    PRIMARY KEY (idempotency_key, command_id)
);
COMMENT ON TABLE projectionist.idempotency_conflicts IS
    'Commands that claimed an idempotency key which an older command has; their own key is NULL';
COMMENT ON COLUMN projectionist.idempotency_conflicts.command_id IS 'The command without the key';
COMMENT ON COLUMN projectionist.idempotency_conflicts.kept_by IS 'The command that has the key';

-- --- safari_events ----------------------------------------------------------------------------

ALTER TABLE safari_events
    ADD COLUMN IF NOT EXISTS version VARCHAR(20),
    ADD COLUMN IF NOT EXISTS target JSONB;
COMMENT ON COLUMN safari_events.version IS 'The version of the wire format the frame came in';
COMMENT ON COLUMN safari_events.target IS 'The frame''s own target; the command may know it better';

-- A cursor is `<epoch ms>-<counter>` and sorts as two integers; as text, -99 comes after -100.
-- These are computed when they are read: columns or an index would be paid for with every event,
-- and idx_safari_events_emitted_at already finds the events of a time. What has another form, or
-- more than 18 digits, gives NULL in both.
CREATE OR REPLACE FUNCTION projectionist.cursor_ms(p_cursor TEXT) RETURNS BIGINT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_cursor ~ '^[0-9]{1,18}-[0-9]{1,18}$'
        THEN split_part(p_cursor, '-', 1)::BIGINT END
$$;
COMMENT ON FUNCTION projectionist.cursor_ms IS
    'The milliseconds of a telemetry cursor, NULL where it is malformed';

CREATE OR REPLACE FUNCTION projectionist.cursor_counter(p_cursor TEXT) RETURNS BIGINT
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
    COALESCE(e.target, c.target) AS target,
    c.type AS command_type,
    projectionist.cursor_ms(e.cursor) AS cursor_ms,
    projectionist.cursor_counter(e.cursor) AS cursor_counter
FROM safari_events e
LEFT JOIN safari_commands c ON c.command_id = e.command_id
ORDER BY cursor_ms, cursor_counter, e.emitted_at, e.event_id;
COMMENT ON VIEW safari_events_enriched IS
    'Events in replay order, with what their command knows; restrict emitted_at to use its index';
COMMENT ON COLUMN safari_events_enriched.correlation_id IS 'The frame''s, else the command''s';
COMMENT ON COLUMN safari_events_enriched.target IS 'The frame''s, else the command''s';
COMMENT ON COLUMN safari_events_enriched.command_type IS
    'The command''s type; "unknown" until the command itself has been seen';

-- --- private state ----------------------------------------------------------------------------

-- Facts are rewritten whole, so a page keeps room for the new version of a row.
CREATE TABLE IF NOT EXISTS projectionist.state_command_projector_command (
    key UUID PRIMARY KEY,
    facts BYTEA NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE projectionist.state_command_projector_command IS
    'What the command projector knows of each command; the row in safari_commands follows from it';
COMMENT ON COLUMN projectionist.state_command_projector_command.key IS 'The command_id';

CREATE TABLE IF NOT EXISTS projectionist.state_command_projector_idempotency_key (
    key UUID PRIMARY KEY,
    facts BYTEA NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE projectionist.state_command_projector_idempotency_key IS
    'Which commands claim each idempotency key';
COMMENT ON COLUMN projectionist.state_command_projector_idempotency_key.key IS
    'The UUID (version 5) made from the idempotency key';

-- LZ4 costs a fraction of the default's time; a server may be built without it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings
               WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE projectionist.state_command_projector_command
            ALTER COLUMN facts SET COMPRESSION lz4;
        ALTER TABLE projectionist.state_command_projector_idempotency_key
            ALTER COLUMN facts SET COMPRESSION lz4;
    END IF;
END;
$$;
