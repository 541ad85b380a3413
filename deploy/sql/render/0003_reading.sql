-- SPDX-License-Identifier: Apache-2.0
--
-- What is asked of the tables, and how what is old goes. A function that reads shows its caller
-- what the policies let that caller see.

CREATE FUNCTION can_subscribe_to_job(job_uuid UUID) RETURNS BOOLEAN
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM jobs WHERE id = job_uuid AND placeholder IS NOT TRUE
            AND (owner_id = get_current_user_id()
                OR (owner_id IS NULL AND client_ip = get_client_ip())
                OR is_admin_user() OR is_service_account()));
$$;
COMMENT ON FUNCTION can_subscribe_to_job IS
    'Whether who asks may see a job; of one that is not there, or not yet, nobody may';

CREATE FUNCTION calculate_job_duration(job_uuid UUID) RETURNS INTERVAL
LANGUAGE sql STABLE AS $$
    SELECT processing_completed_at - processing_started_at FROM jobs
    WHERE id = job_uuid AND placeholder IS NOT TRUE;
$$;
COMMENT ON FUNCTION calculate_job_duration IS
    'From the first start to the end that holds; NULL unless both are known';

CREATE FUNCTION calculate_job_progress(job_uuid UUID) RETURNS INTEGER
LANGUAGE sql STABLE AS $$
    SELECT coalesce(round(100.0 * count(*) FILTER (WHERE success) / nullif(count(*), 0)), 0)::integer
    FROM processing_timeline WHERE job_id = job_uuid;
$$;
COMMENT ON FUNCTION calculate_job_progress IS
    'Percent of the steps known so far that succeeded, which is not how far the job is';

CREATE FUNCTION get_job_statistics(
    start_date TIMESTAMPTZ DEFAULT now() - interval '24 hours',
    end_date TIMESTAMPTZ DEFAULT now())
    RETURNS TABLE (total_jobs BIGINT, completed_jobs BIGINT, failed_jobs BIGINT,
        avg_processing_time INTERVAL, immediate_response_jobs BIGINT, async_response_jobs BIGINT)
LANGUAGE sql STABLE AS $$
    SELECT count(*), count(*) FILTER (WHERE status = 'completed'),
        count(*) FILTER (WHERE status = 'failed'),
        make_interval(secs => avg(extract(epoch FROM
            processing_completed_at - processing_started_at))::double precision),
        count(*) FILTER (WHERE response_type = 'immediate'),
        count(*) FILTER (WHERE response_type = 'async')
    FROM jobs WHERE created_at BETWEEN start_date AND end_date AND placeholder IS NOT TRUE;
$$;
COMMENT ON FUNCTION get_job_statistics IS
    'Counts of the jobs created between two times, and how long those took of which that is known';

CREATE FUNCTION get_storage_statistics(
    start_date TIMESTAMPTZ DEFAULT now() - interval '24 hours',
    end_date TIMESTAMPTZ DEFAULT now())
    RETURNS TABLE (total_operations BIGINT, successful_operations BIGINT,
        total_bytes_uploaded BIGINT, total_bytes_downloaded BIGINT,
        avg_operation_duration_ms NUMERIC)
LANGUAGE sql STABLE AS $$
    SELECT count(*), count(*) FILTER (WHERE success),
        coalesce(sum(file_size) FILTER (WHERE success AND operation = 'upload'), 0)::bigint,
        coalesce(sum(file_size) FILTER (WHERE success AND operation = 'download'), 0)::bigint,
        round(avg(duration_ms), 3)
    FROM storage_operations AS s
    WHERE created_at BETWEEN start_date AND end_date AND NOT EXISTS (
        SELECT FROM jobs AS j WHERE j.id = s.job_id AND j.placeholder IS TRUE);
$$;
COMMENT ON FUNCTION get_storage_statistics IS
    'Counts of the calls of the object storage between two times; bytes are those that succeeded';

-- The newest orders that no row shows yet stand together: the oldest of them is how far the tables
-- are behind. It looks at ten thousand at most.
CREATE FUNCTION health_check() RETURNS JSONB
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    v_order RECORD;
    v_behind TIMESTAMPTZ;
