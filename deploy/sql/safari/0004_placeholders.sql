-- SPDX-License-Identifier: Apache-2.0
--
-- Placeholder rows: events, videos and removals refer to commands, and removals to videos, which
-- another consumer writes, earlier or later. A placeholder is inserted so that the foreign key
-- holds; it is deleted with the last row that refers to it, and a real row becomes a placeholder
-- again if the command or the video goes first. The tables are found by the caller's search_path.
--
-- ensure_: inserts them. A key needs no more calls once its row is not a placeholder; until then an
-- earlier event may still move created_at, so that the row does not depend on the order of events.
-- Which rows were inserted is known from those that did not exist: in a partitioned table no
-- statement can read xmax.
-- release_, remove_: a statement of its own locks the rows first: transactions that refer to them
-- have ended then, so that the next statement sees their rows, and later ones wait.

-- --- commands ---------------------------------------------------------------------------------

CREATE FUNCTION projectionist.ensure_commands(
    p_keys UUID[], p_seen TIMESTAMPTZ[], OUT settled UUID[], OUT created BIGINT)
LANGUAGE sql AS $$
    WITH wanted AS (
        SELECT g.key, min(g.seen) AS seen
        FROM unnest(p_keys, p_seen) AS g (key, seen)
        GROUP BY g.key
    ), known AS (
        SELECT w.key, w.seen, c.command_id IS NOT NULL AND c.placeholder IS NOT TRUE AS settled,
            c.command_id IS NULL AS missing,
            c.command_id IS NULL OR (c.placeholder AND c.created_at > w.seen) AS due
        FROM wanted AS w LEFT JOIN safari_commands AS c ON c.command_id = w.key
    ), made AS (
        INSERT INTO safari_commands AS c (command_id, type, status, created_at, placeholder)
        SELECT k.key, 'unknown', 'QUEUED', k.seen, true FROM known AS k WHERE k.due ORDER BY k.key
        ON CONFLICT (command_id) DO UPDATE SET created_at = excluded.created_at
            WHERE c.placeholder AND c.created_at > excluded.created_at
        RETURNING c.command_id
    )
    SELECT (SELECT coalesce(array_agg(k.key), '{}') FROM known AS k WHERE k.settled),
        (SELECT count(*) FROM made AS m JOIN known AS k ON k.key = m.command_id WHERE k.missing)
$$;
COMMENT ON FUNCTION projectionist.ensure_commands IS
    'Inserts placeholder rows into safari_commands; returns the keys that need none, and their number';

