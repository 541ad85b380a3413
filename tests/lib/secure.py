# SPDX-License-Identifier: Apache-2.0
"""Servers that ask who one is: certificates, one Kafka with a listener for each way to log in, one
Postgres, and TLS in front of a registry. All made for a test, on loopback, gone at its end."""

import base64
import http.client
import http.server
import os
import pwd
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import uuid
from pathlib import Path

import psycopg
from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient,
                                   NewTopic, ResourcePatternType, ResourceType, ScramCredentialInfo,
                                   ScramMechanism, UserScramCredentialUpsertion)
from psycopg import conninfo

from lib.consumers import REPOSITORY
from lib.database import wait_until

TIMEOUT = 600  # seconds, on a machine that does much else
JARS = REPOSITORY / ".local/jars/kafka"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False,
                          **options)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


class Certificates:
    """An authority, and certificates of it. NAME.pem, NAME.key, and both in NAME.both."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.ca = self._self_signed("ca", "/CN=an authority")
        self.other_ca = self._self_signed("otherca", "/CN=another authority")
        self.make("server", hosts=("DNS:localhost", "IP:127.0.0.1"))
        self.make("elsewhere", hosts=("DNS:elsewhere.example",))
        self.make("expired", hosts=("DNS:localhost", "IP:127.0.0.1"), days=0)
        self._self_signed("selfsigned", "/CN=localhost", "-addext",
                          "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self._both("selfsigned")

    def __getitem__(self, name):
        return self.folder / name

    def _self_signed(self, name, subject, *arguments):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", subject, *arguments, "-keyout",
            self[f"{name}.key"], "-out", self[f"{name}.pem"])
        return self[f"{name}.pem"]

    def _both(self, name):
        self[f"{name}.both"].write_bytes(self[f"{name}.key"].read_bytes()
                                         + self[f"{name}.pem"].read_bytes())

    def make(self, name, subject="x", hosts=(), days=2, ca="ca"):
        """Of a client, where there are no hosts."""
        request, extensions = self[f"{name}.csr"], self[f"{name}.ext"]
        extensions.write_text(f"subjectAltName={','.join(hosts)}\n" if hosts else "")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN={subject}", "-keyout", self[f"{name}.key"], "-out", request)
        run("openssl", "x509", "-req", "-in", request, "-CA", self[f"{ca}.pem"], "-CAkey",
            self[f"{ca}.key"], "-days", str(days), "-set_serial", str(uuid.uuid4().int >> 70),
            "-extfile", extensions, "-out", self[f"{name}.pem"])
        self._both(name)

    def put(self, name, folder):
        """As tls.crt and tls.key of the folder, each in one step."""
        for target, kind in (("tls.crt", "pem"), ("tls.key", "key")):
            new = folder / f"{target}.new"
            new.write_bytes(self[f"{name}.{kind}"].read_bytes())
            new.chmod(0o600)
            new.rename(folder / target)

    def context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self[f"{name}.pem"], self[f"{name}.key"])
        return context


# --- Kafka -----------------------------------------------------------------------------------

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
TLS_LISTENERS = {"SASL": "server", "EXPIRED": "expired", "SELFSIGNED": "selfsigned",
                 "ELSEWHERE": "elsewhere", "ROTATE": "server", "MECHANISM": "server"}


def plain_users(passwords):
    users = " ".join(f'user_{name}="{word}"' for name, word in passwords.items())
    return f"{PLAIN} {users};"


class Kafka:
    """One broker, which lets nobody do anything without an ACL, but for the users of `powerful` and
    those of the listener ADMIN. ports: by the listener's name."""

    def __init__(self, folder, certificates, passwords, powerful=()):
        self.folder, self.passwords = Path(folder), dict(passwords)
        self.folder.mkdir()
        names = ("ADMIN", "CONTROLLER", "MTLS", "SASLPLAIN", *TLS_LISTENERS)
        self.ports = {name: free_port() for name in names}
        protocols = {"ADMIN": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", "MTLS": "SSL",
                     "SASLPLAIN": "SASL_PLAINTEXT", **dict.fromkeys(TLS_LISTENERS, "SASL_SSL")}
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items())
        lines = {
            "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
            "inter.broker.listener.name": "ADMIN",
            "listeners": listeners,
            "advertised.listeners": ",".join(one for one in listeners.split(",")
                                             if not one.startswith("CONTROLLER")),
            "controller.quorum.voters": f"1@127.0.0.1:{self.ports['CONTROLLER']}",
            "log.dirs": f"{self.folder}/data",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": ";".join(f"User:{name}" for name in ("ANONYMOUS", *powerful)),
            "listener.name.rotate.scram-sha-512.connections.max.reauth.ms": "2000",
        }
        for name, certificate in {**TLS_LISTENERS, "MTLS": "server"}.items():
            at = f"listener.name.{name.lower()}.ssl"
            lines[f"{at}.keystore.type"] = lines[f"{at}.truststore.type"] = "PEM"
            lines[f"{at}.keystore.location"] = certificates[f"{certificate}.both"]
            lines[f"{at}.truststore.location"] = certificates["ca.pem"]
        lines["listener.name.mtls.ssl.client.auth"] = "required"
        lines["listener.name.mtls.ssl.principal.mapping.rules"] = "RULE:^CN=(.*?)$/$1/"
        for name in (*TLS_LISTENERS, "SASLPLAIN"):
            at = f"listener.name.{name.lower()}"
            lines[f"{at}.sasl.enabled.mechanisms"] = (
                "PLAIN" if name == "MECHANISM" else "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")
            lines[f"{at}.plain.sasl.jaas.config"] = plain_users(self.passwords)
            for mechanism in ("256", "512") if name != "MECHANISM" else ():
                lines[f"{at}.scram-sha-{mechanism}.sasl.jaas.config"] = SCRAM
        given = (REPOSITORY / "deploy/local/kafka.properties").read_text()
        kept = [line for line in given.splitlines() if line.split("=")[0] not in lines]
        self.settings = self.folder / "server.properties"
        self.settings.write_text("\n".join([*kept, *(f"{key}={value}" for key, value
                                                     in lines.items())]) + "\n")
        self._start()

    def _java(self, *arguments):
        java = [shutil.which("java"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                "-XX:-UsePerfData", f"-Djava.io.tmpdir={self.folder}", "-Xmx384m",
                f"-Dlog4j2.configurationFile={REPOSITORY}/deploy/local/log4j2.xml",
                "-cp", f"{JARS}/*"]
        return [*java, *map(str, arguments)]

    def _start(self):
        # An id that begins with a dash would be taken for an option.
        cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        run(*self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", self.settings))
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(self._java("kafka.Kafka", self.settings), stdout=log,
                                            stderr=log, cwd=self.folder)
        self.admin = AdminClient({"bootstrap.servers": self.address("ADMIN"), "log_level": 0,
                                  "reconnect.backoff.max.ms": 500})
        wait_until(lambda: self.process.poll() is not None
                   or self.admin.list_topics(timeout=5).brokers, TIMEOUT,
                   lambda: (self.folder / "log").read_text()[-3000:], not_yet=Exception)
        assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]

    def address(self, listener):
        return f"127.0.0.1:{self.ports[listener]}"

    def topics(self, *names, **config):
        wanted = [NewTopic(name, 1, 1, config=config) for name in names]
        for future in self.admin.create_topics(wanted).values():
            future.result(TIMEOUT)

    def scram(self, name, password, mechanism="SCRAM_SHA_512"):
        for future in self.admin.alter_user_scram_credentials([UserScramCredentialUpsertion(
                name, ScramCredentialInfo(getattr(ScramMechanism, mechanism), 4096),
                password.encode())]).values():
            future.result(TIMEOUT)

    def acls(self, user, rules):
        """Grants them, and waits until they hold. rules: as in a KafkaUser of Strimzi."""
        kinds = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP,
                 "transactionalId": ResourceType.TRANSACTIONAL_ID, "cluster": ResourceType.BROKER}
        patterns = {"literal": ResourcePatternType.LITERAL, "prefix": ResourcePatternType.PREFIXED}
        words = {"Describe": AclOperation.DESCRIBE, "Read": AclOperation.READ,
                 "Write": AclOperation.WRITE, "Create": AclOperation.CREATE,
                 "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS}
        bindings = [AclBinding(kinds[rule["resource"]["type"]], rule["resource"]["name"],
                               patterns[rule["resource"].get("patternType", "literal")],
                               f"User:{user}", "*", words[operation], AclPermissionType.ALLOW)
                    for rule in rules for operation in rule["operations"]]
        for future in self.admin.create_acls(bindings).values():
            future.result(TIMEOUT)
        mine = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, f"User:{user}", None,
                                AclOperation.ANY, AclPermissionType.ANY)
        wait_until(lambda: set(bindings) <= set(self.admin.describe_acls(mine).result(TIMEOUT)),
                   message="the ACLs are not there")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# --- Postgres --------------------------------------------------------------------------------

