# SPDX-License-Identifier: Apache-2.0
"""Holds the objects of operators against the schemas of their own definitions.

usage: crds.py DEFINITION.yaml... -- MANIFEST.yaml...

What a schema does not name is refused, as the API server's strict validation does. Exit status: 0 all
fit, 1 one does not; what has no definition is named, and does not count.
"""

import sys

import jsonschema
import yaml


def strict(schema):
    """The schema of a definition, with nothing allowed that it does not name."""
    if not isinstance(schema, dict):
        return schema
    result = {key: value for key, value in schema.items() if key not in ("format", "default")}
    if "properties" in schema:
        result["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if "additionalProperties" not in schema and \
                not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            result[key] = strict(schema[key])
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
    return result


def documents(paths):
    for path in paths:
        with open(path, encoding="utf-8") as file:
            yield from filter(None, yaml.safe_load_all(file))


def main():
    at = sys.argv.index("--")
    schemas = {}
    for definition in documents(sys.argv[1:at]):
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    fitting, failed = 0, False
    groups = {version.split("/")[0] for version, _ in schemas}
    for document in documents(sys.argv[at + 1:]):
        name = f"{document['kind']} {document['metadata']['name']}"
        if document["apiVersion"].split("/")[0] not in groups:
            continue
        schema = schemas.get((document["apiVersion"], document["kind"]))
        if schema is None:
            print(f"{name}: {document['apiVersion']} is not defined")
            failed = True
            continue
        errors = list(jsonschema.Draft7Validator(schema).iter_errors(document))
        for error in errors:
            print(f"{name}: {'.'.join(map(str, error.absolute_path))}: {error.message}")
        failed |= bool(errors)
        fitting += not errors
    print(fitting)
    return int(failed or fitting == 0)


if __name__ == "__main__":
    sys.exit(main())
