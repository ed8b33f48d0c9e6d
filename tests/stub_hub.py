"""A Hugging Face hub on the loopback: what huggingface_hub asks of it to make a repository and commit files."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "hf_stubstubstubstub42"
OID = "d" * 40


@dataclass
class Repository:
    """Its visibility, and its files by branch."""

    private: bool
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})


@dataclass
class StubHub:
    """`asked`: every request as "METHOD path". `refuses`: {path's beginning: status} that fail."""

    endpoint: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    uploaded: dict[str, bytes] = field(default_factory=dict)  # LFS objects by sha256
    asked: list[str] = field(default_factory=list)
    refuses: dict[str, int] = field(default_factory=dict)

    def written(self, repo: str, folder: Path, branch: str = "main") -> Path:
        """A repository as a download gives it."""
        for name, content in self.repositories[repo].branches[branch].items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder


@contextmanager
def stub_hub() -> Iterator[StubHub]:
    """A hub that knows one user, "me", by one token."""
    hub = StubHub()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append(f"{self.command} {self.path}")
            refused = next((status for path, status in hub.refuses.items() if self.path.startswith(path)), None)
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}" or self.path.startswith("/upload/")
            if refused or not allowed:
                status, answer = refused or 401, {"error": "You may not write here."}
            else:
                status, answer = _answer(hub, self.command, self.path, body)
            said = json.dumps(answer).encode()
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = _do

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(hub: StubHub, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    if path == "/api/whoami-v2":
        return 200, {"name": "me", "type": "user", "auth": {"type": "access_token"}}
    if path.startswith("/upload/"):
        hub.uploaded[path.removeprefix("/upload/")] = body
        return 200, {}
    if path == "/api/validate-yaml":
        return 200, {}
    if path == "/api/repos/create":
        return _create(hub, json.loads(body))
    if lfs := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
        assert lfs[1] in hub.repositories
        objects = [
            {**one, "actions": {"upload": {"href": f"{hub.endpoint}/upload/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        return 200, {"transfer": "basic", "objects": objects}
    named = re.fullmatch(r"/api/models/(\w+/[\w.-]+)(?:/(\w+)/([\w%.-]+))?", path)
    assert named is not None, path
    repo, what, branch = named.groups()
    if repo not in hub.repositories:
        return 404, {"error": "Repository not found"}
    return _of_repository(hub, repo, what, branch, body)


def _create(hub: StubHub, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    name = f"{asked['organization'] or 'me'}/{asked['name']}"
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    status = 409 if name in hub.repositories else 200
    hub.repositories.setdefault(name, Repository(private))
    return status, {"url": f"{hub.endpoint}/{name}", "id": name}


def _of_repository(
    hub: StubHub, repo: str, what: str | None, branch: str | None, body: bytes
) -> tuple[int, dict[str, Any]]:
    held = hub.repositories[repo]
    if what is None or branch is None:
        return 200, {"id": repo, "private": held.private, "sha": OID, "siblings": []}
    if what == "branch":
        held.branches.setdefault(branch, {})
        return 200, {}
    if what == "preupload":
        asked = [one["path"] for one in json.loads(body)["files"]]
        modes = [("lfs" if path.endswith(".safetensors") else "regular", path) for path in asked]
        return 200, {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for mode, path in modes]}
    assert what == "commit"
    for line in map(json.loads, body.splitlines()):
        value = line["value"]
        if line["key"] == "file":
            held.branches[branch][value["path"]] = base64.b64decode(value["content"])
        if line["key"] == "lfsFile":
            held.branches[branch][value["path"]] = hub.uploaded[value["oid"]]
    return 200, {"commitUrl": f"{hub.endpoint}/{repo}/commit/{OID}", "commitOid": OID}
