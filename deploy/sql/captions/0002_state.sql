-- SPDX-License-Identifier: Apache-2.0
--
-- The private state of the projections: the facts of each entity, from which rows are derived, and the
-- claims that were lost.

DO $$
DECLARE
    state TEXT;
BEGIN
    FOREACH state IN ARRAY ARRAY[
        'captions_tenants_tenant', 'captions_tenants_slug', 'captions_tenants_suffix',
        'captions_tenants_row', 'captions_users_user', 'captions_catalog_owner',
        'captions_catalog_run', 'captions_catalog_crops', 'captions_catalog_object',
        'captions_catalog_video', 'captions_catalog_tenancy', 'search_index_owner',
        'search_index_claim', 'search_index_frame', 'crop_versions_owner', 'crop_versions_run',
        'crop_versions_crops', 'crop_versions_version', 'crop_versions_conflict', 'flow_runs_owner',
        'flow_runs_run', 'object_catalog_owner', 'object_catalog_object'] LOOP
        EXECUTE format('CREATE TABLE projectionist.%I (
            key UUID PRIMARY KEY, facts BYTEA NOT NULL) WITH (fillfactor = 80)', 'state_' || state);
        EXECUTE format('COMMENT ON TABLE projectionist.%I IS %L', 'state_' || state,
            'Private state of a projection, from which its rows are derived');
    END LOOP;
    -- Facts by the thousand are kept apart: each is a row of its own.
    FOREACH state IN ARRAY ARRAY['captions_catalog_tenancy', 'search_index_claim',
        'object_catalog_owner'] LOOP
        EXECUTE format('CREATE TABLE projectionist.%I (
            key UUID, kind INTEGER, subkey UUID, facts BYTEA NOT NULL,
            PRIMARY KEY (key, kind, subkey))', 'state_' || state || '_wide');
        EXECUTE format('COMMENT ON TABLE projectionist.%I IS %L', 'state_' || state || '_wide',
            'Private state of a projection, from which its rows are derived');
    END LOOP;
END $$;

-- Videos also depend on stream time: when their timers fire, and the stream time that their rows are
-- derived for now.
ALTER TABLE projectionist.state_captions_catalog_video
    ADD COLUMN due_at TIMESTAMPTZ,
    ADD COLUMN derived_at TIMESTAMPTZ NOT NULL;
CREATE INDEX idx_state_captions_catalog_video_due
    ON projectionist.state_captions_catalog_video (due_at) WHERE due_at IS NOT NULL;
