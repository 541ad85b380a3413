# SPDX-License-Identifier: Apache-2.0
"""event-ingest between clients and Kafka: what is published, what is refused and why, and what a
retry is answered."""

import datetime
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import AclOperation, ResourceType
from lib import ingest as lib
from lib import kafka, registry
from lib.database import wait_until
from lib.gateway import request
from lib.ingest import Ingests, kept, note, order, post, published, token, write_tokens

DAY = 86400
ID = "0f0e0d0c-0b0a-4908-8706-050403020100"


@pytest.fixture(scope="module")
def topics():
    lib.new_topics()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, topics):
    """One ingest for the tests that do not end it."""
    ingests = Ingests(tmp_path_factory.mktemp("ingest"))
    write_tokens(ingests.tokens, token("all"), token("notes", ["shop.notes"]),
                 token("gone", revoked=True), token("old", **{"import": True}),
                 token("ann", tenant="t-1", user="ann"), token("slow", rate=2))
    yield ingests(CORS_ORIGINS="https://a.example https://b.example")
    ingests.end()


@pytest.fixture
def ingests(tmp_path, topics):
    ingests = Ingests(tmp_path)
    yield ingests
    ingests.end()


def now_us(seconds=0):
    return int((time.time() + seconds) * 1e6)


def text():
    """One that no other event has."""
    return uuid.uuid4().hex


def of_text(wanted, count=1):
    """The notes of a text, of which there must be so many. Readers see a transaction a moment after
    its commit has returned."""
    def found():
        return [event for event in published() if event.text == wanted]
    wait_until(lambda: len(found()) >= count, message="they are not published")
    assert len(found()) == count
    return found()


def order_of(sent):
    def found():
        return [event for event in published("shop.orders") if event.order_id == sent["order_id"]]
    return wait_until(found, message="it is not published")[0]


# --- what is published ------------------------------------------------------------------------


def test_an_event_is_published_with_what_it_left_out(shared):
    wanted = text()
    before = now_us()
    answer = post(shared, note(wanted))
    assert answer.status == 202, answer.content
    event, = of_text(wanted)
    assert answer.json == {"event_ids": [event.event_id]} and uuid.UUID(event.event_id).version == 4
    assert before <= event.emitted_at <= now_us() and event.key == "n"


def test_all_that_a_contract_has(shared):
    body = {"type": "OrderSaved", "base_revision": now_us(60), "title": "lámpara \U0001f4a1",
            "price": 12.5, "extra": {"a": [1, 0.1, None, "é"]}, "weight": 0.30000000000000004,
            "lines": [{"sku": "1"}, {"sku": "2"}]}
    sent = order(body, user_id="u")
    assert post(shared, sent, "shop.orders").status == 202
    event = order_of(sent)
    assert event.key == sent["order_id"] and event.user_id == "u" and event.tenant_id is None
    assert event.revision == body["base_revision"] + 1
    assert json.loads(event.body["extra"]) == body["extra"]
    assert event.body["extra"] == '{"a":[1,0.1,null,"é"]}'
    assert int.from_bytes(event.body["price"], "big") == 12500000
    assert (event.body["type"], event.body["title"], event.body["count"], event.body["weight"]) == (
        "OrderSaved", body["title"], 1, body["weight"])
    assert event.body["lines"] == body["lines"]


def test_an_array_is_published_whole_or_not_at_all(shared):
    wanted = text()
    some = [note(wanted, note_id=str(number)) for number in range(1000)]
    answer = post(shared, some)
    assert answer.status == 202 and len(set(answer.json["event_ids"])) == 1000
    assert {event.key: event.event_id for event in of_text(wanted, 1000)} == {
        str(number): event_id for number, event_id in enumerate(answer.json["event_ids"])}
    lost = text()
    bad = [note(lost) for _ in range(999)] + [note(lost, colour="red")]
    answer = post(shared, bad)
    assert (answer.status, answer.json["error"]) == (400, "event 999: the field colour is unknown")
    answer = post(shared, [note(lost)] * 1001)
    assert answer.status == 400 and "at most 1000" in answer.json["error"]
    after = text()
    post(shared, note(after))
    assert of_text(after) and not of_text(lost, 0)


