#!/usr/bin/env python3
"""Records a real Prometheus's answers for `crates/promql/tests/corpus`; see README.md."""

import json
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import cases

CORPUS = pathlib.Path(__file__).resolve().parents[2] / "crates/promql/tests/corpus"


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while True:
        out.append(n & 0x7F | (0x80 if n > 0x7F else 0))
        n >>= 7
        if not n:
            return bytes(out)


def field(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def double(value):
    if value == cases.STALE:
        return struct.pack("<Q", 0x7FF0000000000002)  # the NaN that ends a series
    return struct.pack("<d", float(value))


def write_request(series):
    out = b""
    for one in series:
        body = b"".join(
            field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(one["labels"].items()))
        for t, v in one["samples"]:
            body += field(2, b"\x09" + double(v) + b"\x10" + varint(cases.BASE + t))
        out += field(1, body)
    return out


def snappy(data):
    """The block format with literals only."""
    out = varint(len(data))
    for i in range(0, len(data), 60):
        part = data[i:i + 60]
        out += bytes([(len(part) - 1) << 2]) + part
    return out


def fetch(url, data=None, headers=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers or {}), timeout=30) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def ask(base, path, **params):
    status, body = fetch(f"{base}/api/v1/{path}?{urllib.parse.urlencode(params)}")
    reply = json.loads(body)
    if reply["status"] == "success":
        return {"answer": reply["data"]}
    return {"status": status, "errorType": reply["errorType"], "message": reply["error"]}


def seconds(relative):
    return f"{(cases.BASE + relative) / 1000:.3f}"


def store(name, content, version):
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in content)
    head = json.dumps({"prometheus": version, "base": cases.BASE})[:-1]
    key = "series" if name == "samples" else "cases"
    (CORPUS / f"{name}.json").write_text(f'{head}, "{key}": [\n{lines}\n]}}\n')
    print(f"{name}: {len(content)}")


def record(base):
    version = json.loads(fetch(f"{base}/api/v1/status/buildinfo")[1])["data"]["version"]
    status, body = fetch(f"{base}/api/v1/write", snappy(write_request(cases.SERIES)), {
        "Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0"})
    if status >= 300:
        raise SystemExit(f"remote write was refused: {status} {body.decode()}")
    # Values as text: JSON readers may round numbers.
    store("samples", [
        {"labels": one["labels"], "samples": [[t, v if isinstance(v, str) else repr(float(v))] for t, v in one["samples"]]}
        for one in cases.SERIES], version)
    store("instant", [
        {"query": query, "time": at, **ask(base, "query", query=query, time=seconds(at))}
        for query in cases.QUERIES for at in cases.INSTANTS], version)
    store("range", [
        {"query": query, "start": start, "end": end, "step": step,
         **ask(base, "query_range", query=query, start=seconds(start), end=seconds(end), step=step / 1000)}
        for query, start, end, step in cases.RANGES], version)
    store("refused", [
        {"query": query, **ask(base, "query", query=query, time=seconds(cases.INSTANTS[-1]))}
        for query in cases.REFUSED], version)


def main():
    program = shutil.which("prometheus")
    if not program:
        raise SystemExit("prometheus is not on PATH")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    CORPUS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "prometheus.yml")
        config.write_text("global: {}\n")
        server = subprocess.Popen(
            [program, f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver", "--log.level=error"])
        try:
            base = f"http://127.0.0.1:{port}"
            for _ in range(100):
                try:
                    if fetch(f"{base}/-/ready")[0] == 200:
                        break
                except OSError:
                    pass
                time.sleep(0.1)
            record(base)
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
