# SPDX-License-Identifier: Apache-2.0
"""A page in headless Chromium, by its DevTools protocol."""

import base64
import json
import re
import subprocess
import urllib.request

from websockets.sync.client import connect

from lib.database import wait_until


class Browser:
    """One tab; a context manager."""

    def __init__(self, folder):
        self.folder = folder
        self.requests, self.complaints = [], []

    def __enter__(self):
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 "--disable-dev-shm-usage", "--remote-debugging-port=0", "--no-first-run",
                 "--disable-background-networking", f"--user-data-dir={self.folder}", "about:blank"],
                stdout=log, stderr=log)
        port = wait_until(lambda: re.search(r"127\.0\.0\.1:(\d+)/devtools",
                                            (self.folder / "log").read_text()), 120,
                          "chromium does not start")[1]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def tab():
            with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
                return next((page for page in json.load(answer) if page["type"] == "page"), None)
        url = wait_until(tab, 60, "there is no tab")["webSocketDebuggerUrl"]
        self.socket = connect(url, max_size=None, max_queue=None, ping_interval=None,
                              open_timeout=60, proxy=None)
        self.number = self.loaded = 0
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.process.terminate()
        self.process.wait(30)

    def take(self, timeout=60):
        message = json.loads(self.socket.recv(timeout=timeout))
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        self.loaded += message.get("method") == "Page.loadEventFired"
        if message.get("method") == "Log.entryAdded":
            self.complaints.append(message["params"]["entry"]["text"])
        return message

    def ask(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = self.take()
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    def look(self, url, width, dark=False, height=900):
        """Loads the page."""
        self.load("about:blank")  # the page before would reload itself
        self.requests.clear()
        self.complaints.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.load(url)

    def load(self, url):
        self.loaded = 0
        self.ask("Page.navigate", url=url)
        while not self.loaded:
            self.take()

    def value(self, expression):
        """Of a JavaScript expression."""
        return self.ask("Runtime.evaluate", expression=expression,
                        returnByValue=True)["result"].get("value")

    def picture(self, path):
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip={
            "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1})
        path.write_bytes(base64.b64decode(shot["data"]))
