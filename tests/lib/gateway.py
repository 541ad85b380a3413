# SPDX-License-Identifier: Apache-2.0
"""control-gateway for tests: its processes, its clients, and what it has published, read by
confluent-kafka and fastavro."""

import http.client
import json
import uuid
from types import SimpleNamespace

from lib import avro, events, kafka
from lib.consumers import Consumers

PROGRAM = "control-gateway"
KEYS = "safari.idempotency-keys"


def new_topics(partitions=3):
    """The topics of the gateway, made anew."""
    kafka.new_topics(*events.TOPICS, partitions=partitions)
    kafka.new_topics(KEYS, partitions=1, config={"cleanup.policy": "compact"})
    events.register_schemas()


class Gateways:
    """Gateways before a service, one after the other or several; a call starts one."""

    def __init__(self, folder, service):
        self.programs = Consumers(folder, {"GATEWAY_UPSTREAM": service.url})

    def __call__(self, **variables):
        """One that listens; `api` is its port. variables are without PROJECTIONIST_."""
        return listening(self.start(**variables))

    def start(self, **variables):
        """One that may not listen yet, or never."""
        return self.programs.start(PROGRAM, **{"GATEWAY_LISTEN": "127.0.0.1:0", **variables})

    def end(self):
        """Stops them; each must have ended well."""
        self.programs.end()


def listening(program):
    """Waits until it listens, and gives it back."""
    program.api = int(program.wait_for_log(r"msg=listening port=(\d+)")[1])
    return program


def request(port, method, path, body=None, headers=None, timeout=60):
    """One request on a connection of its own: status, headers, bytes and, where it is, JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        connection.request(method, path, body, headers or {})
        return read_answer(connection.getresponse())
    finally:
        connection.close()


def read_answer(response):
    content = response.read()
    try:
        parsed = json.loads(content)
    except ValueError:
        parsed = None
    return SimpleNamespace(status=response.status, headers=dict(response.getheaders()),
                           content=content, json=parsed)


def post(gateway, body, **options):
    return request(gateway.api, "POST", "/v1/commands", body, **options)


def published(topic="safari.commands"):
    """The events of a topic, decoded by fastavro, with the records' keys."""
    found = []
    for record in kafka.read(topic):
        _, event = avro.decode(record.value, avro.schema_text(topic))
        event["record_key"] = record.key.decode()
        found.append(event)
    return found


def command(key=None, **more):
    return {"type": "flow.run", "payload": {"a": 1.10},
            **({"idempotency_key": key} if key else {}), **more}


def new_id():
    return str(uuid.uuid4())
