# SPDX-License-Identifier: Apache-2.0
"""Exactly once, while replicas are killed without a word.

PROJECTIONIST_SOAK_SECONDS and PROJECTIONIST_SOAK_SEED make the run longer and another one; see
tests/faults/soak.
"""

import os
import random
import threading

import stream as streams
from world import PROGRAMS

SECONDS = int(os.environ.get("PROJECTIONIST_SOAK_SECONDS", "15"))
SEED = int(os.environ.get("PROJECTIONIST_SOAK_SEED", "1"))
COMMANDS_A_SECOND = 120  # nine events each
REPLICAS = 3


def test_tables_are_the_same_however_often_replicas_are_killed(world):
    chance = random.Random(SEED)
    stream = streams.of_commands(SECONDS * COMMANDS_A_SECOND, SEED)
    pause = threading.Event()  # never set: only the time between two kills
    # Small batches: more moments at which a kill can come in between.
    flags = {replica: ("--batch-records", "200", "--workers", "2" if replica == 0 else "1")
             for replica in range(REPLICAS)}
    fleet = {(program, replica): world.start(program, *flags[replica])
             for program in PROGRAMS for replica in range(REPLICAS)}
    world.until_working(*fleet.values())
    feed = world.feed(stream, len(stream) / SECONDS)
    kills = 0
    while feed.is_alive():
        pause.wait(chance.uniform(0.5, 1.5))
        victim = chance.choice(sorted(fleet))
        fleet[victim].check()
        fleet[victim].kill()
        fleet[victim] = world.start(victim[0], *flags[victim[1]])
        kills += 1
    feed.finish()
    print(f"{len(stream)} events, {kills} kills, seed {SEED}")
    assert kills >= SECONDS / 2
    world.until_caught_up()
    world.assert_as_if_undisturbed(stream)
