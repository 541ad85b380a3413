# SPDX-License-Identifier: Apache-2.0
"""Who gets in and who does not, by real servers: for each way to be right or wrong one line of a
table. A program that is refused says why in one sentence, ends with its exit code or stays not
ready, never hangs, and never shows a secret. All of a table run at the same time."""

import re

from lib import gateway, librdkafka
# Of these, pytest takes those that are fixtures.
from lib.logins import (READY, RECORDER, WAITS, WRONG, Run, at, broker, certificates, database, judge,
                        plaintext, postgres, registry, sasl, schemas, service, tls, upstream)

TOPICS = ("projectionist", "topics", "create", "--dry-run", "-p", "1", "--timeout", "15s")
REPLAY = ("stream-replay", "/dev/null")
MIGRATE = ("projectionist", "migrate", "--dry-run")
SCHEMAS = ("projectionist", "schemas", "register", "--timeout", "15s")
CONSUMER, GATEWAY, BRIDGE = (RECORDER,), ("control-gateway",), ("telemetry-bridge",)
SCRAM = "cannot log in to Kafka 4 by SASL/SCRAM"
NO_TRUST = "certificate|self.signed|verif"
NO_LOGIN = "kafka.ssl.certificate.location"
PROTOCOL = "and kafka.security.protocol is "

# Each of these settings of Kafka, by a command, a consumer and both connectors: the exit code of
# the command, and what all of them say. A consumer waits wherever a command fails; a connector waits
# where the code is 7, that of servers that are away, and else ends as the command.
#   what                           settings                               code   words
KAFKA = {
    "PLAIN over TLS":              (sasl("SASL"),                         0,     ""),
    "mTLS":                        (tls("MTLS"),                          0,     ""),
    "SCRAM-SHA-256":               (sasl("SASL", "SCRAM-SHA-256"),        SCRAM, SCRAM),
    "SCRAM-SHA-512":               (sasl("SASL", "SCRAM-SHA-512"),        SCRAM, SCRAM),
    "a wrong password":            (sasl("SASL", password=WRONG),         1,     "Authentication failed"),
    "a wrong SCRAM password":      (sasl("SASL", "SCRAM-SHA-512", WRONG), 1,     "Authentication failed|" + SCRAM),
    "a mechanism that is off":     (sasl("MECHANISM", "SCRAM-SHA-256"),   1,     "supported mechanisms: PLAIN"),
    "a certificate of nobody":     (tls("MTLS", "stranger"),              1,     NO_LOGIN),
    "no certificate":              (tls("MTLS", None),                    1,     NO_LOGIN),
    "the server's has expired":    (sasl("EXPIRED"),                      1,     NO_TRUST),
    "the server's is self-signed": (sasl("SELFSIGNED"),                   1,     NO_TRUST),
    "the server's of elsewhere":   (sasl("ELSEWHERE"),                    1,     NO_TRUST),
    "another authority":           (sasl("SASL", ca="otherca.pem"),       1,     NO_TRUST),
    "plaintext to TLS":            (plaintext("SASL"),                    7,     f"expect TLS, {PROTOCOL}plaintext"),
    "plaintext to a login":        (plaintext("SASLPLAIN"),               7,     f"a login by SASL, {PROTOCOL}plaintext"),
    "TLS to plaintext":            (tls("ADMIN"),                         7,     f"not to expect TLS, {PROTOCOL}ssl"),
    "TLS to a login":              (tls("SASL"),                          7,     f"a login by SASL, {PROTOCOL}ssl"),
    "a login to plaintext":        (sasl("ADMIN", protocol="sasl_plaintext"), 1, f"no login by SASL, {PROTOCOL}sasl_plaintext"),
    "a plain login to TLS":        (sasl("SASL", protocol="sasl_plaintext"),  7, f"expect TLS, {PROTOCOL}sasl_plaintext"),
    "a login by TLS to plaintext": (sasl("ADMIN"),                        7,     f"not to expect TLS, {PROTOCOL}sasl_ssl"),
    "a login where TLS is one":    (sasl("MTLS"),                         1,     NO_LOGIN),
}
POSTGRES = {
    "a password":                  (database(),                                    0, ""),
    "a certificate":               (database(user="certified", password=None,
                                             sslcert="certified.pem",
                                             sslkey="certified.key"),              0, ""),
    "a wrong password":            (database(WRONG),                               6, "28P01"),
    "a certificate of nobody":     (database(user="certified", password=None,
                                             sslcert="stranger.pem",
                                             sslkey="stranger.key"),               7, "unknown ca|certificate|SSL"),
    "no certificate":              (database(user="certified", password=None),     6, "28000|certificate"),
    "another authority":           (database(ca="otherca.pem"),                    7, "certificate verify failed"),
    "the server's of elsewhere":   (database(host="elsewhere.example"),            7, "does not match host name"),
    "plaintext to TLS":            (database(mode="disable", ca=None),             6, "28000|no encryption"),
}
REGISTRY = {
    "a password":                  (schemas("server"),                             0, ""),
    "a wrong password":            (schemas("server", password=WRONG),             1, "SCHEMA_REGISTRY_PASSWORD"),
    "no user":                     (schemas("server", user=None),                  1, "without credentials"),
    "the server's has expired":    (schemas("expired"),                            1, "expired"),
    "the server's is self-signed": (schemas("selfsigned"),                         1, "self.signed"),
    "the server's of elsewhere":   (schemas("elsewhere"),                          1, "not trusted"),
    "another authority":           (schemas("server", ca="otherca.pem"),           1, "not trusted"),
    "plaintext to TLS":            (schemas("server", scheme="http"),              7, "does not answer"),
}
# The bridge waits; the gateway is ready all the same, and gives the reason to who asks for what
# needs the service.
SERVICE = {
    "trusted":                     (upstream("server"),                            READY, ""),
    "another authority":           (upstream("server", ca="otherca.pem"),          WAITS, NO_TRUST),
    "the server's of elsewhere":   (upstream("elsewhere"),                         WAITS, NO_TRUST + "|no alternative"),
    "plaintext to TLS":            (upstream("server", scheme=""),                 WAITS, "."),
}


