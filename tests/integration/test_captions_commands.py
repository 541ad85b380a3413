# SPDX-License-Identifier: Apache-2.0
"""What users and services order of the captioning service, what they may not, and which events follow;
who sees which rows. Numbers are those of the mistakes that an earlier system of this kind made."""

import concurrent.futures
import json
import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import (ExclusionViolation, InsufficientPrivilege, InvalidParameterValue,
                            NoDataFound, ObjectNotInPrerequisiteState, UniqueViolation)

from lib import avro, consumers, kafka, policies
from lib.world import new_database

ROLES = f"c{uuid.uuid4().hex[:8]}"
OURS, OTHERS, NOBODYS = (str(uuid.UUID(int=0xA << 124 | n)) for n in range(3))  # tenants
ALICE, ADMIN, MALLORY, NEW = (str(uuid.UUID(int=0xB << 124 | n)) for n in range(4))  # users
VIDEO, DELETED, PURGED, FOREIGN, UNKNOWN = (str(uuid.UUID(int=0xC << 124 | n)) for n in range(5))
ACTIVE, OLD, FOREIGN_CROP = (str(uuid.UUID(int=0xD << 124 | n)) for n in range(3))

ROWS = f"""
SET search_path = captions;
INSERT INTO tenants (id, name, slug, created_at, placeholder) VALUES
    ('{OURS}', 'ours', 'ours', now(), NULL), ('{OTHERS}', 'others', 'others', now(), NULL),
    ('{NOBODYS}', 'unknown', 'unknown-x', NULL, true);
INSERT INTO user_profiles (id, tenant_id, full_name, role) VALUES
    ('{ALICE}', '{OURS}', 'Alice', 'user'), ('{ADMIN}', '{OURS}', 'Ada', 'admin'),
    ('{MALLORY}', '{OTHERS}', 'Mallory', 'admin'), ('{NEW}', NULL, 'New', 'user');
INSERT INTO videos (id, tenant_id, filename, storage_key, status, deleted_at, purged_at,
        layout_db_hash, placeholder) VALUES
    ('{VIDEO}', '{OURS}', 'a.mp4', 'k', 'active', NULL, NULL, 'new', NULL),
    ('{DELETED}', '{OURS}', 'b.mp4', 'k', 'soft_deleted', now(), NULL, NULL, NULL),
    ('{PURGED}', '{OURS}', '(purged)', 'k', 'purged', now(), now(), NULL, NULL),
    ('{FOREIGN}', '{OTHERS}', 'c.mp4', 'k', 'active', NULL, NULL, NULL, NULL),
    ('{UNKNOWN}', '{OURS}', 'unknown', 'k', 'uploading', NULL, NULL, NULL, true);
INSERT INTO cropped_frames_versions (id, video_id, tenant_id, version, storage_prefix, status,
        layout_db_hash) VALUES
    ('{ACTIVE}', '{VIDEO}', '{OURS}', 2, 'p', 'active', 'old'),
    ('{OLD}', '{VIDEO}', '{OURS}', 1, 'p', 'archived', 'old'),
    ('{FOREIGN_CROP}', '{FOREIGN}', '{OTHERS}', 1, 'p', 'active', NULL);
INSERT INTO video_search_index (video_id, tenant_id, frame_index, ocr_text, caption_text) VALUES
    ('{VIDEO}', '{OURS}', 0, E'All are born\\nequal in dignity', NULL),
    ('{VIDEO}', '{OURS}', 1, '人人生而自由', '100% _sure_'),
    ('{DELETED}', '{OURS}', 0, 'dignity, deleted', NULL),
    ('{FOREIGN}', '{OTHERS}', 0, 'dignity of others', NULL);
INSERT INTO flow_runs (flow_run_id, tenant_id) VALUES
    (gen_random_uuid(), '{OURS}'), (gen_random_uuid(), '{OTHERS}'), (gen_random_uuid(), NULL);
INSERT INTO video_objects (object_id, tenant_id, bucket, key, kind, size_bytes) VALUES
    (gen_random_uuid(), '{OURS}', 'b', '1', 'video', 40000000000),
    (gen_random_uuid(), '{OURS}', 'b', '2', 'chunk', 10000000000),
    (gen_random_uuid(), '{OTHERS}', 'b', '3', 'video', NULL);
INSERT INTO tenant_conflicts VALUES (gen_random_uuid(), '{VIDEO}', '{OTHERS}', 'x', now());
INSERT INTO crop_version_conflicts VALUES (gen_random_uuid(), '{VIDEO}', 2, '{ACTIVE}', now());
"""


