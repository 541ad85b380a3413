# SPDX-License-Identifier: Apache-2.0
"""What a client may send to event-ingest to break it: each is a clear 4xx, takes no memory to speak of,
publishes nothing, and leaves the next request alone."""

import gzip
import json
import socket
from pathlib import Path

import pytest
from lib import ingest as lib
from lib.database import wait_until
from lib.ingest import Ingests, note, order, post, published, taken, token

PATH = "/v1/events/shop.notes"
GROWTH = 64 << 20  # bytes that all of these together may keep
MIB = 1 << 20
SLOW = 120  # seconds that Kafka may take on a busy machine


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    lib.new_topics()
    ingests = Ingests(tmp_path_factory.mktemp("hostile"))
    lib.write_tokens(ingests.tokens, token("all"))
    yield ingests()
    ingests.end()


def memory(ingest):
    status = Path(f"/proc/{ingest.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def text_of(inner):
    return '{"note_id": "n", "text": ' + inner + "}"


def deep(opening, closing, levels=100_000):
    return opening * levels + closing * levels


BODIES = {
    "arrays in arrays": text_of(deep("[", "]")),
    "objects in objects": text_of(deep('{"a":', "}", 50_000).replace(":}", ":1}", 1)),
    "only openings": "[" * (4 * MIB - 1),
    "a number of 100,000 digits": text_of("1" * 100_000),
    "a number beyond all": text_of("1e999999999"),
    "a fraction of 1 MiB": text_of("0." + "0" * MIB + "1"),
    "NaN": text_of("NaN"),
    "Infinity": text_of("-Infinity"),
    "a lone surrogate": text_of(r'"\ud800"'),
    "surrogates the wrong way round": text_of(r'"\udc00\ud800"'),
    "a NUL": text_of(r'"a\u0000b"'),
    "a NUL in a name": r'{"note_id": "n", "text": "x", "a\u0000b": 1}',
    "a member twice": '{"note_id": "n", "text": "x", "text": "y"}',
    "a member twice, written otherwise": r'{"note_id": "n", "text": "x", "te\u0078t": "y"}',
    "two values": '{"note_id": "n", "text": "x"} {}',
    "a byte order mark": "\ufeff" + text_of('"x"'),
    "nothing": "",
    "blanks": " \n\t",
    "null": "null",
    "a text": '"x"',
    "an array in the array": json.dumps([[note()]]),
    "1,001 events": json.dumps([note()] * 1001),
    "10,000 members": json.dumps({**note(), **{f"m{n}": n for n in range(10_000)}}),
    "an overlong encoding": b'{"note_id": "n", "text": "\xc0\x80"}',
    "a surrogate as bytes": b'{"note_id": "n", "text": "\xed\xa0\x80"}',
    "beyond Unicode": b'{"note_id": "n", "text": "\xf4\x90\x80\x80"}',
    "compressed, and does not say so": gzip.compress(text_of('"x"').encode()),
    "half a body": '{"note_id": "n", "te',
    "a control character": '{"note_id": "n", "text": "a\x01b"}',
    "a time beyond all": json.dumps(note(event_id="0" * 8 + "-0000-4000-8000-" + "0" * 12,
                                         emitted_at=2**63 - 1)),
    "an id that is none": json.dumps(note(event_id="x", emitted_at=1)),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_is_refused_and_the_next_is_not(shared, body):
    before = memory(shared)
    answer = post(shared, body)
    assert answer.status == 400, (answer.status, answer.content[:300])
    assert 0 < len(answer.json["error"]) < 1000
    assert taken(shared, note("after")).status == 202
    assert memory(shared) - before < GROWTH


def test_a_body_of_4_mib_is_taken_and_one_byte_more_is_not(shared):
    before = memory(shared)
    frame = len(text_of('""'))
    for size, status in ((4 * MIB, (202, 413)), (4 * MIB + 1, (413,))):
        answer = taken(shared, text_of('"' + "x" * (size - frame) + '"'))
        assert answer.status in status and size <= 4 * MIB + 1, (size, answer.content[:300])
        if answer.status == 413 and size == 4 * MIB:
            assert "MSG_SIZE_TOO_LARGE" in answer.json["error"]  # of the topic, not of the ingest
    assert taken(shared, [note()] * 1000).status == 202
    assert memory(shared) - before < 4 * GROWTH


def exchange(shared, request, close=False):
    """What the server says to these bytes, until it closes or 20 s are over; b"" where nothing."""
    with socket.create_connection(("127.0.0.1", shared.api), timeout=20) as connection:
        try:
            connection.sendall(request)
            if close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has said no already
        found = b""
        try:
            while b"\r\n\r\n" not in found and (part := connection.recv(65536)):
                found += part
        except OSError:
            pass
        return found


HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\n".encode()
JSON = b"Content-Type: application/json\r\n"
GOOD = text_of('"raw"').encode()


def chunked(*chunks):
    return HEAD + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks)


def sized(length, body=GOOD, more=b""):
    return HEAD + JSON + more + b"Content-Length: " + length + b"\r\n\r\n" + body


REQUESTS = {
    "a length below 0": (sized(b"-1"), 400),
    "a length with a sign": (sized(b"+%d" % len(GOOD)), 400),
    "a length in hex": (sized(b"0x10"), 400),
    "a length beyond 64 bits": (sized(b"99999999999999999999"), 400),
    "two lengths": (sized(b"%d" % len(GOOD), more=b"Content-Length: 3\r\n"), 400),
    "a length and chunks": (sized(b"%d" % len(GOOD), more=b"Transfer-Encoding: chunked\r\n"), 400),
    "chunks of no size": (chunked(b"x\r\n"), 400),
    "a chunk beyond 64 bits": (chunked(b"FFFFFFFFFFFFFFFFF\r\n"), 400),
    "a chunk of 4 GiB": (chunked(b"FFFFFFFF\r\n" + b" " * 5 * MIB), 413),
    "a chunk that is longer than it says": (chunked(b"2\r\n" + GOOD + b"\r\n0\r\n\r\n"), 400),
    "an encoding that is unknown": (HEAD + JSON + b"Transfer-Encoding: br\r\n\r\n" + GOOD, 400),
    "a compressed body": (sized(b"%d" % len(gzip.compress(GOOD)), gzip.compress(GOOD),
                                b"Content-Encoding: gzip\r\n"), 415),
    "headers of 2 MiB": (HEAD + b"X: " + b"x" * 2 * MIB + b"\r\n\r\n", 431),
    "50,000 headers": (HEAD + b"X: x\r\n" * 50_000 + b"\r\n", 431),
    "a target of 1 MiB": (b"POST /" + b"x" * MIB + b" HTTP/1.1\r\nHost: x\r\n\r\n", (400, 414, 431)),
    "a folded header": (sized(b"%d" % len(GOOD), more=b"X: a\r\n b\r\n"), 400),
    "a NUL in a header": (sized(b"%d" % len(GOOD), more=b"X: a\0b\r\n"), 400),
    "a key of 10 KB": (sized(b"%d" % len(GOOD), more=b"Idempotency-Key: " + b"k" * 10_000
                             + b"\r\n"), 400),
    "an empty key": (sized(b"%d" % len(GOOD), more=b"Idempotency-Key: \r\n"), 400),
    "two keys": (sized(b"%d" % len(GOOD), more=b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n"),
                 400),
    "two tokens": (sized(b"%d" % len(GOOD), more=b"Authorization: Bearer other\r\n"), (400, 401)),
    "another version": (b"POST / HTTP/9.9\r\n\r\n", (400, 505)),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n", 400),
}


@pytest.mark.parametrize("request_bytes, status", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_is_refused_and_the_next_is_not(shared, request_bytes, status):
    before = memory(shared)
    answer = exchange(shared, request_bytes)
    wanted = status if isinstance(status, tuple) else (status,)
    assert answer.startswith(b"HTTP/1.1 ") and int(answer.split()[1]) in wanted, answer[:300]
    assert taken(shared, note("after")).status == 202
    assert memory(shared) - before < GROWTH


def test_a_body_that_ends_early_publishes_nothing(shared):
    """Nobody is there to be answered; chunks that are whole are a body as any other."""
    before = len(published())
    exchange(shared, sized(b"%d" % (len(GOOD) + 5)), close=True)
    exchange(shared, chunked(b"%x\r\n" % len(GOOD) + GOOD + b"\r\n"), close=True)
    assert taken(shared, note("after")).status == 202
    wait_until(lambda: len(published()) == before + 1, SLOW)
    answers = []

    def is_answered():
        answers.append(exchange(shared, chunked(b"%x\r\n" % len(GOOD) + GOOD + b"\r\n",
                                                b"0\r\n\r\n")))
        return not answers[-1].startswith(b"HTTP/1.1 503")

    wait_until(is_answered, SLOW)
    assert answers[-1].startswith(b"HTTP/1.1 202"), answers[-1][:300]
    wait_until(lambda: published()[-1].text == "raw", SLOW)


ORDERS = {
    "a decimal of 1 MiB": {"type": "OrderSaved", "title": "x", "price": "1" * MIB},
    "a decimal with an exponent": {"type": "OrderSaved", "title": "x", "price": "1e999999999"},
    "an integer of 64 bits": {"type": "OrderSaved", "title": "x", "count": 2**63 - 1},
    "an integer of 32 bits and one": {"type": "OrderSaved", "title": "x", "count": 2**31},
    "a branch that is none": {"type": "Order\0Saved"},
    "a branch that is no text": {"type": {"type": "OrderSaved"}},
    "a record for a branch": {"type": "OrderEvent"},
    "a type alone": {"type": "Line", "sku": "x"},
    "no branch": {"title": "x"},
    "deep lines": {"type": "OrderSaved", "title": "x", "lines": [[[[[]]]]]},
    "a revision below 0": {"type": "OrderSaved", "title": "x", "base_revision": "0"},
}


@pytest.mark.parametrize("body", ORDERS.values(), ids=ORDERS.keys())
def test_an_event_that_fits_no_schema_is_refused(shared, body):
    before = memory(shared)
    answer = post(shared, order(body), "shop.orders")
    assert answer.status == 400 and answer.json["error"], (answer.status, answer.content[:300])
    assert memory(shared) - before < GROWTH