BEGIN
    FOR v_order IN
        SELECT job_id, created_at FROM render_private.job_guards WHERE deleted_at IS NULL
        ORDER BY created_at DESC LIMIT 10000 LOOP
        EXIT WHEN EXISTS (SELECT FROM jobs WHERE id = v_order.job_id AND placeholder IS NOT TRUE);
        v_behind := v_order.created_at;
    END LOOP;
    RETURN (SELECT jsonb_build_object('database', true, 'outbox_pending', count(*),
        'outbox_oldest_s', round(coalesce(extract(epoch FROM
            clock_timestamp() - min(written_at)), 0), 3),
        'projector_lag_s', round(coalesce(extract(epoch FROM clock_timestamp() - v_behind), 0), 3))
        FROM render_private.outbox);
END;
$$;
COMMENT ON FUNCTION health_check IS
    'Whether events reach Kafka (outbox_pending, and the age of the oldest in seconds) and tables '
    'follow (projector_lag_s: since when a job was ordered that has no row yet)';

-- --- what is old ------------------------------------------------------------------------------

CREATE FUNCTION render_private.check_days(p_days INTEGER) RETURNS VOID
LANGUAGE sql IMMUTABLE AS $$
    SELECT render_private.refuse_unless(p_days BETWEEN 0 AND 100000, format(
        'days is %s; it must be from 0 to 100000', coalesce(p_days::text, 'NULL')));
$$;
COMMENT ON FUNCTION render_private.check_days IS 'Refuses what is no number of days';

-- A job that is being tried again is none of them, whatever its row still says.
CREATE FUNCTION render_private.delete_jobs(p_days INTEGER, p_reason TEXT) RETURNS INTEGER
LANGUAGE plpgsql AS $$
DECLARE
    v_id UUID;
    v_guard render_private.job_guards;
    v_count INTEGER := 0;
BEGIN
    -- Of those that are gone from the table, the guards go, too.
    WITH gone AS (
        DELETE FROM render_private.job_guards AS g
        WHERE g.deleted_at < clock_timestamp() - interval '1 day' AND NOT EXISTS (
            SELECT FROM jobs AS j WHERE j.id = g.job_id AND j.placeholder IS NOT TRUE)
        RETURNING g.job_id
    ), elements_gone AS (
        DELETE FROM render_private.element_guards AS e USING gone WHERE e.job_id = gone.job_id
    )
    DELETE FROM render_private.step_guards AS s USING gone WHERE s.job_id = gone.job_id;

    FOR v_id IN
        SELECT j.id FROM jobs AS j
        WHERE j.status IN ('completed', 'failed', 'cancelled', 'timeout')
            AND j.created_at < now() - make_interval(days => p_days) AND j.placeholder IS NOT TRUE
            AND NOT EXISTS (SELECT FROM render_private.job_guards AS g
                            WHERE g.job_id = j.id AND g.deleted_at IS NOT NULL)
        ORDER BY j.created_at, j.id LIMIT 10000 LOOP
        v_guard := render_private.lock_job(v_id);
        CONTINUE WHEN v_guard.job_id IS NULL OR v_guard.status = 'pending'
            OR (v_guard.status = 'processing' AND NOT EXISTS (
                SELECT FROM jobs WHERE id = v_id AND status = 'completed'));
        UPDATE render_private.job_guards SET deleted_at = clock_timestamp() WHERE job_id = v_id;
        PERFORM render_private.tell_job(v_id, v_guard.attempt, jsonb_build_object(
            'type', 'JobDeleted', 'reason', p_reason,
            'requested_by', coalesce(get_current_user_id()::text, session_user)));
        PERFORM render_private.tell_metric('job_deleted', 'counter', 1, NULL, jsonb_build_object(
            'job_id', v_id, 'status', v_guard.status, 'reason', p_reason));
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END;
$$;
COMMENT ON FUNCTION render_private.delete_jobs IS
    'Tells of at most 10,000 jobs that have ended, and were created so many days ago, that they are '
    'gone; returns of how many';

-- Consumers wait for the second of the two deletions alone.
CREATE FUNCTION render_private.trim(p_table REGCLASS, p_time NAME, p_days INTEGER) RETURNS INTEGER
LANGUAGE plpgsql AS $$
DECLARE
    v_before TIMESTAMPTZ := now() - make_interval(days => p_days);
    v_first INTEGER;
    v_second INTEGER;
