-- SPDX-License-Identifier: Apache-2.0
--
-- Placeholders of commands go with the last row that refers to them: where older history is let go,
-- nothing else would ever take them away.

-- As in 0006, the rows are locked first, by a statement of its own: whoever refers to them has ended
-- then, so that the next statement sees it, and who comes later waits.
CREATE OR REPLACE FUNCTION projectionist.release_commands(p_keys UUID[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- Those that are no placeholders, too: a rebuild may just be making one of them.
    PERFORM FROM safari_commands AS c WHERE c.command_id = ANY (p_keys)
        ORDER BY c.command_id FOR UPDATE;
    DELETE FROM safari_commands AS c WHERE c.command_id = ANY (p_keys) AND c.placeholder
        AND NOT EXISTS (SELECT FROM safari_events AS e WHERE e.command_id = c.command_id)
        AND NOT EXISTS (SELECT FROM safari_videos AS v WHERE v.command_id = c.command_id)
        AND NOT EXISTS (SELECT FROM watermark_removals AS w WHERE w.command_id = c.command_id);
END;
$$;
COMMENT ON FUNCTION projectionist.release_commands IS
    'Takes away placeholder rows of safari_commands that nothing refers to';
