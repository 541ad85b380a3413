# SPDX-License-Identifier: Apache-2.0
"""Every command of deploy/RUNBOOK.md that is ours, and every query, is tried as it stands there."""

import re
import shlex

import pytest

from lib import consumers, events, kafka
from lib.consumers import REPOSITORY
from lib.events import START, TELEMETRY
from lib.world import RECORDER

RUNBOOK = (REPOSITORY / "deploy" / "RUNBOOK.md").read_text()
# Tried by test_top.py, and by test_policies.py: it makes roles for the whole server.
TRIED_ELSEWHERE = {"projectionist top", "projectionist roles"}
STILL_REFUSED = "projectionist dead-letters replay"  # what is garbage stays so, which it says by 1
FENCE = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def said():
    """The commands of ours, in their order, each once."""
    texts = [line.partition(" #")[0] for block in FENCE.findall(RUNBOOK)
             for line in block.splitlines()]
    texts += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", RUNBOOK))]
    ours = [re.sub(r"^kubectl exec (-it )?POD -- ", "", text.strip()) for text in texts]
    return list(dict.fromkeys(text for text in ours if re.match(r"(projectionist [a-z]|psql )", text)
                              and text not in TRIED_ELSEWHERE))


@pytest.mark.partitions(12)
def test_each_command_is_tried(world):
    """Two dead letters are there, and a consumer that has read; somebody says yes where asked."""
    world.use_default_groups()
    world.publish([events.telemetry("action.attempted", START, payload={}),
                   *(kafka.Record(TELEMETRY, b"key", b"garbage") for _ in range(2))])
    world.catch_up(RECORDER)
    letters = [letter["id"] for letter in world.letters()]
    assert len(letters) == 2
    commands = said()
    assert len(commands) >= 12, commands
    for command in commands:
        if command.startswith("psql "):
            world.database.execute(shlex.split(command)[2])
            continue
        words = shlex.split(command)
        if "ID" in words and words[1] == "dead-letters":
            words[words.index("ID")] = str(letters[0] if "discard" not in words else letters[1])
        if "ID" in words:
            words[words.index("ID")] = str(world.schema_ids[TELEMETRY])
        words = [{"CONSUMER": RECORDER, "TOPIC": TELEMETRY}.get(word, word) for word in words]
        done = consumers.run_at_terminal("y\n", *words, variables={"POSTGRES_DSN": world.dsn})
        expected = 1 if command.startswith(STILL_REFUSED) else 0
        assert done.returncode == expected, f"{command}: {done.stdout}{done.stderr}"


def test_every_flag_that_is_named_exists():
    """Those between backticks, whichever program's."""
    texts = "".join(consumers.run(*words, "--help").stdout for words in (
        [RECORDER], ["control-gateway"], ["event-ingest"], ["telemetry-bridge"], ["job-bridge"],
        ["outbox-relay"], ["stream-record"], ["stream-replay"], ["drama-import"],
        ["projectionist", "verify"],
        ["projectionist", "dead-letters", "replay"], ["projectionist", "offsets", "set"]))
    flags = set(re.findall(r"`(--[a-z-]+)`", RUNBOOK))
    assert {"--accept-gap", "--bridge-id"} <= flags, flags
    for flag in flags:
        assert re.search(rf"{flag}\b", texts), flag