def test_a_beacon_is_read_as_json(shared):
    wanted = text()
    plain = {"Content-Type": "text/plain;charset=UTF-8"}
    assert post(shared, note(wanted), headers=plain).status == 202
    large = post(shared, note("x" * (64 << 10)), headers=plain)
    assert large.status == 413 and "64 KiB" in large.json["error"]
    assert of_text(wanted)


def test_a_newer_schema_is_taken_while_it_runs(ingests):
    topic = f"shop.{text()}"
    schema = json.loads(json.dumps(lib.SCHEMAS["shop.notes"]))
    registry.register(f"{topic}-value", json.dumps(schema))
    kafka.create_topics(topic, partitions=1)
    ingest = ingests(SCHEMA_REFRESH="1s", INGEST_TOPICS=f"{topic}=note_id")
    assert "colour is unknown" in post(ingest, note(colour="red"), topic).json["error"]
    schema["fields"].append({"name": "colour", "type": ["null", "string"], "default": None})
    registry.register(f"{topic}-value", json.dumps(schema))
    wait_until(lambda: post(ingest, note(colour="red"), topic).status == 202,
               message="it is not taken")


# --- what is refused --------------------------------------------------------------------------

BAD = [
    ("", "the body is empty"),
    ("{", "the body is not JSON"),
    ("7", "the body is not JSON"),
    ("[]", "neither an event nor an array"),
    ("[[]]", "the event is not an object"),
    ('{"note_id": "n"}', "the field text is missing"),
    ('{"note_id": "n", "text": null}', "the field text is missing"),
    ('{"note_id": "n", "text": 7}', "the field text is not a string"),
    ('{"note_id": "n", "text": {"string": "x"}}', "the field text is not a string"),
    ('{"text": "x"}', "the field note_id is missing"),
    ('{"note_id": "", "text": "x"}', "which is the record's key, is missing"),
    ('{"note_id": "%s", "text": "x"}' % ("k" * 2001), "more than 2000 bytes"),
    ('{"note_id": "n", "text": "x", "text": "y"}', "duplicate object key"),
    ('{"note_id": "n", "text": "\\u0000"}', "\\u0000 is not allowed"),
    ('{"note_id": "n", "text": "\\ud800"}', "invalid Unicode"),
    ('{"note_id": "n", "text": "x", "emitted_at": NaN}', "not JSON"),
    ('{"note_id": "n", "text": "x", "emitted_at": 99999999999999999999}', "too big integer"),
    ('{"note_id": "n", "text": "x", "emitted_at": 1e15}', "emitted_at is not an integer"),
    ('{"note_id": "n", "text": "x", "emitted_at": "today"}', "emitted_at is not a time"),
    ('{"note_id": "n", "text": "x", "event_id": "7"}', "an event with an event_id needs emitted_at"),
    ('{"note_id": "n", "text": "x", "event_id": 7, "emitted_at": %d}', "event_id is not a string"),
    ('{"note_id": "n", "text": "x", "event_id": "7", "emitted_at": %d}', "event_id is not a UUID"),
    ("[" * 3000, "not JSON"),
]


@pytest.mark.parametrize("body, part", BAD, ids=[part for _, part in BAD])
def test_a_bad_body_is_400_and_says_where(shared, body, part):
    answer = post(shared, body.replace("%d", str(now_us())))
    assert answer.status == 400 and part in answer.json["error"], answer.content


def test_bytes_that_are_no_utf8(shared):
    answer = post(shared, b'{"note_id": "n", "text": "\xff"}')
    assert answer.status == 400 and "not JSON" in answer.json["error"], answer.content


