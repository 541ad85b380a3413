# SPDX-License-Identifier: Apache-2.0
"""From a function that somebody calls to the row that they see: functions of Postgres, outbox-relay,
the topics, the seven consumers, each program in the role that `projectionist roles` makes for it.
The tables are what the oracle makes of the events that are in the topics, and so are the views."""

import json
import uuid

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, NoDataFound, ObjectNotInPrerequisiteState

from lib import (avro, captions_events, captions_oracle, captions_run, consumers, database, kafka,
                 policies)
from lib.captions_events import crop, file_event
from lib.world import new_database, open_world

ROLES = f"o{uuid.uuid4().hex[:8]}"
OURS, OTHERS = (str(uuid.UUID(int=0xA1 << 120 | n)) for n in range(2))  # tenants
ALICE, ADAM, MALLORY = (str(uuid.UUID(int=0xB1 << 120 | n)) for n in range(3))  # users
GONE = str(uuid.UUID(int=0xC1 << 120))


class World(captions_run.World):
    """Of captions, with what a function gives to a user, or to a service (None)."""

    def call(self, who, statement, *parameters, role="authenticated"):
        with self.asking.transaction():
            self.asking.execute("SELECT set_config('request.jwt.claims', %s, true)",
                                [json.dumps({"sub": who}) if who else ""])
            self.asking.execute(f"SET LOCAL ROLE {role if who else 'service_role'}")
            return self.asking.execute(f"SELECT * FROM captions.{statement}", parameters).fetchall()

    def wait_for(self, count, query, *parameters):
        database.wait_until(lambda: self.value(query, parameters) == count, 60,
                            lambda: f"{query}: {self.value(query, parameters)}, not {count}")

    def told(self):
        """All events that are in the topics."""
        found = []
        for topic in captions_events.TOPICS:
            found += [avro.decode(record.value, avro.schema_text(topic))[1]
                      for record in kafka.read(topic)]
        return found

    def is_as_told(self):
        """The tables and the views are what the oracle makes of the topics."""
        told = self.told()
        want = captions_oracle.expected(told)
        have = self.settled(want)
        for table in captions_oracle.KEYS:
            problems = captions_run.report(table, have[table], want[table], told)
            assert not problems, problems
        assert self.views() == captions_oracle.views(want)
        return want


@pytest.fixture(scope="module")
def world(tmp_path_factory, template):
    with new_database(template=template) as made, policies.roles(made, f"{ROLES}_"):
        policies.stand_in(made)
        for command, where in ((["migrate", "captions"], made),
                               (["roles", "--role-prefix", ROLES], policies.admin(made))):
            result = consumers.run("projectionist", *command,
                                   variables={"POSTGRES_DSN": where, "SYSTEMS": "captions"})
            assert result.returncode == 0, result.stderr
        with open_world(tmp_path_factory.mktemp("orders"), 3, made, World) as opened:
            opened.use_default_groups()  # whose rows alone the roles may see
            admin = policies.admin(opened.dsn)
            opened.asking = psycopg.connect(admin, autocommit=True)
            for name in (*captions_run.CONSUMERS, "outbox-relay"):
                role = {"POSTGRES_DSN": admin, "OUTBOX": "captions_private",
                        "POSTGRES_OPTIONS": f"-c role={ROLES}_{name.replace('-', '_')}"}
                if name == "outbox-relay":
                    opened.consumers.start(name, **role)
                else:
                    del role["OUTBOX"]
                    opened.start(name, **role)
            yield opened
            opened.asking.close()


@pytest.fixture(scope="module")
def video(world):
    """A video of a tenant whose users are known."""
    for tenant, slug in ((OURS, "ours"), (OTHERS, "others")):
        world.call(None, "create_tenant(%s, %s, 1, %s)", slug.title(), slug, tenant)
    for user, tenant, role in ((ALICE, OURS, "admin"), (ADAM, OURS, "user"),
                               (MALLORY, OTHERS, "admin")):
        world.call(None, "register_user(%s, NULL, NULL, %s, %s)", user, tenant, role)
    world.wait_for(3, "SELECT count(*) FROM captions.user_profiles WHERE tenant_id IS NOT NULL")
    made, = world.call(None, "register_video(%s, 'a.mp4', p_uploaded_by => %s)", OURS, ALICE)[0]
    world.call(None, "register_video(%s, 'gone.mp4', %s)", OURS, GONE)
    world.wait_for(2, "SELECT count(*) FROM captions.videos WHERE placeholder IS NOT TRUE")
    return str(made)


def test_what_services_order_is_seen_by_those_who_may(world, video):
    assert [row[0] for row in world.call(ALICE, "videos")].count(uuid.UUID(video)) == 1
    assert world.call(MALLORY, "videos") == []
    assert [row[0] for row in world.call(MALLORY, "tenants")] == [uuid.UUID(OTHERS)]
    world.call(None, "change_tenant(%s, p_name => 'Renamed', p_storage_quota_gb => 2)", OTHERS)
    world.wait_for(1, "SELECT count(*) FROM captions.tenants WHERE name = 'Renamed'")
    world.call(None, "assign_user(%s, %s, 'annotator', %s)", ADAM, OURS, ALICE)
    world.wait_for("annotator", "SELECT max(role) FROM captions.user_profiles WHERE id = %s", ADAM)
    world.is_as_told()