class Database:
    """As its superuser, who takes other roles."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.connection = psycopg.connect(dsn, autocommit=True)

    def execute(self, statement, parameters=None):
        return self.connection.execute(statement, parameters)

    def value(self, statement, parameters=None):
        row = self.execute(statement, parameters).fetchone()
        return row and row[0]

    def call(self, who, statement, *parameters, role="authenticated"):
        """What a statement gives to a user (None: to a service), in a transaction that stays."""
        with self.connection.transaction():
            self.execute(f"SET LOCAL ROLE {role if who else 'service_role'}")
            self.execute("SELECT set_config('request.jwt.claims', %s, true)",
                         [json.dumps({"sub": who}) if who else ""])
            return self.execute(f"SELECT * FROM captions.{statement}", parameters).fetchall()

    def refused(self, error, who, statement, *parameters, **options):
        with pytest.raises(error) as failure:
            self.call(who, statement, *parameters, **options)
        return str(failure.value)

    def events(self):
        """[(topic, key, event)] of the outbox, which is empty then."""
        rows = self.execute("WITH gone AS (DELETE FROM captions_private.outbox RETURNING *) "
                            "SELECT topic, key, body, event_id::text FROM gone ORDER BY id").fetchall()
        for topic, _, body, event_id in rows:
            assert body.pop("event_id") == event_id and body.pop("emitted_at") > 10**15
        return [(topic, key, body) for topic, key, body, _ in rows]


@pytest.fixture(scope="module")
def ordered(template):
    with new_database(template=template) as dsn, policies.roles(dsn, f"{ROLES}_"):
        policies.stand_in(dsn)
        admin = policies.admin(dsn)
        for command, where in ((["migrate", "captions"], dsn), (["roles", "--role-prefix", ROLES], admin)):
            result = consumers.run("projectionist", *command, variables={"POSTGRES_DSN": where, "SYSTEMS": "captions"})
            assert result.returncode == 0, result.stderr
        policies.psql(admin, "-c", ROWS)
        database = Database(admin)
        yield database
        database.connection.close()


@pytest.fixture
def database(ordered):
    ordered.execute("TRUNCATE captions_private.outbox, captions_private.locks")
    return ordered


def video_event(body, actor=ALICE, video=VIDEO):
    return ("captions.videos", video, {"tenant_id": OURS, "video_id": video, "actor_user_id": actor,
                                       "body": body})


# --- users ----------------------------------------------------------------------------------------


def test_1_nobody_changes_their_own_tenant_or_role(database):
    for change in (f"tenant_id = '{OTHERS}'", "role = 'admin'", "full_name = 'x'"):
        with pytest.raises(InsufficientPrivilege), database.connection.transaction():
            database.execute("SET LOCAL ROLE authenticated")
            database.execute(f"UPDATE captions.user_profiles SET {change}")
    database.call(ALICE, "update_my_profile(full_name => 'Alicia')")
    assert database.events() == [("captions.users", ALICE, {"user_id": ALICE, "body": {
        "type": "UserProfileChanged", "full_name": "Alicia", "avatar_url": None}})]
    database.call(ALICE, "update_my_profile()")
    assert database.events() == []
    database.refused(InsufficientPrivilege, ALICE, "assign_user(%s, %s)", ALICE, OTHERS)
    database.refused(InvalidParameterValue, ALICE, "update_my_profile(%s)", "x" * 1001)


def test_3_a_user_deletes_a_video_of_their_tenant_and_brings_it_back(database):
    for function, word in (("delete_video", "VideoSoftDeleted"), ("archive_video", "VideoArchived"),
                           ("restore_video", "VideoRestored")):
        database.call(ALICE, f"{function}(%s)", VIDEO)
        assert database.events() == [video_event({"type": word})]
    database.call(ALICE, "restore_video(%s)", DELETED)
    assert database.events() == [video_event({"type": "VideoRestored"}, video=DELETED)]
    for who, video in ((MALLORY, VIDEO), (ALICE, FOREIGN), (NEW, VIDEO), (ALICE, UNKNOWN),
                       (ALICE, str(uuid.uuid4()))):
        assert f"there is no video {video}" in database.refused(
            NoDataFound, who, "delete_video(%s)", video)
    assert "was purged" in database.refused(ObjectNotInPrerequisiteState, ALICE,
                                            "restore_video(%s)", PURGED)
    assert database.events() == []


@pytest.mark.parametrize("claims", ["", "{", "[]", '{"sub": "x"}', '{"sub": null}', '"x"'])
def test_who_has_no_token_of_a_user_orders_nothing(database, claims):
    with database.connection.transaction(force_rollback=True):
        database.execute("SET LOCAL ROLE authenticated")
        database.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
        assert database.value("SELECT count(*) FROM captions.videos") == 0
        with pytest.raises(InsufficientPrivilege, match="nobody is signed in"):
            database.execute("SELECT captions.delete_video(%s)", [VIDEO])


def test_a_layout_is_approved(database):
    database.call(ALICE, "approve_layout(%s, %s, %s)", VIDEO, '{"top": 1}', "hash")
    assert database.events() == [video_event({
        "type": "LayoutApproved", "layout_db_key": f"{OURS}/{VIDEO}/layout.db",
        "layout_db_hash": "hash", "crop_bounds": '{"top": 1}'})]
    database.refused(NoDataFound, MALLORY, "approve_layout(%s)", VIDEO)


def test_times_of_one_key_rise_and_follow_its_commits(database):
    """Whoever comes second waits for the first, and tells a later time."""
    with psycopg.connect(database.dsn) as first:
        first.execute("SELECT captions.purge_video(%s)", [VIDEO])
        with concurrent.futures.ThreadPoolExecutor() as pool:
            second = pool.submit(database.call, ALICE, "delete_video(%s)", VIDEO)
            with pytest.raises(concurrent.futures.TimeoutError):
                second.result(0.3)
            first.commit()
            second.result(10)
    told = database.execute("SELECT body -> 'body' ->> 'type', (body ->> 'emitted_at')::bigint "
                            "FROM captions_private.outbox ORDER BY id").fetchall()
    assert [word for word, _ in told] == ["VideoPurged", "VideoSoftDeleted"]
    assert told[0][1] < told[1][1]


# --- locks ----------------------------------------------------------------------------------------


def test_9_a_lock_of_another_is_not_taken_before_it_expires(database):
    (granted, lock, holder, until), = database.call(ALICE, "acquire_video_lock(%s)", VIDEO)
    assert granted and str(holder) == ALICE
    assert database.call(ADMIN, "acquire_video_lock(%s)", VIDEO) == [(False, None, holder, until)]
    assert database.call(ADMIN, "renew_video_lock(%s)", lock) == [(False, None, None, None)]
    assert database.call(ADMIN, "release_video_lock(%s)", lock) == [(False,)]
    database.refused(NoDataFound, MALLORY, "acquire_video_lock(%s)", VIDEO)
    # Who has it keeps it, and never for less than before.
    (granted, same, _, later), = database.call(ALICE, "acquire_video_lock(%s)", VIDEO)
    assert (granted, same) == (True, lock) and later > until
    (granted, same, _, kept), = database.call(ALICE, "renew_video_lock(%s, '1 second')", lock)
    assert (granted, same, kept) == (True, lock, later)
    database.execute("UPDATE captions_private.locks SET expires_at = clock_timestamp()")
    assert database.call(ALICE, "renew_video_lock(%s)", lock) == [(False, None, None, None)]
    (granted, another, holder, _), = database.call(ADMIN, "acquire_video_lock(%s)", VIDEO)
    assert granted and another != lock and str(holder) == ADMIN
    assert database.call(ALICE, "release_video_lock(%s)", lock) == [(False,)]
    assert database.call(ADMIN, "release_video_lock(%s)", another) == [(True,)]
    assert database.call(ADMIN, "release_video_lock(%s)", another) == [(False,)]
    (granted, *_), = database.call(ALICE, "acquire_video_lock(%s)", VIDEO)
    assert granted
    told = [(event["body"]["type"], event["lock_id"], event["user_id"], event["acquired_at"])
            for _, _, event in database.events()]
    assert [(word, user) for word, _, user, _ in told] == [
        ("LockAcquired", ALICE), ("LockRenewed", ALICE), ("LockRenewed", ALICE),
        ("LockAcquired", ADMIN), ("LockReleased", ADMIN), ("LockAcquired", ALICE)]
    assert [lock for _, lock, _, _ in told][:5] == [str(lock)] * 3 + [str(another)] * 2
    acquired = [at for _, _, _, at in told]
    assert acquired[0] == acquired[2] < acquired[3] == acquired[4] < acquired[5]


@pytest.mark.parametrize("ttl", [None, "0 seconds", "-1 minute", "15 minutes 1 second", "infinity"])
def test_a_lock_has_an_end(database, ttl):
    if ttl == "infinity" and database.connection.info.server_version < 170000:
        return  # there is no such interval
    assert "from 1 second to 15 minutes" in database.refused(
        InvalidParameterValue, ALICE, "acquire_video_lock(%s, %s::interval)", VIDEO, ttl)


def test_of_many_who_want_a_lock_one_gets_it(database):
    def take(user):
        with psycopg.connect(database.dsn) as connection:
            connection.execute("SET ROLE authenticated")
            connection.execute("SELECT set_config('request.jwt.claims', %s, false)",
                               [json.dumps({"sub": user})])
            return connection.execute("SELECT granted, holder::text FROM captions.acquire_video_lock(%s)",
                                      [VIDEO]).fetchone()

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(take, [ALICE, ADMIN] * 10))
    holders = {holder for _, holder in answers}
    assert len(holders) == 1 and sum(granted for granted, _ in answers) == 10


# --- crops ----------------------------------------------------------------------------------------


def test_2_no_second_active_version(database):
    with pytest.raises(ExclusionViolation):
        database.execute("UPDATE captions.cropped_frames_versions SET status = 'active' "
                         "WHERE id = %s", [OLD])
    with database.connection.transaction(force_rollback=True):  # the mark moves in one statement
        database.execute("UPDATE captions.cropped_frames_versions SET status = "
                         "CASE id WHEN %s THEN 'active' ELSE 'archived' END WHERE video_id = %s",
                         [OLD, VIDEO])
        database.execute("SET CONSTRAINTS ALL IMMEDIATE")
    database.call(None, "activate_cropped_frames_version(%s)", OLD)
    assert database.events() == [("captions.crops", VIDEO, {
        "tenant_id": OURS, "video_id": VIDEO, "version_id": OLD, "body": {"type": "CropActivated"}})]
    database.refused(InsufficientPrivilege, ALICE, "activate_cropped_frames_version(%s)", FOREIGN_CROP)
    database.refused(NoDataFound, None, "activate_cropped_frames_version(%s)", str(uuid.uuid4()))


def test_4_a_frame_is_in_the_index_once(database):
    with pytest.raises(UniqueViolation):
        database.execute("INSERT INTO captions.video_search_index (video_id, tenant_id, frame_index) "
                         "VALUES (%s, %s, 0)", [VIDEO, OURS])


def test_8_fifty_at_once_get_fifty_numbers(database):
    video = str(uuid.uuid4())

    def allocate(_):
        with psycopg.connect(database.dsn) as connection:
            return connection.execute("SELECT captions.allocate_crop_version(%s)",
                                      [video]).fetchone()[0]

    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        assert sorted(pool.map(allocate, range(50))) == list(range(1, 51))


def test_14_the_number_to_look_at_is_used_by_nothing_that_writes(database):
    video = str(uuid.uuid4())
    assert database.call(None, "get_next_cropped_frames_version(%s)", video) == [(1,)]
    assert database.call(None, "get_next_cropped_frames_version(%s)", video) == [(1,)]
    assert database.call(None, "allocate_crop_version(%s)", video) == [(1,)]
    assert database.call(None, "get_next_cropped_frames_version(%s)", video) == [(2,)]
    assert database.execute("SELECT proname FROM pg_proc WHERE prosrc LIKE "
                            "'%%get_next_cropped_frames_version%%'").fetchall() == []


# --- reading --------------------------------------------------------------------------------------


def search(database, who, query, *more):
    rows = database.call(who, f"search_videos(%s{', %s' * len(more)})", query, *more)
    return [(str(video), frame) for video, frame, *_ in rows]


def test_12_search_finds_a_word_in_a_line_and_letters_where_there_are_no_words(database):
    assert search(database, ALICE, "dignity") == [(VIDEO, 0)]
    assert search(database, ALICE, '"equal in dignity" or nothing') == [(VIDEO, 0)]
    assert search(database, ALICE, "人") == [(VIDEO, 1)]
    assert search(database, ALICE, "自由") == [(VIDEO, 1)]
    assert search(database, ALICE, "人%") == search(database, ALICE, "人_") == []
    assert search(database, ALICE, "sure") == [(VIDEO, 1)]
    assert search(database, ALICE, " ") == search(database, ALICE, "absent") == []
    assert search(database, MALLORY, "dignity") == [(FOREIGN, 0)]
    assert search(database, NEW, "dignity") == []
    assert len(search(database, None, "dignity")) == 3
    assert len(search(database, None, "dignity", 1)) == len(search(database, None, "dignity", -1)) == 1


def test_13_a_rebuild_sends_no_notification(database):
    told = []
    with psycopg.connect(database.dsn, autocommit=True) as listener:
        listener.execute("LISTEN captions_video")
        for rebuild in ("on", "off"):
            with database.connection.transaction():
                database.execute("SELECT set_config('projectionist.rebuild', %s, true)", [rebuild])
                database.execute("UPDATE captions.videos SET status = 'processing' WHERE id = ANY (%s)",
                                 [[VIDEO, UNKNOWN]])
                database.execute("UPDATE captions.videos SET filename = 'x' WHERE id = %s", [VIDEO])
                database.execute("UPDATE captions.videos SET status = 'active' WHERE id = ANY (%s)",
                                 [[VIDEO, UNKNOWN]])
            listener.execute("SELECT")
            told.append([json.loads(one.payload) for one in
                         listener.notifies(timeout=0.5, stop_after=2)])
    assert told == [[], [{"video_id": VIDEO, "status": "processing"},
                         {"video_id": VIDEO, "status": "active"}]]


def test_storage_and_crops_that_are_outdated(database):
    assert database.call(ALICE, "tenant_storage") == [
        (uuid.UUID(OURS), "ours", 50 * 10**9, 100 * 10**9, 0.5)]
    assert [row[1:4] for row in database.call(None, "tenant_storage ORDER BY name")] == [
        ("others", 0, 100 * 10**9), ("ours", 50 * 10**9, 100 * 10**9)]
    assert database.call(ALICE, "crops_outdated") == [
        (uuid.UUID(VIDEO), uuid.UUID(ACTIVE), 2, "old", "new")]
    assert database.call(MALLORY, "crops_outdated") == []


# --- services -------------------------------------------------------------------------------------


def test_what_services_order_becomes_events_that_fit_their_schemas(database):
    """By the relay, whose encoder refuses what does not fit."""
    tenant, = database.call(None, "create_tenant('New', 'new', 5)")[0]
    database.call(None, "change_tenant(%s, p_storage_quota_gb => 7)", tenant)
    database.call(None, "register_user(%s, 'Eve', NULL, %s, 'annotator')", NEW, tenant)
    database.call(None, "assign_user(%s, %s, 'admin', %s)", NEW, tenant, ADMIN)
    database.call(None, "remove_user(%s, 'left')", NEW)
    video, = database.call(None, "register_video(%s, 'x.mp4', p_size_bytes => 3, "
                           "p_duration_seconds => 59.94, p_uploaded_by => %s, p_uploaded_at => now())",
                           tenant, NEW)[0]
    database.call(None, "purge_video(%s, 'gone')", VIDEO)
    database.call(None, "activate_cropped_frames_version(%s)", OLD)
    database.call(ALICE, "approve_layout(%s, '{}')", VIDEO)
    database.call(ALICE, "update_my_profile('A')")
    (_, lock, *_), = database.call(ALICE, "acquire_video_lock(%s)", VIDEO)
    database.call(ALICE, "renew_video_lock(%s)", lock)
    database.call(ALICE, "release_video_lock(%s)", lock)
    database.call(None, "remove_tenant(%s)", tenant)
    told = database.execute("SELECT topic, key, body FROM captions_private.outbox "
                            "ORDER BY id").fetchall()
    assert len(told) == 14
    assert told[5][2]["body"]["storage_key"] == f"{tenant}/{video}/video.mp4"
    publish(database)
    assert database.execute("SELECT reason FROM captions_private.outbox_failed").fetchall() == []


def publish(database):
    """The outbox, to topics of its own."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    settings = {"TOPIC_PREFIX": prefix, "POSTGRES_DSN": database.dsn, "OUTBOX": "captions_private",
                "POSTGRES_OPTIONS": f"-c role={ROLES}_outbox_relay"}  # with no other rights
    topics = [prefix + path.name for path in Path(avro.SCHEMAS).glob("captions.*")]
    for command in (["topics", "create", "captions", "--partitions", "1", "--replication-factor", "1"],
                    ["schemas", "register", "captions"]):
        result = consumers.run("projectionist", *command, variables={"TOPIC_PREFIX": prefix,
                                                                    "SYSTEMS": "captions"})
        assert result.returncode == 0, result.stderr
    try:
        relay = consumers.Consumer("outbox-relay", [], settings,
                                   Path(f"/tmp/{prefix}outbox-relay.log"))
        relay.wait_until(lambda: database.value("SELECT count(*) FROM captions_private.outbox") == 0)
        relay.stop()
        relay.log_path.unlink()
    finally:
        kafka.delete_topics(*topics)


