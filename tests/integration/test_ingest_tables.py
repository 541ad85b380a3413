# SPDX-License-Identifier: Apache-2.0
"""event-ingest and the tables of drama: whose events it takes, made on which version, in which life;
what its role may read; and what it answers while Postgres is away, slow, or not as it should be."""

import time
import uuid

import psycopg
import pytest
from lib import consumers, kafka, policies, registry
from lib.consumers import REPOSITORY
from lib.database import wait_until
from lib.ingest import Ingests, post, token, write_tokens
from lib.proxy import Proxy
from lib.world import new_database
from psycopg import conninfo

TOPICS = ("drama.dramas", "drama.jobs", "drama.users")
TABLES = ("drama.dramas=dramas,key=id:drama_id,owner=user_id,revision=revision,life=life "
          "drama.jobs=dramas,key=id:drama_id,owner=user_id")
AT = 1_795_000_000_000_000
PREFIX = f"i{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module", name="dsn")
def a_database():
    with new_database(migrated=False) as dsn, policies.roles(dsn, PREFIX):
        result = consumers.run("projectionist", "migrate", "drama",
                               variables={"POSTGRES_DSN": dsn, "SYSTEMS": "drama"})
        assert result.returncode == 0, result.stderr
        policies.stand_in(dsn)  # roles are the server's: another test may have made Supabase's
        result = consumers.run("projectionist", "roles", "--role-prefix", PREFIX, variables={
            "POSTGRES_DSN": policies.admin(dsn), "SYSTEMS": "drama"})
        assert result.returncode == 0, result.stderr
        with psycopg.connect(policies.admin(dsn), autocommit=True) as connection:
            connection.execute(f"ALTER ROLE {PREFIX}_event_ingest LOGIN PASSWORD 'Xk7-2q'")
        yield conninfo.make_conninfo(dsn, user=f"{PREFIX}_event_ingest", password="Xk7-2q")


@pytest.fixture(scope="module")
def topics():
    kafka.new_topics(*TOPICS, partitions=3)
    kafka.new_topics("drama.ingest-keys", partitions=1, config={"cleanup.policy": "compact"})
    for topic in TOPICS:
        schema, = (REPOSITORY / "schemas" / topic).glob("*.avsc")
        registry.register(f"{topic}-value", schema.read_text(encoding="utf-8"))


@pytest.fixture(name="tables")
def an_empty_table(dsn):
    with psycopg.connect(policies.admin(dsn), autocommit=True) as connection:
        connection.execute("TRUNCATE drama.dramas CASCADE")
        yield connection


@pytest.fixture
def ingests(tmp_path, topics, dsn):
    ingests = Ingests(tmp_path)
    write_tokens(ingests.tokens, token("all", ["drama.*"]), token("ann", ["drama.*"], user="ann"),
                 token("bob", ["drama.*"], user="bob"))
    ingests.programs.variables.update(
        INGEST_SYSTEM="drama", INGEST_TABLES=TABLES, POSTGRES_DSN=dsn, TABLE_TIMEOUT="30s",
        INGEST_TOPICS="drama.dramas=drama_id drama.jobs=drama_id drama.users=user_id")
    yield ingests
    ingests.end()


def row(tables, name="d", owner="ann", life=AT, revision=AT):
    tables.execute("INSERT INTO drama.dramas (id, user_id, life, revision) VALUES (%s, %s, %s, %s) "
                   "ON CONFLICT (id) DO UPDATE SET user_id = EXCLUDED.user_id, "
                   "life = EXCLUDED.life, revision = EXCLUDED.revision",
                   [name, owner, life, revision])


def save(name="d", base=None, **more):
    return {"drama_id": name, **more,
            "body": {"type": "DramaSaved", **({"base_revision": base} if base else {})}}


def delete(name="d", life=AT):
    return {"drama_id": name, "life": life, "body": {"type": "DramaDeleted"}}


def answer(ingest, event, topic="drama.dramas", bearer="ann", **options):
    return post(ingest, event, topic=topic, bearer=bearer, **options)