BAD_ORDERS = [
    ({"type": "OrderLost"}, "the field body does not say which record it is"),
    ({"title": "x"}, "the field body does not say which record it is"),
    ({"OrderSaved": {"title": "x"}}, "the field body does not say which record it is"),
    ({"type": "OrderSaved"}, "the field body.title is missing"),
    ({"type": "OrderSaved", "title": "x", "lines": [{"sku": "1"}, {"sku": 2}]},
     "the field body.lines.1.sku is not a string"),
    ({"type": "OrderSaved", "title": "x", "price": "1.2345678"}, "digits after the point"),
    ({"type": "OrderSaved", "title": "x", "price": "much"}, "is not a decimal number"),
    ({"type": "OrderSaved", "title": "x", "count": 2147483648}, "does not fit 32 bits"),
    ({"type": "OrderDeleted", "title": "x"}, "the field body.title is unknown"),
]


@pytest.mark.parametrize("body, part", BAD_ORDERS, ids=[part for _, part in BAD_ORDERS])
def test_a_bad_record_is_400_and_says_where(shared, body, part):
    answer = post(shared, order(body), "shop.orders")
    assert answer.status == 400 and part in answer.json["error"], answer.content


def test_times_that_are_too_far_away(shared):
    def at(seconds, **options):
        when = datetime.datetime.fromtimestamp(time.time() + seconds, datetime.UTC)
        return post(shared, note(emitted_at=when.isoformat()), **options)
    assert at(-DAY + 60).status == 202 == at(290).status
    assert "24 hours behind" in at(-DAY - 60).json["error"]
    assert "5 minutes ahead" in at(330).json["error"]
    assert at(-100 * DAY, bearer="old").status == 202


def test_who_may_not_write(shared):
    for bearer, status, part in ((None, 401, "a Bearer token is required"),
                                 ("nobody", 401, "not known"), ("gone", 401, "revoked")):
        answer = post(shared, note(), bearer=bearer)
        assert (answer.status, answer.headers.get("WWW-Authenticate")) == (status, "Bearer")
        assert part in answer.json["error"]
    assert post(shared, order(), "shop.orders", bearer="notes").status == 403
    answer = post(shared, note(), headers={"Authorization": "Basic YWxs"}, bearer=None)
    assert answer.status == 401
    assert post(shared, note(), "shop.unknown").status == 404
    assert post(shared, note(), path="/v1/events/").status == 404
    assert post(shared, note(), path="/v1/events/../shop.notes").status == 404


def test_tenant_and_user_of_a_token(shared):
    sent = order()
    assert post(shared, sent, "shop.orders", bearer="ann").status == 202
    event = order_of(sent)
    assert (event.tenant_id, event.user_id) == ("t-1", "ann")
    for more in ({"tenant_id": "t-2"}, {"user_id": "bob"}):
        answer = post(shared, [order(), order(**more)], "shop.orders", bearer="ann")
        assert answer.status == 403 and "not that of the token" in answer.json["error"]


def test_what_http_has_to_be(shared):
    assert post(shared, note(), headers={"Content-Type": "text/html"}).status == 415
    assert post(shared, note(), headers={"Content-Encoding": "gzip"}).status == 415
    assert post(shared, note(), headers={"Idempotency-Key": "k" * 201}).status == 400
    answer = request(shared.api, "GET", "/v1/events/shop.notes")
    assert answer.status == 405 and answer.headers["Allow"] == "POST, OPTIONS"
    answer = post(shared, b"[" + b" " * (4 << 20) + b"]")
    assert answer.status == 413, answer.content


def test_a_rate_is_kept_and_said(shared):
    assert post(shared, [note()] * 20, bearer="slow").status == 202
    answer = post(shared, note(), bearer="slow")
    assert answer.status == 429 and int(answer.headers["Retry-After"]) >= 1
    wait_until(lambda: post(shared, note(), bearer="slow").status == 202, message="it never ends")