@pytest.mark.parametrize("statement, sentence", [
    ("create_tenant('', 'x')", "name is missing"),
    ("create_tenant('x', NULL)", "slug is missing"),
    ("create_tenant('x', 'x', -1)", "storage_quota_gb is -1, and must be at least 0"),
    ("create_tenant('x', 'x', 1, '00000000-0000-0000-0000-000000000000')", "tenant_id is missing"),
    (f"change_tenant('{OURS}', p_name => ' ')", "name is missing"),
    (f"assign_user('{NEW}', '{OURS}', 'owner')", "role is 'owner'; it must be user, admin or annotator"),
    (f"assign_user('{NEW}', NULL)", "tenant_id is missing"),
    ("register_user(NULL)", "user_id is missing"),
    (f"register_video('{OURS}', ' ')", "filename is missing"),
    (f"register_video('{OURS}', 'x', p_size_bytes => -1)", "size_bytes is -1"),
    (f"register_video('{OURS}', 'x', p_duration_seconds => 'NaN')", "duration_seconds"),
    (f"register_video('{OURS}', 'x', '{VIDEO}', '{OTHERS}/{VIDEO}/x')", f"must begin with {OURS}/{VIDEO}/"),
    (f"register_video('{OURS}', 'x', '{VIDEO}', '{OURS}/{VIDEO}/../x')", "have no empty part"),
    (f"register_video('{OURS}', 'x', '{VIDEO}', '{OURS}/{VIDEO}//x')", "have no empty part"),
    (f"register_video('{OURS}', 'x', '{VIDEO}', '{OURS}/{VIDEO}/')", "have no empty part"),
    (f"purge_video('{VIDEO}', repeat('x', 1001))", "reason has 1001 characters"),
])
def test_what_would_be_a_dead_letter_is_refused_to_who_says_it(database, statement, sentence):
    assert sentence in database.refused(InvalidParameterValue, None, statement)
    assert database.events() == []