def is_answered(ingest, event, status, part="", **options):
    got = answer(ingest, event, **options)
    assert got.status == status, got.content
    assert part in got.content.decode(), got.content
    return got


def test_of_somebody_elses_drama_nothing_is_taken(ingests, tables):
    ingest = ingests()
    row(tables)
    row(tables, "free", owner=None)
    job = {"drama_id": "d", "job_id": "j", "body": {"type": "JobCreated", "job_type": "drama"}}
    for event, topic in ((save(base=AT, life=AT), "drama.dramas"), (delete(), "drama.dramas"),
                         (save(), "drama.dramas"), (job, "drama.jobs")):
        before = len(kafka.read(topic))
        is_answered(ingest, event, 403, "dramas has this drama_id with another owner",
                    topic=topic, bearer="bob")
        assert len(kafka.read(topic)) == before
    # One of several: nothing of the request, and which it was.
    is_answered(ingest, [save("new"), delete()], 403, "event 1: dramas has", bearer="bob")
    is_answered(ingest, job, 202, topic="drama.jobs")
    is_answered(ingest, job, 202, topic="drama.jobs", bearer="all")
    is_answered(ingest, delete("free"), 202, bearer="bob")
    is_answered(ingest, save("nobody's"), 202, bearer="bob")


def test_what_was_made_on_another_version_is_refused(ingests, tables):
    ingest = ingests()
    row(tables, revision=AT + 9)
    is_answered(ingest, save(base=AT + 8, life=AT), 409, f"at the revision {AT + 9}")
    is_answered(ingest, save(base=AT + 9, life=AT), 202)
    is_answered(ingest, save(base=AT + 10, life=AT), 409, f"at the revision {AT + 9}")
    is_answered(ingest, delete(), 409, "once the table shows it",
                headers={"If-Match": str(AT + 10)})
    row(tables, revision=AT + 10)
    is_answered(ingest, save(base=AT + 10, life=AT), 202)
    row(tables, revision=AT + 9)
    is_answered(ingest, save(base=AT + 9), 400, "life")
    # Of If-Match, in either form; and it is the base of the save.
    for match in (AT + 9, f'"{AT + 9}"'):
        is_answered(ingest, save(life=AT), 202, headers={"If-Match": str(match)})
        is_answered(ingest, delete(), 202, headers={"If-Match": str(match)})
    is_answered(ingest, save(life=AT), 409, headers={"If-Match": str(AT + 8)})
    is_answered(ingest, delete(), 409, headers={"If-Match": str(AT + 8)})
    for match, event in (("*", save(life=AT)), ("x", delete()), ("-1", delete()),
                         (str(AT), save(base=AT + 9, life=AT)), (str(AT), [delete(), delete()])):
        is_answered(ingest, event, 400, headers={"If-Match": match})
    job = {"drama_id": "d", "job_id": "j", "body": {"type": "JobCreated", "job_type": "drama"}}
    is_answered(ingest, job, 400, "If-Match is for", topic="drama.jobs",
                headers={"If-Match": str(AT)})


def test_what_is_alive_is_not_created_again(ingests, tables):
    ingest = ingests()
    row(tables)
    is_answered(ingest, save(), 409, f"of the life {AT}")
    is_answered(ingest, delete(life=AT - 1), 409, "has ended")
    tables.execute("DELETE FROM drama.dramas")
    is_answered(ingest, save(), 202)


def test_a_retry_is_no_conflict(ingests, tables):
    ingest = ingests()
    row(tables)
    event = save(base=AT, life=AT)
    is_answered(ingest, event, 202, key="k")
    now = int(time.time() * 1e6)
    named = {**event, "event_id": str(uuid.uuid4()), "emitted_at": now, "revision": now}
    is_answered(ingest, named, 202)
    row(tables, revision=now)
    is_answered(ingest, named, 202)                    # the row shows this very save
    is_answered(ingest, event, 202, key="k")           # what is published is not judged again
    is_answered(ingest, event, 409, key="another")
    is_answered(ingest, save(base=now, life=AT), 202, key="another")  # a refusal leaves it free


