# SPDX-License-Identifier: Apache-2.0
"""`projectionist new`, as its README says: from an empty folder to rows that are proved, with nothing
but what is installed; and what it refuses."""

import json
import os
import re
import shlex
import subprocess
import uuid
from pathlib import Path

import psycopg
import pytest
from lib import consumers, kafka
from lib.consumers import REPOSITORY
from lib.world import new_database

PROJECTION = "item-prices"
CHECK_FORMAT = (str(REPOSITORY / ".local/venv/bin/clang-format"),
                f"--style=file:{REPOSITORY}/.clang-format", "--dry-run", "--Werror")


def run(*arguments, cwd=None, variables=None, stdin=None, deadline=300):
    return subprocess.run([str(argument) for argument in arguments], cwd=cwd, text=True,
                          env=consumers.environment(variables), input=stdin,
                          capture_output=True, timeout=deadline, check=False)


def good(*arguments, **options):
    result = run(*arguments, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


class Shop:
    """A system that was made, and its program."""

    def __init__(self, installed, folder):
        self.name = f"shop-{uuid.uuid4().hex[:8]}"
        self.folder = folder / "shop"
        self.topic = f"{self.name}.events"
        self.program = f"projectionist-{self.name}"
        self.made = good(installed / "bin/projectionist", "new", self.name, PROJECTION,
                         "--directory", self.folder)
        self.dsn = None

    def build(self, installed):
        good("cmake", "-S", self.folder, "-B", self.folder / "build",
             f"-DCMAKE_PREFIX_PATH={installed}", "-DCMAKE_C_FLAGS=-Werror -Wconversion -Wshadow")
        good("cmake", "--build", self.folder / "build")

    def run(self, *arguments, **options):
        return run(self.folder / "build/bin" / self.program, *arguments, cwd=self.folder,
                   variables={"POSTGRES_DSN": self.dsn}, **options)

    def good(self, *arguments, **options):
        result = self.run(*arguments, **options)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def rows(self):
        with psycopg.connect(self.dsn) as database:
            table = f"{self.name}.{PROJECTION}".replace("-", "_")
            return dict(database.execute(f"SELECT item, amount FROM {table}").fetchall())


@pytest.fixture(scope="module")
def shop(installed, tmp_path_factory):
    made = Shop(installed, tmp_path_factory.mktemp("elsewhere"))
    made.build(installed)
    with new_database(migrated=False) as dsn:
        made.dsn = dsn
        yield made
    kafka.delete_topics(made.topic)


def commands_of_readme(shop):
    """What the README says to run, in its order."""
    text = (shop.folder / "README.md").read_text()
    return re.findall(rf"^{shop.program} (.*?)(?:\s+#.*)?$", text, re.M)


def test_what_is_made_is_formatted_and_tested(shop):
    sources = sorted(shop.folder.glob("*.[ch]"))
    assert len(sources) == 5
    for source in sources:
        good(*CHECK_FORMAT, source)
    good("ctest", "--test-dir", shop.folder / "build", "--output-on-failure")
    for line in shop.made.splitlines()[:-1]:
        assert Path(line).is_file(), line
    assert (shop.folder / ".gitignore").read_text() == "/build/\n"


@pytest.mark.parametrize("system, projection", [("a", "b"), ("s-" * 15 + "s", "p" * 32)])
def test_names_of_any_length_are_formatted(tmp_path, system, projection):
    good(consumers.program("projectionist"), "new", system, projection, cwd=tmp_path)
    for source in (tmp_path / system).glob("*.[ch]"):
        good(*CHECK_FORMAT, source)


def test_the_readme_leads_to_rows_that_are_proved(shop):
    commands = commands_of_readme(shop)
    assert [command.split()[0] for command in commands] == [
        "migrate", "topics", "schemas", "publish", "consume", "verify"]
    for command in commands:
        shop.good(*shlex.split(command))
    assert shop.rows() == {"lamp": 7}
    with psycopg.connect(shop.dsn) as database:
        systems = database.execute(
            "SELECT DISTINCT system FROM projectionist.migrations ORDER BY system").fetchall()
    assert systems == [("engine",), (shop.name,)]
    status = json.loads(shop.good("status", "--json"))
    assert [(group["group"], group["lag"]) for group in status["consumers"]] == [(PROJECTION, 0)]


def test_a_wrong_row_is_found_and_made_right(shop):
    table = f"{shop.name}.{PROJECTION}".replace("-", "_")
    with psycopg.connect(shop.dsn, autocommit=True) as database:
        database.execute(f"UPDATE {table} SET amount = 8")
    result = shop.run("verify", PROJECTION)
    assert result.returncode == 1 and "1 rows differ" in result.stdout, result.stdout
    shop.good("rebuild", PROJECTION, "--yes")
    assert shop.rows() == {"lamp": 7}
    shop.good("verify", "all")


def test_a_poison_event_is_a_dead_letter(shop):
    event = {"event_id": str(uuid.uuid4()), "emitted_at": 1, "item": "x" * 201, "amount": 1}
    out = shop.good("publish", shop.topic, stdin=json.dumps(event))
    assert out == f"{shop.topic}: 1 event published\n"
    shop.good("consume", PROJECTION, "--until-caught-up", "--accept-dead-letters")
    assert shop.topic in shop.good("dead-letters", "list")
    shop.good("verify", "all")


def test_an_event_that_does_not_fit_is_named(shop):
    events = [{"event_id": str(uuid.uuid4()), "emitted_at": 2, "item": "sofa", "amount": 5},
              {"event_id": "x", "emitted_at": 2, "item": "sofa", "amount": 5}]
    result = shop.run("publish", shop.topic, "-",
                      stdin="\n\n".join(map(json.dumps, events)))
    assert result.returncode == 1
    assert result.stdout == f"{shop.topic}: 1 event published\n"
    assert result.stderr == (f"{shop.program} publish: standard input:3: the field event_id is "
                             "not a UUID\n")


@pytest.mark.parametrize("line, sentence", [
    ("{", "it is not JSON: "),
    ("[]", "the event is not an object"),
    ('{"amount": 1}', "the field event_id is missing"),
    ("x" * (4 << 20) + "yz", "it is longer than 4 MiB"),
    ("{}\0 and more", "it has a NUL byte, which JSON does not allow"),
    ("\0", "it has a NUL byte, which JSON does not allow"),
])
def test_lines_that_are_refused(shop, line, sentence):
    result = shop.run("publish", shop.topic, stdin=line)
    assert result.returncode == 1
    assert f"standard input:1: {sentence}" in result.stderr


def test_topics_and_files_that_are_refused(shop):
    result = shop.run("publish", "nowhere")
    assert result.returncode == 2
    assert f"no schema of a topic 'nowhere'; it has those of {shop.topic}" in \
        result.stderr
    assert shop.run("publish").returncode == 2
    assert shop.run("publish", shop.topic, "/nowhere").returncode == 2
    result = shop.run("publish", shop.topic, "--topic-prefix", "absent.", stdin="{}")
    assert result.returncode == 1
    assert f"Kafka has no topic absent.{shop.topic}; '{shop.program} topics create' creates it" in \
        result.stderr


def test_messages_name_the_program(shop):
    with new_database(migrated=False) as dsn:
        result = run(shop.folder / "build/bin" / shop.program, "consume", PROJECTION,
                     "--until-caught-up", variables={"POSTGRES_DSN": dsn})
        assert result.returncode == 6
        assert f"`{shop.program} migrate`" in result.stderr, result.stderr
        assert "`projectionist " not in result.stderr and "'projectionist " not in result.stderr


@pytest.mark.parametrize("system, projection, sentence", [
    ("Shop", "items", "'Shop' cannot be the name of a system: it must be of small letters, digits "
     "and dashes, begin with a letter, and have at most 32"),
    ("a" * 33, "items", "have at most 32"),
    ("1shop", "items", "begin with a letter"),
    ("shop", "../items", "'../items' cannot be the name of a projection"),
    ("engine", "items", "'engine' cannot be the name of a system: it is taken"),
    ("shop", "main", "'main' cannot be the name of a projection: it is taken"),
    ("user", "items", "'user' cannot be the name of a system: SQL reserves it"),
    ("shop", "current-date", "'current-date' cannot be the name of a projection: SQL reserves it"),
    ("shop", "shop", "the system and the projection cannot both have the name 'shop'"),
])
def test_names_that_are_refused(tmp_path, system, projection, sentence):
    result = run(consumers.program("projectionist"), "new", system, projection, cwd=tmp_path)
    assert result.returncode == 2
    assert sentence in result.stderr and result.stderr.count("\n") == 1
    assert not os.listdir(tmp_path)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "shop").mkdir()
    result = run(consumers.program("projectionist"), "new", "shop", "items", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == ("projectionist new: shop is there already, and nothing is overwritten; "
                             "name another folder with --directory\n")
    assert not os.listdir(tmp_path / "shop")
    result = run(consumers.program("projectionist"), "new", "shop", "items", "--directory",
                 "absent/shop", cwd=tmp_path)
    assert result.returncode == 1 and "absent/shop cannot be created: No such file" in result.stderr


def test_both_names_are_needed(tmp_path):
    result = run(consumers.program("projectionist"), "new", "shop", cwd=tmp_path)
    assert result.returncode == 2 and "two names are expected" in result.stderr
