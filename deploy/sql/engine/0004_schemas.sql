-- SPDX-License-Identifier: Apache-2.0
--
-- The schemas that records were written with, and the registries they came from.

CREATE TABLE projectionist.schemas (
    registry TEXT NOT NULL,
    schema_id INTEGER NOT NULL,
    schema TEXT NOT NULL,
    fetched_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (registry, schema_id)
);
COMMENT ON TABLE projectionist.schemas IS
    'The schemas that records were written with, so that a rebuild needs no schema registry';
COMMENT ON COLUMN projectionist.schemas.registry IS 'The registry that assigned the id';
COMMENT ON COLUMN projectionist.schemas.schema IS 'The Avro schema, as the registry returned it';

-- Shows when an id means another schema at another registry, or at the same one after it was
-- refilled.
CREATE TABLE projectionist.schema_readers (
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    registry TEXT NOT NULL,
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, consumer_group, registry)
);
COMMENT ON TABLE projectionist.schema_readers IS
    'The schema registries in which each group looked up the schema ids of its records';

CREATE TABLE projectionist.forgotten_schemas (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    registry TEXT NOT NULL,
    schema_id INTEGER NOT NULL,
    schema TEXT NOT NULL,
    fetched_at TIMESTAMPTZ NOT NULL,
    forgotten_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    forgotten_by TEXT NOT NULL DEFAULT session_user
);
COMMENT ON TABLE projectionist.forgotten_schemas IS
    'Stored schemas that a person removed ("projectionist schemas forget")';
COMMENT ON COLUMN projectionist.forgotten_schemas.forgotten_by IS 'The role that was logged in';
