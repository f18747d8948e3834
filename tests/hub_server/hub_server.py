"""A stand-in for the Hugging Face Hub: a threaded server of the standard library that the real client can talk to.

    with HubServer({"hf_writer": {"acme"}}) as server:
        HfApi(endpoint=server.url, token="hf_writer").create_repo("acme/model")

It knows what ``huggingface_hub`` needs to create a repository, to upload files small and large, to tag, list, and
download with ranges. ``server.faults`` makes it fail, ``server.requests`` tells what was asked, ``server.store`` holds
the rest.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_server.hub_faults import Fault, Faults
from tests.hub_server.hub_store import LARGE, Blob, Conflict, Repo, Store

_ROUTES: list[tuple[str, re.Pattern[str], str]] = [
    (method, re.compile(pattern), name)
    for method, pattern, name in (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("GET", r"/api/models", "list_models"),
        ("POST", r"/api/repos/create", "create_repo"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)", "info"),
        ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/revision/(?P<revision>[^/]+)", "info"),
        ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/refs", "refs"),
        ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)/?.*", "tree"),
        ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)", "commit"),
        ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/tag/(?P<revision>[^/]+)", "tag"),
        ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/branch/(?P<revision>[^/]+)", "branch"),
        ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
        ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})/verify", "lfs_verify"),
        ("GET", r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
        ("HEAD", r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    )
]


class Refusal(Exception):  # noqa: N818 - it says the condition
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class HubServer:
    """The server, from entering the block to leaving it.

    Args:
        tokens: the organizations that each token may write to.
    """

    def __init__(self, tokens: dict[str, set[str]]) -> None:
        self.store, self.faults = Store(tokens), Faults()
        self.requests: list[tuple[str, str]] = []
        self.sent_bytes = 0
        handler = type("BoundHandler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def asked(self, pattern: str, method: str | None = None) -> list[str]:
        """Paths that were requested and match."""
        return [p for m, p in list(self.requests) if method in (None, m) and re.search(pattern, p)]

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """What is stored, the server's own file apart."""
        repo = self.store.repos[repo_id]
        tree = repo.commits[repo.commit_of(revision) or ""]
        return {path: blob.content for path, blob in tree.items() if path != ".gitattributes"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Every method of ``_ROUTES`` answers with a value, or with bytes, or raises a Refusal."""

    hub: ClassVar[HubServer]
    protocol_version = "HTTP/1.1"
    timeout = 30

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *args: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _answer(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path) if "/resolve/" in address.path else address.path
        self.query = {key: values[0] for key, values in parse_qs(address.query).items()}
        self.hub.requests.append((self.command, path))
        body = self._body()
        fault = self.hub.faults.take(self.command, path) or Fault(path="", times=0)
        time.sleep(fault.delay_s)
        headers: dict[str, str] = {}
        try:
            if fault.status is not None:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                raise Refusal(fault.status, fault.say.format(token=token))
            status, content, headers = self._route(path, body)
        except Refusal as error:
            status, content = error.status, json.dumps({"error": str(error)}).encode()
            headers = {"X-Error-Message": str(error)} | ({"X-Error-Code": error.code} if error.code else {})
        self._send(status, content, headers | fault.headers, fault)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        size = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(size)
        if len(content) != size:
            raise ConnectionError("the client went away")
        return content

    def _route(self, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        for method, pattern, name in _ROUTES:
            if method == self.command and (match := pattern.fullmatch(path)):
                parts = {key: unquote(value) for key, value in match.groupdict().items()}
                answer: Callable[..., Any] = getattr(self, f"_{name}")
                found = answer(body, **parts)
                if isinstance(found, tuple):
                    return found
                return 200, json.dumps(found).encode(), {"Content-Type": "application/json"}
        raise Refusal(404, f"no such endpoint: {self.command} {path}")

    def _send(self, status: int, content: bytes, headers: dict[str, str], fault: Fault) -> None:
        if fault.flip and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault.cut_after is not None:
            self.wfile.write(content[: fault.cut_after])
            self.wfile.flush()
            self.hub.sent_bytes += min(fault.cut_after, len(content))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(content)
        self.hub.sent_bytes += len(content)

    # Who may do what.

    def _organizations(self) -> set[str]:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.store.tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.hub.store.tokens.get(token, set())

    def _require_write(self, repo: str) -> None:
        if not self.headers.get("Authorization"):
            raise Refusal(401, "Invalid username or password.")
        if repo.split("/")[0] not in self._organizations():
            raise Refusal(403, "You don't have the rights to write there")

    def _repo(self, repo: str) -> Repo:
        may_write = repo.split("/")[0] in self._organizations()
        found = self.hub.store.repos.get(repo)
        if found is None or (found.private and not may_write):
            raise Refusal(404 if self.headers.get("Authorization") else 401, "Repository not found", "RepoNotFound")
        return found

    def _commit_of(self, repo: str, revision: str) -> str:
        commit = self._repo(repo).commit_of(revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # Reading.

    def _whoami(self, body: bytes) -> Any:
        return {"type": "user", "name": "tester", "orgs": [{"name": name} for name in sorted(self._organizations())]}

    def _list_models(self, body: bytes) -> Any:
        author, tag = self.query.get("author", ""), self.query.get("filter", "")
        ids = [
            name for name, repo in self.hub.store.repos.items() if name.startswith(f"{author}/") and not repo.private
        ]
        return [about for about in map(self._about, ids) if tag in about["tags"] or not tag]

    def _about(self, repo: str, revision: str = "main") -> dict[str, Any]:
        commit = self._commit_of(repo, revision)
        tree = self._repo(repo).commits[commit]
        readme = tree["README.md"].content.decode() if "README.md" in tree else ""
        head = readme.split("---\n")[1] if readme.startswith("---\n") else ""
        tags = re.findall(r"^- (\S+)$", head.partition("tags:\n")[2].split("\n\n")[0], re.MULTILINE)
        siblings = [{"rfilename": path} for path in sorted(tree)]
        about = {"id": repo, "sha": commit, "private": self._repo(repo).private, "tags": tags, "downloads": 0}
        return about | {"siblings": siblings}

    def _info(self, body: bytes, repo: str, revision: str = "main") -> Any:
        return self._about(repo, revision)

    def _refs(self, body: bytes, repo: str) -> Any:
        found = self._repo(repo)
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c} for n, c in found.branches.items()]
        tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in found.tags.items()]
        return {"branches": branches, "tags": tags, "converts": []}

    def _tree(self, body: bytes, repo: str, revision: str) -> Any:
        tree = self._repo(repo).commits[self._commit_of(repo, revision)]
        entries = []
        for path, blob in sorted(tree.items()):
            entry: dict[str, Any] = {"type": "file", "oid": blob.oid, "size": len(blob.content), "path": path}
            if blob.large:
                entry["lfs"] = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": 130}
            entries.append(entry)
        return entries

    def _resolve(self, body: bytes, repo: str, revision: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        commit = self._commit_of(repo, revision)
        blob = self._repo(repo).commits[commit].get(path)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if blob is None:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        headers |= {"ETag": f'"{blob.etag}"', "Content-Type": "application/octet-stream"}
        if blob.large:
            headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.content))}
        content = blob.content
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(match[1]), int(match[2] or len(content) - 1)
            if start >= len(content):
                raise Refusal(416, "Range not satisfiable")
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            return 206, content[start : end + 1], headers
        return 200, content, headers

    # Writing.

    def _create_repo(self, body: bytes) -> Any:
        asked = json.loads(body)
        repo = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        self._require_write(repo)
        try:
            self.hub.store.create(repo, private=asked.get("visibility") == "private" or bool(asked.get("private")))
        except Conflict:
            raise Refusal(409, "You already created this model repo") from None
        return {"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo}

    def _validate_yaml(self, body: bytes) -> Any:
        content = json.loads(body)["content"]
        if not content.startswith("---\n"):
            return {"warnings": [{"message": "empty or missing yaml metadata"}], "errors": []}
        return {"warnings": [], "errors": []}

    def _preupload(self, body: bytes, repo: str, revision: str) -> Any:
        self._require_write(repo)
        tree = self._repo(repo).commits[self._commit_of(repo, revision)]
        return {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                    "oid": (tree[file["path"]].etag if file["path"] in tree else None),
                }
                for file in json.loads(body)["files"]
            ]
        }

    def _lfs_batch(self, body: bytes, repo: str) -> Any:
        self._require_write(repo)
        objects: list[dict[str, Any]] = []
        for wanted in json.loads(body)["objects"]:
            oid = wanted["oid"]
            place = {
                "upload": {"href": f"{self.hub.url}/lfs/{oid}"},
                "verify": {"href": f"{self.hub.url}/lfs/{oid}/verify"},
            }
            objects.append({**wanted} if oid in self.hub.store.objects else {**wanted, "actions": place})
        return {"transfer": "basic", "objects": objects}

    def _lfs_put(self, body: bytes, oid: str) -> Any:
        if Blob(body, True).sha256 != oid:
            raise Refusal(400, "the content is not that of its oid")
        self.hub.store.objects[oid] = body
        return {}

    def _lfs_verify(self, body: bytes, oid: str) -> Any:
        if len(self.hub.store.objects.get(oid, b"")) != json.loads(body)["size"]:
            raise Refusal(404, "no such object")
        return {}

    def _commit(self, body: bytes, repo: str, revision: str) -> Any:
        self._require_write(repo)
        self._repo(repo)
        added: dict[str, Blob] = {}
        deleted: set[str] = set()
        header: dict[str, Any] = {}
        for line in filter(None, body.split(b"\n")):
            entry = json.loads(line)
            value = entry["value"]
            match entry["key"]:
                case "header":
                    header = value
                case "file":
                    added[value["path"]] = Blob(base64.b64decode(value["content"]), False)
                case "lfsFile":
                    if value["oid"] not in self.hub.store.objects:
                        raise Refusal(400, "a large file was not uploaded")
                    added[value["path"]] = Blob(self.hub.store.objects[value["oid"]], True)
                case "deletedFile":
                    deleted.add(value["path"])
        try:
            commit = self.hub.store.write(repo, revision, added, deleted, header["summary"], header.get("parentCommit"))
        except Conflict:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.") from None
        return {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{repo}/commit/{commit}"}

    def _tag(self, body: bytes, repo: str, revision: str) -> Any:
        self._require_write(repo)
        return self._name(self._repo(repo).tags, json.loads(body)["tag"], self._commit_of(repo, revision))

    def _branch(self, body: bytes, repo: str, revision: str) -> Any:
        self._require_write(repo)
        start = json.loads(body or b"{}").get("startingPoint", "main")
        return self._name(self._repo(repo).branches, revision, self._commit_of(repo, start))

    def _name(self, names: dict[str, str], name: str, commit: str) -> Any:
        try:
            self.hub.store.name(names, name, commit)
        except Conflict:
            raise Refusal(409, "Reference already exists") from None
        return {}
