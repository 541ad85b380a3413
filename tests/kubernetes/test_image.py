# SPDX-License-Identifier: Apache-2.0
"""The programs as they run in the image: tests/kubernetes/image makes each of PROJECTIONIST_BIN's one
that does. They read and write PROJECTIONIST_IMAGE_VOLUME, which is /mnt there."""

import json
import os
import shutil
from pathlib import Path

import psycopg
import pytest
import yaml
from lib import ingest
from lib.automation_service import AutomationService
from lib.consumers import REPOSITORY, Consumers, address, run
from lib.database import wait_until
from lib.gateway import listening, request
from lib.old_dramas import old_file
from lib.redis import Redis

PROGRAMS = sorted(path.name for path in Path(os.environ["PROJECTIONIST_BIN"]).iterdir())
VOLUME = Path(os.environ["PROJECTIONIST_IMAGE_VOLUME"])
CONSUMERS = {given["name"]: given["system"] for given in yaml.safe_load(
    (REPOSITORY / "deploy/helm/projectionist/values.yaml").read_text())["consumers"]}
SYSTEMS = sorted(set(CONSUMERS.values()))
ID = "00000000-0000-4000-8000-000000000001"
DEADLINE = 300  # seconds, on a machine that does much else


def command(name, *arguments, code=0, **variables):
    """Runs it to its end, for all systems; what it prints."""
    done = run(name, *arguments, variables={"SYSTEMS": None, **variables}, deadline=DEADLINE)
    assert done.returncode == code, (name, arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout


def sql(statement, *parameters):
    with psycopg.connect(address("POSTGRES_DSN")) as connection:
        row = connection.execute(statement, parameters).fetchone()
        return row and row[0]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Tables, topics and schemas of all systems, and programs that must end well."""
    command("projectionist", "migrate")
    command("projectionist", "topics", "create", "--partitions=3")
    command("projectionist", "schemas", "register")
    started = Consumers(tmp_path_factory.mktemp("logs"), {"SYSTEMS": None})
    try:
        yield started
        started.end()
    finally:
        started.kill()


def test_it_has_all_consumers_of_the_chart():
    assert CONSUMERS.keys() <= set(PROGRAMS)
    assert len(SYSTEMS) == 5


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_starts(name):
    assert command(name, "--version").startswith(f"{name} ")
    assert name in command(name, "--help")


@pytest.mark.parametrize("name", CONSUMERS)
def test_a_consumer_starts_by_its_command(name):
    assert f"{name} - " in command("projectionist", "consume", name, "--help")


def test_the_gateway_and_the_bridge(programs):
    """A command of a client, and what the service says of it."""
    with AutomationService(speed=1000) as service:
        gateway = listening(programs.start("control-gateway", GATEWAY_UPSTREAM=service.url,
                                           GATEWAY_LISTEN="127.0.0.1:0", GATEWAY_ID="image"))
        bridge = programs.start("telemetry-bridge", TELEMETRY_URL=service.stream_url,
                                BRIDGE_ID="image")
        gateway.wait_until_ready(DEADLINE)
        bridge.wait_until_ready(DEADLINE)
        answer = request(gateway.api, "POST", "/v1/commands",
                         {"type": "sora.generate", "payload": {"prompt": "x"}}, timeout=DEADLINE)
        assert answer.status == 202, answer.content
        bridge.wait_until(lambda: bridge.metric("projectionist_bridge_events_published_total") > 0,
                          DEADLINE)
        bridge.stop()
        gateway.stop()


def test_the_ingest(programs):
    """An event of each system that has one."""
    tokens = VOLUME / "tokens.json"
    ingest.write_tokens(tokens, ingest.token("all", ["drama.*", "captions.*", "studio.*"]))
    body = {"type": "TenantCreated", "name": "Image", "slug": "image"}
    for system, topic, key, event in (
            ("drama", "drama.users", "user_id", {"user_id": "10000", "body": {"type": "UserRegistered"}}),
            ("captions", "captions.tenants", "tenant_id", {"tenant_id": ID, "body": body}),
            ("studio", "studio.projects", "project_id",
             {"project_id": ID, "user_id": ID, "body": {"type": "ProjectSaved", "title": "Image"}})):
        one = listening(programs.start(
            "event-ingest", INGEST_SYSTEM=system, INGEST_TOPICS=f"{topic}={key}",
            INGEST_TOKENS_FILE="/mnt/tokens.json", INGEST_LISTEN="127.0.0.1:0"))
        one.wait_until_ready(DEADLINE)
        answer = ingest.taken(one, json.dumps(event), topic, DEADLINE)
        assert answer.status == 202, answer.content
        one.stop()


def test_the_relay(programs):
    """What a function of render writes down."""
    relay = programs.start("outbox-relay", OUTBOX="render_private")
    relay.wait_until_ready(DEADLINE)
    sql("SELECT render.create_job('mp4', 1920, 1080)")
    wait_until(lambda: sql("SELECT count(*) = 0 FROM render_private.outbox"), DEADLINE)
    assert sql("SELECT count(*) FROM render_private.outbox_failed") == 0
    relay.stop()


def test_the_job_bridge(programs, tmp_path):
    with Redis(tmp_path) as redis:
        bridge = programs.start("job-bridge", REDIS_URL=redis.url)
        bridge.wait_until_ready(DEADLINE)
        redis.publish(ID, json.dumps({"type": "progress", "progress": 42}))
        bridge.wait_until(
            lambda: bridge.metric("projectionist_bridge_events_published_total") == 1, DEADLINE)
        bridge.stop()


def test_the_import():
    drama = VOLUME / "backup/dramas/d-1/drama.json"
    drama.parent.mkdir(parents=True)
    drama.write_bytes(old_file("d-1"))
    assert json.loads(command("drama-import", "--json", "/mnt/backup"))["imported"] == 1


def test_the_consumers(programs):
    """They read all that was published above, as `projectionist consume` and by their own names."""
    for one in [programs.start("projectionist", "consume", name, "--until-caught-up")
                for name in CONSUMERS]:
        one.wait(0, DEADLINE)
    for system in SYSTEMS:
        one = programs.start(next(name for name in CONSUMERS if CONSUMERS[name] == system))
        one.wait_until_ready(DEADLINE)
        one.stop()
    assert [line["open_dead_letters"] for line in json.loads(command("projectionist", "status", "--json"))[
        "consumers"]] == [0] * len(CONSUMERS)
    for table in ("safari_commands", "safari_events", "drama.dramas", "drama.users",
                  "captions.tenants", "studio.projects", "studio.generation_jobs", "render.jobs"):
        assert sql(f"SELECT count(*) FROM {table}") > 0, table


def test_the_command():
    """What reads and what writes: tables, topics, files."""
    assert "no row differs" in command("projectionist", "verify", "all")
    command("projectionist", "rebuild", "video-catalog", "--yes")
    migrations = VOLUME / "migrations"
    migrations.mkdir()
    shutil.chown(migrations, VOLUME.stat().st_uid)
    for words in ("dead-letters list", "offsets show video-catalog", "schemas list", "completion bash",
                  "roles --to-file /mnt/roles.sql",
                  "migrate --to-directory /mnt/migrations"):
        command("projectionist", *words.split())
    assert (VOLUME / "roles.sql").stat().st_size > 0 and list(migrations.glob("*.sql"))


def test_the_recorder_and_the_replay():
    command("stream-record", "--output", "/mnt/recording", "safari.telemetry")
    command("stream-record", "--check", "/mnt/recording")
    command("stream-replay", "/mnt/recording")
