-- SPDX-License-Identifier: Apache-2.0
-- Placeholder rows also in tables that are partitioned, of which a statement cannot read xmax: which
-- rows were made is known from those that were not there.

-- As in 0003: what is made here belongs where the Safari tables are.
SELECT set_config('search_path',
    (SELECT coalesce(string_agg(quote_ident(s.name), ', ' ORDER BY s.place), '')
     FROM unnest(current_schemas(false)) WITH ORDINALITY AS s (name, place)
     WHERE s.name <> 'projectionist'),
    true);

CREATE OR REPLACE FUNCTION projectionist.ensure_commands(
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

CREATE OR REPLACE FUNCTION projectionist.ensure_videos(
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
