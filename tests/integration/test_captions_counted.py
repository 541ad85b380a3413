# SPDX-License-Identifier: Apache-2.0
"""What search-index counts of tenants that speak of videos which are not theirs: each event once,
whatever of its transactions is refused, lost or tried again."""

import subprocess

import pytest

from lib import captions_events, captions_run, consumers, events
from lib.events import id_of
from lib.proxy import ANSWERED, ASKED, Proxy
from lib.world import open_world

SEARCH = "search-index"
FOREIGN = "projectionist_search_index_foreign_frame_events_total"
OWNER, OTHER = id_of("counted", "owner"), id_of("counted", "other")
VIDEO = id_of("counted", "video")
REFUSED = "Postgres refuses this text"
FRAMES = 120
CUT_EVERY = 4  # commits, alternately before they reach Postgres and after, until CUTS of each
CUTS = 4
TRIGGER = f"""
    CREATE FUNCTION refuse_a_text() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.ocr_text = '{REFUSED}' THEN
            RAISE EXCEPTION 'refused';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse_a_text BEFORE INSERT ON captions.video_search_index
        FOR EACH ROW EXECUTE FUNCTION refuse_a_text();
"""


def frame(tenant, index, text, at=1):
    return captions_events.frame("FrameTextIndexed", tenant, VIDEO, index, events.START + at,
                                 index_run=id_of("counted", "run", at), run_started_at=at,
                                 ocr_text=text)


def cut_now_and_then(proxy):
    phase = {ASKED: 0, ANSWERED: CUT_EVERY // 2}
    proxy.cut_commits(lambda when: proxy.cuts[when] < CUTS
                      and proxy.commits[when] % CUT_EVERY == phase[when])


@pytest.fixture(scope="module", name="consumer")
def counting_consumer(tmp_path_factory, captions_template):
    """search-index, after it has read what an owner and another tenant say, in small batches of
    which some are refused by Postgres, and some lose their connection around the COMMIT."""
    folder = tmp_path_factory.mktemp("counted")
    with (open_world(folder, 3, captions_template, captions_run.World) as world,
          Proxy(world.dsn) as proxy):
        world.database.execute(TRIGGER)
        consumer = world.start(SEARCH, "--batch-records", "20", POSTGRES_DSN=proxy.dsn)
        # It waits for no frame, or Postgres would refuse it with one of them.
        world.publish([captions_events.video("VideoRegistered", OWNER, VIDEO, events.START)])
        world.wait_for_ends(world.group(SEARCH), captions_events.VIDEOS, 60)
        told = []
        for index in range(FRAMES):
            told.append(frame(OWNER, index, REFUSED if index % 60 == 30 else f"own {index}"))
            told.append(frame(OTHER, index, f"foreign {index}"))
        told += [frame(OTHER, 0, "foreign and later", 2), frame(OTHER, 1, None, 2)]
        cut_now_and_then(proxy)
        world.publish(told)
        world.wait_for_ends(world.group(SEARCH), captions_events.SEARCH, 120)
        proxy.cut_commits(None)
        world.publish(told[:80])  # again: an event that is known counts for nothing
        world.publish([frame(OTHER, FRAMES, "foreign and last")])
        world.wait_for_ends(world.group(SEARCH), captions_events.SEARCH, 60)
        consumer.cuts, consumer.published = proxy.cuts, len(told) + 82
        consumer.world = world
        consumer.wait_until(lambda: consumer.metric("projectionist_records_total")
                            >= consumer.published)
        yield consumer


def test_each_event_of_another_tenant_counts_once(consumer):
    assert min(consumer.cuts.values()) == CUTS, consumer.cuts
    assert len(consumer.logged("resolved an in-doubt commit", "outcome=committed")) == CUTS
    assert len(consumer.logged("resolved an in-doubt commit", 'outcome="not committed"')) == CUTS
    assert consumer.metric(FOREIGN) == FRAMES + 3


def test_so_does_each_record_and_row(consumer):
    """Also of commits whose answer was lost."""
    refused = FRAMES // 60
    letters = consumer.world.letters()
    assert len(letters) == consumer.metric('projectionist_dead_letters_total{reason="postgres"}')
    assert len(letters) >= refused
    assert consumer.metric("projectionist_records_total") == consumer.published
    assert consumer.metric('projectionist_rows_total{table="video_search_index",kind="insert"}') == (
        consumer.world.count("captions.video_search_index")) == FRAMES - refused


def test_it_is_a_metric_like_others(consumer):
    text = consumer.get("/metrics")[1]
    group = consumer.world.group(SEARCH)
    assert (f'{FOREIGN}{{system="captions",consumer="{SEARCH}",group="{group}"}} {FRAMES + 3}\n'
            in text)
    result = subprocess.run([consumers.promtool(), "check", "metrics"], input=text, text=True,
                            capture_output=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_it_begins_at_nothing(consumer):
    """A metric that comes with its first event would not show that event as an increase."""
    again = consumer.world.start(SEARCH)
    again.wait_until_ready()
    assert again.metric(FOREIGN) == 0
    again.stop()
