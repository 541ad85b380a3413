# SPDX-License-Identifier: Apache-2.0
"""What all programs do alike with their settings: what is wrong in them is said in one sentence at
the start, and what is secret in them is never shown."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from lib.consumers import program

PROGRAMS = ("command-projector", "event-recorder", "video-catalog", "watermark-metrics",
            "session-tracker", "control-gateway", "telemetry-bridge", "stream-replay")
COMMANDS = ("status", "migrate", "dead-letters list", "dead-letters show", "dead-letters replay",
            "dead-letters discard", "verify", "rebuild", "offsets show", "offsets set",
            "topics create", "schemas register")
ALL = [(name,) for name in PROGRAMS] + [("projectionist", *command.split()) for command in COMMANDS]
NAMES = Path(__file__).resolve().parents[2] / "src/base/config_names.c"
NOWHERE = "127.0.0.1:1"  # nobody listens there


def run(words, *arguments, deadline=30, stdout=subprocess.PIPE, **variables):
    """Runs a program with nothing of our environment but these variables."""
    values = {name: value for name, value in os.environ.items()
              if not name.startswith(("PG", "PROJECTIONIST_"))}
    values.setdefault("ASAN_OPTIONS", "abort_on_error=1:detect_leaks=1")
    values.update({f"PROJECTIONIST_{name}": str(value) for name, value in variables.items()})
    result = subprocess.run([program(words[0]), *words[1:], *arguments], env=values, text=True,
                            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                            timeout=deadline, check=False, cwd="/")
    assert "Sanitizer" not in result.stderr, result.stderr
    return result


def refused(words, sentence, *arguments, **variables):
    """It ends with 2 and that sentence, a regular expression."""
    result = run(words, *arguments, **variables)
    assert result.returncode == 2, (words, result.returncode, result.stderr)
    assert re.search(sentence, result.stderr), (words, result.stderr)
    assert len(result.stderr.splitlines()) <= 2, result.stderr
    return result


def options_of(words):
    """The variables that its --help names."""
    text = run(words, "--help").stdout
    found = set(re.findall(r"Variable: PROJECTIONIST_(\w+)", text.replace("Variable:\n       ",
                                                                          "Variable:")))
    found |= set(re.findall(r"^ *PROJECTIONIST_(\w+)=", text, re.MULTILINE))
    return {name for name in found if not name.endswith("_KEY") and "KAFKA" not in name}


def test_the_variables_of_all_programs_are_known_to_each():
    known = {name.upper().replace("-", "_").replace(".", "_")
             for name in re.findall(r'^    "([a-z.-]+)",$', NAMES.read_text(), re.MULTILINE)}
    shown = set().union(*(options_of(words) for words in ALL))
    assert shown - known == set()


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_mistyped_variable_is_an_error_of_every_program(words):
    refused(words, r"PROJECTIONIST_BATCH_RECRODS: unknown variable; did you mean "
                   r"PROJECTIONIST_BATCH_RECORDS\?", BATCH_RECRODS="3")


def test_the_help_on_a_full_disk_or_a_closed_output_is_a_failure():
    for words in ALL + [("projectionist",), ("projectionist", "completion", "bash")]:
        asked = () if words[-1] == "bash" else ("--help",)
        for flag in asked + ("--version",) if asked else (None,):
            arguments = [flag] if flag else []
            with open("/dev/full", "w") as full:
                result = run(words, *arguments, stdout=full)
            assert result.returncode == 1, (words, flag, result)
            assert "cannot write the output" in result.stderr
    for words in ALL[-1:] + [("telemetry-bridge",), ("stream-replay",)]:
        closed = subprocess.run(["sh", "-c", f"exec '{program(words[0])}' {' '.join(words[1:])} "
                                             "--help >&-"],
                                stderr=subprocess.PIPE, text=True, check=False)
        assert closed.returncode == 1
        assert "cannot write the output" in closed.stderr