def test_its_role_reads_what_it_needs(dsn, tables):
    row(tables)
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.execute("SELECT id, user_id, life, revision FROM drama.dramas").fetchall()
        for statement in ("SELECT title FROM drama.dramas", "SELECT FROM drama.jobs",
                          "SELECT FROM projectionist.consumer_offsets",
                          "DELETE FROM drama.dramas", "UPDATE drama.dramas SET life = 0"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_while_postgres_is_away_nothing_is_believed(ingests, tables, dsn):
    row(tables)
    with Proxy(dsn) as proxy:
        ingest = ingests(POSTGRES_DSN=proxy.dsn, TABLE_TIMEOUT="4s", METRICS_ADDRESS="127.0.0.1:0")
        is_answered(ingest, delete(), 403, bearer="bob")
        proxy.stall("up", "down")
        began = time.monotonic()
        got = is_answered(ingest, delete(), 503, "did not answer within 4000 ms", bearer="bob")
        assert got.headers["Retry-After"] and time.monotonic() - began < 20
        is_answered(ingest, {"user_id": "bob", "body": {"type": "UserRegistered"}}, 202,
                    topic="drama.users", bearer="bob")  # of no table
        wait_until(lambda: "did not answer" in ingest.get("/readyz")[1], message="it is ready")
        proxy.resume()
        wait_until(lambda: answer(ingest, delete(), bearer="bob").status == 403)
        wait_until(ingest.ready, message="it is not ready again")
        proxy.cut_all()                                 # idle connections: nobody notices
        is_answered(ingest, delete(), 403, bearer="bob")
        seen = ingest.metrics()
        assert seen["projectionist_ingest_tables_away"] == 0
        assert seen["projectionist_ingest_table_failures_total"] >= 1
        assert seen["projectionist_ingest_foreign_requests_total"] >= 3


def test_waits_for_postgres_by_serving_what_needs_none(ingests, tables):
    ingest = ingests(POSTGRES_DSN="postgresql://127.0.0.1:1/x")
    is_answered(ingest, delete(), 503, "the tables cannot be read")
    is_answered(ingest, {"user_id": "ann", "body": {"type": "UserRegistered"}}, 202,
                topic="drama.users")


@pytest.mark.parametrize("change, variables, code, part", [
    ("", {"INGEST_TABLES": "drama.dramas=nothing,key=id:drama_id,owner=user_id"}, 6,
     "there is no table nothing"),
    ("", {"INGEST_TABLES": "drama.dramas=dramas,key=id:drama_id,owner=nobody"}, 6,
     "has no column nobody"),
    ("", {"INGEST_TABLES": "drama.dramas=dramas,key=id:drama_id,owner=title"}, 6,
     "may not read the column title"),
    ("", {"INGEST_TABLES": "drama.dramas=dramas,key=id:nobody,owner=user_id"}, 1,
     "has no nobody"),
    ("", {"INGEST_TABLES": "drama.dramas=dramas,owner=user_id"}, 2, "has no key="),
    ("", {"TABLES_SCHEMA": "public"}, 6, "there is no table dramas"),
    ("", {"POSTGRES_DSN": None}, 2, "no database is named"),
    (f"DROP POLICY {PREFIX}_event_ingest ON drama.dramas", {}, 6, "row security may hide rows"),
    ("CREATE POLICY r ON drama.dramas AS RESTRICTIVE USING (false)", {}, 6,
     "row security may hide rows"),
])
def test_what_is_not_as_it_should_be_is_said(ingests, tables, change, variables, code, part):
    if change:
        tables.execute(change)
    try:
        ingest = ingests.start(**variables)
        ingest.wait(code)
        assert part in ingest.log, ingest.log
    finally:
        tables.execute("DROP POLICY IF EXISTS r ON drama.dramas")
        if change.startswith("DROP"):
            tables.execute(f"CREATE POLICY {PREFIX}_event_ingest ON drama.dramas FOR SELECT TO "
                           f"{PREFIX}_event_ingest USING (true)")
