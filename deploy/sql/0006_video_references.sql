-- SPDX-License-Identifier: Apache-2.0
--
-- Removals refer to videos of which another consumer knows, sooner or later than theirs. What is
-- no video after all must leave nothing behind, and what is one must keep its removals.
--
-- In both functions the rows are locked first, by a statement of its own: whoever refers to them
-- has ended then, so that the next statement sees it, and who comes later waits.

CREATE OR REPLACE FUNCTION projectionist.release_videos(p_keys UUID[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- Those that are no placeholders, too: one may just be becoming one again.
    PERFORM FROM safari_videos AS v WHERE v.video_id = ANY (p_keys)
        ORDER BY v.video_id FOR UPDATE;
    DELETE FROM safari_videos AS v WHERE v.video_id = ANY (p_keys) AND v.placeholder
        AND NOT EXISTS (SELECT FROM watermark_removals AS w WHERE w.video_id = v.video_id);
END;
$$;
COMMENT ON FUNCTION projectionist.release_videos IS
    'Takes away placeholder rows of safari_videos that no removal refers to';

CREATE OR REPLACE FUNCTION projectionist.remove_videos(p_keys UUID[]) RETURNS void
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
    'Takes rows of safari_videos away; those that removals refer to become placeholders again';
