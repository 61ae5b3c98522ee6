"""A stand-in for Google Cloud Storage: the part of its JSON API that gcsfs, Orbax and tensorstore speak, in memory.

It keeps the promises that a run leans on: an object appears whole or not at all, every write has a generation of its
own, and conditions on generations are kept. With `every` above 0 each so-many-th call fails with 503, before or after
it was done.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class ObjectStore:
    """Buckets of objects: `(bucket, name) -> (generation, content)`.

    Attributes:
        every: of so many calls one fails; 0: none does.
        refused: whether calls that write fail with 403.
        failed: how many failed.
    """

    def __init__(self, every: int = 0, seed: int = 0) -> None:
        self.every, self.refused = every, False
        self.calls = self.failed = 0
        self.objects: dict[tuple[str, str], tuple[int, bytes]] = {}
        self.lock = threading.RLock()
        self._uploads: dict[str, tuple[str, str, dict[str, str], bytearray]] = {}
        self._generation, self._random = 0, random.Random(seed)

    def names(self, bucket: str) -> list[str]:
        """Returns the names of a bucket's objects, sorted."""
        with self.lock:
            return sorted(name for owner, name in self.objects if owner == bucket)

    def fails(self) -> str:
        """Says of the call that comes now whether it fails `before` or `after` it is done, or not at all."""
        with self.lock:
            self.calls += 1
            if not self.every or self._random.randrange(self.every):
                return ""
            self.failed += 1
            return self._random.choice(["before", "after"])

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Returns status, headers and body of one call."""
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        parts = [unquote(part) for part in url.path.strip("/").removeprefix("download/").split("/")]
        with self.lock:
            if self.refused and method != "GET":
                return _error(403, "the caller does not have storage.objects.create access")
            if parts[0] == "upload":
                return self._upload(parts, query, headers, body)
            assert parts[:3] == ["storage", "v1", "b"], target
            if len(parts) == 4:
                return _json(
                    {"kind": "storage#bucket", "name": parts[3], "location": "HERE", "storageClass": "STANDARD"}
                )
            if len(parts) == 5:
                return self._list(parts[3], query)
            if len(parts) > 6:  # SOURCE/moveTo/o/TARGET
                assert parts[6] == "moveTo", target
                if (found := self.objects.pop((parts[3], parts[5]), None)) is None:
                    return _error(404, "no such object")
                self._write(parts[3], parts[8], found[1])
                return _json(self._about(parts[3], parts[8]))
            return self._object(method, parts[3], parts[5], query, headers)

    def _object(self, method: str, bucket: str, name: str, query: dict[str, str], headers: Any) -> Any:
        found = self.objects.get((bucket, name))
        if status := _condition(query, found):
            return _error(status, "condition not met")
        if found is None:
            return _error(404, f"no such object: {bucket}/{name}")
        generation, content = found
        if method == "DELETE":
            del self.objects[bucket, name]
            return 204, {}, b""
        if query.get("alt") != "media":
            return _json(self._about(bucket, name))
        told = {"x-goog-generation": str(generation), "Content-Type": "application/octet-stream"}
        if "Range" not in headers:
            return 200, told, content
        first, _, last = headers["Range"].removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(content) - int(last))
        end = min(int(last) + 1, len(content)) if first and last else len(content)
        if start >= len(content):
            return _error(416, "out of range")
        return 206, told | {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}, content[start:end]

    def _list(self, bucket: str, query: dict[str, str]) -> Any:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items, folders = [], set()
        for name in self.names(bucket):
            if not name.startswith(prefix) or not query.get("startOffset", "") <= name:
                continue
            if "endOffset" in query and query["endOffset"] and name >= query["endOffset"]:
                continue
            inner, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                folders.add(f"{prefix}{inner}{delimiter}")
            else:
                items.append(self._about(bucket, name))
        return _json({"kind": "storage#objects", "items": items, "prefixes": sorted(folders)})

    def _upload(self, parts: list[str], query: dict[str, str], headers: Any, body: bytes) -> Any:
        if "upload_id" in query:  # a part of a resumable upload, where it belongs: it may come twice
            bucket, name, first, held = self._uploads[query["upload_id"]]
            span, _, total = headers.get("Content-Range", "bytes 0-/0").removeprefix("bytes ").partition("/")
            if span != "*":
                held[int(span.partition("-")[0]) :] = body
            if total == "*":
                return 308, {"Range": f"bytes=0-{len(held) - 1}"}, b""
            return self._store(bucket, name, first, bytes(held))
        bucket, kind = parts[4], query["uploadType"]
        if kind == "multipart":
            boundary = headers["Content-Type"].partition("boundary=")[2].strip("\"'").encode()
            about, content = body.split(b"--" + boundary)[1:3]
            name = json.loads(about.partition(b"\n\n" if b"\r\n\r\n" not in about else b"\r\n\r\n")[2])["name"]
            gap = b"\r\n\r\n" if b"\r\n\r\n" in content else b"\n\n"
            content = content.partition(gap)[2]
            return self._store(bucket, name, query, content[: -len(gap) // 2])
        if kind == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            upload = str(len(self._uploads))
            self._uploads[upload] = bucket, name, query, bytearray()
            where = f"http://{headers['Host']}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={upload}"
            return 200, {"Location": where}, b""
        return self._store(bucket, query["name"], query, body)

    def _store(self, bucket: str, name: str, query: dict[str, str], content: bytes) -> Any:
        if status := _condition(query, self.objects.get((bucket, name))):
            return _error(status, "condition not met")
        self._write(bucket, name, content)
        return _json(self._about(bucket, name))

    def _write(self, bucket: str, name: str, content: bytes) -> None:
        self._generation += 1
        self.objects[bucket, name] = self._generation, content

    def _about(self, bucket: str, name: str) -> dict[str, Any]:
        generation, content = self.objects[bucket, name]
        times = dict.fromkeys(("timeCreated", "updated"), "2020-01-01T00:00:00.000Z")
        about = {"kind": "storage#object", "bucket": bucket, "name": name, "id": f"{bucket}/{name}/{generation}"}
        return {**about, **times, "generation": str(generation), "size": str(len(content)), "metageneration": "1"}


def _condition(query: dict[str, str], found: tuple[int, bytes] | None) -> int:
    generation = found[0] if found else 0
    if "ifGenerationMatch" in query and int(query["ifGenerationMatch"]) != generation:
        return 412
    if "ifGenerationNotMatch" in query and int(query["ifGenerationNotMatch"]) == generation:
        return 304
    return 0


def _json(value: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _error(status: int, why: str) -> tuple[int, dict[str, str], bytes]:
    body = {"error": {"code": status, "message": why, "errors": [{"reason": why, "message": why}]}}
    return status, {"Content-Type": "application/json"}, b"" if status == 304 else json.dumps(body).encode()


@contextmanager
def serving(store: ObjectStore) -> Iterator[dict[str, str]]:
    """Serves a store on this machine, and yields the variables that lead its clients there."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            failing = store.fails()
            answer = _error(503, "try again")
            if failing != "before":
                answer = store.answer(self.command, self.path, self.headers, body)
            if failing == "after":
                answer = _error(503, "try again")
            status, headers, content = answer
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *where: Any) -> None:
            if not isinstance(sys.exc_info()[1], ConnectionError):  # clients hang up as they like
                super().handle_error(*where)

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield {
            "STORAGE_EMULATOR_HOST": address,
            "TENSORSTORE_GCS_HTTP_URL": address,
            "GCE_METADATA_ROOT": "127.0.0.1:1",  # nobody there: no credentials are looked for
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }
    finally:
        server.shutdown()
        server.server_close()
