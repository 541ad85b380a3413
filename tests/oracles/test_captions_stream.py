# SPDX-License-Identifier: Apache-2.0
"""The streams of captions hold what they promise, and the oracle does not depend on the order that
it is to judge by."""

import random

import pytest

from lib import avro, captions_events, captions_facts, captions_oracle, captions_stream

SEEDS = range(1, 11)


@pytest.fixture(scope="module", name="streams")
def streams_of_all_seeds():
    return [captions_stream.Stream(seed) for seed in SEEDS]


@pytest.fixture(scope="module", name="tables")
def tables_of_all_seeds(streams):
    return captions_oracle.expected([event for one in streams for event in one.events],
                                    {key: ms for one in streams
                                     for key, ms in one.timestamps.items()})


def test_a_seed_gives_the_same_events_and_another_seed_others(streams):
    once, other = streams[0], streams[1]
    assert captions_stream.Stream(1).events == once.events
    assert not ({event["event_id"] for event in once.events}
                & {event["event_id"] for event in other.events})


def test_an_event_id_names_one_event(streams):
    for one in streams:
        seen = {}
        for event in one.events:
            assert seen.setdefault(event["event_id"], event) == event


def test_events_can_be_encoded(streams):
    for event in streams[0].events:
        schema = avro.schema_text(captions_events.topic_of(event))
        decoded = avro.decode(avro.encode(event, 1, schema), schema)[1]
        assert decoded == event


def test_everything_happens(streams, tables):
    every = [event for one in streams for event in one.events]
    kinds = {captions_facts.kind_of(event) for event in every}
    assert kinds == {*captions_events.BODIES, None}
    assert {row["status"] for row in tables["videos"]} == {
        "uploading", "processing", "active", "failed", "archived", "soft_deleted", "purged"}
    assert {row["status"] for row in tables["cropped_frames_versions"]} == {
        "processing", "active", "archived", "failed"}
    assert {row["kind"] for row in tables["video_objects"]} == {
        "video", "video.db", "fullOCR.db", "layout.db", "captions.db", "chunk", "other"}
    assert {row["topic"] for row in tables["tenant_conflicts"]} == {
        captions_events.VIDEOS, captions_events.FLOWS, captions_events.OBJECTS,
        captions_events.CROPS, captions_events.LOCKS}
    assert {row["placeholder"] for row in tables["tenants"]} == {True, False}
    assert len(tables["crop_version_conflicts"]) > 5
    videos = tables["videos"]
    assert any(row["locked_at"] for row in videos)
    assert any(row["status"] == "active" and row["failure"] for row in videos)
    assert any(row["failure"] == "cancelled" for row in videos)
    assert any(row["removed_at"] for row in tables["video_objects"])
    assert any(row["size_bytes"] is None for row in tables["video_objects"])
    refused = [event for event in every if captions_facts.refused(event)]
    assert {captions_events.topic_of(event) for event in refused} == set(captions_events.TOPICS)


def test_what_is_meant_to_be_refused_is_refused(streams):
    for one in streams:
        poison = {one.id("poison", event["event_id"]) for event in one.events}
        assert poison & {event["event_id"] for event in one.events} == {
            event["event_id"] for event in one.events if captions_facts.refused(event)}


def test_deliveries_are_the_same_set(streams):
    one = streams[0]
    delivered = one.deliveries(5)
    assert delivered != one.events and len(delivered) > len(one.events)
    assert captions_oracle.expected(delivered, one.timestamps) == captions_oracle.expected(
        one.events, one.timestamps)


@pytest.mark.parametrize("order", range(3))
def test_the_oracle_does_not_depend_on_the_order(streams, tables, order):
    every = [event for one in streams for event in one.events]
    again = random.Random(order).choices(every, k=len(every) // 3)
    timestamps = {key: ms for one in streams for key, ms in one.timestamps.items()}
    told = every + again
    random.Random(order).shuffle(told)
    assert captions_oracle.expected(told, timestamps) == tables
