# SPDX-License-Identifier: Apache-2.0
"""The schema registry's Confluent API, at PROJECTIONIST_SCHEMA_REGISTRY_URL."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
TIMEOUT = 10  # seconds


class RegistryError(Exception):
    """The registry refused; status is the HTTP status, code its error_code."""

    def __init__(self, method, path, status, body):
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        super().__init__(f"{method} {path}: {status} {answer.get('message', body)}")
        self.status = status
        self.code = answer.get("error_code")


def url():
    """The registry's base URL, without a slash at the end."""
    value = os.environ.get("PROJECTIONIST_SCHEMA_REGISTRY_URL")
    assert value, "PROJECTIONIST_SCHEMA_REGISTRY_URL is not set"
    return value.rstrip("/")


def request(method, path, body=None):
    """One call of the API; the answer's JSON. Raises RegistryError where it is not 2xx."""
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(url() + path, data, {"Content-Type": CONTENT_TYPE},
                                  method=method)
    try:
        with urllib.request.urlopen(call, timeout=TIMEOUT) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise RegistryError(method, path, error.code,
                            error.read().decode(errors="replace")) from error


def register(subject, schema):
    """Registers a schema (JSON text) under a subject, such as safari.commands-value; its id."""
    return request("POST", f"/subjects/{_quoted(subject)}/versions", {"schema": schema})["id"]


def schema(schema_id):
    """The text of the schema with that id."""
    return request("GET", f"/schemas/ids/{schema_id}")["schema"]


def versions(subject):
    """The numbers of a subject's versions, the oldest first."""
    return request("GET", f"/subjects/{_quoted(subject)}/versions")


def set_compatibility(subject, level):
    """Sets a subject's compatibility, such as BACKWARD_TRANSITIVE."""
    request("PUT", f"/config/{_quoted(subject)}", {"compatibility": level})


def is_compatible(subject, schema_text):
    """True where the schema could be the subject's next version."""
    answer = request("POST", f"/compatibility/subjects/{_quoted(subject)}/versions",
                     {"schema": schema_text})
    return answer["is_compatible"]


def _quoted(subject):
    return urllib.parse.quote(subject, safe="")
