-- SPDX-License-Identifier: Apache-2.0
--
-- A row that follows from one entity is not written over by another: whoever inserts it calls this
-- where it is there already and no placeholder.

CREATE OR REPLACE FUNCTION projectionist.refuse_row(p_row TEXT, p_value ANYELEMENT)
    RETURNS ANYELEMENT
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'PJ003', MESSAGE = p_row;
END;
$$;
COMMENT ON FUNCTION projectionist.refuse_row IS
    'Refuses a row that another entity has already; p_row names it, p_value is never returned';
