# SPDX-License-Identifier: Apache-2.0
"""Every kubectl command of deploy/RUNBOOK.md and deploy/README.md, as it stands there, against an API
server whose nodes are kwok's: what runs in a pod is a stand-in, what a pod serves or logs is ours."""

import contextlib
import http.server
import json
import re
import shlex
import subprocess
import threading
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# These make what apiserver has made before, of the same files.
TRIED_BEFORE = ("kubectl create namespace", "kubectl -n projectionist create secret",
                "kubectl apply -k")
LEAST = 14  # commands; fewer are a fault of `said`
CONSUMER = "video-catalog"
PORT = 9100  # of a pod
PAGE = b"a page"


class Wrong(Exception):
    """What a command does is not what the text says."""


def said():
    """The commands, in their order, each once. A second form may be in a comment: `# and --previous`."""
    found = []
    for name in ("RUNBOOK.md", "README.md"):
        text = (ROOT / "deploy" / name).read_text()
        for line in "".join(FENCE.findall(text)).splitlines():
            command, _, comment = line.partition(" #")
            found.append(command.strip())
            if more := re.match(r" and (--[a-z-]+)", comment):
                found.append(f"{command.strip()} {more[1]}")
        found += [" ".join(span.split()) for span in
                  re.findall(r"`([^`]+)`", FENCE.sub("", text))]
    found = [command for command in dict.fromkeys(found)
             if command.startswith("kubectl ") and not command.startswith(TRIED_BEFORE)]
    if len(found) < LEAST:
        raise Wrong(f"only {len(found)} commands are found: {found}")
    return found


class Pods:
    """What kwok's pods do: `configuration` is kwok's. In each runs a `projectionist` that says what it
    was asked, logs are two files, and its port is a server of this process."""

    def __init__(self, folder):
        self.bin = folder / "bin"
        self.bin.mkdir()
        program = self.bin / "projectionist"
        program.write_text('#!/bin/sh\necho "ran projectionist $*"\n')
        program.chmod(0o755)
        logs = [folder / "now.log", folder / "previous.log"]
        for log in logs:
            log.write_text(f"2026-01-01T00:00:00.000000000Z stdout F {log.stem}\n")
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.configuration = folder / "kwok.yaml"
        self.configuration.write_text("---\n".join(json.dumps(
            {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": kind, "metadata": {"name": "pods"},
             "spec": spec}) + "\n" for kind, spec in (
                 ("ClusterExec", {"execs": [{"local": {}}]}),
                 ("ClusterLogs", {"logs": [{"logsFile": str(logs[0]),
                                            "previousLogsFile": str(logs[1])}]}),
                 ("ClusterPortForward", {"forwards": [{"ports": [PORT], "target": {
                     "address": "127.0.0.1", "port": self._server.server_port}}]}))))


class Answer(http.server.BaseHTTPRequestHandler):
    """As a pod would."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


def try_all(cluster, namespace):
    """What is made first and what is deleted last, so that each command finds what it names."""
    pod = next(entry["metadata"]["name"] for entry in cluster.get("pods", "-n", namespace)
               if CONSUMER in entry["metadata"]["name"])
    names = {"POD": pod, "NAMESPACE": namespace, "NAME": "projectionist-verify-1", "N": "4",
             "CONSUMER": CONSUMER, "NODE": "node-0", "IMAGE": "tools"}
    commands = sorted(said(), key=lambda command: ("delete" in command) - ("create" in command))
    for command in commands:
        words = shlex.split(re.sub(r"\b[A-Z]+\b", lambda word: names[word[0]], command))[1:]
        if words[:2] == ["-n", namespace]:
            del words[:2]
        try_one(cluster, ("--namespace", namespace), words, pod)
    print(f"  {len(commands)} commands of the runbook and of the page on operating")


def try_one(cluster, where, words, pod):
    if words[0] == "port-forward":
        forward(cluster, where, words)
        return
    if words[0] == "debug":  # nobody is there to attach to
        words.insert(1, "--attach=false")
    if words[0] == "logs" and words[1].startswith("job/"):
        cluster.kubectl(*where, "wait", "--for=condition=complete", "--timeout=600s", words[1])
    done = cluster.run(*where, *words)
    said_so = done.stdout + done.stderr
    expected = 0
    if words[:2] == ["get", "--raw"]:  # there is no network of pods: whom it would have asked is said
        address = json.loads(cluster.kubectl(*where, "get", "pod", pod, "-o", "json"))["status"]["podIP"]
        expected, want = 1, f"{address}:{PORT}"
    elif words[0] == "exec":
        want = f"ran {' '.join(words[words.index('--') + 1:])}"
    elif words[0] == "logs":
        want = "previous" if "--previous" in words else "now"
    else:
        want = {"get": pod, "describe": "Name:", "create": "created", "scale": "scaled",
                "debug": "Creating debugging pod", "delete": "deleted",
                "rollout": "rolled back"}[words[0]]
    if done.returncode != expected or want not in said_so:
        raise Wrong(f"kubectl {' '.join(words)}: {done.returncode}: {said_so.strip()}; it should say "
                    f"{want!r}")


def forward(cluster, where, words):
    """Of a port of ours that is free, whatever the text says."""
    words = [f":{word}" if word == str(PORT) else word for word in words]
    process = cluster.popen(*where, *words, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.match(rf"Forwarding from 127\.0\.0\.1:(\d+) -> {PORT}\b", line)
        if not found:
            raise Wrong(f"kubectl {' '.join(words)}: {line}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.closing(opener.open(f"http://127.0.0.1:{found[1]}/", timeout=60)) as page:
            if page.read() != PAGE:
                raise Wrong(f"kubectl {' '.join(words)} leads elsewhere")
    finally:
        process.terminate()
        process.wait()
