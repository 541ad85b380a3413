-- SPDX-License-Identifier: Apache-2.0
-- Flink SQL of tests/bench/peers: every command of safari.commands is a row of safari_commands. The branches of
-- the union are read as one row, of which an event has some fields.
CREATE TABLE source (
    command_id STRING, emitted_at BIGINT,
    body ROW<`type` STRING, payload STRING, idempotency_key STRING, correlation_id STRING,
             requested_at BIGINT, requester_service STRING, requester_instance STRING,
             target ROW<session_id STRING, account_id STRING, platform STRING>,
             status STRING, `result` STRING, error STRING>
) WITH (
    'connector' = 'kafka', 'topic' = '$TOPIC$', 'properties.bootstrap.servers' = '$SERVERS$',
    'properties.group.id' = '$GROUP$', 'scan.startup.mode' = 'earliest-offset',
    'format' = 'avro-confluent', 'avro-confluent.url' = '$REGISTRY$'
);
CREATE TABLE safari_commands (
    command_id STRING, `type` STRING, status STRING, payload STRING, `result` STRING, target STRING,
    error_message STRING, idempotency_key STRING, created_at TIMESTAMP(6), started_at TIMESTAMP(6),
    completed_at TIMESTAMP(6), correlation_id STRING, requester_service STRING,
    requester_instance STRING,
    PRIMARY KEY (command_id) NOT ENFORCED
) WITH (
    'connector' = 'jdbc', 'url' = '$URL$', 'table-name' = 'safari_commands', 'username' = '$USER$',
    'password' = '$PASSWORD$', 'sink.buffer-flush.max-rows' = '5000',
    'sink.buffer-flush.interval' = '1s'
);
INSERT INTO safari_commands
SELECT command_id, COALESCE(MAX(body.`type`), 'unknown'), COALESCE(LAST_VALUE(body.status), 'QUEUED'),
    MAX(body.payload), LAST_VALUE(body.`result`),
    MAX(CASE WHEN body.target.platform IS NOT NULL THEN JSON_OBJECT(
        'session_id' VALUE body.target.session_id, 'account_id' VALUE body.target.account_id,
        'platform' VALUE body.target.platform) END),
    LAST_VALUE(body.error), MAX(body.idempotency_key),
    CAST(TO_TIMESTAMP_LTZ(COALESCE(
        MIN(CASE WHEN body.`type` IS NOT NULL THEN COALESCE(body.requested_at, emitted_at) END),
        MIN(emitted_at)) / 1000, 3) AS TIMESTAMP(6)),
    CAST(TO_TIMESTAMP_LTZ(MIN(CASE WHEN body.status = 'RUNNING' THEN emitted_at END) / 1000, 3)
        AS TIMESTAMP(6)),
    CAST(TO_TIMESTAMP_LTZ(LAST_VALUE(CASE WHEN body.status IN ('SUCCEEDED', 'FAILED', 'CANCELLED')
        THEN emitted_at END) / 1000, 3) AS TIMESTAMP(6)),
    MAX(body.correlation_id), MAX(body.requester_service), MAX(body.requester_instance)
FROM source
GROUP BY command_id;
