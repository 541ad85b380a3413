-- SPDX-License-Identifier: Apache-2.0
--
-- The private state of the projections: the facts of each entity, from which rows are derived.
DO $$
DECLARE
    state TEXT;
BEGIN
    FOREACH state IN ARRAY ARRAY[
        'captions_tenants_tenant', 'captions_tenants_slug', 'captions_tenants_suffix',
        'captions_tenants_row'] LOOP
        EXECUTE format('CREATE TABLE projectionist.%I (
            key UUID PRIMARY KEY, facts BYTEA NOT NULL) WITH (fillfactor = 80)', 'state_' || state);
        EXECUTE format('COMMENT ON TABLE projectionist.%I IS %L', 'state_' || state,
            'Private state of a projection, from which its rows are derived');
    END LOOP;
END $$;
