#!/usr/bin/env python3
"""Writes the Gateway API kinds that the sandbox serves, as the module `sigs.k8s.io/gateway-api`
publishes them, down to what an API server needs: the types, without prose and without CEL rules.

    extract.py "$(go mod download -json sigs.k8s.io/gateway-api@v1.5.0 | jq -r .Dir)" ../../crates/api/data/gateway.json

Needs PyYAML."""

import json
import sys
from pathlib import Path

import yaml

KINDS = ["gatewayclasses", "gateways", "grpcroutes", "httproutes", "referencegrants"]

# Kinds that are still written in their earlier version too.
OLDER = ["referencegrants"]


def trimmed(node, properties=False):
    """Without descriptions and rules; a property may bear any name."""
    if isinstance(node, list):
        return [trimmed(item) for item in node]
    if not isinstance(node, dict):
        return node
    dropped = () if properties else ("description", "x-kubernetes-validations")
    return {
        key: trimmed(value, key == "properties" and not properties)
        for key, value in node.items()
        if key not in dropped
    }


def definition(source):
    spec = source["spec"]
    versions = [v for v in spec["versions"] if v["served"]]
    if source["metadata"]["name"].split(".")[0] not in OLDER:
        versions = [v for v in versions if v["name"] == "v1"]
    for version in versions:
        version["schema"]["openAPIV3Schema"] = trimmed(version["schema"]["openAPIV3Schema"])
        for column in version.get("additionalPrinterColumns", []):
            column.pop("description", None)
    return {
        "apiVersion": source["apiVersion"],
        "kind": source["kind"],
        "metadata": {
            "annotations": {"api-approved.kubernetes.io": "unapproved, for sandboxes only"},
            "name": source["metadata"]["name"],
        },
        "spec": {
            "group": spec["group"],
            "names": spec["names"],
            "scope": spec["scope"],
            "versions": versions,
        },
    }


def main(module, target):
    folder = Path(module) / "config/crd/standard"
    sources = [yaml.safe_load((folder / f"gateway.networking.k8s.io_{k}.yaml").read_text()) for k in KINDS]
    lines = [json.dumps(definition(s), separators=(",", ":")) for s in sources]
    Path(target).write_text("[\n" + ",\n".join(lines) + "\n]\n")


main(*sys.argv[1:])
