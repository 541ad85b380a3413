# SPDX-License-Identifier: Apache-2.0
"""A stream with everything that is hard for a projection; the same one for the same seed."""

import random

from lib import events

DUPLICATES = 0.05  # of the events, delivered twice
LATE = 0.05  # … and delivered much too late
ENDINGS = ("SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "FAILED", "CANCELLED")


def of_commands(count, seed=1):
    """About nine events for each of `count` commands, in order of delivery: some twice,
    some late, some of commands that were never submitted, some that claim another's key."""
    chance = random.Random(seed)
    timed = []
    for number in range(count):
        for event in _life(number, seed, chance):
            at = event["emitted_at"]
            if chance.random() < LATE:
                at += chance.randrange(events.MINUTE)
            timed.append((at, len(timed), event))
            if chance.random() < DUPLICATES:
                timed.append((at + chance.randrange(events.MINUTE), len(timed), event))
    timed.sort(key=lambda item: item[:2])
    return [event for _, _, event in timed]


def _life(number, seed, chance):
    command = events.id_of("faults", seed, number)
    at = events.START + number * 20 * events.MILLISECOND
    counter = number * 10
    submitted = chance.random() < 0.95
    if submitted:
        # Every fiftieth claims the key of the one before.
        key = f"key-{seed}-{number - (number % 50 == 49)}"
        yield events.command_submitted(command, at, idempotency_key=key,
                                       payload={"prompt": f"A storm, take {number}"})
    known = submitted or chance.random() < 0.5
    steps = ["QUEUED", "RUNNING", chance.choice(ENDINGS)]
    if chance.random() < 0.05:
        steps.insert(1, "CANCELLED")  # and executed anyway
    for step, status in enumerate(steps):
        event = events.status_changed(
            command, status, at + (step + 1) * events.SECOND, counter=counter + step,
            result={"video_path": f"/videos/{number}.mp4"} if status == "SUCCEEDED" else None,
            error="the selector was not found" if status == "FAILED" else None)
        if known:
            yield event
        yield events.frame_of(event)
    yield events.telemetry("sora.prompt.submitted", at + events.SECOND, command_id=command,
                           counter=counter + 8, payload={"prompt": f"A storm, take {number}"})
    if number % 10 == 0:
        yield events.telemetry("rate.limited", at, counter=counter + 9, severity="warn",
                               payload={"number": number}, event_id=events.id_of(command, "free"))


def expected(stream):
    """What every undisturbed reader has at the end: {table: number of rows}."""
    recorded = {event["event_id"]: event["command_id"] for event in stream
                if events.topic_of(event) == events.TELEMETRY}
    commands = {event["command_id"] for event in stream
                if events.topic_of(event) == events.COMMANDS}
    commands.update(command for command in recorded.values() if command)
    return {"safari_commands": len(commands), "safari_events": len(recorded)}
