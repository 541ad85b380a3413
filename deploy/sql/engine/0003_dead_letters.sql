-- SPDX-License-Identifier: Apache-2.0
--
-- Records that could not be applied, kept whole until a person replays or discards them.

CREATE TABLE projectionist.dead_letters (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    projection TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    record_offset BIGINT NOT NULL,
    record_timestamp TIMESTAMPTZ,
    key BYTEA,
    value BYTEA,
    headers JSONB,
    schema_id INTEGER,
    error_class TEXT NOT NULL,
    sqlstate TEXT,
    message TEXT NOT NULL,
    failed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'replayed', 'discarded')),
    resolved_at TIMESTAMPTZ,
    UNIQUE (cluster_id, consumer_group, topic, partition, record_offset)
);
CREATE INDEX idx_dead_letters_open
    ON projectionist.dead_letters (consumer_group, id) WHERE status = 'open';

COMMENT ON TABLE projectionist.dead_letters IS
    'Records that could not be applied, whole; see "projectionist dead-letters"';
COMMENT ON COLUMN projectionist.dead_letters.id IS 'The argument of "projectionist dead-letters show"';
COMMENT ON COLUMN projectionist.dead_letters.record_offset IS 'The record''s offset';
COMMENT ON COLUMN projectionist.dead_letters.record_timestamp IS 'Kafka''s timestamp of the record';
COMMENT ON COLUMN projectionist.dead_letters.key IS 'The record''s key, byte for byte';
COMMENT ON COLUMN projectionist.dead_letters.value IS 'The record''s value, byte for byte';
COMMENT ON COLUMN projectionist.dead_letters.schema_id IS
    'The registry''s id of the writer''s schema, if the value begins with one';
COMMENT ON COLUMN projectionist.dead_letters.error_class IS 'The class of the error';
COMMENT ON COLUMN projectionist.dead_letters.sqlstate IS 'Postgres''s code, if Postgres refused it';
COMMENT ON COLUMN projectionist.dead_letters.message IS 'The error in one sentence';
COMMENT ON COLUMN projectionist.dead_letters.status IS
    'open, replayed (applied later, exactly once) or discarded (by a person)';
COMMENT ON COLUMN projectionist.dead_letters.resolved_at IS 'When it stopped being open';

CREATE VIEW projectionist.dead_letters_by_reason AS
SELECT consumer_group,
       projection,
       topic,
       status,
       error_class,
       sqlstate,
       regexp_replace(message, '[0-9]+', 'N', 'g') AS reason,
       count(*) AS letters,
       min(failed_at) AS first_failed_at,
       max(failed_at) AS last_failed_at,
       min(id) AS first_id,
       max(id) AS last_id
FROM projectionist.dead_letters
GROUP BY consumer_group, projection, topic, status, error_class, sqlstate,
         regexp_replace(message, '[0-9]+', 'N', 'g');
COMMENT ON VIEW projectionist.dead_letters_by_reason IS
    'Dead letters counted by reason; numbers within a reason are left out to group similar ones';

-- Dead letters do not help a consumer that refuses everything: it stops at the hundredth from a
-- topic of which it has accepted nothing yet.
CREATE TABLE projectionist.accepted_topics (
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    accepted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, consumer_group, topic)
);
COMMENT ON TABLE projectionist.accepted_topics IS
    'The topics of which a consumer group has applied at least one record';
COMMENT ON COLUMN projectionist.accepted_topics.accepted_at IS 'When it applied the first one';