class Postgres:
    """One that takes nobody without TLS. dsn: of its superuser; password: of the role `alice`."""

    def __init__(self, certificates, password):
        # Not in a folder of pytest: another run takes everybody else's rights there away.
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="secure-")), free_port()
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[0]
        self.user = {}
        if os.geteuid() == 0:  # it refuses to be root
            owner = pwd.getpwnam("postgres")
            self.user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        data = self.folder / "data"
        run(binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
            "--locale", "C.UTF-8", "--no-sync", "--no-instructions", cwd=self.folder, **self.user)
        self.data, self.certificates = data, certificates
        (data / "pg_hba.conf").write_text(
            "local all postgres trust\n"
            "hostssl all certified 127.0.0.1/32 cert\n"
            "hostssl all all 127.0.0.1/32 scram-sha-256\n")
        with open(data / "postgresql.conf", "a", encoding="ascii") as settings:
            settings.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nfsync = off\n"
                           f"unix_socket_directories = '{self.folder}'\nssl = on\n"
                           f"ssl_cert_file = '{data}/server.pem'\nssl_ca_file = '{data}/ca.pem'\n"
                           f"ssl_key_file = '{data}/server.key'\n")
        self._copy(certificates["ca.pem"], "ca.pem")
        self.present("server", reload=False)
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([binaries / "postgres", "-D", data], stdout=log,
                                            stderr=log, cwd=self.folder, **self.user)
        self.dsn = conninfo.make_conninfo(host=str(self.folder), port=self.port, user="postgres",
                                          dbname="postgres")
        wait_until(lambda: psycopg.connect(self.dsn).close() or True, TIMEOUT,
                   lambda: (self.folder / "log").read_text())
        self.execute(f"CREATE ROLE alice LOGIN CREATEDB PASSWORD '{password}'; "
                     "CREATE ROLE certified LOGIN; GRANT alice TO certified")
        self.execute("CREATE DATABASE secure OWNER alice")

    def _copy(self, path, name):
        target = self.data / name
        target.write_bytes(path.read_bytes())
        target.chmod(0o600)
        if self.user:
            os.chown(target, self.user["user"], self.user["group"])

    def present(self, name, reload=True):
        """From now on it shows that certificate."""
        self._copy(self.certificates[f"{name}.key"], "server.key")
        self._copy(self.certificates[f"{name}.pem"], "server.pem")
        if reload:
            self.execute("SELECT pg_reload_conf()")
            wanted = ssl.PEM_cert_to_DER_cert(self.certificates[f"{name}.pem"].read_text())
            wait_until(lambda: self._shown() == wanted, TIMEOUT,
                       f"Postgres does not show the certificate {name}")

    def _shown(self):
        """The certificate that a client sees."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), 10) as plain:
            plain.sendall(struct.pack("!ii", 8, 80877103))  # SSLRequest
            assert plain.recv(1) == b"S"
            with context.wrap_socket(plain) as connection:
                return connection.getpeercert(binary_form=True)

    def execute(self, statement):
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return connection.execute(statement)

    def close(self):
        self.process.send_signal(2)  # SIGINT: a fast shutdown
        self.process.wait(60)
        shutil.rmtree(self.folder)


# --- HTTP ------------------------------------------------------------------------------------

def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Front:
    """TLS, and a user and a password where they are given, in front of an HTTP server."""

    def __init__(self, target, context=None, user=None):
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                if front.wanted and self.headers.get("Authorization") != front.wanted:
                    return self.reply(401, b'{"message": "who are you?"}')
                connection = http.client.HTTPConnection(target, timeout=20)
                headers = {name: value for name, value in self.headers.items()
                           if name.lower() not in ("host", "authorization", "accept-encoding")}
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                self.reply(response.status, response.read())
                connection.close()

            do_GET = do_POST = do_PUT = answer

            def reply(self, status, content):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")  # the next one sees the certificate anew
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        self.wanted = user and basic(*user)  # the Authorization
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *arguments: None  # of a client that does not trust us
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server.server_port

    def close(self):
        self.server.shutdown()
        self.server.server_close()
