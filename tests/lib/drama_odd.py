# SPDX-License-Identifier: Apache-2.0
"""What no stream of lib.drama_stream makes: sequences that somebody thought of, each of a drama of its
own, as the events of the drama topics. odd_events() gives {what it is: events}."""

from lib.drama_events import asset, character, drama, episode, job, scene, user
from lib.events import id_of

LEAST, MOST = -2**63, 2**63 - 1
AT = 1_795_000_000_000_000
LONG = "\U0001f600" * 200


def save(drama_id, life, revision, **given):
    return drama("DramaSaved", drama_id, life, revision, at=AT, **given)


def media(drama_id, life, revision, level, *path, **given):
    return drama("MediaSet", drama_id, life, revision, at=AT, level=level, path=list(path), **given)


def ended(drama_id, life, revision):
    return drama("DramaDeleted", drama_id, life, revision, at=AT)


def made(drama_id, job_id, revision, parent=None, **given):
    return job("JobCreated", drama_id, job_id, revision, parent_job_id=parent,
               at=AT + revision % 1000, **given)


def said(drama_id, job_id, revision, word, **given):
    return job("JobStatusChanged", drama_id, job_id, revision, status=word, at=AT + revision % 1000,
               **given)


def odd_events():
    return {**_of_dramas(), **_of_jobs(), **_of_users()}


def _of_dramas():
    siblings = [episode(name, scenes=[scene("s"), scene("s"), scene("s#2"), scene("")])
                for name in ("a", "a", "a#2", "", "#4", "")]
    return {
        "lives and revisions at both ends": [
            save("ends", LEAST, LEAST, title="first", characters=[character("c")]),
            save("ends", LEAST, MOST, title="last"), save("ends-2", MOST, MOST, title="one"),
            media("ends-2", MOST, LEAST, "drama", value="early"),
            save("ends-3", 0, 0, characters=[]), ended("ends-3", LEAST, MOST)],
        "a life within a life that ended": [
            save("within", 5, 5, title="old"), ended("within", 9, 9), save("within", 7, 7, title="in"),
            save("within", 9, 8, title="of it"), save("within-2", 12, 12, title="new"),
            ended("within-2", 11, 99)],
        "siblings that want each other's names": [
            save("siblings", 1, 1, episodes=siblings, assets=[asset("x"), asset("x"), asset("x#2")]),
            media("siblings", 1, 2, "scene", "a#3", "s#2", slot="image_url", value="u"),
            media("siblings", 1, 2, "scene", "a#2", "s#3", slot="video_url", value="v"),
            media("siblings", 1, 2, "drama_asset", "x#3", value="w"),
            media("siblings", 1, 2, "episode", "#4#2", value="y")],
        "sets that come and go": [
            save("sets", 1, 3, characters=None, episodes=[], assets=[asset("a", url="early")]),
            save("sets", 1, 2, characters=[character("c", url="u", premise_url="p")],
                 episodes=[episode("e", scenes=[scene("s")])]),
            save("sets", 1, 4, assets=[asset("a")]), media("sets", 1, 1, "character", "c"),
            media("sets", 1, 5, "character", "c", slot="premise_url")],
        "two saves of one revision": [
            save("one", 1, 1), *(save("one", 1, 9, base_revision=1, title=title, user_id=title,
                                      characters=[character(title)], event_id=id_of("one", title))
                                 for title in ("x", "y", "z"))],
        "an import under the other's feet": [
            save("import", 0, 50, source="import", content_hash="h", characters=[character("old")]),
            save("import", 10, 10, characters=[character("new")]), ended("import", 10, 20),
            save("import-2", 0, 50, source="import"), ended("import-2", 0, 1)],
        "everything null and long": [
            save("null", 1, 1, characters=[character("")], episodes=[episode("", scenes=[scene("")])]),
            save(LONG, 1, 1, user_id=LONG, title="x" * 100_000, metadata={"a": [None, {"b": "\u2028"}]},
                 characters=[character(LONG, name="")],
                 episodes=[episode(LONG, scenes=[scene(LONG, assets=[asset(LONG, LONG)])])]),
            media(LONG, 1, 2, "scene_asset", LONG, LONG, LONG, value=""),
            drama("DramaStatusChanged", LONG, 1, 3, at=AT, status="failed", error=""),
            save("/:#?%", 1, 1, assets=[asset("/"), asset(":")])],
        "owners": [
            save("owners", 1, 5), save("owners", 1, 9, user_id="late"), media(
                "owners", 1, 3, "drama", value="u"),
            drama("DramaStatusChanged", "owners", 1, 2, at=AT, status="running", user_id="first"),
            drama("DramaStatusChanged", "owners", 0, 1, at=AT, status="failed", user_id="nobody")],
    }


