# SPDX-License-Identifier: Apache-2.0
"""Search over the declarations of human rights, a video each and a frame for each of its texts: how
many frames are found. The figures are those of Postgres alone, to which the texts were given
without any of our programs: 'simple', UTF8, C.UTF-8."""

import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "recordings"))

import udhr  # noqa: E402
from lib import captions_run, rebuilding, scenario_run  # noqa: E402
from lib.captions_events import frame, video  # noqa: E402
from lib.world import open_world  # noqa: E402

CONSUMER = "search-index"
DEADLINE = 300
TENANT = str(uuid.uuid5(uuid.NAMESPACE_URL, "figures"))
NOON = 1_767_614_400_000_000  # 2026-01-05
ALL = "all that npm has"


@dataclass(frozen=True)
class Figures:
    """rows, characters and the longest text; frames that are found by a word, by a letter in the
    vector and in the text, and those whose vector is empty."""

    videos: int
    rows: int
    characters: int
    longest: int
    dignity: int
    droit: int
    by_vector: int
    by_letter: int
    empty: int


# The second takes npm, and half a minute.
FIGURES = {
    "five": Figures(5, 454, 36_638, 614, 5, 36, 0, 99, 0),
    ALL: Figures(532, 47_543, 5_497_884, 2_112, 12, 36, 0, 880, 22),
}


def id_of(code):
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"figures {code}"))


def events(declarations):
    """What is told of them; every text twice, as a flow does that is tried again."""
    for code, texts in declarations.items():
        yield video("VideoRegistered", TENANT, id_of(code), NOON)
        for index, text in enumerate(texts):
            told = frame("FrameTextIndexed", TENANT, id_of(code), index, NOON, ocr_text=text,
                         index_run=id_of(code), run_started_at=NOON)
            yield told
            if index % 20 == 0:
                yield told


@pytest.fixture(scope="module", params=["five", pytest.param(ALL, marks=pytest.mark.slow)])
def indexed(request, tmp_path_factory, captions_template):
    """A world with the declarations in its index; what must be found there."""
    declarations = udhr.declarations() if request.param == ALL else udhr.few()
    folder = tmp_path_factory.mktemp("figures")
    with open_world(folder, 6, captions_template, captions_run.World) as world:
        world.start(CONSUMER)
        world.publish(events(declarations))
        scenario_run.wait_for_ends(world, [CONSUMER], DEADLINE)
        yield world, FIGURES[request.param]


def test_every_text_is_a_row_once(indexed):
    world, figures = indexed
    assert world.database.execute(
        "SELECT count(DISTINCT video_id) AS videos, count(*) AS rows, sum(length(ocr_text))::int "
        "AS characters, max(length(ocr_text)) AS longest FROM captions.video_search_index"
    ).fetchone() == {"videos": figures.videos, "rows": figures.rows,
                     "characters": figures.characters, "longest": figures.longest}


def test_words_are_found(indexed):
    world, figures = indexed
    for word, count in (("dignity", figures.dignity), ("droit", figures.droit)):
        assert world.value("SELECT count(*) FROM captions.video_search_index "
                           "WHERE search_vector @@ to_tsquery('simple', %s)", [word]) == count
        assert world.value("SELECT count(*) FROM captions.search_videos(%s, 1000)",
                           [word]) == count
    assert world.value("SELECT count(*) FROM captions.search_videos('dignity', 1000) "
                       "WHERE video_id = %s", [id_of("eng")]) == 5


def test_letters_are_found_where_no_blanks_part_the_words(indexed):
    world, figures = indexed
    assert world.value("SELECT count(*) FROM captions.video_search_index "
                       "WHERE search_vector @@ to_tsquery('simple', '人')") == figures.by_vector
    assert world.value("SELECT count(*) FROM captions.video_search_index "
                       "WHERE ocr_text ILIKE '%人%'") == figures.by_letter
    assert world.value("SELECT count(*) FROM captions.search_videos('人', 1000)") == (
        figures.by_letter)


def test_a_text_without_a_word_is_a_row_with_an_empty_vector(indexed):
    world, figures = indexed
    assert world.value("SELECT count(*) FROM captions.video_search_index "
                       "WHERE search_vector = ''") == figures.empty


def test_verify_finds_nothing(indexed):
    world, _ = indexed
    assert rebuilding.differing_rows(world, [CONSUMER], deadline=DEADLINE) == {CONSUMER: 0}
