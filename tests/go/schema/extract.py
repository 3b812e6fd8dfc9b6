#!/usr/bin/env python3
"""Writes crates/schema/data/kubernetes-1.34.json from the OpenAPI and discovery documents that the
module k8s.io/kubernetes publishes.

    python3 extract.py "$(go mod download -json k8s.io/kubernetes@v1.34.2 | jq -r .Dir)" LIVE OUT

LIVE is a folder with the OpenAPI documents of a running server, since those published leave out
which values a text may have: `kubectl get --raw /openapi/v3/GROUP/VERSION` for each.

Types are numbered; equal anonymous types are written once. The meaning of the one-letter keys is
told beside their reader, crates/schema/src/builtin.rs.
"""

import json
import os
import sys

GROUPS = {
    "", "apps", "batch", "autoscaling", "networking.k8s.io", "policy", "rbac.authorization.k8s.io",
    "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "storage.k8s.io",
    "scheduling.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "node.k8s.io",
    "authentication.k8s.io", "authorization.k8s.io", "apiregistration.k8s.io",
    "certificates.k8s.io", "flowcontrol.apiserver.k8s.io", "resource.k8s.io",
}
VERSIONS = {"v1", "v2"}


def main():
    root, live, out = sys.argv[1], sys.argv[2], sys.argv[3]
    defs = read_schemas(os.path.join(root, "api/openapi-spec/v3"))
    by_gvk = {}
    for name, schema in defs.items():
        gvks = schema.get("x-kubernetes-group-version-kind", [])
        if len(gvks) == 1:
            gvk = gvks[0]
            by_gvk[(gvk["group"], gvk["version"], gvk["kind"])] = name

    kinds = read_kinds(root, by_gvk)
    types = Types(defs)
    for kind in kinds:
        types.named(kind["typeName"])
    types.named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    types.named("io.k8s.api.autoscaling.v1.Scale")
    types.named("io.k8s.api.policy.v1.Eviction")
    for name in ("DeleteOptions", "ListMeta", "Patch", "Status", "WatchEvent", "APIResourceList", "APIGroup"):
        types.named("io.k8s.apimachinery.pkg.apis.meta.v1." + name)

    with open(out, "w") as f:
        f.write('{"kinds":[\n')
        f.write(",\n".join(dump(kind) for kind in kinds))
        f.write('\n],"types":[\n')
        f.write(",\n".join(dump(row) for row in types.rows))
        f.write('\n],"values":{\n')
        values = read_values(read_schemas(live), {row.get("n") for row in types.rows})
        f.write(",\n".join("%s:%s" % (dump(at), dump(words)) for at, words in values))
        f.write("\n}}\n")


def read_values(defs, names):
    """The values that texts may have, by `type.field`; `[]` stands for the items of a list."""
    for name, schema in sorted(defs.items()):
        if name not in names:
            continue
        for field, of in sorted(schema.get("properties", {}).items()):
            for path, part in ((field, of), (field + "[]", of.get("items", {}))):
                if part.get("enum"):
                    yield "%s.%s" % (name, path), part["enum"]


def read_schemas(folder):
    # Version 3 of the documents, since version 2 leaves the defaults out.
    defs = {}
    for name in sorted(os.listdir(folder)):
        document = json.load(open(os.path.join(folder, name)))
        for key, schema in document.get("components", {}).get("schemas", {}).items():
            defs.setdefault(key, schema)
    return defs


def dump(value):
    return json.dumps(value, separators=(",", ":"))