def test_pages_of_listed_origins_may_post(shared):
    def ask(origin):
        return request(shared.api, "OPTIONS", "/v1/events/shop.notes", headers={
            "Origin": origin, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type"})
    answer = ask("https://b.example")
    assert answer.status == 204 and answer.content == b""
    assert answer.headers["Access-Control-Allow-Origin"] == "https://b.example"
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert ask("https://evil.example").status == 403
    answer = post(shared, note(), headers={"Origin": "https://a.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    answer = post(shared, note(), headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


# --- retries ----------------------------------------------------------------------------------


def test_a_retry_with_its_key_is_the_same_request(shared):
    wanted, key = text(), text()
    first = post(shared, [note(wanted), note(wanted)], key=key)
    again = post(shared, json.dumps([note(wanted), note(wanted)], indent=7), key=key)
    assert first.status == again.status == 202 and again.json == first.json
    assert again.headers["Projectionist-Repeated"] == "same"
    assert "Projectionist-Repeated" not in first.headers
    other = post(shared, note(wanted), key=key)
    assert other.status == 409 and "other content" in other.json["error"]
    assert post(shared, order(), "shop.orders", key=key).status == 409
    # Another caller's key is another one.
    assert post(shared, note(wanted), key=key, bearer="notes").json != first.json
    assert of_text(wanted, 3)


def test_a_refused_request_leaves_its_key_free(shared):
    key = text()
    assert post(shared, note(colour="red"), key=key).status == 400
    assert post(shared, note(), key=key).status == 202


def test_keys_are_kept_over_restarts(ingests):
    ingest = ingests()
    wanted, key = text(), text()
    sent = note(wanted, event_id=ID, emitted_at=now_us())
    first, named = post(ingest, note(wanted), key=key), post(ingest, sent, key=key + "2")
    assert named.json == {"event_ids": [ID]}
    ingest.kill()
    ingest = ingests()
    assert post(ingest, note(wanted), key=key).json == first.json
    assert post(ingest, sent, key=key + "2").json == named.json
    assert post(ingest, note(text()), key=key).status == 409
    assert of_text(wanted, 2)
    assert ingest.metric("projectionist_ingest_kept_keys") >= 2
    assert ingest.metric("projectionist_ingest_repeated_requests_total") == 2


def test_keys_expire_and_there_are_not_too_many(ingests):
    system = f"shop.{text()}"
    topic, keys = f"{system}.notes", f"{system}.ingest-keys"
    registry.register(f"{topic}-value", json.dumps(lib.SCHEMAS["shop.notes"]))
    kafka.create_topics(topic, keys, partitions=1, config={"cleanup.policy": "compact"})
    ingest = ingests(KEY_RETENTION="2s", MAX_KEYS="2", INGEST_SYSTEM=system,
                     INGEST_TOPICS=f"{topic}=note_id")
    first = post(ingest, note(), topic, key="a")
    assert post(ingest, note(), topic, key="b").status == 202
    assert kept(keys).keys() == {"key token:all a", "key token:all b"}
    full = post(ingest, note(), topic, key="c")
    assert full.status == 503 and "--max-keys" in full.json["error"]
    assert full.headers["Retry-After"] == "1"
    wait_until(lambda: not kept(keys), message="they do not expire")
    again = post(ingest, note(), topic, key="a")
    assert again.status == 202 and again.json != first.json


def test_environments_share_kafka_by_a_prefix(ingests):
    prefix = f"{text()}."
    schema = json.dumps(lib.SCHEMAS["shop.notes"])
    registry.register(f"{prefix}shop.notes-value", schema)
    kafka.create_topics(f"{prefix}shop.notes", f"{prefix}{lib.KEYS}", partitions=1)
    ingest = ingests(TOPIC_PREFIX=prefix, INGEST_TOPICS="shop.notes=note_id")
    assert post(ingest, note()).status == 202
    wait_until(lambda: len(published(f"{prefix}shop.notes")) == 1, message="it is not published")


# --- running ----------------------------------------------------------------------------------


def test_tokens_are_read_again_when_their_file_changes(ingests):
    ingest = ingests()
    assert post(ingest, note(), bearer="new").status == 401
    write_tokens(ingests.tokens, token("new"))
    wait_until(lambda: post(ingest, note(), bearer="new").status == 202, message="it is not read")
    assert post(ingest, note()).status == 401
    ingests.tokens.write_text("{", encoding="utf-8")
    ingest.wait_for_log("the tokens stay as they were")
    assert post(ingest, note(), bearer="new").status == 202


def test_a_newer_one_takes_over(ingests):
    older = ingests()
    newer = ingests()
    assert post(older, note()).status == 503
    older.wait(5)
    assert "--ingest-id" in older.log
    assert post(newer, note()).status == 202


def test_a_topic_that_is_not_to_be_written_turns_away_its_own_requests_alone(ingests):
    """Requests share transactions; what is refused for one topic is said to those who ask for it."""
    ingest = ingests(PUBLISH_TIMEOUT="20s")
    wanted, refused = text(), order()
    with (kafka.without_right(ResourceType.TOPIC, "shop.orders", AclOperation.WRITE),
          ThreadPoolExecutor(12) as pool):
        mixed = [(pool.submit(post, ingest, note(wanted)),
                  pool.submit(post, ingest, order(), "shop.orders", key=text())) for _ in range(6)]
        ingest.wait_until(lambda: "TOPIC_AUTHORIZATION_FAILED" in ingest.log)
        answers = [post(ingest, note(wanted)) for _ in range(10)]
        assert [answer.status for answer in answers] == [202] * 10, answers
        for other, asked in mixed:
            assert other.result().status == 202, other.result()
            answer = asked.result()
            assert answer.status == 503, answer
            assert "nothing was published" in answer.json["error"], answer.json
            assert "TOPIC_AUTHORIZATION_FAILED" in answer.json["error"]
        of_text(wanted, 16)
        ingest.wait_until(lambda: ingest.get("/readyz")[0] == 200)
        assert ingest.metric("projectionist_ingest_waiting_topics") == 1
    ingest.wait_until(lambda: post(ingest, refused, "shop.orders").status == 202, 60)
    order_of(refused)
    assert ingest.metric("projectionist_ingest_waiting_topics") == 0


@contextmanager
def deleted(topic):
    kafka.delete_topics(topic)
    try:
        yield
    finally:
        kafka.create_topics(topic, partitions=3)


@pytest.mark.parametrize("gone, reason", [
    (lambda: kafka.without_right(ResourceType.TOPIC, "shop.orders", AclOperation.ALL),
     "TOPIC_AUTHORIZATION_FAILED"),
    (lambda: kafka.without_right(ResourceType.TOPIC, "shop.orders", AclOperation.DESCRIBE),
     "TOPIC_AUTHORIZATION_FAILED"),
    (lambda: deleted("shop.orders"), "Kafka has no topic shop.orders"),
], ids=["without rights", "hidden", "deleted"])
def test_a_topic_that_kafka_does_not_show_turns_away_its_own_requests_alone(ingests, tmp_path, gone,
                                                                            reason):
    """Each new producer, such as after another password, finds its topics again."""
    secret = tmp_path / "password"
    secret.write_text("first")
    ingest = ingests(KAFKA_SASL_USERNAME="me", KAFKA_SASL_PASSWORD_FILE=str(secret))
    wanted, refused, notes = text(), order(), []

    def has_another_producer(number):
        notes.append(post(ingest, note(wanted)))
        assert notes[-1].status == 202, notes[-1].content
        return len(ingest.logged("secrets have changed")) >= number

    assert post(ingest, order(), "shop.orders").status == 202
    with gone(), ThreadPoolExecutor(12) as pool:
        for number in range(1, 4):
            secret.write_text(f"another-{number}")
            wait_until(lambda: has_another_producer(number))
            mixed = [(pool.submit(post, ingest, note(wanted)),
                      pool.submit(post, ingest, order(), "shop.orders", key=text()))
                     for _ in range(4)]
            for other, asked in mixed:
                notes.append(other.result())
                assert notes[-1].status == 202, notes[-1].content
                answer = asked.result()
                assert answer.status == 503 and "Retry-After" in answer.headers, answer.content
                assert "nothing was published" in answer.json["error"], answer.json
        answer = post(ingest, order(), "shop.orders")
        assert answer.status == 503 and reason in answer.json["error"], answer.content
        assert "shop.orders" in answer.json["error"]
        of_text(wanted, len(notes))
        ingest.wait_until(lambda: ingest.get("/readyz")[0] == 200)
        assert ingest.metric("projectionist_ingest_waiting_topics") == 1
    ingest.wait_until(lambda: post(ingest, refused, "shop.orders").status == 202, 60)
    order_of(refused)
    assert ingest.metric("projectionist_ingest_waiting_topics") == 0


def test_a_topic_that_is_hidden_from_the_start_turns_away_its_own_requests_alone(ingests):
    wanted, refused = text(), order()
    with kafka.without_right(ResourceType.TOPIC, "shop.orders", AclOperation.ALL):
        ingest = ingests()
        assert post(ingest, note(wanted)).status == 202
        ingest.wait_until(lambda: "grant DESCRIBE on the topic" in
                          post(ingest, order(), "shop.orders").json["error"])
        assert post(ingest, note(wanted)).status == 202
    ingest.wait_until(lambda: post(ingest, refused, "shop.orders").status == 202, 60)
    order_of(refused)


def test_its_metrics_and_probes(shared):
    before = shared.metrics()
    wanted = text()
    post(shared, [note(wanted), note(wanted)])
    post(shared, "{")
    after = shared.metrics()
    def grown(name):
        return after.get(name, 0) - before.get(name, 0)
    assert grown("projectionist_ingest_records_total") == 2
    assert grown('projectionist_ingest_requests_total{route="events",code="202"}') == 1
    assert grown('projectionist_ingest_requests_total{route="events",code="400"}') == 1
    assert shared.get("/readyz")[0] == shared.get("/livez")[0] == 200
    assert "event-ingest" in shared.get("/")[1]


@pytest.mark.parametrize("variables, part", [
    ({"INGEST_SYSTEM": None}, "--ingest-system"),
    ({"INGEST_TOPICS": "shop.notes"}, "does not say what its key is"),
    ({"INGEST_TOKENS_FILE": "/nowhere"}, "/nowhere cannot be used: No such file"),
    ({"INGEST_LISTEN": "nonsense"}, "ingest address 'nonsense'"),
])
def test_a_wrong_setting_is_said(ingests, variables, part):
    failed = ingests.start(**variables)
    failed.wait(2)
    assert part in failed.log


@pytest.mark.parametrize("topics, part", [
    ("shop.lost=id", "no subject shop.lost-value"),
    ("shop.notes=colour", "has no colour"),
])
def test_a_topic_that_is_not_as_it_should_be(ingests, topics, part):
    failed = ingests.start(INGEST_TOPICS=topics)
    failed.wait(1)
    assert part in failed.log


def test_what_comes_while_secrets_change_is_published_and_not_only_answered(ingests, tmp_path):
    """The producer is made anew before it has begun a transaction; the one before was committed."""
    secret = tmp_path / "password"
    secret.write_text("first-one")
    ingest = ingests(KAFKA_SASL_USERNAME="me", KAFKA_SASL_PASSWORD_FILE=str(secret))
    answered = {}

    def posted(key=None):
        text = str(uuid.uuid4())
        answer = post(ingest, note(text), key=key)
        assert answer.status == 202, answer.content
        answered[text] = answer.json["event_ids"]

    for number in range(1, 4):
        posted()
        secret.write_text(f"another-{number}")
        wait_until(lambda: posted(f"key-{len(answered)}" if number == 2 else None)
                   or len(ingest.logged("secrets have changed")) >= number)
    found = {event.text: event.event_id for event in published()}
    assert {text: [found.get(text)] for text in answered} == answered
