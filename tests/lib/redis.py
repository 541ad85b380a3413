# SPDX-License-Identifier: Apache-2.0
"""A private Redis on the loopback interface, which a test may kill and freeze."""

import signal
import socket
import subprocess

import redis

from lib.database import wait_until


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Redis:
    """A server with nothing in it. settings: of redis.conf, such as requirepass="x". tls: a folder
    with ca.pem, server.pem and server.key; it then speaks TLS alone."""

    def __init__(self, folder, tls=None, **settings):
        self.folder, self.tls = folder, tls
        self.settings = settings
        self.port = free_port()
        self.process = None
        self.start()

    @property
    def url(self):
        return f"{'rediss' if self.tls else 'redis'}://127.0.0.1:{self.port}"

    def start(self):
        ports = (["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no",
                  "--tls-cert-file", f"{self.tls}/server.pem", "--tls-key-file",
                  f"{self.tls}/server.key", "--tls-ca-cert-file", f"{self.tls}/ca.pem"]
                 if self.tls else ["--port", str(self.port)])
        options = [word for name, value in self.settings.items()
                   for word in ("--" + name.replace("_", "-"), *str(value).split())]
        with open(self.folder / "redis.log", "ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--dir",
                 str(self.folder), *ports, *options], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)
        try:
            wait_until(self.client().ping, message="Redis does not start",
                       not_yet=(redis.ConnectionError,))
        except BaseException:
            self.kill()
            raise

    def client(self):
        return redis.Redis(host="127.0.0.1", port=self.port, password=self.settings.get("requirepass"),
                           ssl=bool(self.tls), ssl_check_hostname=False,
                           ssl_ca_certs=f"{self.tls}/ca.pem" if self.tls else None)

    def publish(self, job_id, message):
        """How many heard it."""
        with self.client() as client:
            return client.publish(b"OMEGAFRAME_JOB_" + (job_id if isinstance(job_id, bytes)
                                                        else job_id.encode()), message)

    def drop_subscribers(self):
        with self.client() as client:
            return client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
