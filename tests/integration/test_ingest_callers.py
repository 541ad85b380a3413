# SPDX-License-Identifier: Apache-2.0
"""event-ingest's JWTs and webhooks, with stand-ins for who signs them: an HTTP server of keys, and one
of SNS over TLS. Keys are made and used by the openssl command."""

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import ssl
import subprocess
import threading
import time
import uuid

import pytest
from lib import ingest as lib
from lib.database import wait_until
from lib.ingest import Ingests, note, order, post, published, taken, token, write_tokens

SECRET = "a secret of at least thirty-two bytes"
ARN = "arn:aws:sns:us-east-1:123456789012:objects"
RUN, TENANT, VIDEO = (str(uuid.uuid4()) for _ in range(3))


@pytest.fixture(scope="module")
def topics():
    lib.new_topics()


@pytest.fixture
def ingests(tmp_path, topics):
    ingests = Ingests(tmp_path)
    yield ingests
    ingests.end()


def openssl(*words, stdin=b""):
    return subprocess.run(["openssl", *map(str, words)], input=stdin, check=True,
                          capture_output=True).stdout


@contextlib.contextmanager
def serving(answers, certificate=None):
    """An HTTP server of {path: bytes}; its URL, and the paths that were asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = answers.get(self.path.split("?")[0])
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


# --- JWTs -------------------------------------------------------------------------------------


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(sign, alg="HS256", kid=None, **claims):
    header = {"alg": alg, **({"kid": kid} if kid else {})}
    claims = {"sub": "ann", "exp": int(time.time()) + 600, **claims}
    text = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{text}.{encoded(sign(text.encode()))}"


def by_secret(text):
    return hmac.new(SECRET.encode(), text, hashlib.sha256).digest()


def rsa_key(path):
    """(signs, the JWK without a kid)."""
    openssl("genrsa", "-out", path, "2048")
    modulus = openssl("rsa", "-in", path, "-noout", "-modulus").decode().strip().split("=")[1]
    return (lambda text: openssl("dgst", "-sha256", "-sign", path, stdin=text),
            {"kty": "RSA", "alg": "RS256", "e": "AQAB", "n": encoded(bytes.fromhex(modulus))})


def test_the_user_is_that_of_the_jwt(ingests):
    ingest = ingests(JWT_SECRET=SECRET, JWT_TOPICS="shop.orders", JWT_AUDIENCE="events",
                     JWT_TENANT_CLAIM="app.tenant", INGEST_TOKENS_FILE=None, JWT_RATE="100000")

    def ask(bearer, sent=None, topic="shop.orders"):
        return post(ingest, sent or order(), topic, bearer=bearer)
    good = {"aud": ["events"], "app": {"tenant": "t-1"}}
    sent = order()
    assert ask(jwt(by_secret, **good), sent).status == 202

    def found():
        return [event for event in published("shop.orders") if event.order_id == sent["order_id"]]
    event, = wait_until(found, message="it is not published")
    assert (event.user_id, event.tenant_id) == ("ann", "t-1")
    assert ask(jwt(by_secret, **good), order(user_id="bob")).status == 403
    assert ask(jwt(by_secret, **good), note(), "shop.notes").status == 403
    service = jwt(by_secret, aud="events", role="service_role")
    assert ask(service, order(user_id="bob", tenant_id="t-2")).status == 202
    for bearer, part in ((jwt(by_secret, aud="events"), "names no tenant"),
                         (jwt(by_secret, **good, exp=int(time.time()) - 100), "has expired"),
                         (jwt(by_secret, **{**good, "aud": "others"}), "another audience"),
                         (jwt(by_secret, **good, sub=None), "names no user"),
                         (jwt(lambda _: b"x" * 32, **good), "signature that is not valid"),
                         (jwt(lambda _: b"", alg="none", **good), "has no signature"),
                         ("all", "not known")):
        answer = ask(bearer)
        assert answer.status == 401 and part in answer.json["error"], (part, answer.content)


def test_keys_at_a_url_may_be_others_tomorrow(ingests, tmp_path):
    sign, public = rsa_key(tmp_path / "first.pem")
    answers = {"/jwks": json.dumps({"keys": [{**public, "kid": "1"}]}).encode()}
    with serving(answers) as (url, asked):
        ingest = ingests(JWT_JWKS=f"{url}/jwks", JWT_TOPICS="shop.*")
        assert post(ingest, note(), bearer=jwt(sign, "RS256", "1")).status == 202
        assert post(ingest, note(), bearer=jwt(sign, "HS256", "1")).status == 401
        other, public = rsa_key(tmp_path / "second.pem")
        answers["/jwks"] = json.dumps({"keys": [{**public, "kid": "2"}]}).encode()
        newer = jwt(other, "RS256", "2")
        # An unknown key makes it look again, though not all the time.
        wait_until(lambda: post(ingest, note(), bearer=newer).status == 202, 30, "it is not read")
        assert post(ingest, note(), bearer=jwt(sign, "RS256", "1")).status == 401
        assert len(asked) <= 4
        assert post(ingest, note()).status == 202  # tokens of the file are let in, too


def test_keys_in_a_file_may_be_others_tomorrow(ingests, tmp_path):
    keys = tmp_path / "jwks.json"
    sign, public = rsa_key(tmp_path / "first.pem")
    keys.write_text(json.dumps({"keys": [public]}))
    ingest = ingests(JWT_JWKS=keys, JWT_TOPICS="shop.*")
    assert post(ingest, note(), bearer=jwt(sign, "RS256")).status == 202
    other, public = rsa_key(tmp_path / "second.pem")
    keys.write_text(json.dumps({"keys": [public]}))
    wait_until(lambda: post(ingest, note(), bearer=jwt(other, "RS256")).status == 202,
               message="it is not read again")
    assert post(ingest, note(), bearer=jwt(sign, "RS256")).status == 401


def test_the_secret_in_a_file_may_be_another_tomorrow(ingests, tmp_path):
    def by(secret):
        return lambda text: hmac.digest(secret.encode(), text, "sha256")

    (tmp_path / "secret").write_text("1" * 32)
    ingest = ingests(JWT_SECRET_FILE=tmp_path / "secret", JWT_TOPICS="shop.*")
    assert post(ingest, note(), bearer=jwt(by("1" * 32))).status == 202
    (tmp_path / "secret").write_text("short")  # is none
    assert post(ingest, note(), bearer=jwt(by("short"))).status == 401
    assert post(ingest, note(), bearer=jwt(by("1" * 32))).status == 202
    (tmp_path / "secret").write_text("2" * 32)
    assert post(ingest, note(), bearer=jwt(by("1" * 32))).status == 401
    assert post(ingest, note(), bearer=jwt(by("2" * 32))).status == 202


def parts(header, claims, signature=b"x" * 32):
    """A token of these, as they are: texts, or what is written as JSON."""
    texts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    return ".".join([*(encoded(text.encode()) for text in texts), encoded(signature)])


def signed(header, claims):
    head = parts(header, claims).rpartition(".")[0]
    return f"{head}.{encoded(by_secret(head.encode()))}"


HS256 = {"alg": "HS256"}
HOSTILE = {
    "not yet": lambda now: signed(HS256, {"sub": "a", "exp": now + 7200, "nbf": now + 3600}),
    "no end": lambda now: signed(HS256, {"sub": "a"}),
    "an end that is text": lambda now: signed(HS256, {"sub": "a", "exp": str(now + 600)}),
    "an end below 0": lambda now: signed(HS256, {"sub": "a", "exp": -1}),
    "an end beyond all": lambda now: signed(HS256, '{"sub": "a", "exp": 1e999}'),
    "a user that is no text": lambda now: signed(HS256, {"sub": ["a"], "exp": now + 600}),
    "a member twice": lambda now: signed(HS256, '{"sub":"a","sub":"b","exp":%d}' % (now + 600)),
    "an algorithm twice": lambda now: signed('{"alg":"none","alg":"HS256"}',
                                             {"sub": "a", "exp": now + 600}),
    "small letters": lambda now: signed({"alg": "hs256"}, {"sub": "a", "exp": now + 600}),
    "another hash": lambda now: signed({"alg": "HS512"}, {"sub": "a", "exp": now + 600}),
    "what must be understood": lambda now: signed({**HS256, "crit": ["exp"]},
                                                  {"sub": "a", "exp": now + 600}),
    "a header that is an array": lambda now: signed("[]", {"sub": "a", "exp": now + 600}),
    "a header that is deep": lambda now: parts("[" * 5000, {"sub": "a"}),
    "claims that are deep": lambda now: signed(HS256, '{"a":' * 2000),
    "a key's name of 8 KB": lambda now: parts({**HS256, "kid": "k" * 8000}, {"sub": "a"}),
    "a NUL in the user": lambda now: signed(HS256, r'{"sub":"a\u0000b","exp":%d}' % (now + 600)),
    "no signature": lambda now: signed(HS256, {"sub": "a", "exp": now + 600}).rpartition(".")[0],
    "four parts": lambda now: signed(HS256, {"sub": "a", "exp": now + 600}) + ".x",
    "padding": lambda now: signed(HS256, {"sub": "a", "exp": now + 600}) + "=",
    "dots": lambda now: "." * 100,
}


def test_tokens_that_are_made_to_pass(ingests, tmp_path):
    """With a secret and a public key both; each is 401, and says nothing of the keys."""
    sign, public = rsa_key(tmp_path / "key.pem")
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [{**public, "kid": "1"}]}))
    ingest = ingests(JWT_SECRET=SECRET, JWT_JWKS=keys, JWT_TOPICS="shop.*")
    now = int(time.time())
    wrong = []
    for what, made in HOSTILE.items():
        answer = post(ingest, note(), bearer=made(now))
        if answer.status != 401 or SECRET in answer.json["error"]:
            wrong.append((what, answer.status, answer.content))
    assert not wrong
    # The public key as a secret, and a key that is not there.
    pem = openssl("rsa", "-in", tmp_path / "key.pem", "-pubout")
    for text in (pem, json.dumps(public).encode(), base64.b64decode(public["n"] + "==", b"-_")):
        forged = jwt(lambda data, text=text: hmac.new(text, data, hashlib.sha256).digest(), kid="1")
        assert post(ingest, note(), bearer=forged).status == 401
    assert post(ingest, note(), bearer=jwt(sign, "RS256", "2")).status == 401
    assert taken(ingest, note(), bearer=jwt(sign, "RS256", "1")).status == 202
    assert taken(ingest, note(), bearer=jwt(by_secret)).status == 202


@pytest.mark.parametrize("what", ["away", "not there", "huge", "no JSON", "deep", "no keys"])
def test_keys_that_cannot_be_had_let_nobody_in_and_end_nothing(ingests, tmp_path, what):
    """Tokens of the file are taken meanwhile, and those of keys as soon as there are any."""
    sign, public = rsa_key(tmp_path / "key.pem")
    body = {"huge": b'{"keys": [' + b" " * (64 << 20) + b"]}", "no JSON": b"<html>",
            "deep": b"[" * (1 << 20), "no keys": b'{"keys": []}'}.get(what)
    answers = {"/jwks": body} if body is not None else {}
    with serving(answers) as (url, _):
        asked = "http://127.0.0.1:1" if what == "away" else url
        ingest = ingests(JWT_JWKS=f"{asked}/jwks", JWT_TOPICS="shop.*")
        assert taken(ingest, note()).status == 202
        bearer = jwt(sign, "RS256", "1")
        answer = post(ingest, note(), bearer=bearer)
        assert answer.status in (401, 503) and answer.json["error"], answer.content
        if what != "away":
            answers["/jwks"] = json.dumps({"keys": [{**public, "kid": "1"}]}).encode()
            wait_until(lambda: post(ingest, note(), bearer=bearer).status == 202, 120,
                       "the keys are not asked for again")
        status = open(f"/proc/{ingest.pid}/status", encoding="utf-8").read()
        assert int(status.split("VmHWM:")[1].split()[0]) < 400 << 10


# --- webhooks ---------------------------------------------------------------------------------


def prefect(**resource):
    return {"id": str(uuid.uuid4()), "occurred": "2026-01-05T10:00:00.123456+00:00",
            "event": "prefect.flow-run.Crashed",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{RUN}",
                         "prefect.resource.name": "crimson-fox", "prefect.run-count": "2",
                         "prefect.state-type": "CRASHED", "prefect.state-name": "Crashed",
                         **resource},
            "related": [{"prefect.resource.id": "prefect.flow.1", "prefect.resource.role": "flow",
                         "prefect.resource.name": "upload-and-process-video"},
                        {"prefect.resource.id": f"prefect.tag.tenant:{TENANT}",
                         "prefect.resource.role": "tag"}]}


def s3(key, event="ObjectCreated:Put", sequencer="0055AED6DCD90281E5"):
    return {"Records": [{"eventName": event, "eventTime": "2026-01-05T10:00:00.000Z",
                         "s3": {"bucket": {"name": "b"},
                                "object": {"key": key, "size": 7, "eTag": "e-2",
                                           "sequencer": sequencer}}}]}


def hook(ingest, name, body, topic, **options):
    return post(ingest, body, path=f"/v1/webhooks/{name}/{topic}", **options)


def found_in(topic, ids):
    def found():
        return [event for event in published(topic) if event.event_id in ids]
    return wait_until(found, message="it is not published")


def test_prefect_tells_of_a_flow_run(ingests):
    write_tokens(ingests.tokens, token("all"), token("old", **{"import": True}))
    ingest = ingests()
    sent = prefect()
    assert hook(ingest, "prefect", sent, "shop.flows", bearer=None).status == 401
    assert "24 hours behind" in hook(ingest, "prefect", sent, "shop.flows").json["error"]
    answer = hook(ingest, "prefect", {"event": sent}, "shop.flows", bearer="old")
    assert answer.status == 202 and answer.json["event_ids"] == [sent["id"]]
    event, = found_in("shop.flows", [sent["id"]])
    assert event.key == event.flow_run_id == RUN
    assert (event.flow_name, event.run_name, event.state_type, event.run_count) == (
        "upload-and-process-video", "crimson-fox", "CRASHED", 2)
    assert (event.tenant_id, event.video_id) == (TENANT, None)
    assert json.loads(event.tags) == [f"tenant:{TENANT}"]
    bad = hook(ingest, "prefect", prefect(**{"prefect.run-count": "two"}), "shop.flows",
               bearer="old")
    assert bad.status == 400 and "run-count is not a whole number" in bad.json["error"]
    ingest.wait_for_log("a webhook's request is refused")


def test_s3_tells_of_objects(ingests):
    write_tokens(ingests.tokens, token("old", **{"import": True}))
    ingest = ingests()
    key = f"{TENANT}/{VIDEO}/my+film%C3%A9%2B.mp4"
    first = hook(ingest, "s3", s3(key), "shop.objects", bearer="old")
    again = hook(ingest, "s3", s3(key), "shop.objects", bearer="old")
    removed = hook(ingest, "s3", s3(key, "ObjectRemoved:Delete"), "shop.objects", bearer="old")
    assert first.status == 202 and first.json == again.json != removed.json
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}
    assert hook(ingest, "s3", test, "shop.objects", bearer="old").json == {"event_ids": []}
    event = found_in("shop.objects", first.json["event_ids"])[0]
    assert (event.key, event.video_id, event.tenant_id) == (VIDEO, VIDEO, TENANT)
    assert event.object == f"{TENANT}/{VIDEO}/my filmé+.mp4"
    assert (event.operation, event.size_bytes, event.etag) == ("stored", 7, "e-2")
    gone, = found_in("shop.objects", removed.json["event_ids"])
    assert gone.operation == "removed"
    other = hook(ingest, "s3", s3("logs/x"), "shop.objects", bearer="old")
    event = found_in("shop.objects", other.json["event_ids"])[0]
    assert event.key == "b/logs/x" and event.video_id is None


class Sns:
    """Who signs as SNS does."""

    def __init__(self, folder, host):
        self.key = folder / "sns.key"
        self.certificate = folder / "sns.pem"
        self.host = host
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out",
                self.certificate, "-days", "1", "-subj", "/CN=sns", "-addext",
                "subjectAltName=IP:127.0.0.1")

    def message(self, version="2", **members):
        message = {"Type": "Notification", "MessageId": str(uuid.uuid4()), "TopicArn": ARN,
                   "Message": json.dumps(s3(f"{TENANT}/{VIDEO}/a")),
                   "Timestamp": "2026-01-05T10:00:00.000Z", "SignatureVersion": version,
                   "SigningCertURL": f"{self.host}/cert.pem", **members}
        names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn",
                 "Type")
        signed = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
        signature = openssl("dgst", "-sha1" if version == "1" else "-sha256", "-sign", self.key,
                            stdin=signed.encode())
        return {**message, "Signature": base64.b64encode(signature).decode()}


def test_sns_is_believed_by_its_signature(ingests, tmp_path):
    sns = Sns(tmp_path, None)
    answers = {"/cert.pem": sns.certificate.read_bytes(), "/": b"<ConfirmSubscriptionResponse/>"}
    with serving(answers, (sns.certificate, sns.key)) as (url, asked):
        sns.host = url
        ingest = ingests(SNS_TOPICS=ARN, SNS_HOST=url.removeprefix("https://"),
                         SNS_CA_FILE=sns.certificate)

        def send(message, **options):
            return hook(ingest, "sns", json.dumps(message), "shop.objects", bearer=None,
                        headers={"Content-Type": "text/plain; charset=UTF-8"}, **options)

        def confirmation(query, **members):
            return sns.message(**{"Type": "SubscriptionConfirmation", "Token": "t", "Message": "m",
                                  "SubscribeURL": f"{url}/?{query}", **members})
        for version in "12":
            answer = send(sns.message(version))
            assert answer.status == 202 and len(answer.json["event_ids"]) == 1, answer.content
        assert asked == ["/cert.pem"]  # it is kept
        assert found_in("shop.objects", answer.json["event_ids"])[0].video_id == VIDEO
        test = json.dumps({"Event": "s3:TestEvent"})
        assert send(sns.message(Message=test)).json == {"event_ids": []}
        query = f"Action=ConfirmSubscription&TopicArn={ARN}&Token=t"
        assert send(confirmation(query)).status == 200
        assert asked[-1] == f"/?{query}"
        asked.clear()
        for message, part in (
                ({**sns.message(), "Message": "{}"}, "signature that is not valid"),
                (sns.message(TopicArn="arn:aws:sns:us-east-1:1:other"), "--sns-topics"),
                (sns.message(SigningCertURL="https://evil.example/cert.pem"), "SigningCertURL"),
                (sns.message(SigningCertURL=f"{url}/cert.txt"), "SigningCertURL"),
                (sns.message("3"), "neither 1 nor 2"),
                (confirmation(query, SubscribeURL=f"https://evil.example/?{query}"),
                 "SubscribeURL"),
                (confirmation("TopicArn=arn:aws:sns:us-east-1:1:other"), "SubscribeURL")):
            answer = send(message)
            assert answer.status == 403 and part in answer.json["error"], (part, answer.content)
        assert not asked
        # What SNS delivers is not ours to judge by its age; what S3 did not send is.
        answer = send(sns.message(Message="{}"))
        assert answer.status == 400 and "Records" in answer.json["error"]