def read_kinds(root, by_gvk):
    base = os.path.join(root, "api/discovery")
    documents = [("", "v1", "api__v1.json")]
    for group in json.load(open(os.path.join(base, "apis.json")))["groups"]:
        for version in group["versions"]:
            document = "apis__%s__%s.json" % (group["name"], version["version"])
            documents.append((group["name"], version["version"], document))
    kinds = []
    for group, version, document in documents:
        if group not in GROUPS or version not in VERSIONS:
            continue
        resources = json.load(open(os.path.join(base, document)))["resources"]
        found = {}
        for r in resources:
            name, _, sub = r["name"].partition("/")
            if sub:
                if name in found:
                    row = {"name": sub, "kind": r["kind"], "verbs": r["verbs"]}
                    for key in ("group", "version"):
                        if r.get(key):
                            row[key] = r[key]
                    found[name].setdefault("subresources", []).append(row)
                continue
            kind = {
                "group": group, "version": version, "kind": r["kind"], "plural": name,
                "singular": r["singularName"], "namespaced": r["namespaced"],
                "typeName": by_gvk[(group, version, r["kind"])],
            }
            for key in ("shortNames", "categories", "verbs", "storageVersionHash"):
                if r.get(key):
                    kind[key] = r[key]
            found[name] = kind
        kinds.extend(found.values())
    return kinds


class Types:
    def __init__(self, defs):
        self.defs = defs
        self.rows = []
        self.names = {}
        self.anonymous = {}
        # Index 0 is an atomic untyped value, index 1 one whose maps are granular.
        self.rows.append({"s": "untyped", "l": 0, "a": 0, "m": "atomic"})
        self.rows.append({"s": "untyped", "l": 0, "a": 1, "m": "granular"})

    def named(self, name):
        if name not in self.names:
            self.names[name] = len(self.rows)
            row = {"n": name}
            self.rows.append(row)
            row.update(self.row(self.defs[name]))
        return self.names[name]

    def edge(self, schema):
        ref = schema.get("$ref") or (schema.get("allOf") or [{}])[0].get("$ref")
        if ref:
            to = self.named(ref.rsplit("/", 1)[1])
            relation = schema.get("x-kubernetes-map-type")
        else:
            row = self.row(schema)
            key = json.dumps(row, sort_keys=True)
            if key not in self.anonymous:
                self.anonymous[key] = len(self.rows)
                self.rows.append(row)
            to, relation = self.anonymous[key], None
        full = {"t": to}
        if relation:
            full["m"] = relation
        # Scalar defaults stand in for absent keys of list items. An empty map as default marks a
        # part that is always there, which decides whether its coming is a change.
        default = schema.get("default")
        if isinstance(default, dict):
            full["i"] = True
        elif default is not None and not isinstance(default, list):
            full["d"] = default
        if schema.get("x-kubernetes-patch-strategy"):
            full["p"] = schema["x-kubernetes-patch-strategy"]
        if schema.get("x-kubernetes-patch-merge-key"):
            full["k"] = schema["x-kubernetes-patch-merge-key"]
        return full if len(full) > 1 else to

    def row(self, schema):
        kind = schema.get("type")
        if "oneOf" in schema and kind is None:
            # A quantity, a port: any scalar.
            return {"s": schema.get("format", "untyped")}
        if kind is None and "properties" not in schema:
            # Anything is allowed. Below it maps are granular and lists are one value.
            return {"s": "untyped", "l": 0, "a": 1}
        if kind in ("object", None):
            return self.map_row(schema)
        if kind == "array":
            row = {"l": self.edge(schema["items"])}
            list_kind = schema.get("x-kubernetes-list-type")
            strategy = schema.get("x-kubernetes-patch-strategy", "")
            if list_kind == "map":
                row["k"] = schema["x-kubernetes-list-map-keys"]
            elif list_kind == "set":
                row["k"] = "set"
            elif list_kind is None and "merge" in strategy:
                key = schema.get("x-kubernetes-patch-merge-key")
                row["k"] = [key] if key else "set"
            return row
        if kind == "string":
            form = schema.get("format", "")
            return {"s": {"": "string", "byte": "byte", "date-time": "date-time",
                          "int-or-string": "int-or-string"}.get(form, "untyped")}
        return {"s": kind}

    def map_row(self, schema):
        row = {}
        if schema.get("properties"):
            row["f"] = {n: self.edge(p) for n, p in sorted(schema["properties"].items())}
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            row["a"] = self.edge(extra)
        elif extra is True or (extra is None and not schema.get("properties")):
            row["a"] = 1
        if schema.get("x-kubernetes-map-type"):
            row["m"] = schema["x-kubernetes-map-type"]
        if schema.get("required"):
            row["r"] = sorted(schema["required"])
        return row


main()
