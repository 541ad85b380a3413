# SPDX-License-Identifier: Apache-2.0
"""What a schema registry says, and whether it is believed: broken answers, ids that mean another
schema than before, schemas that refer to others."""

import contextlib
import copy
import http.server
import json
import threading

import pytest

from lib import avro, consumers, database, events, kafka, rebuilding, registry
from lib.events import COMMANDS, SECOND, START
from lib.rebuilding import UNKNOWN, rebuild, verify
from lib.world import PROJECTOR

pytestmark = pytest.mark.partitions(1)
REGISTRY = 9
ID = 7


class FakeRegistry:
    """Says what a test wants of each id: its schema, or a body of its own. Otherwise 404."""

    def __init__(self):
        self.schemas, self.bodies, self.asked = {}, {}, []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                fake.asked.append(self.path)
                number = int(self.path.rsplit("/", 1)[1])
                status, body = 404, json.dumps({"error_code": 40403, "message": "no such schema"})
                if number in fake.bodies:
                    status, body = 200, fake.bodies[number]
                elif number in fake.schemas:
                    status, body = 200, json.dumps({"schema": fake.schemas[number]})
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fake():
    with contextlib.closing(FakeRegistry()) as opened:
        yield opened


def swapped():
    """The schema of commands as it might have been: result and error of a status changed places,
    which reads without an error."""
    schema = json.loads(avro.schema_text(COMMANDS))
    status, = [branch for field in schema["fields"] if isinstance(field["type"], list)
               for branch in field["type"]
               if isinstance(branch, dict) and branch.get("name") == "CommandStatusChanged"]
    names = [field["name"] for field in status["fields"]]
    one, other = names.index("result"), names.index("error")
    fields = status["fields"]
    fields[one], fields[other] = fields[other], fields[one]
    return json.dumps(schema)


def publish(world, number, schema, schema_id=ID):
    event = events.status_changed(events.id_of("kept", number), "FAILED", START + number * SECOND,
                                  error="the page did not load")
    record = world.record(event)
    value = avro.encode(event, schema_id, schema)
    kafka.produce([kafka.Record(COMMANDS, record.key, value)])


def errors(world):
    return [row["error_message"] for row in world.rows("safari_commands")]


def kept(world):
    return [row["schema_id"] for row in world.rows("projectionist.schemas")]


@pytest.mark.parametrize("body", [
    '{"schema":""}', '{"schema":"{"}', "<html>welcome</html>", "{}", '{"schema":nu',
    '{"schema":"' + " " * (5 << 20) + '"}'])
def test_an_unusable_answer_is_waited_out(world, fake, body):
    fake.bodies[ID] = body
    publish(world, 1, avro.schema_text(COMMANDS))
    process = world.start(PROJECTOR, "--until-caught-up", SCHEMA_REGISTRY_URL=fake.url)
    process.wait_for_log("waiting for a server")
    assert kept(world) == []
    fake.bodies.clear()
    fake.schemas[ID] = avro.schema_text(COMMANDS)
    process.wait()
    assert errors(world) == ["the page did not load"] and world.letters() == []


def test_what_is_json_and_no_schema_is_not_kept(world, fake):
    fake.schemas[ID] = '{"type": "object"}'
    publish(world, 1, avro.schema_text(COMMANDS))
    world.catch_up(PROJECTOR, SCHEMA_REGISTRY_URL=fake.url)
    assert len(world.letters()) == 1 and kept(world) == []
    fake.schemas[ID] = avro.schema_text(COMMANDS)
    rebuild(world, PROJECTOR, SCHEMA_REGISTRY_URL=fake.url)
    assert errors(world) == ["the page did not load"]
    # What an older program kept is no hindrance.
    world.database.execute("UPDATE projectionist.schemas SET schema = ''")
    verify(world, PROJECTOR, SCHEMA_REGISTRY_URL=fake.url)
    assert len(json.loads(world.value("SELECT schema FROM projectionist.schemas"))["fields"]) > 1


