# SPDX-License-Identifier: Apache-2.0
"""The status pages in a browser: what a person sees first, in light and dark, and on a phone."""

import time
import uuid

import psycopg
import pytest
from browser import Browser

from lib import bridge, events, kafka
from lib import gateway as gateway_lib
from lib.automation_service import AutomationService
from lib.bridge import ScriptedService, frame
from lib.events import TELEMETRY
from lib.gateway import Gateways, command, post
from lib.world import RECORDER, open_world

NOW = 1_795_237_594_968
SIZES = {"wide": 1200, "phone": 390}
# WCAG's contrast of the text of each element that has some with what is behind it.
CONTRASTS = """(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= 0.03928 ? c / 12.92
    : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => { for (; element; element = element.parentElement) {
    const color = parse(getComputedStyle(element).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color; } return [255, 255, 255]; };
  return [...document.querySelectorAll("body *")].filter(element => [...element.childNodes].some(
      node => node.nodeType === 3 && node.textContent.trim())).map(element => {
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    return [element.outerHTML.slice(0, 60), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]; });
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def world(tmp_path_factory, template):
    with open_world(tmp_path_factory.mktemp("pages"), 6, template) as opened:
        yield opened


@pytest.fixture(scope="module")
def consumer(world):
    kafka.set_topic(TELEMETRY, retention_ms="36000000")
    started = world.start(RECORDER)
    started.wait_until_ready()
    return started


def check(browser, program, pictures, name, verdict):
    """Looks at the page in all ways."""
    url = f"http://127.0.0.1:{program.port}/"
    for size, width in SIZES.items():
        for dark in (False, True):
            browser.look(url, width, dark)
            browser.picture(pictures / f"{name}-{size}-{'dark' if dark else 'light'}.png")
            assert browser.complaints == [], "such as of the Content-Security-Policy"
            assert {one for one in browser.requests if not one.endswith("/favicon.ico")} == {url}
            assert browser.value("document.querySelector('h1').textContent").startswith(verdict)
            top = browser.value("document.querySelector('h1').getBoundingClientRect().top")
            assert top < 100, "the verdict is what is seen first"
            assert browser.value("document.documentElement.scrollWidth") <= width
            bright = browser.value("getComputedStyle(document.body).backgroundColor")
            assert (int(bright.split("(")[1].split(",")[0]) < 128) == dark, bright
            pale = [one for one in browser.value(CONTRASTS) if one[1] < 4.5]
            assert pale == [], "too little contrast"


def test_bridge_and_gateway(browser, world, pictures, tmp_path):
    bridge.new_topics()
    gateway_lib.new_topics()
    with AutomationService(speed=1000) as service, ScriptedService() as scripted:
        gateways = Gateways(tmp_path, service)
        gateway = gateways()
        running = bridge.subscribe(bridge.start(world.consumers, scripted.url))
        for number in range(10):
            assert post(gateway, command(str(number))).status == 202
            scripted.send(frame(NOW, number + 1, "status.changed", command_id=str(uuid.uuid4()),
                                payload={"status": "RUNNING"}))
        bridge.wait_for_events(10)
        check(browser, running, pictures, "bridge", "Well")
        check(browser, gateway, pictures, "gateway", "Well")
        gateways.end()


def test_a_consumer_at_work(browser, world, consumer, pictures):
    """For a minute, so that there is something in the pictures."""
    end = time.time() + 60
    number = 0
    while time.time() < end:
        at = int(time.time() * 1e6)
        world.publish([events.telemetry("frame", at, payload={"n": n})
                       for n in range(50 + 100 * (number % 4))])
        number += 1
        time.sleep(1)
    check(browser, consumer, pictures, "consumer-well", "Well")


def test_a_consumer_with_dead_letters(browser, world, consumer, pictures):
    world.publish([kafka.Record(TELEMETRY, b"key", b"<script>alert(1)</script>")] * 3)
    consumer.wait_until(lambda: consumer.metric("projectionist_dead_letters_total") == 3)
    check(browser, consumer, pictures, "consumer-letters", "Well, but 3 refused")


def test_a_consumer_that_is_behind(browser, world, consumer, pictures):
    at = int((time.time() - 5000) * 1e6)
    with world.database.transaction():
        world.database.execute("LOCK TABLE safari_events")
        world.publish([events.telemetry("late", at, payload={}) for _ in range(500)])
        consumer.wait_until(lambda: consumer.metric("projectionist_lag_records") > 0)
        check(browser, consumer, pictures, "consumer-behind", "Behind by 1h 23m")


def test_a_consumer_without_its_database(browser, world, consumer, pictures):
    name = psycopg.conninfo.conninfo_to_dict(world.dsn)["dbname"]
    with psycopg.connect(world.dsn, dbname="postgres", autocommit=True) as server:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s "
                           "AND pid <> pg_backend_pid()", [name])
            consumer.wait_until(lambda: consumer.get("/readyz")[0] == 503)
            check(browser, consumer, pictures, "consumer-down", "Not working")
        finally:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
