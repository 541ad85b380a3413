-- SPDX-License-Identifier: Apache-2.0
--
-- What is asked of the tables: search, two views, a notification. Who may ask, `projectionist roles`
-- says.

-- Scripts that put no blanks between words are found by their letters.
CREATE INDEX idx_video_search_index_caption_trigrams
    ON video_search_index USING gin (caption_text gin_trgm_ops);

CREATE FUNCTION search_videos(query TEXT, max_results INTEGER DEFAULT 50)
    RETURNS TABLE (video_id UUID, frame_index INTEGER, ocr_text TEXT, caption_text TEXT, rank REAL)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_words TSQUERY := websearch_to_tsquery('simple', query);
    v_letters TEXT := '%' || replace(replace(replace(btrim(query), '\', '\\'), '%', '\%'), '_', '\_')
        || '%';
    v_most INTEGER := greatest(1, least(coalesce(max_results, 50), 1000));
BEGIN
    IF btrim(coalesce(query, '')) = '' THEN
        RETURN;
    -- Thai, Lao, Khmer, Kana, Han: the parser takes a run of them for one word.
    ELSIF query ~ '[\u0E00-\u0EFF\u1780-\u17FF\u3040-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\U00020000-\U0003FFFF]' THEN
        RETURN QUERY SELECT i.video_id, i.frame_index, i.ocr_text, i.caption_text, 1::real
        FROM video_search_index AS i
        WHERE i.ocr_text ILIKE v_letters OR i.caption_text ILIKE v_letters
        ORDER BY i.video_id, i.frame_index LIMIT v_most;
    ELSE
        RETURN QUERY SELECT i.video_id, i.frame_index, i.ocr_text, i.caption_text,
            ts_rank(i.search_vector, v_words)
        FROM video_search_index AS i WHERE i.search_vector @@ v_words
        ORDER BY 5 DESC, i.video_id, i.frame_index LIMIT v_most;
    END IF;
END;
$$;
COMMENT ON FUNCTION search_videos IS
    'Frames in which words or letters are written, of what the asker may see; the best first';

CREATE VIEW tenant_storage AS
SELECT t.id AS tenant_id, t.name, coalesce(o.bytes, 0)::bigint AS used_bytes,
    t.storage_quota_gb * 1000000000::bigint AS quota_bytes,
    round(coalesce(o.bytes, 0) / nullif(t.storage_quota_gb * 1000000000::numeric, 0), 4) AS share
FROM tenants AS t
LEFT JOIN (SELECT tenant_id, sum(size_bytes) AS bytes FROM video_objects
           WHERE tenant_id IS NOT NULL GROUP BY tenant_id) AS o ON o.tenant_id = t.id
WHERE t.placeholder IS NOT TRUE;
COMMENT ON VIEW tenant_storage IS 'How much each tenant stores, and of its quota which part';

CREATE VIEW crops_outdated AS
SELECT c.video_id, c.id AS version_id, c.version, c.layout_db_hash, v.layout_db_hash AS approved_hash
FROM cropped_frames_versions AS c
JOIN videos AS v ON v.id = c.video_id
WHERE c.status = 'active' AND v.layout_db_hash IS NOT NULL
    AND c.layout_db_hash IS DISTINCT FROM v.layout_db_hash AND v.placeholder IS NOT TRUE;
COMMENT ON VIEW crops_outdated IS
    'Active versions that were cropped by another layout than the one approved last';

-- Ids and the status alone: any session may listen.
CREATE FUNCTION captions_notify_video() RETURNS TRIGGER
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.placeholder IS NOT TRUE
        AND coalesce(current_setting('projectionist.rebuild', true), '') <> 'on'
        AND (TG_OP = 'INSERT' OR OLD.placeholder IS TRUE OR NEW.status IS DISTINCT FROM OLD.status)
    THEN
        PERFORM pg_notify('captions_video',
            json_build_object('video_id', NEW.id, 'status', NEW.status)::text);
    END IF;
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION captions_notify_video IS
    'Tells the channel captions_video of a video whose status is another; a rebuild tells nothing';
CREATE TRIGGER videos_notify AFTER INSERT OR UPDATE ON videos
    FOR EACH ROW EXECUTE FUNCTION captions_notify_video();

-- Nobody calls a function or reads a view before `projectionist roles` lets them, and each function
-- finds things in these tables' schema, whatever its caller has in the search_path.
DO $$
DECLARE
    item RECORD;
    name TEXT;
    everybody TEXT;
BEGIN
    SELECT string_agg(quote_ident(rolname), ', ') INTO everybody FROM pg_roles
    WHERE rolname IN ('anon', 'authenticated');
    everybody := concat_ws(', ', 'PUBLIC', everybody);
    FOR item IN SELECT p.oid::regprocedure AS routine FROM pg_proc AS p
        JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname = 'captions_private' OR (n.nspname = current_schema() AND p.proname IN (
            'captions_touch', 'captions_user', 'captions_tenant', 'captions_is_admin',
            'captions_notify_video', 'update_my_profile', 'approve_layout', 'archive_video',
            'restore_video', 'delete_video', 'acquire_video_lock', 'renew_video_lock',
            'release_video_lock', 'create_tenant', 'change_tenant', 'remove_tenant',
            'register_user', 'assign_user', 'remove_user', 'register_video', 'purge_video',
            'allocate_crop_version', 'get_next_cropped_frames_version',
            'activate_cropped_frames_version', 'search_videos')) LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', item.routine,
            current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', item.routine, everybody);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['tenant_storage', 'crops_outdated'] LOOP
        EXECUTE format('REVOKE ALL ON %I FROM %s', name, everybody);
    END LOOP;
END;
$$;
