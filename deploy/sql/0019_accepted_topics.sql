-- SPDX-License-Identifier: Apache-2.0
--
-- A consumer that refuses whatever comes is not served by dead letters of it all: it stops at the
-- hundredth of a topic of which it has accepted nothing yet.

CREATE TABLE projectionist.accepted_topics (
    cluster_id TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    accepted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, consumer_group, topic)
);
COMMENT ON TABLE projectionist.accepted_topics IS
    'The topics of which a consumer group has applied a record at least';
COMMENT ON COLUMN projectionist.accepted_topics.accepted_at IS 'When it applied the first one';
