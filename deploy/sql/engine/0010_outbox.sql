-- SPDX-License-Identifier: Apache-2.0
--
-- Outboxes: what functions of a system tell is an event, written in the caller's transaction, which
-- outbox-relay takes to Kafka. A system's migration makes its own by projectionist.create_outbox.

CREATE FUNCTION projectionist.notify_outbox() RETURNS TRIGGER
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_ARGV[0], '');
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION projectionist.notify_outbox IS 'Wakes the outbox-relay of the table';

-- Of no use without its schema, which nobody but the functions there and the relay reaches.
CREATE FUNCTION projectionist.create_outbox(p_schema TEXT) RETURNS VOID
LANGUAGE plpgsql STRICT AS $create$
BEGIN
    EXECUTE format($sql$
        CREATE TABLE %1$I.outbox (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            event_id UUID NOT NULL UNIQUE,
            topic TEXT NOT NULL CHECK (topic <> ''),
            key TEXT NOT NULL,
            body JSONB NOT NULL CHECK (jsonb_typeof(body) = 'object'),
            written_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
        ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
        COMMENT ON TABLE %1$I.outbox IS
            'Events that were committed and are not in Kafka yet; outbox-relay deletes what is';
        COMMENT ON COLUMN %1$I.outbox.id IS
            'The order of publication within a key, for writers that hold a lock of the key; not '
            'that of commits';
        COMMENT ON COLUMN %1$I.outbox.event_id IS 'The event_id of the record';
        COMMENT ON COLUMN %1$I.outbox.topic IS 'Where to, without the environment''s prefix';
        COMMENT ON COLUMN %1$I.outbox.key IS 'The key of the record';
        COMMENT ON COLUMN %1$I.outbox.body IS
            'The event, as the topic''s schema wants it; a missing event_id is the row''s';
        COMMENT ON COLUMN %1$I.outbox.written_at IS 'When it was written, before the commit';

        CREATE TABLE %1$I.outbox_failed (
            id BIGINT NOT NULL,
            event_id UUID NOT NULL,
            topic TEXT NOT NULL,
            key TEXT NOT NULL,
            body JSONB NOT NULL,
            written_at TIMESTAMPTZ NOT NULL,
            failed_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
            reason TEXT NOT NULL,
            PRIMARY KEY (id, event_id)
        );
        COMMENT ON TABLE %1$I.outbox_failed IS
            'Events that can never be published as they are; projectionist.retry_outbox puts them '
            'back';
        COMMENT ON COLUMN %1$I.outbox_failed.id IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.event_id IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.topic IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.key IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.body IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.written_at IS 'As it was in outbox';
        COMMENT ON COLUMN %1$I.outbox_failed.failed_at IS 'When outbox-relay set it apart';
        COMMENT ON COLUMN %1$I.outbox_failed.reason IS 'Why it cannot be published';

        CREATE TRIGGER outbox_notify AFTER INSERT ON %1$I.outbox
            FOR EACH STATEMENT EXECUTE FUNCTION projectionist.notify_outbox(%2$L);

        CREATE FUNCTION %1$I.emit(p_topic TEXT, p_key TEXT, p_body JSONB,
            p_at TIMESTAMPTZ DEFAULT clock_timestamp(), p_event_id UUID DEFAULT gen_random_uuid())
            RETURNS UUID
        LANGUAGE sql AS $emit$
            INSERT INTO %1$I.outbox (event_id, topic, key, body)
            VALUES (p_event_id, p_topic, p_key, p_body || jsonb_build_object(
                'event_id', p_event_id,
                'emitted_at', (extract(epoch FROM p_at) * 1000000)::BIGINT))
            RETURNING event_id;
        $emit$;
        COMMENT ON FUNCTION %1$I.emit IS
            'Writes an event with its event_id and emitted_at into the outbox, in the transaction '
            'of the caller';
        REVOKE ALL ON FUNCTION %1$I.emit FROM PUBLIC;
    $sql$, p_schema, left(regexp_replace(p_schema, '_private$', '') || '_outbox', 63));
END;
$create$;
COMMENT ON FUNCTION projectionist.create_outbox IS
    'Makes outbox, outbox_failed and emit() in a schema; outbox-relay listens to the channel of the '
    'schema''s name without _private, with _outbox';

CREATE FUNCTION projectionist.retry_outbox(p_schema TEXT, p_ids BIGINT[] DEFAULT NULL)
    RETURNS BIGINT
LANGUAGE plpgsql AS $$
DECLARE
    v_count BIGINT;
BEGIN
    EXECUTE format('WITH back AS (DELETE FROM %1$I.outbox_failed '
        'WHERE $1 IS NULL OR id = ANY ($1) RETURNING *) '
        'INSERT INTO %1$I.outbox (event_id, topic, key, body, written_at) '
        'SELECT event_id, topic, key, body, written_at FROM back ORDER BY id', p_schema)
        USING p_ids;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END;
$$;
COMMENT ON FUNCTION projectionist.retry_outbox IS
    'Puts events of outbox_failed, all or those of these ids, back into the outbox, behind what is '
    'there; returns how many';
