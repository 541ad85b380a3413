-- SPDX-License-Identifier: Apache-2.0
--
-- A frame whose target names nothing has none.

-- As in 0003: the view is where the Safari tables are.
SELECT set_config('search_path',
    (SELECT coalesce(string_agg(quote_ident(s.name), ', ' ORDER BY s.place), '')
     FROM unnest(current_schemas(false)) WITH ORDINALITY AS s (name, place)
     WHERE s.name <> 'projectionist'),
    true);

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
COMMENT ON COLUMN safari_events_enriched.target IS
    'The frame''s, else (where that is missing or names nothing) the command''s';