def test_sign_ups_tell_of_users_and_never_fail(database):
    database.execute("SELECT captions_private.watch_sign_ups()")
    database.execute("SELECT captions_private.watch_sign_ups()")
    user = str(uuid.uuid4())
    database.execute("INSERT INTO auth.users VALUES (%s, 'e@x', '{\"full_name\": \"Eve\"}')", [user])
    database.execute("DELETE FROM auth.users WHERE id = %s", [user])
    assert [(key, event["body"]) for _, key, event in database.events()] == [
        (user, {"type": "UserRegistered", "tenant_id": None, "full_name": "Eve", "avatar_url": None,
                "role": "user"}),
        (user, {"type": "UserRemoved", "reason": "the account was deleted"})]
    with database.connection.transaction(force_rollback=True):
        database.execute("ALTER TABLE captions_private.outbox RENAME TO away")
        database.execute("INSERT INTO auth.users VALUES (%s)", [user])
        assert database.value("SELECT count(*) FROM auth.users") == 1


def test_a_function_finds_its_tables_whatever_the_caller_has_first(database):
    """Neither a table of the caller's own nor their search_path leads it astray."""
    with database.connection.transaction(force_rollback=True):
        database.execute("CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO authenticated; "
                         "SET LOCAL ROLE authenticated; SET LOCAL search_path = evil; "
                         "CREATE TABLE evil.user_profiles AS SELECT %s::uuid AS id, %s::uuid AS tenant_id, "
                         "'admin' AS role; "
                         "CREATE TEMP TABLE user_profiles AS TABLE evil.user_profiles" .replace(
                             "%s", "'{}'").format(ALICE, OTHERS))
        database.execute("SELECT set_config('request.jwt.claims', %s, true)",
                         [json.dumps({"sub": ALICE})])
        assert str(database.value("SELECT captions.captions_tenant()")) == OURS
        assert database.value("SELECT captions.captions_is_admin()") is False