def _of_jobs():
    return {
        "deletions and revisions that meet": [
            save("meet", 5, 5), made("meet", "at", 20), made("meet", "before", 19, "at"),
            made("meet", "after", 21, "before"), ended("meet", 5, 20), ended("meet", 4, 30),
            save("meet", 25, 25), ended("meet", 5, 24), said("meet", "before", 40, "completed")],
        "attempts": [
            made("attempts", "a", 1, attempt=-5), said("attempts", "a", 9, "failed", attempt=-5),
            made("attempts", "a", 2, attempt=2**31 - 1, user_id="u"),
            said("attempts", "a", 3, "running", attempt=2**31 - 1),
            said("attempts", "b", 3, "running", attempt=0, user_id="v"),
            made("attempts", "c", LEAST, "b", attempt=-2**31), said("attempts", "c", MOST, "failed",
                                                                    attempt=-2**31)],
        "totals": [
            made("totals", "less", 1, total_jobs=-7), made("totals", "none", 1, total_jobs=0),
            made("totals", "most", 1, total_jobs=2**31 - 1),
            *(made("totals", f"{top}-{number}", 2, top) for top in ("less", "none", "most")
              for number in range(3)),
            *(said("totals", f"{top}-{number}", 3, "completed") for top in ("less", "none", "most")
              for number in range(3))],
        "a ring with tails that a deletion breaks": [
            made("ring", "a", 30, "b"), made("ring", "b", 30, "c"), made("ring", "c", 10, "a"),
            made("ring", "tail", 31, "a"), made("ring", "tip", 32, "tail"),
            said("ring", "tip", 40, "failed"), said("ring", "c", 41, "completed"),
            ended("ring", 1, 20), made("ring-2", "x", 1, "y"), made("ring-2", "y", 1, "z"),
            made("ring-2", "z", 1, "x"), made("ring-2", "t", 1, "z"), said("ring-2", "t", 2, "running"),
            made("ring-2", "self", 3, "self"), made("ring-2", "self", 2, "t")],
        "a chain, and who hangs on it": [
            *(made("chain", f"c{number:03}", 1000 - number, f"c{number - 1:03}" if number else None)
              for number in range(120)),
            *(made("chain", f"leaf{number}", 5, f"c{number:03}") for number in range(0, 120, 7)),
            said("chain", "c119", 2000, "completed"), said("chain", "leaf7", 2001, "failed")],
        "a parent by hearsay": [
            said("hearsay", "p", 1, "completed"), said("hearsay", "p", 2, "running", user_id="u"),
            made("hearsay", "c", 3, "p"), said("hearsay", "c", 4, "failed", error="e", r2_url="u"),
            said("hearsay", "q", 9, "failed", error="alone"), made("hearsay", "d", 8, "q"),
            made("hearsay", "d", 9, "r"), ended("hearsay", 0, 8)],
        "jobs that move between parents": [
            *(made("move", f"j{number}", 1 + step, f"p{(number + step) % 4}")
              for number in range(40) for step in range(3)),
            *(said("move", f"j{number}", 9, ("running", "completed", "failed")[number % 3])
              for number in range(40)), made("move", "p1", 4, "p0"), made("move", "p2", 4, "p1"),
            made("move", "p0", 3, "p2"), made("move", "p0", 5)],
    }


def _of_users():
    return {
        "a ledger of one id": [
            user("UserRegistered", "one", 5, at=AT, tokens=-3, subscription_tier=""),
            user("UserRegistered", "one", 5, at=AT, tokens=8, event_id=id_of("one", 2)),
            *(user("TokensChanged", who, revision, at=AT, delta=delta, entry_id=id_of("entry"))
              for who, revision, delta in (("one", 9, 1), ("two", 8, 2), ("one", 8, 4))),
            user("UserRegistered", "two", 1, at=AT), user("UserDeleted", "two", 0, at=AT),
            user("TokensChanged", "two", 7, at=AT, delta=0, reason="")],
        "who changes before there is somebody": [
            user("UserChanged", "who", 1, at=AT, fields=["email", "email", "x"], email=None),
            user("UserChanged", "who", 9, at=AT, fields=[], display_name="no"),
            user("UserChanged", "who", 3, at=AT, fields=["subscription_tier"]),
            user("UserRegistered", "who", 5, at=AT, email="e", display_name="d",
                 subscription_tier="pro")],
    }
