#!/usr/bin/env python3
"""Asks a real control plane the cases of cases.py and keeps its answers in crates/apiserver/tests/corpus/admission.

    KUBECONFIG=... tests/admission/record.py [FILE ...]

It works in the namespace `adm`, which it makes and removes, and on cluster objects of the names `x` and `upd`.
"""

import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request

import yaml

import cases

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../crates/apiserver/tests/corpus/admission")
CONFIG = yaml.safe_load(open(os.environ["KUBECONFIG"]))
SERVER = CONFIG["clusters"][0]["cluster"]["server"]
TOKEN = CONFIG["users"][0]["user"]["token"]
TLS = ssl.create_default_context(cadata=None)
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE


def call(method, path, body=None, content="application/json"):
    request = urllib.request.Request(SERVER + path, method=method)
    request.add_header("Authorization", "Bearer " + TOKEN)
    request.add_header("User-Agent", "test/1")
    if body is not None:
        request.add_header("Content-Type", content)
        request.data = json.dumps(body).encode()
    try:
        answer = urllib.request.urlopen(request, context=TLS, timeout=20)
    except urllib.error.HTTPError as refused:
        answer = refused
    return answer.status, answer.headers.get_all("Warning") or [], json.loads(answer.read())


def masked(value, body):
    """Takes out what differs from run to run, as crates/apiserver/tests/api/admission.rs does."""
    if value.get("kind") == "Status":
        # How a forbidden change is drawn is not compared.
        value["message"] = value["message"].split("\n@@")[0]
        for cause in (value.get("details") or {}).get("causes", []):
            cause["message"] = cause["message"].split("\n@@")[0]
        return {k: v for k, v in value.items() if k not in ("kind", "apiVersion", "metadata", "status", "code")}
    value = json.loads(json.dumps(value).replace(value["metadata"]["uid"], "UID"))
    if value["kind"] == "PersistentVolume":
        (value.get("status") or {}).pop("lastPhaseTransitionTime", None)
    if value["kind"] == "Node":
        # Controllers put the one and take away the other; here no controller does.
        taints = [t for t in value["spec"].pop("taints", []) if t["key"] != "node.kubernetes.io/not-ready"]
        if taints:
            value["spec"]["taints"] = taints
        (value["metadata"].get("annotations") or {}).pop("node.alpha.kubernetes.io/ttl", None)
    for field in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
        value["metadata"].pop(field, None)
    if value["metadata"].get("name", "") != body["metadata"].get("name", ""):
        value["metadata"]["name"] = "NAME"
    if value["metadata"].get("name") == "upd":
        # Controllers have seen it.
        value.pop("status", None)
        (value["metadata"].get("annotations") or {}).pop("deployment.kubernetes.io/revision", None)
    if value["metadata"].get("annotations") == {}:
        value["metadata"].pop("annotations")
    spec = value.get("spec") or {}
    if value["kind"] == "Service" and spec.get("clusterIP") not in (None, "", "None", (body.get("spec") or {}).get("clusterIP")):
        spec["clusterIP"] = "IP"
        spec["clusterIPs"] = ["IP"]
    if value["kind"] == "Service":
        asked = json.dumps(body)
        for port in spec.get("ports") or []:
            if "nodePort" in port and str(port["nodePort"]) not in asked:
                port["nodePort"] = 1
        if "healthCheckNodePort" in spec and str(spec["healthCheckNodePort"]) not in asked:
            spec["healthCheckNodePort"] = 1
    text = re.sub(r"kube-api-access-[a-z0-9]{5}", "kube-api-access-xxxxx", json.dumps(value))
    return json.loads(text)


def ask(kind, body):
    return call("POST", cases.path_of(kind) + "?dryRun=All", body)


NAMESPACE = f"/api/v1/namespaces/{cases.NS}"


def plugins():
    """Asks what plug-ins decide, each time with other objects beside it."""
    rows = []
    for first, labels, bodies in cases.PLUGINS:
        call("PATCH", NAMESPACE, {"metadata": {"labels": labels}}, "application/merge-patch+json")
        made = []
        for body in first:
            path = cases.path_of(body["kind"])
            status, _, answer = call("POST", path, body)
            assert status == 201, answer
            own = f"{path}/{body['metadata']['name']}"
            made.append({"path": path, "body": body})
            # A quota counts from when its controller has seen it.
            while body["kind"] == "ResourceQuota" and "used" not in call("GET", own)[2].get("status", {}):
                time.sleep(0.05)
        time.sleep(0.3)
        for body in bodies:
            path = cases.path_of(body["kind"])
            code, warnings, answer = ask(body["kind"], body)
            row = {"labels": labels, "first": made, "post": path, "body": body, "code": code, "answer": masked(answer, body)}
            if warnings:
                row["warnings"] = warnings
            rows.append(row)
        for body in first:
            call("DELETE", f"{cases.path_of(body['kind'])}/{body['metadata']['name']}")
        call("PATCH", NAMESPACE, {"metadata": {"labels": dict.fromkeys(labels)}}, "application/merge-patch+json")
        time.sleep(0.3)
    return rows


def main():
    wanted = sys.argv[1:]
    os.makedirs(OUT, exist_ok=True)
    call("POST", "/api/v1/namespaces", {"metadata": {"name": cases.NS}})
    for _ in range(100):
        if call("GET", f"/api/v1/namespaces/{cases.NS}/serviceaccounts/default")[0] == 200:
            break
        time.sleep(0.1)
    files = {}
    for file, kind, body in cases.creates():
        if wanted and file not in wanted:
            continue
        code, warnings, answer = ask(kind, body)
        row = {"post": cases.path_of(kind), "body": body, "code": code, "answer": masked(answer, body)}
        if warnings:
            row["warnings"] = warnings
        files.setdefault(file, []).append(row)
    for file, kind, body, change in cases.updates():
        if wanted and file not in wanted:
            continue
        path = cases.path_of(kind)
        status, _, first = call("POST", path, body)
        assert status in (201, 409), (kind, first)
        code, warnings, answer = call("PATCH", f"{path}/upd?dryRun=All", change, "application/merge-patch+json")
        row = {"made": path, "body": body, "patch": change, "code": code, "answer": masked(answer, body)}
        if warnings:
            row["warnings"] = warnings
        files.setdefault(file, []).append(row)
        call("DELETE", f"{path}/upd?propagationPolicy=Background&gracePeriodSeconds=0")
        while call("GET", f"{path}/upd")[0] != 404:
            time.sleep(0.02)
    if not wanted or "plugins" in wanted:
        files["plugins"] = plugins()
    for file, rows in files.items():
        with open(f"{OUT}/{file}.jsonl", "w") as out:
            for row in rows:
                out.write(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n")
        print(file, len(rows))
    call("DELETE", f"/api/v1/namespaces/{cases.NS}")


main()
