-- SPDX-License-Identifier: Apache-2.0
--
-- What is to be done in the yard, and who does it.

CREATE TYPE job_state AS ENUM ('planned', 'begun', 'done');

CREATE TABLE jobs (
    job VARCHAR(40) PRIMARY KEY,
    parent VARCHAR(40),
    title TEXT NOT NULL,
    state job_state NOT NULL,
    skills TEXT[] NOT NULL,
    minutes BIGINT NOT NULL,
    root VARCHAR(40),
    depth BIGINT,
    minutes_left BIGINT,
    jobs_open BIGINT,
    search TSVECTOR GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', job), 'A') || to_tsvector('simple', title)) STORED
);
CREATE INDEX jobs_search ON jobs USING gin (search);
CREATE INDEX jobs_skills ON jobs USING gin (skills);
CREATE INDEX jobs_parent ON jobs (parent);
COMMENT ON TABLE jobs IS 'What is to be done, the last that was said of each job';
COMMENT ON COLUMN jobs.root IS
    'The job that it is part of, at the top; NULL on a ring, or below a job that is not there';
COMMENT ON COLUMN jobs.minutes_left IS 'Of it and all its parts; NULL on a ring';
COMMENT ON COLUMN jobs.jobs_open IS 'Of it and all its parts, how many are not done; NULL on a ring';

CREATE TABLE crew (
    person VARCHAR(40) PRIMARY KEY,
    job VARCHAR(40) NOT NULL REFERENCES jobs,
    place BIGINT NOT NULL,
    role TEXT,
    UNIQUE (job, place) DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON TABLE crew IS 'Who does it: everybody is in one crew';

CREATE TABLE projectionist.state_job_board_job (key UUID PRIMARY KEY, facts BYTEA NOT NULL);
CREATE TABLE projectionist.state_job_board_member (key UUID PRIMARY KEY, facts BYTEA NOT NULL);