# --- who may do what ------------------------------------------------------------------------------

NAMES = {"anon": "anon", "alice": "authenticated", "admin": "authenticated", "mallory": "authenticated",
         "new": "authenticated", "service_role": "service_role", "analyst": f"{ROLES}_analyst",
         "relay": f"{ROLES}_outbox_relay"}
CLAIMS = {name: json.dumps({"sub": who}) for name, who in (
    ("alice", ALICE), ("admin", ADMIN), ("mallory", MALLORY), ("new", NEW))}

RELATIONS = """
                                anon  alice  admin  mallory  new  service_role  analyst  relay
captions_private.clocks         -     -      -      -        -    -             -        -
captions_private.crop_counters  -     -      -      -        -    -             -        -
captions_private.locks          -     -      -      -        -    -             -        -
captions_private.outbox         -     -      -      -        -    -             -        SD
captions_private.outbox_failed  -     -      -      -        -    -             -        SI
crop_version_conflicts          -     -      -      -        -    SIUDT         S        -
cropped_frames_versions         -     S%     S%     S%       S%   SIUDT         S        -
crops_outdated                  -     S      S      S%       S%   S             S        -
flow_runs                       -     S%     S%     S%       S%   SIUDT         S        -
tenant_conflicts                -     -      -      -        -    SIUDT         S        -
tenant_storage                  -     S%     S%     S%       S%   S             S        -
tenants                         -     S%     S%     S%       S%   SIUDT         S        -
user_profiles                   -     S%     S%     S%       S%   SIUDT         S        -
video_objects                   -     S%     S%     S%       S%   SIUDT         S        -
video_search_index              -     S%     S%     S%       S%   SIUDT         S        -
videos                          -     S%     S%     S%       S%   SIUDT         S        -
"""

