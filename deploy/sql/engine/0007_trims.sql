-- SPDX-License-Identifier: Apache-2.0
--
-- Orders by which rows of append tables that are older than a time go, and stay away.

CREATE TABLE projectionist.trims (
    table_schema TEXT NOT NULL,
    table_name TEXT NOT NULL,
    before TIMESTAMPTZ NOT NULL,
    ordered_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_schema, table_name)
);
COMMENT ON TABLE projectionist.trims IS
    'Append tables whose rows older than a time are gone for good: consumers do not write them '
    'again, verify and rebuild skip them. Written by projectionist.order_trim';
COMMENT ON COLUMN projectionist.trims.table_schema IS 'The schema of the table';
COMMENT ON COLUMN projectionist.trims.table_name IS 'Its name';
COMMENT ON COLUMN projectionist.trims.before IS
    'Rows whose time is before this go; which column has a row''s time, its declaration says';
COMMENT ON COLUMN projectionist.trims.ordered_at IS 'When that was ordered';

CREATE FUNCTION projectionist.trimmed_before(p_table REGCLASS)
    RETURNS TIMESTAMPTZ
LANGUAGE sql STABLE AS $$
    SELECT t.before
    FROM projectionist.trims AS t
    JOIN pg_class AS c ON c.relname = t.table_name
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = t.table_schema
    WHERE c.oid = p_table;
$$;
COMMENT ON FUNCTION projectionist.trimmed_before IS
    'The time before which rows of the table are gone for good; NULL where none was ordered';

-- Who writes the table now is waited for, and who writes it later sees the order: no older row is
-- written once this has returned. It deletes nothing itself.
CREATE FUNCTION projectionist.order_trim(p_table REGCLASS, p_before TIMESTAMPTZ)
    RETURNS TIMESTAMPTZ
LANGUAGE plpgsql AS $$
BEGIN
    IF p_before IS NULL OR NOT isfinite(p_before) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the time before which rows go must be a time, and neither null nor infinite';
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', p_table);
    INSERT INTO projectionist.trims AS t (table_schema, table_name, before)
    SELECT n.nspname, c.relname, p_before
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = p_table
    ON CONFLICT (table_schema, table_name) DO UPDATE
        SET before = excluded.before, ordered_at = clock_timestamp()
        WHERE t.before < excluded.before;
    RETURN projectionist.trimmed_before(p_table);
END;
$$;
COMMENT ON FUNCTION projectionist.order_trim IS
    'Orders that rows of an append table older than a time go and stay away; a time that is earlier '
    'than the one ordered before changes nothing. Returns the time that holds';
