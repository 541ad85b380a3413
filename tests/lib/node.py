# SPDX-License-Identifier: Apache-2.0
"""TypeScript that is part of the project, compiled for Node."""

import hashlib
import shutil
import subprocess

from lib.consumers import REPOSITORY


def compiled(source):
    """A folder with what is in `source` and its dist/. What it needs is installed once a version."""
    npm = shutil.which("npm")
    assert npm, "npm is missing; deploy/local/install test installs it"
    lock = (source / "package-lock.json").read_bytes()
    folder = REPOSITORY / ".local/node" / f"{source.name}-{hashlib.sha256(lock).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.suffix in (".ts", ".json"):
            shutil.copy(path, folder)
    if not (folder / "node_modules/.package-lock.json").exists():
        done = subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, check=False,
                              timeout=600, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
    done = subprocess.run(["node_modules/.bin/tsc"], cwd=folder, check=False, timeout=300, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stdout
    return folder
