-- SPDX-License-Identifier: Apache-2.0
--
-- The schema of Projectionist's own objects, and the record of the migrations applied to a
-- database. The schema may have been created, and granted, by somebody with more rights.

CREATE SCHEMA IF NOT EXISTS projectionist;
COMMENT ON SCHEMA projectionist IS
    'Projectionist''s own data: offsets, private state, dead letters, schemas';

CREATE TABLE projectionist.migrations (
    system TEXT NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    tables_schema TEXT,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (system, number)
);
COMMENT ON TABLE projectionist.migrations IS
    'The migrations applied to this database; written by "projectionist migrate"';
COMMENT ON COLUMN projectionist.migrations.system IS
    'What it belongs to: "engine", or a system of topics and tables such as "safari"';
COMMENT ON COLUMN projectionist.migrations.number IS 'The number that the file''s name begins with';
COMMENT ON COLUMN projectionist.migrations.name IS 'The file''s name';
COMMENT ON COLUMN projectionist.migrations.checksum IS
    'SHA-256 of the file when it was applied, in hex; a file that has changed since is an error';
COMMENT ON COLUMN projectionist.migrations.tables_schema IS
    'The schema that a system''s tables are in: one for all of its files; NULL of the engine''s';
