# SPDX-License-Identifier: Apache-2.0
"""How the tests of the command run it."""

import os
import subprocess

from lib.consumers import SERVERS, SYSTEMS, address, program

ADMIN_WAIT = 30  # seconds that a server may take to do what a test asks


def start(*arguments, dsn=None, variables=None, without=(), **options):
    """Starts the command, for safari alone, in the whole environment but for what is given here."""
    values = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    servers = {name: address(name) for name in SERVERS} | {"SYSTEMS": SYSTEMS}
    if dsn:
        servers["POSTGRES_DSN"] = dsn
    servers.update(variables or {})
    values.update({f"PROJECTIONIST_{name}": value for name, value in servers.items()})
    for name in without:
        del values[f"PROJECTIONIST_{name}"]
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.Popen([program("projectionist"), *arguments], env=values, text=True,
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd="/", **options)


def finish(process, timeout=60):
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def cli(*arguments, **options):
    return finish(start(*arguments, **options))