FUNCTIONS = """
                                          anon  alice  admin  mallory  new  service_role  analyst  relay
captions_private.caller                   -     -      -      -        -    -             -        -
captions_private.check_at_least           -     -      -      -        -    -             -        -
captions_private.check_id                 -     -      -      -        -    -             -        -
captions_private.check_key                -     -      -      -        -    -             -        -
captions_private.check_role               -     -      -      -        -    -             -        -
captions_private.check_text               -     -      -      -        -    -             -        -
captions_private.check_ttl                -     -      -      -        -    -             -        -
captions_private.emit                     -     -      -      -        -    -             -        -
captions_private.find_own_lock            -     -      -      -        -    -             -        -
captions_private.find_own_video           -     -      -      -        -    -             -        -
captions_private.find_video               -     -      -      -        -    -             -        -
captions_private.micros                   -     -      -      -        -    -             -        -
captions_private.refuse                   -     -      -      -        -    -             -        -
captions_private.tell                     -     -      -      -        -    -             -        -
captions_private.tell_lock                -     -      -      -        -    -             -        -
captions_private.tell_own_video           -     -      -      -        -    -             -        -
captions_private.tell_tenant              -     -      -      -        -    -             -        -
captions_private.tell_user                -     -      -      -        -    -             -        -
captions_private.tell_video               -     -      -      -        -    -             -        -
captions_private.tick                     -     -      -      -        -    -             -        -
captions_private.watch_sign_ups           -     -      -      -        -    -             -        -
captions.acquire_video_lock               -     E      E      E        E    -             -        -
captions.activate_cropped_frames_version  -     -      -      -        -    E             -        -
captions.allocate_crop_version            -     -      -      -        -    E             -        -
captions.approve_layout                   -     E      E      E        E    -             -        -
captions.archive_video                    -     E      E      E        E    -             -        -
captions.assign_user                      -     -      -      -        -    E             -        -
captions.captions_is_admin                -     E      E      E        E    -             -        -
captions.captions_tenant                  -     E      E      E        E    -             -        -
captions.captions_user                    -     E      E      E        E    -             -        -
captions.change_tenant                    -     -      -      -        -    E             -        -
captions.create_tenant                    -     -      -      -        -    E             -        -
captions.delete_video                     -     E      E      E        E    -             -        -
captions.get_next_cropped_frames_version  -     -      -      -        -    E             -        -
captions.purge_video                      -     -      -      -        -    E             -        -
captions.register_user                    -     -      -      -        -    E             -        -
captions.register_video                   -     -      -      -        -    E             -        -
captions.release_video_lock               -     E      E      E        E    -             -        -
captions.remove_tenant                    -     -      -      -        -    E             -        -
captions.remove_user                      -     -      -      -        -    E             -        -
captions.renew_video_lock                 -     E      E      E        E    -             -        -
captions.restore_video                    -     E      E      E        E    -             -        -
captions.search_videos                    -     E      E      E        E    E             -        -
captions.update_my_profile                -     E      E      E        E    -             -        -
"""


