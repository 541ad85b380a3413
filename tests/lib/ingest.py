# SPDX-License-Identifier: Apache-2.0
"""event-ingest for tests: a system with contracts of its own, processes, clients, and what has been
published, read by confluent-kafka and fastavro."""

import hashlib
import json
import uuid
from types import SimpleNamespace

from lib import avro, kafka, registry
from lib.consumers import Consumers
from lib.database import wait_until
from lib.gateway import listening, request

PROGRAM = "event-ingest"
KEYS = "shop.ingest-keys"
TIME = {"type": "long", "logicalType": "timestamp-micros"}
UUID = {"type": "string", "logicalType": "uuid"}


def optional(kind):
    return ["null", kind]


def record(name, **fields):
    """A record's schema; a field is its type, or (type, what else it has)."""
    made = []
    for field, kind in fields.items():
        kind, more = kind if isinstance(kind, tuple) else (kind, {})
        if isinstance(kind, list):
            more = {"default": None, **more}
        made.append({"name": field, "type": kind, **more})
    return {"type": "record", "name": name, "fields": made}


SCHEMAS = {
    "shop.orders": {**record(
        "OrderEvent", event_id=UUID, order_id=UUID, tenant_id=optional("string"),
        user_id=optional("string"), revision="long", emitted_at=TIME,
        body=([record("OrderSaved", base_revision=optional("long"), title="string",
                      price=optional({"type": "bytes", "logicalType": "decimal", "precision": 18,
                                      "scale": 6}),
                      extra=(optional("string"), {"doc": "JSON text: what else there is"}),
                      count=("int", {"default": 1}), weight=optional("double"),
                      lines=optional({"type": "array", "items": record("Line", sku="string")})),
               record("OrderDeleted", reason=optional("string"))], {})), "namespace": "shop"},
    "shop.notes": {**record("NoteEvent", event_id=UUID, note_id="string", emitted_at=TIME,
                            text="string"), "namespace": "shop"},
    "shop.flows": record(
        "FlowEvent", event_id=UUID, flow_run_id=UUID, emitted_at=TIME, tenant_id=optional(UUID),
        video_id=optional(UUID), flow_name=optional("string"), run_name=optional("string"),
        state_type="string", state_name=optional("string"), run_count=("int", {"default": 0}),
        message=optional("string"), tags=optional("string")),
    "shop.objects": record(
        "ObjectEvent", event_id=UUID, tenant_id=optional(UUID), video_id=optional(UUID),
        emitted_at=TIME, bucket="string", key="string", operation="string",
        size_bytes=optional("long"), etag=optional("string"), version_id=optional("string"),
        sequencer=optional("string")),
}
SCHEMAS["shop.orders"]["fields"][-1].pop("default", None)  # of the body: it is never null
KEY_MEMBERS = ("shop.orders=order_id shop.notes=note_id shop.flows=flow_run_id "
               "shop.objects=video_id|bucket/key")
TOPICS = (*SCHEMAS, KEYS)


def new_topics(partitions=3):
    """The topics, made anew, and their schemas."""
    kafka.new_topics(*SCHEMAS, partitions=partitions)
    kafka.new_topics(KEYS, partitions=1, config={"cleanup.policy": "compact"})
    for topic, schema in SCHEMAS.items():
        registry.register(f"{topic}-value", json.dumps(schema))


def token(secret, topics=("shop.*",), **more):
    """A line of the tokens' file; the secret is its name, too."""
    return {"name": secret, "sha256": hashlib.sha256(secret.encode()).hexdigest(),
            "topics": list(topics), **more}


def write_tokens(path, *tokens):
    """As a whole: the ingest never sees half of it."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"tokens": list(tokens)}), encoding="utf-8")
    part.rename(path)


class Ingests:
    """Ingests, one after the other or several; a call starts one."""

    def __init__(self, folder):
        self.tokens = folder / "tokens.json"
        write_tokens(self.tokens, token("all"))
        self.programs = Consumers(folder, {
            "INGEST_SYSTEM": "shop", "INGEST_TOPICS": KEY_MEMBERS,
            "INGEST_TOKENS_FILE": str(self.tokens), "INGEST_ID": uuid.uuid4().hex})

    def __call__(self, **variables):
        """One that listens; `api` is its port. variables are without PROJECTIONIST_."""
        return listening(self.start(**variables))

    def start(self, **variables):
        """One that may not listen yet, or never."""
        return self.programs.start(PROGRAM, **{"INGEST_LISTEN": "127.0.0.1:0", **variables})

    def end(self):
        """Stops them; each must have ended well."""
        self.programs.end()


def post(ingest, body, topic="shop.notes", bearer="all", key=None, headers=None, path=None,
         **options):
    """An answer of POST /v1/events/<topic>; a body that is no text is sent as JSON."""
    sent = {"Content-Type": "application/json",
            **({"Authorization": f"Bearer {bearer}"} if bearer else {}),
            **({"Idempotency-Key": key} if key else {}), **(headers or {})}
    if isinstance(body, str):
        body = body.encode()
    return request(ingest.api, "POST", path or f"/v1/events/{topic}", body, sent, **options)


def taken(ingest, body, topic="shop.notes", deadline=120, **options):
    """The answer of post that is not 503: Kafka may be slow on a busy machine, and a retry with its key
    is published once."""
    answers, key = [], uuid.uuid4().hex

    def is_answered():
        answers.append(post(ingest, body, topic, key=key, **options))
        return answers[-1].status != 503

    wait_until(is_answered, deadline, "Kafka takes nothing")
    return answers[-1]


def note(text="x", **more):
    return {"note_id": "n", "text": text, **more}


def order(body=None, **more):
    return {"order_id": str(uuid.uuid4()),
            "body": body or {"type": "OrderSaved", "title": "a lamp"}, **more}


def published(topic="shop.notes", schema="shop.notes"):
    """The events of a topic, with the records' keys; a union's branch is `type` in it, and a field
    `key` is `object`."""
    found = []
    for sent in kafka.read(topic):
        _, event = avro.decode(sent.value, json.dumps(SCHEMAS[topic if topic in SCHEMAS else schema]))
        if isinstance(event.get("body"), tuple):
            name, body = event["body"]
            event["body"] = {"type": name, **body}
        if "key" in event:
            event["object"] = event.pop("key")
        found.append(SimpleNamespace(key=sent.key.decode(), **event))
    return found


def kept(topic=KEYS):
    """What the keys' topic holds, as its last records have it, but for the transactions' marker."""
    found = {sent.key.decode(): sent.value for sent in kafka.read(topic)}
    return {key: json.loads(value) for key, value in found.items()
            if value and not key.startswith("transaction ")}
