#!/usr/bin/env python3
"""Asks a real API server what it says to each rule of the corpus, and writes its answers down.

usage: KUBECONFIG=... tests/cel/record.py crates/apiserver/tests/data/rules.json
       KUBECONFIG=... tests/cel/record.py crates/apiserver/tests/data/definitions.json
       KUBECONFIG=... tests/cel/record.py crates/apiserver/tests/data/policies.json

Each rule is first part of a definition that is created as a dry run: that tells whether it
compiles. Those that do are put together into definitions of a few, and an object is written for
each: created with its old value, when it has one, and then with its new value.
Whole definitions are created as dry runs only. Policies are a list of requests, one after another;
after some of them the server needs a moment to see what was written.
"""
import base64, json, ssl, sys, tempfile, time, urllib.request, urllib.error
import os, subprocess

PREFIX = "rules-corpus"
GROUP = "rules-corpus.example.com"


def connect():
    raw = subprocess.check_output(["kubectl", "config", "view", "--raw", "--minify", "-o", "json"])
    config = json.loads(raw)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if "client-certificate-data" in user or "client-certificate" in user:
        def path(key):
            if key in user:
                return user[key]
            handle = tempfile.NamedTemporaryFile(delete=False)
            handle.write(base64.b64decode(user[key + "-data"]))
            handle.close()
            return handle.name
        context.load_cert_chain(path("client-certificate"), path("client-key"))
    token = user.get("token") or (open(user["tokenFile"]).read().strip() if "tokenFile" in user else None)

    def call(method, path, body=None, media="application/json", warnings=None):
        request = urllib.request.Request(cluster["server"] + path, method=method)
        request.add_header("Content-Type", media)
        request.add_header("User-Agent", "test/1")
        if token:
            request.add_header("Authorization", "Bearer " + token)
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, context=context) as answer:
                if warnings is not None:
                    warnings.extend(answer.headers.get_all("Warning") or [])
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as refused:
            text = refused.read()
            return refused.code, json.loads(text) if text.startswith(b"{") else {"message": text.decode()}

    return call


DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def definition(name, fields):
    kind = name.capitalize()
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{name}s.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Cluster",
                 "names": {"plural": f"{name}s", "singular": name, "kind": kind, "listKind": kind + "List"},
                 "versions": [{"name": "v1", "served": True, "storage": True,
                               "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                                   "spec": {"type": "object", "properties": fields}}}}}]},
    }


def causes(body):
    out = [{"field": c.get("field"), "message": c.get("message"), "reason": c.get("reason")}
           for c in body.get("details", {}).get("causes", [])]
    return sorted(out, key=lambda c: (str(c["field"]), str(c["message"])))


def main():
    path = sys.argv[1]
    corpus = json.load(open(path))
    call = connect()
    if "steps" in corpus:
        for step in corpus["steps"]:
            warnings = []
            media = step.get("type", "application/json")
            code, body = call(step["method"], step["path"], step.get("body"), media, warnings)
            step["real"] = {"code": code}
            if warnings:
                step["real"]["warnings"] = warnings
            if code >= 400:
                for key in ("message", "reason", "details"):
                    step["real"][key] = body.get(key)
            if "keep" in step:
                step["real"][step["keep"]] = body.get(step["keep"])
            if step.get("wait"):
                time.sleep(1.5)
        json.dump(corpus, open(path, "w"), indent=1, ensure_ascii=False)
        print(f"{len(corpus['steps'])} requests")
        return
    if "definitions" in corpus:
        for case in corpus["definitions"]:
            code, body = call("POST", DEFINITIONS + "?dryRun=All", case["body"])
            case["real"] = {"code": code, "causes": causes(body)}
        json.dump(corpus, open(path, "w"), indent=1, ensure_ascii=False)
        print(f"{len(corpus['definitions'])} definitions")
        return
    ruled = lambda rule: dict(corpus["schema"], **{"x-kubernetes-validations": [rule]})
    compiled, stamp = [], int(time.time()) % 100_000
    for number, case in enumerate(corpus["cases"]):
        code, body = call("POST", DEFINITIONS + "?dryRun=All", definition("probe", {"f": ruled(case["rule"])}))
        case["real"] = {"definition": code}
        if code == 201:
            compiled.append(number)
        else:
            case["real"]["causes"] = causes(body)
            if "details" not in body:
                case["real"]["message"] = body.get("message")
    size = 8
    for start in range(0, len(compiled), size):
        part = compiled[start:start + size]
        name = f"corpus{stamp}x{start}"
        fields = {f"f{n}": ruled(corpus["cases"][n]["rule"]) for n in part}
        code, body = call("POST", DEFINITIONS, definition(name, fields))
        if code != 201:
            raise SystemExit(f"{name}: {body.get('message')}")
        objects = f"/apis/{GROUP}/v1/{name}s"
        while call("GET", objects)[0] != 200:
            time.sleep(0.2)
        for n in part:
            case = corpus["cases"][n]
            of = lambda values: {"apiVersion": f"{GROUP}/v1", "kind": name.capitalize(), "metadata": {"name": f"c{n}"},
                                 "spec": {f"f{n}": dict(corpus["value"], **values)}}
            new = of(case.get("set", {}))
            if "old" in case:
                code, body = call("POST", objects, of(case["old"]))
                while code in (404, 503):
                    time.sleep(0.2)
                    code, body = call("POST", objects, of(case["old"]))
                if code != 201:
                    raise SystemExit(f"{case}: {body.get('message')}")
                new["metadata"]["resourceVersion"] = body["metadata"]["resourceVersion"]
                code, body = call("PUT", f"{objects}/c{n}", new)
            else:
                code, body = call("POST", objects, new)
                while code in (404, 503):
                    time.sleep(0.2)
                    code, body = call("POST", objects, new)
            case["real"]["object"] = code
            if code >= 400:
                for cause in causes(body):
                    cause["field"] = (cause["field"] or "").replace(f"spec.f{n}", "spec.f")
                    case["real"].setdefault("causes", []).append(cause)
        call("DELETE", f"{DEFINITIONS}/{name}s.{GROUP}")
    json.dump(corpus, open(path, "w"), indent=1, ensure_ascii=False)
    print(f"{len(corpus['cases'])} rules, {len(compiled)} compile")


main()
