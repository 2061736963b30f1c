"""A server with the few routes of the Hugging Face Hub that cropzoo uses."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """Repositories by name, each with its commits by hash and its branches; and the requests that were made."""

    url: str = ""
    commits: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    refuse: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    def commit(self, repository: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Add files to a branch; returns the hash of the commit."""
        before = self.files(repository, branch)
        found = {**before, **files}
        oid = hashlib.sha1(repr(sorted(found.items())).encode()).hexdigest()
        self.commits.setdefault(repository, {})[oid] = found
        self.branches.setdefault(repository, {})[branch] = oid
        return oid

    def files(self, repository: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a revision; empty if there is none."""
        commits = self.commits.get(repository, {})
        return commits.get(self.branches.get(repository, {}).get(revision, revision), {})


@contextmanager
def serve() -> Iterator[Hub]:
    """Serve an empty hub at `Hub.url`."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._resolve(body=False)

    def do_GET(self) -> None:
        self._resolve(body=True)

    def _resolve(self, body: bool) -> None:
        path = self._note()
        repository, _, rest = path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        revision = unquote(revision)
        commits, branches = self.hub.commits.get(repository), self.hub.branches.get(repository, {})
        commit = branches.get(revision, revision)
        if commits is None:
            self._answer(404, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})
        elif commit not in commits:
            self._answer(404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
        elif name not in commits[commit]:
            self._answer(404, {"error": "no"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        else:
            content = commits[commit][name]
            headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
            self._send(200, content if body else b"", len(content), headers)

    def do_POST(self) -> None:
        path, content = self._note(), self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.hub.refuse and self.hub.refuse in path:
            self._answer(403, {"error": "You do not have write access"})
        elif path == "api/repos/create":
            asked = json.loads(content)
            name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
            self.hub.commits.setdefault(name, {})
            self._answer(200, {"url": f"{self.hub.url}/{name}", "id": "1", "name": name})
        elif path == "api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = json.loads(content)["files"]
            modes = [
                {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular"}
                for each in files
            ]
            self._answer(200, {"files": [{**each, "shouldIgnore": False, "oid": None} for each in modes]})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}}}
                for each in json.loads(content)["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            self._commit(path, [json.loads(line) for line in content.splitlines()])
        else:
            self._answer(404, {"error": f"no route {path}"})

    def _commit(self, path: str, lines: list[dict[str, Any]]) -> None:
        repository = path.removeprefix("api/models/").partition("/commit/")[0]
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploaded[value["oid"]]
        oid = self.hub.commit(repository, files)
        url = f"{self.hub.url}/{repository}/commit/{oid}"
        self._answer(200, {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    def do_PUT(self) -> None:
        path = self._note()
        self.hub.uploaded[path.removeprefix("lfs/")] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {})

    def _note(self) -> str:
        path = (
            unquote(urlsplit(self.path).path).lstrip("/")
            if "/resolve/" not in self.path
            else urlsplit(self.path).path[1:]
        )
        self.hub.requests.append(f"{self.command} {path}")
        if token := self.headers.get("Authorization"):
            self.hub.tokens.add(token.removeprefix("Bearer "))
        return path

    def _answer(self, code: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self._send(code, body if self.command != "HEAD" else b"", len(body), headers or {})

    def _send(self, code: int, body: bytes, length: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
