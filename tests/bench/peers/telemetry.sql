-- SPDX-License-Identifier: Apache-2.0
-- Flink SQL of tests/bench/peers: every event of safari.telemetry is a row of safari_events. The times of the
-- stream are whole milliseconds, of which Flink's TO_TIMESTAMP_LTZ takes no more.
CREATE TABLE source (
    event_id STRING, version STRING, `type` STRING, severity STRING, command_id STRING,
    correlation_id STRING, payload STRING, `cursor` STRING, emitted_at BIGINT
) WITH (
    'connector' = 'kafka', 'topic' = '$TOPIC$', 'properties.bootstrap.servers' = '$SERVERS$',
    'properties.group.id' = '$GROUP$', 'scan.startup.mode' = 'earliest-offset',
    'format' = 'avro-confluent', 'avro-confluent.url' = '$REGISTRY$'
);
CREATE TABLE safari_events (
    event_id STRING, command_id STRING, correlation_id STRING, `type` STRING, severity STRING,
    payload STRING, `cursor` STRING, emitted_at TIMESTAMP(6), version STRING,
    PRIMARY KEY (event_id) NOT ENFORCED
) WITH (
    'connector' = 'jdbc', 'url' = '$URL$', 'table-name' = 'safari_events', 'username' = '$USER$',
    'password' = '$PASSWORD$', 'sink.buffer-flush.max-rows' = '5000',
    'sink.buffer-flush.interval' = '1s'
);
INSERT INTO safari_events
SELECT event_id, command_id, correlation_id, `type`, severity, payload, `cursor`,
    CAST(TO_TIMESTAMP_LTZ(emitted_at / 1000, 3) AS TIMESTAMP(6)), version
FROM source;
