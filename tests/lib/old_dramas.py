# SPDX-License-Identifier: Apache-2.0
"""Dramas as they were kept in files, of the shapes of lib.drama_stream."""

import json

from lib.drama_stream import WORDS, shape


def plain(value):
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "extra"}
    return value


def old_file(drama, name="alpha", words=0):
    """drama.json; the characters' texts are of so many times ten words."""
    characters, episodes = shape(name)
    for character in characters:
        character["description"] = " ".join(WORDS * words)
    return json.dumps({"id": drama, "title": f"Drama {drama}", "premise": " ".join(WORDS),
                       "url": None, "metadata": None, "characters": plain(characters),
                       "episodes": plain(episodes), "assets": []}, ensure_ascii=False).encode()
