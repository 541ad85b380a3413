# SPDX-License-Identifier: Apache-2.0
"""The job log of the Gaia cluster: where it is, and what its job numbers and status codes mean.

UniLu Gaia 2014, by Joseph Emeras (University of Luxembourg, SnT), in the Standard Workload Format.
It is an example of evalys (BSD licence), taken from evalys's source distribution on PyPI.
"""

import functools
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDING = REPOSITORY / ".local" / "recordings" / "gaia"
SDIST = REPOSITORY / ".local" / "sdist" / "evalys-4.0.7.tar.gz"
SDIST_SHA256 = "3f1343e40276ca68db58cf5984017a15f2f56758dca180fe0f78aff200be8518"
LOG_MEMBER = "evalys-4.0.7/examples/UniLu-Gaia-2014-2.swf"
LOG_SHA256 = "56fce4136ef8eec4e8403fb07e194e96bd5d6a519fef87ca7b6111d169e62646"

JOBS = 51987  # in the whole log

# Column 11 of the log.
STATUS = {"1": "SUCCEEDED", "0": "FAILED", "2": "CANCELLED"}

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://hpc.uni.lu/systems/gaia/")


class LogError(Exception):
    """The log cannot be had; the text says why and what to do."""


def command_id(job):
    """The command that stands for a job, by the job's number."""
    return str(uuid.uuid5(NAMESPACE, f"job {job}"))


def session_id(job):
    """The session that was opened for a job, by the job's number."""
    return str(uuid.uuid5(NAMESPACE, f"session of job {job}"))


def _download():
    """The source distribution through pip, which checks its hash before it looks inside."""
    SDIST.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SDIST.parent) as folder:
        wanted = Path(folder) / "wanted"
        wanted.write_text(f"evalys==4.0.7 --hash=sha256:{SDIST_SHA256}\n", encoding="utf-8")
        pip = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
             "--no-deps", "--no-binary", "evalys", "--dest", folder, "--requirement", wanted],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        downloaded = Path(folder) / SDIST.name
        if pip.returncode != 0 or not downloaded.exists():
            lines = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")]
            reason = lines[-1] if lines else pip.stderr.strip() or "it gave no file"
            raise LogError("pip cannot download evalys 4.0.7; check the network and pip's "
                           f"settings: {reason}")
        os.replace(downloaded, SDIST)


@functools.cache
def lines():
    """The log, line by line; downloads it first where it is not on this machine yet."""
    if not SDIST.exists():
        _download()
    try:
        with tarfile.open(SDIST) as archive:
            data = archive.extractfile(LOG_MEMBER).read()
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise LogError(f"{SDIST} cannot be read ({error}); delete it, so that it is downloaded "
                       "again") from error
    if hashlib.sha256(data).hexdigest() != LOG_SHA256:
        raise LogError(f"{LOG_MEMBER} in {SDIST} is not the log we know (its SHA-256 differs); "
                       "delete the archive, so that it is downloaded again")
    return data.decode("utf-8").splitlines()
