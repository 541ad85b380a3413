-- SPDX-License-Identifier: Apache-2.0
--
-- Functions that the statements which write rows call.

-- A row derived from one entity is not overwritten by another: an insert calls this where the row
-- already exists and is not a placeholder.
CREATE FUNCTION projectionist.refuse_row(p_row TEXT, p_value ANYELEMENT)
    RETURNS ANYELEMENT
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'PJ003', MESSAGE = p_row;
END;
$$;
COMMENT ON FUNCTION projectionist.refuse_row IS
    'Refuses a row that another entity already has; p_row names it, p_value is never returned';

-- For Postgres it is not an error when a statement writes fewer rows than it was given: it skips
-- rows that somebody deleted, that row security hides or that a trigger suppresses. So every write
-- counts its rows, and fails its transaction by this function if the numbers differ.
CREATE FUNCTION projectionist.refuse_unwritten(
    p_projection TEXT, p_table REGCLASS, p_verb TEXT, p_queued BIGINT, p_written BIGINT)
RETURNS BOOLEAN
LANGUAGE plpgsql AS $$
DECLARE
    reason TEXT;
    triggers TEXT;
BEGIN
    -- Row triggers (1), BEFORE (2) or INSTEAD OF (64), for INSERT (4), DELETE (8), UPDATE (16). An
    -- INSERT may become an UPDATE.
    SELECT string_agg(DISTINCT quote_ident(g.tgname), ', ') INTO triggers
    FROM pg_trigger AS g
    WHERE g.tgrelid IN (SELECT p_table::oid UNION SELECT relid FROM pg_partition_tree(p_table))
        AND NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgtype & 1 = 1 AND g.tgtype & 66 <> 0
        AND g.tgtype & CASE p_verb WHEN 'INSERT' THEN 20 WHEN 'DELETE' THEN 8 ELSE 16 END <> 0;
    reason := CASE
        WHEN p_written > p_queued THEN 'its key is not unique'
        WHEN row_security_active(p_table) THEN format(
            'row security hides others from the role %I; give it a policy FOR ALL USING (true) '
            'WITH CHECK (true), or BYPASSRLS', current_user)
        WHEN triggers IS NOT NULL AND p_verb = 'INSERT' THEN format(
            'a trigger (%s) returned NULL for others; correct or drop it', triggers)
        WHEN p_verb = 'INSERT' THEN 'find out what suppresses others'
        ELSE format(
            'others were deleted by hand or by a foreign key''s ON DELETE; `projectionist rebuild '
            '%s` restores them%s', p_projection,
            ' (or a trigger returned NULL for them: ' || triggers || ')')
    END;
    RAISE EXCEPTION USING ERRCODE = 'PJ004', MESSAGE = format(
        'the table %s took %s of the %s rows of %s %s, so nothing of the transaction was kept: %s',
        (SELECT format('%I.%I', n.nspname, c.relname)
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.oid = p_table),
        p_written, p_queued, CASE p_verb WHEN 'DELETE' THEN 'a' ELSE 'an' END, p_verb,
        reason);
END;
$$;
COMMENT ON FUNCTION projectionist.refuse_unwritten IS
    'Raises PJ004: a statement wrote a different number of rows than it was given';

-- Histograms are arrays of counts, added element by element; a missing one is all zeros.
CREATE FUNCTION projectionist.add_counts(p_a BIGINT[], p_b BIGINT[]) RETURNS BIGINT[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_a IS NULL THEN p_b
        WHEN p_b IS NULL THEN p_a
        ELSE (SELECT array_agg(coalesce(g.a, 0) + coalesce(g.b, 0) ORDER BY g.i)
            FROM unnest(p_a, p_b) WITH ORDINALITY AS g (a, b, i))
    END
$$;
COMMENT ON FUNCTION projectionist.add_counts IS 'Adds two histograms element by element';
CREATE AGGREGATE projectionist.sum_counts(BIGINT[]) (
    SFUNC = projectionist.add_counts, STYPE = BIGINT[], PARALLEL = SAFE);
COMMENT ON AGGREGATE projectionist.sum_counts(BIGINT[]) IS 'Adds histograms element by element';
