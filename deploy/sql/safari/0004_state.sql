-- SPDX-License-Identifier: Apache-2.0
--
-- The private state of the projections: the facts of each entity, from which the rows are derived,
-- and the claims that were lost.

-- Facts are rewritten as a whole, so a page keeps room for the new version of a row.
CREATE TABLE projectionist.state_command_projector_command (
    key UUID PRIMARY KEY,
    facts BYTEA NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE projectionist.state_command_projector_command IS
    'The command projector''s facts of each command, from which its row in safari_commands is derived';
COMMENT ON COLUMN projectionist.state_command_projector_command.key IS 'The command_id';

CREATE TABLE projectionist.state_command_projector_idempotency_key (
    key UUID PRIMARY KEY,
    facts BYTEA NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE projectionist.state_command_projector_idempotency_key IS
    'Which commands claim each idempotency key';
COMMENT ON COLUMN projectionist.state_command_projector_idempotency_key.key IS
    'The UUID (version 5) made from the idempotency key';

DO $$
DECLARE
    state TEXT;
BEGIN
    FOREACH state IN ARRAY ARRAY[
        'video_catalog_production', 'video_catalog_path', 'video_catalog_video',
        'watermark_metrics_production', 'watermark_metrics_path', 'watermark_metrics_removal',
        'session_tracker_command'] LOOP
        EXECUTE format('CREATE TABLE projectionist.%I (
            key UUID PRIMARY KEY, facts BYTEA NOT NULL) WITH (fillfactor = 80)', 'state_' || state);
        EXECUTE format('COMMENT ON TABLE projectionist.%I IS %L', 'state_' || state,
            'Private state of a projection, from which its rows are derived');
    END LOOP;
END $$;

-- Sessions also depend on stream time: when their timers fire, and the stream time that their rows
-- are derived for now.
CREATE TABLE projectionist.state_session_tracker_session (
    key UUID PRIMARY KEY,
    facts BYTEA NOT NULL,
    due_at TIMESTAMPTZ,
    derived_at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX idx_state_session_tracker_session_due
    ON projectionist.state_session_tracker_session (due_at) WHERE due_at IS NOT NULL;
COMMENT ON TABLE projectionist.state_session_tracker_session IS
    'Private state of a projection, from which its rows are derived';

CREATE TABLE projectionist.idempotency_conflicts (
    idempotency_key VARCHAR(255) NOT NULL,
    command_id UUID NOT NULL,
    kept_by UUID NOT NULL,
    PRIMARY KEY (idempotency_key, command_id)
);
COMMENT ON TABLE projectionist.idempotency_conflicts IS
    'Commands that claimed an idempotency key of an older command; their own key is NULL';
COMMENT ON COLUMN projectionist.idempotency_conflicts.command_id IS 'The command without the key';
COMMENT ON COLUMN projectionist.idempotency_conflicts.kept_by IS 'The command that has the key';

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