def test_what_a_user_orders_is_a_row(world, video):
    world.call(ADAM, "update_my_profile('Adam', 'https://faces.example/1')")
    world.call(ALICE, "approve_layout(%s, %s, 'layout-1')", video, '{"top": 1}')
    (_, lock, _, _), = world.call(ALICE, "acquire_video_lock(%s)", video)
    world.wait_for(uuid.UUID(ALICE), "SELECT locked_by_user_id FROM captions.videos WHERE id = %s",
                   video)
    assert world.call(ADAM, "acquire_video_lock(%s)", video)[0][0] is False
    world.call(ALICE, "renew_video_lock(%s)", lock)
    world.call(ALICE, "release_video_lock(%s)", lock)
    world.wait_for(None, "SELECT locked_by_user_id FROM captions.videos WHERE id = %s", video)
    for function, status in (("archive_video", "archived"), ("delete_video", "soft_deleted"),
                             ("restore_video", "uploading")):
        world.call(ALICE, f"{function}(%s)", video)
        world.wait_for(status, "SELECT status FROM captions.videos WHERE id = %s", video)
        assert len(world.call(ADAM, "videos WHERE id = %s", video)) == (status != "soft_deleted")
    world.is_as_told()


def test_views_follow_objects_and_crops(world, video):
    world.publish([
        file_event("stored", OURS, video, "video.mp4", captions_events.MILLISECOND,
                   size_bytes=600_000_000),
        file_event("stored", OURS, video, "layout.db", captions_events.MILLISECOND, size_bytes=7),
        file_event("stored", OTHERS, GONE, "video.mp4", captions_events.MILLISECOND)])
    versions = []
    for layout in ("layout-1", "layout-2"):
        number, = world.call(None, "allocate_crop_version(%s)", video)[0]
        versions.append(str(uuid.uuid4()))
        at = database.value(world.database, "SELECT (extract(epoch FROM now()) * 1e6)::bigint")
        world.publish([crop("CropStarted", OURS, video, versions[-1], at, version=number,
                            layout_db_hash=layout)])
        world.wait_for(1, "SELECT count(*) FROM captions.cropped_frames_versions WHERE id = %s",
                       versions[-1])
        world.call(None, "activate_cropped_frames_version(%s)", versions[-1])
        world.wait_for(versions[-1], "SELECT max(id::text) FROM captions.cropped_frames_versions "
                       "WHERE status = 'active'")
    want = world.is_as_told()
    # Cropped by layout-2, while layout-1 is approved.
    assert [row["version"] for row in captions_oracle.views(want)["crops_outdated"]] == [2]
    assert [row[2] for row in world.call(ALICE, "crops_outdated")] == [2]
    assert world.call(MALLORY, "crops_outdated") == []
    assert [(row[1], row[2]) for row in world.call(ALICE, "tenant_storage")] == [
        ("Ours", 600_000_007)]
    world.call(ALICE, "approve_layout(%s, NULL, 'layout-2')", video)
    world.wait_for(0, "SELECT count(*) FROM captions.crops_outdated")
    world.is_as_told()


def test_a_purge_is_for_good(world, video):
    assert video
    world.call(None, "purge_video(%s, 'asked for')", GONE)
    world.wait_for("purged", "SELECT status FROM captions.videos WHERE id = %s", GONE)
    with pytest.raises(ObjectNotInPrerequisiteState):
        world.call(ALICE, "restore_video(%s)", GONE)
    world.is_as_told()


@pytest.mark.parametrize("who, role, statement, error", [
    (MALLORY, "authenticated", "delete_video(%s)", NoDataFound),
    (MALLORY, "authenticated", "acquire_video_lock(%s)", NoDataFound),
    (MALLORY, "authenticated", "approve_layout(%s)", NoDataFound),
    (ALICE, "authenticated", "purge_video(%s)", InsufficientPrivilege),
    (ALICE, "anon", "delete_video(%s)", InsufficientPrivilege),
    (ALICE, "anon", "videos WHERE id = %s", InsufficientPrivilege),
])
def test_who_may_not_is_refused_and_nothing_is_told(world, video, who, role, statement, error):
    before = world.count("captions_private.clocks"), len(world.told())
    with pytest.raises(error):
        world.call(who, statement, video, role=role)
    assert (world.count("captions_private.clocks"), len(world.told())) == before
    assert world.count("captions_private.outbox") == 0


@pytest.mark.parametrize("change", ["UPDATE captions.videos SET tenant_id = NULL",
                                    "DELETE FROM captions.videos",
                                    "INSERT INTO captions.tenants (id, name, slug) VALUES "
                                    "(gen_random_uuid(), 'x', 'x')"])
def test_nobody_writes_the_tables_themselves(world, video, change):
    assert video
    for role in ("authenticated", "anon"):
        with pytest.raises(InsufficientPrivilege), world.asking.transaction():
            world.asking.execute(f"SET LOCAL ROLE {role}")
            world.asking.execute(change)


def test_nothing_is_left_behind(world, video):
    assert video
    world.wait_for(0, "SELECT count(*) FROM captions_private.outbox")
    assert world.count("captions_private.outbox_failed") == 0
    assert world.letters() == []
