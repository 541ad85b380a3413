# SPDX-License-Identifier: Apache-2.0
"""How rates change with what is consumed, with who consumes it, and with what is there already: the
five consumers of safari over what an automation service may do, replicas beside partitions, and
tables that are large."""

import contextlib

import stream
from lib import events, kafka, scenario
from lib.scenario_run import TOPICS_OF
from runs import OF_THE_STREAM
from servers import Clock, say

STAGES = ("fetch", "decode", "load", "fold", "write", "commit")
REPLICAS = (1, 2, 4, 8)
PARTITIONS = (1, 12, 48)
SIZES = (10_000, 1_000_000, 10_000_000)
STEP = 1_000_000  # rows of one INSERT
TABLES = ("safari_commands", "safari_videos", "watermark_removals", "safari_events", "safari_sessions",
          "watermark_metrics", "watermark_metrics_times", "projectionist.idempotency_conflicts")
STATES_SQL = ("SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables "
              "WHERE schemaname = 'projectionist' AND tablename LIKE 'state\\_%'")
# Of the number n: random ones, and some that rise, all of them before those of the stream.
IDS = {
    "v4": "md5('v4 ' || n)::uuid",
    "v7": "(lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(n::text), 14, 3) || '8' || "
          "substr(md5(n::text), 18, 15))::uuid",
}
FILL_SQL = """
    INSERT INTO safari_events (event_id, command_id, type, payload, cursor, emitted_at, version)
    SELECT {id}, c.command_id, 'sora.prompt.submitted',
        jsonb_build_object('prompt', 'A lighthouse in storm number ' || n || ', seen from a boat',
                           'character', 'default'),
        to_char(now(), 'YYYYMMDDHH24MISS') || '_' || n,
        '2020-01-01'::timestamptz + n * interval '1 ms', '1.0'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    JOIN (SELECT command_id, row_number() OVER () - 1 AS place FROM safari_commands) AS c
        ON c.place = n %% %(commands)s
"""


# --- the five consumers ----------------------------------------------------------------------

def publish_all(count):
    """What an automation service may do, in three topics: {topic: records}."""
    kafka.new_topics(*events.TOPICS, partitions=12)
    schema_ids = events.register_schemas()
    for block in scenario.blocks(stream.SEED, count):
        stream.produce(block.records(schema_ids))
    return {topic: sum(kafka.end_offsets(topic).values()) for topic in events.TOPICS}


def one_consumer(bench, name, ends):
    """Over the whole of its topics: records a second, and the share of the time that each stage of a
    batch takes. `written` is that in which Postgres has rows of it, so what a writer would need that
    has them already."""
    records = sum(ends[topic] for topic in TOPICS_OF[name])
    bench.db.execute(f"TRUNCATE {', '.join(TABLES)}, {bench.db.execute(STATES_SQL).fetchone()[0]}")
    bench.admin.execute("CHECKPOINT")
    clock = Clock()
    with bench.program(name, "--metrics-address", "127.0.0.1:0") as program:
        bench.wait_until_committed(program, records)
        cpu, peak, metrics = clock.read(program.seconds()), program.peak(), program.metrics()
    began, _, ended = program.window()
    spent = {stage: metrics[f'projectionist_batch_stage_seconds_sum{{stage="{stage}"}}'] / (ended - began)
             for stage in STAGES}
    return {"rate": records / (ended - began), "peak": peak, "cpu": cpu, **spent,
            "written": spent["write"] + spent["commit"],
            "a_record": 1e6 * cpu["consumer"] / records}


def measure_consumers(bench, rounds, note):
    say("publishing what an automation service may do")
    ends = publish_all(bench.count)
    for _ in range(rounds):
        for name in TOPICS_OF:
            note(f"all_{name}", one_consumer(bench, name, ends))


# --- replicas and partitions -----------------------------------------------------------------

def replicated(bench, replicas):
    """event-recorder in so many processes, all of which are started at once on a topic that is
    full: from their start to the last commit, so with each rebalance."""
    bench.truncate(known_commands=True)
    group = bench.new_group("event-recorder")
    clock = Clock()
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(bench.program("event-recorder", group=group))
                    for _ in range(replicas)]
        bench.wait_until_committed(programs[0], bench.count)
        cpu = clock.read(sum(program.seconds() for program in programs))
    bench.check()
    return bench.figures(cpu, programs[0].started_at)


def measure_replicas(bench, rounds, note):
    for partitions in PARTITIONS:
        kafka.new_topics(events.TELEMETRY, partitions=partitions)
        say(f"publishing to {partitions} partitions")
        stream.publish_telemetry(bench.count)
        for _ in range(rounds):
            for replicas in REPLICAS:
                note(f"replicas_{replicas}_of_{partitions}", replicated(bench, replicas))


# --- large tables ----------------------------------------------------------------------------

def fill(bench, kind, have, size):
    """Rows of other events, until there are so many."""
    for first in range(have, size, STEP):
        bench.db.execute(FILL_SQL.format(id=IDS[kind]),
                         {"first": first, "last": min(first + STEP, size) - 1, "commands": bench.commands})
    bench.db.execute("VACUUM (FREEZE, ANALYZE) safari_events")
    bench.admin.execute("CHECKPOINT")


def beside(bench, run):
    """A run into a table that has rows already, and of which it leaves nothing."""
    figures = run()
    bench.db.execute(f"DELETE FROM safari_events WHERE {OF_THE_STREAM}")
    bench.db.execute("VACUUM (FREEZE) safari_events")
    bench.admin.execute("CHECKPOINT")
    return figures


def measure_sizes(bench, rounds, note):
    """event-recorder and COPY, into a table of so many rows with other ids of the same kind."""
    for kind, version in (("v4", 4), ("v7", 7)):
        kafka.new_topics(events.TELEMETRY, partitions=12)
        stream.publish_telemetry(bench.count, version)
        bench.content = None
        bench.recorder()
        bench.keep_rows()
        bench.truncate(known_commands=True)
        have = 0
        for size in SIZES:
            say(f"{size:,} rows with ids {kind}")
            fill(bench, kind, have, size)
            have = size
            for _ in range(rounds):
                note(f"copy_into_{size}_{kind}", beside(bench, bench.copied))
                note(f"recorder_into_{size}_{kind}", beside(bench, bench.recorded))