BEGIN
    EXECUTE format('DELETE FROM %s WHERE %I < $1', p_table, p_time) USING v_before;
    GET DIAGNOSTICS v_first = ROW_COUNT;
    PERFORM projectionist.order_trim(p_table, v_before);
    EXECUTE format('DELETE FROM %s WHERE %I < $1', p_table, p_time) USING v_before;
    GET DIAGNOSTICS v_second = ROW_COUNT;
    RETURN v_first + v_second;
END;
$$;
COMMENT ON FUNCTION render_private.trim IS
    'Removes rows of an append table that are so many days old, for good: consumers, verify and '
    'rebuild pass over them; returns how many went';

-- The rows are locked before they are looked at again: nobody comes to refer to them then.
CREATE FUNCTION render_private.settle_placeholders() RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    v_ids UUID[];
BEGIN
    PERFORM FROM jobs WHERE placeholder ORDER BY id FOR UPDATE;
    SELECT array_agg(id) INTO v_ids FROM jobs WHERE placeholder;
    DELETE FROM jobs AS j WHERE id = ANY (v_ids)
        AND NOT EXISTS (SELECT FROM storage_operations AS o WHERE o.job_id = j.id)
        AND NOT EXISTS (SELECT FROM url_access_logs AS a WHERE a.job_id = j.id);
    UPDATE jobs AS j SET created_at = m.first FROM (
        SELECT id, (SELECT min(at) FROM (
            SELECT min(o.created_at) FROM storage_operations AS o WHERE o.job_id = p.id UNION ALL
            SELECT min(a.accessed_at) FROM url_access_logs AS a WHERE a.job_id = p.id
            ) AS s (at)) AS first
        FROM jobs AS p WHERE p.id = ANY (v_ids)) AS m
    WHERE j.id = m.id AND m.first > j.created_at;
END;
$$;
COMMENT ON FUNCTION render_private.settle_placeholders IS
    'After rows went that referred to jobs which are only heard of: those that nothing refers to any '
    'more go, and the others are as old as the first row that is left';

CREATE FUNCTION cleanup_old_jobs(days INTEGER DEFAULT 30) RETURNS INTEGER
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM render_private.only('cleanup_old_jobs', 'admin', 'service');
    PERFORM render_private.check_days(days);
    RETURN render_private.delete_jobs(days, 'cleanup');
END;
$$;
COMMENT ON FUNCTION cleanup_old_jobs IS
    'Removes jobs that have ended, timed out ones too, and were created so many days ago: at most '
    '10,000 a call, with their elements and steps. Returns how many; their rows go soon';

CREATE FUNCTION cleanup_old_metrics(days INTEGER DEFAULT 7) RETURNS INTEGER
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM render_private.only('cleanup_old_metrics', 'admin', 'service');
    PERFORM render_private.check_days(days);
    RETURN render_private.trim('system_metrics', 'recorded_at', days);
END;
$$;
COMMENT ON FUNCTION cleanup_old_metrics IS
    'Removes metrics that are so many days old for good; returns how many';

CREATE FUNCTION enforce_data_retention() RETURNS INTEGER
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_counts INTEGER[];
    v_number INTEGER;
    v_tables CONSTANT TEXT[] := ARRAY['jobs', 'system_metrics', 'url_access_logs'];
    v_days CONSTANT INTEGER[] := ARRAY[90, 30, 7];
BEGIN
    PERFORM render_private.only('enforce_data_retention', 'admin', 'service');
    v_counts := ARRAY[render_private.delete_jobs(v_days[1], 'retention'),
        render_private.trim('system_metrics', 'recorded_at', v_days[2]),
        render_private.trim('url_access_logs', 'accessed_at', v_days[3])];
    IF v_counts[3] > 0 THEN
        PERFORM render_private.settle_placeholders();
    END IF;
    DELETE FROM render_private.rate_hits AS h WHERE NOT EXISTS (
        SELECT FROM unnest(h.hits) AS hit WHERE hit > now() - h.kept);
    FOR v_number IN 1 .. 3 LOOP
        PERFORM render_private.tell_metric('data_retention', 'counter', v_counts[v_number], 'rows',
            jsonb_build_object('table', v_tables[v_number], 'days', v_days[v_number]));
    END LOOP;
    RETURN v_counts[1] + v_counts[2] + v_counts[3];
END;
$$;
COMMENT ON FUNCTION enforce_data_retention IS
    'Removes jobs of 90 days, metrics of 30 and access logs of 7; returns how many rows, and tells '
    'each in the metrics';