def outcome(code, words):
    """Of a login by SCRAM, by the librdkafka there is."""
    if code != SCRAM:
        return code, words
    return (0, "") if librdkafka.version() >= (2, 6, 1) else (1, SCRAM)


def test_kafka(at, tmp_path):
    for connectors in (False, True):  # the processors have enough to do with half of them
        runs = []
        for what, (settings, code, words) in KAFKA.items():
            code, words = outcome(code, words)
            ident = re.sub(r"\W", "-", what)
            common = {**upstream("server")(at), **database()(at), **settings(at),
                      "STALL_TIMEOUT": "60s", "GROUP": f"security {what}", "GATEWAY_ID": ident,
                      "BRIDGE_ID": ident}
            expected = {0: READY, 1: 1, 7: WAITS}[code]
            if connectors:
                runs += [Run(tmp_path, GATEWAY, what, common, expected, words),
                         Run(tmp_path, BRIDGE, what, common, expected, words)]
            else:
                runs += [Run(tmp_path, TOPICS, what, common, code, words),
                         Run(tmp_path, CONSUMER, what, common, READY if code == 0 else WAITS,
                             words)]
        judge(runs)


def test_postgres(at, tmp_path):
    runs = []
    for what, (settings, code, words) in POSTGRES.items():
        common = {**sasl("SASL")(at), **settings(at), "GROUP": f"postgres {what}"}
        runs += [Run(tmp_path, MIGRATE, what, common, code, words),
                 Run(tmp_path, CONSUMER, what, common, {0: READY, 6: 6, 7: WAITS}[code], words)]
    judge(runs)
    for name in ("expired", "selfsigned"):  # libpq does not say which of the two it is
        at.postgres.present(name)
        try:
            judge([Run(tmp_path, MIGRATE, name, database()(at), 7, "certificate verify failed")])
        finally:
            at.postgres.present("server")


def test_the_registry(at, tmp_path):
    judge([Run(tmp_path, SCHEMAS, what, settings(at), code, words)
           for what, (settings, code, words) in REGISTRY.items()])


def test_the_service_of_gateway_and_bridge(at, tmp_path):
    def ask(port):
        answer = gateway.request(port, "POST", "/v1/commands", gateway.command())
        return "" if answer.status == 202 else f"{answer.status} {answer.content.decode()}\n"

    runs = []
    for number, (what, (settings, expected, words)) in enumerate(SERVICE.items()):
        common = {**tls("MTLS")(at), **settings(at), "GATEWAY_ID": f"s-{number}",
                  "BRIDGE_ID": f"s-{number}"}
        runs += [Run(tmp_path, BRIDGE, what, common, expected, words),
                 Run(tmp_path, GATEWAY, what, common, READY,
                     f"50[0-9] .*({words})" if expected == WAITS else "", ask)]
    judge(runs)