@pytest.mark.parametrize("who, seen", [
    (ALICE, (1, 1, 1, 2, 2, 1, 2)), (ADMIN, (1, 2, 1, 2, 2, 1, 2)), (MALLORY, (1, 1, 1, 1, 1, 1, 1)),
    (NEW, (0, 1, 0, 0, 0, 0, 0)), (None, (3, 4, 5, 3, 3, 3, 4))])
def test_how_many_rows_each_user_sees(database, who, seen):
    tables = ("tenants", "user_profiles", "videos", "cropped_frames_versions", "video_objects",
              "flow_runs", "video_search_index")
    assert tuple(len(database.call(who, table)) for table in tables) == seen
    for table in tables:
        for row in database.call(who, table):
            assert who in (MALLORY, None) or OTHERS not in map(str, row), (table, row)


@pytest.fixture
def matrix(database):
    policies.psql(database.dsn, "-c", f"""
        INSERT INTO captions_private.clocks VALUES ('{VIDEO}', now()) ON CONFLICT DO NOTHING;
        INSERT INTO captions_private.locks VALUES ('{VIDEO}', gen_random_uuid(), '{OURS}', '{ALICE}',
            now(), now());
        INSERT INTO captions_private.outbox (event_id, topic, key, body)
            VALUES (gen_random_uuid(), 'x', 'x', '{{}}');
        INSERT INTO captions_private.outbox_failed VALUES (1, gen_random_uuid(), 'x', 'x', '{{}}', now(),
            now(), 'x') ON CONFLICT DO NOTHING;
        INSERT INTO captions_private.crop_counters VALUES ('{VIDEO}', 1) ON CONFLICT DO NOTHING""")
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        yield policies.Matrix(connection, NAMES, CLAIMS)


def test_what_each_role_may_do_with_each_table_and_view(matrix):
    found = matrix.all_relations("captions", "captions_private")
    assert found == policies.parse(RELATIONS), "\n" + policies.show(found)


def test_which_functions_each_role_may_call(matrix):
    found = matrix.all_functions("captions", "captions_private")
    assert found == policies.parse(FUNCTIONS), "\n" + policies.show(found)


def test_realtime_shows_videos_and_crops(database):
    assert database.execute("SELECT tablename FROM pg_publication_tables WHERE pubname = "
                            "'supabase_realtime' AND schemaname = 'captions' ORDER BY 1").fetchall() == [
        ("cropped_frames_versions",), ("videos",)]
