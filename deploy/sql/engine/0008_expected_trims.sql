-- SPDX-License-Identifier: Apache-2.0
-- Writers need not ask in each transaction what was ordered: they say what they know.

CREATE FUNCTION projectionist.expect_trim(p_table REGCLASS, p_before TIMESTAMPTZ)
    RETURNS VOID
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF projectionist.trimmed_before(p_table) IS DISTINCT FROM p_before THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = format(
            'a trim of %s was ordered meanwhile', p_table);
    END IF;
END;
$$;
COMMENT ON FUNCTION projectionist.expect_trim IS
    'Raises 40001 where another time than this one was ordered (order_trim); NULL: none was';
