-- SPDX-License-Identifier: Apache-2.0
--
-- The schema of Projectionist's own tables, and the list of the migrations that a database has
-- had. `projectionist migrate` runs this file before it reads that list, so it must change nothing
-- where it has run before; every other file runs once.

CREATE SCHEMA IF NOT EXISTS projectionist;
COMMENT ON SCHEMA projectionist IS
    'What Projectionist keeps for itself: offsets, private state, dead letters, schemas';

CREATE TABLE IF NOT EXISTS projectionist.migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE projectionist.migrations IS
    'The files of deploy/sql that this database has had; written by "projectionist migrate"';
COMMENT ON COLUMN projectionist.migrations.version IS 'The number that the file''s name begins with';
COMMENT ON COLUMN projectionist.migrations.name IS 'The file''s name';
COMMENT ON COLUMN projectionist.migrations.checksum IS
    'SHA-256 of the file when it was applied, in hex; a file that has changed since is an error';