def forget(world, *arguments, code=0):
    result = consumers.run("projectionist", "schemas", "forget", *arguments,
                           variables=world.consumers.variables)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_an_id_that_was_given_anew(world, fake):
    fake.schemas[ID] = swapped()
    publish(world, 1, swapped())
    world.catch_up(PROJECTOR, SCHEMA_REGISTRY_URL=fake.url)
    assert errors(world) == ["the page did not load"]
    # Laid out otherwise, it is the same.
    fake.schemas[ID] = json.dumps(json.loads(swapped()), indent=3, sort_keys=True)
    verify(world, PROJECTOR, SCHEMA_REGISTRY_URL=fake.url)

    fake.schemas[ID] = avro.schema_text(COMMANDS)
    publish(world, 2, avro.schema_text(COMMANDS))
    sentence = f"schema id {ID} means another schema at {fake.url} than group"
    process = world.start(PROJECTOR, "--until-caught-up", SCHEMA_REGISTRY_URL=fake.url)
    process.wait(REGISTRY)
    assert sentence in process.log and f"projectionist schemas forget {ID}" in process.log
    assert sentence in verify(world, PROJECTOR, code=UNKNOWN, SCHEMA_REGISTRY_URL=fake.url)
    assert sentence in rebuild(world, PROJECTOR, code=REGISTRY, SCHEMA_REGISTRY_URL=fake.url)
    assert errors(world) == ["the page did not load"]
    # Without a registry, and with one that does not answer, what is kept stands.
    verify(world, PROJECTOR, SCHEMA_REGISTRY_URL="")
    verify(world, PROJECTOR, SCHEMA_REGISTRY_URL="http://127.0.0.1:1")

    listed = consumers.run("projectionist", "schemas", "list", "--json",
                           variables=world.consumers.variables)
    found, = json.loads(listed.stdout)
    assert (found["id"], found["registry"], found["groups"]) == (ID, fake.url,
                                                                  world.group(PROJECTOR))
    assert "no terminal to confirm on" in forget(world, str(ID), code=2) and kept(world) == [ID]
    forget(world, str(ID), "--dry-run")
    assert "is not kept" in forget(world, "8", "--yes", code=1) and kept(world) == [ID]
    assert "1 forgotten" in forget(world, str(ID), "--yes") and kept(world) == []
    assert world.count("projectionist.forgotten_schemas") == 1
    world.catch_up(PROJECTOR, SCHEMA_REGISTRY_URL=fake.url)
    assert world.count("safari_commands") == 2


def test_another_registry_by_whose_ids_records_mean_something_else(world, fake):
    fake.schemas[ID] = avro.schema_text(COMMANDS)
    publish(world, 1, avro.schema_text(COMMANDS))
    world.catch_up(PROJECTOR, SCHEMA_REGISTRY_URL=fake.url)
    with contextlib.closing(FakeRegistry()) as other:
        other.schemas[ID] = swapped()
        for command, code in ((rebuild, REGISTRY), (verify, UNKNOWN)):
            message = command(world, PROJECTOR, code=code, SCHEMA_REGISTRY_URL=other.url)
            assert f"means another schema at {other.url} than group" in message
            assert f"learned from {fake.url} before" in message
        publish(world, 2, avro.schema_text(COMMANDS))
        world.start(PROJECTOR, "--until-caught-up", SCHEMA_REGISTRY_URL=other.url).wait(REGISTRY)
        # The same registry by another name is the same.
        other.schemas[ID] = fake.schemas[ID]
        world.catch_up(PROJECTOR, SCHEMA_REGISTRY_URL=other.url)
    assert errors(world) == ["the page did not load"] * 2 and kept(world) == [ID, ID]
    verify(world, PROJECTOR, SCHEMA_REGISTRY_URL=fake.url)


def test_an_id_that_is_given_anew_while_a_consumer_runs(world, fake):
    fake.schemas[ID] = avro.schema_text(COMMANDS)
    publish(world, 1, avro.schema_text(COMMANDS))
    process = world.start(PROJECTOR, SCHEMA_REGISTRY_URL=fake.url)
    database.wait_until(lambda: world.count("safari_commands") == 1)
    fake.schemas[ID] = swapped()
    process.wait(REGISTRY)  # within ten seconds
    assert f"schema id {ID} means another schema" in process.log


def test_a_schema_that_refers_to_others(world):
    """As the real registry has it: the type of a branch is a subject of its own."""
    schema = json.loads(avro.schema_text(COMMANDS))
    whole = copy.deepcopy(schema)
    space = schema.get("namespace", "")
    for field in schema["fields"]:
        for place, branch in enumerate(field["type"] if isinstance(field["type"], list) else []):
            if isinstance(branch, dict) and branch.get("name") == "CommandStatusChanged":
                part = {**branch, "namespace": branch.get("namespace", space)}
                field["type"][place] = f"{part['namespace']}.CommandStatusChanged".strip(".")
    name = f"{part['namespace']}.CommandStatusChanged".strip(".")
    subject = f"part/of {consumers.Consumers.new_group('commands')}"  # to be escaped
    registry.register(subject, json.dumps(part))
    number = registry.request(
        "POST", f"/subjects/{consumers.Consumers.new_group('whole')}-value/versions",
        {"schema": json.dumps(schema), "schemaType": "AVRO",
         "references": [{"name": name, "subject": subject, "version": 1}]})["id"]
    publish(world, 1, json.dumps(whole), number)
    world.catch_up(PROJECTOR)
    assert errors(world) == ["the page did not load"] and world.letters() == []
    world.database.execute("DELETE FROM safari_commands")
    rebuild(world, PROJECTOR, SCHEMA_REGISTRY_URL="")  # what is kept says all
    assert errors(world) == ["the page did not load"]