CREATE FUNCTION projectionist.release_commands(p_keys UUID[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- Real rows too: a rebuild may be turning one into a placeholder right now.
    PERFORM FROM safari_commands AS c WHERE c.command_id = ANY (p_keys)
        ORDER BY c.command_id FOR UPDATE;
    DELETE FROM safari_commands AS c WHERE c.command_id = ANY (p_keys) AND c.placeholder
        AND NOT EXISTS (SELECT FROM safari_events AS e WHERE e.command_id = c.command_id)
        AND NOT EXISTS (SELECT FROM safari_videos AS v WHERE v.command_id = c.command_id)
        AND NOT EXISTS (SELECT FROM watermark_removals AS w WHERE w.command_id = c.command_id);
END;
$$;
COMMENT ON FUNCTION projectionist.release_commands IS
    'Deletes placeholder rows of safari_commands that nothing refers to';

CREATE FUNCTION projectionist.remove_commands(p_keys UUID[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM safari_commands AS c WHERE c.command_id = ANY (p_keys)
        ORDER BY c.command_id FOR UPDATE;
    UPDATE safari_commands AS c SET type = 'unknown', status = 'QUEUED', payload = NULL,
        result = NULL, target = NULL, error_message = NULL, idempotency_key = NULL,
        created_at = (SELECT min(s.seen) FROM (
            SELECT min(e.emitted_at) FROM safari_events AS e WHERE e.command_id = c.command_id
            UNION ALL
            SELECT min(v.created_at) FROM safari_videos AS v WHERE v.command_id = c.command_id
            UNION ALL
            SELECT min(w.created_at) FROM watermark_removals AS w
            WHERE w.command_id = c.command_id) AS s (seen)),
        started_at = NULL, completed_at = NULL, correlation_id = NULL, requester_service = NULL,
        requester_instance = NULL, placeholder = true
    WHERE c.command_id = ANY (p_keys)
        AND (EXISTS (SELECT FROM safari_events AS e WHERE e.command_id = c.command_id)
            OR EXISTS (SELECT FROM safari_videos AS v WHERE v.command_id = c.command_id)
            OR EXISTS (SELECT FROM watermark_removals AS w WHERE w.command_id = c.command_id));
    DELETE FROM safari_commands AS c WHERE c.command_id = ANY (p_keys)
        AND c.placeholder IS NOT TRUE;
END;
$$;
COMMENT ON FUNCTION projectionist.remove_commands IS
    'Deletes rows of safari_commands; those that others refer to become placeholders again';

-- --- videos -----------------------------------------------------------------------------------

CREATE FUNCTION projectionist.ensure_videos(
    p_keys UUID[], p_seen TIMESTAMPTZ[], OUT settled UUID[], OUT created BIGINT)
LANGUAGE sql AS $$
    WITH wanted AS (
        SELECT g.key, min(g.seen) AS seen
        FROM unnest(p_keys, p_seen) AS g (key, seen)
        GROUP BY g.key
    ), known AS (
        SELECT w.key, w.seen, v.video_id IS NOT NULL AND v.placeholder IS NOT TRUE AS settled,
            v.video_id IS NULL AS missing,
            v.video_id IS NULL OR (v.placeholder AND v.created_at > w.seen) AS due
        FROM wanted AS w LEFT JOIN safari_videos AS v ON v.video_id = w.key
    ), made AS (
        INSERT INTO safari_videos AS v (video_id, status, created_at, placeholder)
        SELECT k.key, 'GENERATING', k.seen, true FROM known AS k WHERE k.due ORDER BY k.key
        ON CONFLICT (video_id) DO UPDATE SET created_at = excluded.created_at
            WHERE v.placeholder AND v.created_at > excluded.created_at
        RETURNING v.video_id
    )
    SELECT (SELECT coalesce(array_agg(k.key), '{}') FROM known AS k WHERE k.settled),
        (SELECT count(*) FROM made AS m JOIN known AS k ON k.key = m.video_id WHERE k.missing)
$$;
COMMENT ON FUNCTION projectionist.ensure_videos IS
    'Inserts placeholder rows into safari_videos; returns the keys that need none, and their number';

CREATE FUNCTION projectionist.release_videos(p_keys UUID[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- Real rows too: one may be becoming a placeholder again right now.
    PERFORM FROM safari_videos AS v WHERE v.video_id = ANY (p_keys)
        ORDER BY v.video_id FOR UPDATE;
    DELETE FROM safari_videos AS v WHERE v.video_id = ANY (p_keys) AND v.placeholder
        AND NOT EXISTS (SELECT FROM watermark_removals AS w WHERE w.video_id = v.video_id);
END;
$$;
COMMENT ON FUNCTION projectionist.release_videos IS
    'Deletes placeholder rows of safari_videos that no removal refers to';

CREATE FUNCTION projectionist.remove_videos(p_keys UUID[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM safari_videos AS v WHERE v.video_id = ANY (p_keys)
        ORDER BY v.video_id FOR UPDATE;
    UPDATE safari_videos AS v SET command_id = NULL, prompt = NULL, "character" = NULL,
        duration = NULL, aspect_ratio = NULL, raw_path = NULL, raw_size_bytes = NULL,
        cleaned_path = NULL, cleaned_size_bytes = NULL, status = 'GENERATING', metadata = NULL,
        placeholder = true
    WHERE v.video_id = ANY (p_keys)
        AND EXISTS (SELECT FROM watermark_removals AS w WHERE w.video_id = v.video_id);
    DELETE FROM safari_videos AS v WHERE v.video_id = ANY (p_keys)
        AND NOT EXISTS (SELECT FROM watermark_removals AS w WHERE w.video_id = v.video_id);
END;
$$;
COMMENT ON FUNCTION projectionist.remove_videos IS
    'Deletes rows of safari_videos; those that removals refer to become placeholders again';
