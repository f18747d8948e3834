"""What a Hub stores: repositories of commits, tags and branches, large objects, and who may do what. In memory."""

from __future__ import annotations

import hashlib
import itertools
import threading
from dataclasses import dataclass, field

LARGE = (".safetensors", ".onnx", ".ort", ".png", ".engine", ".bin")


@dataclass(frozen=True)
class Blob:
    """A file's content, and whether it is stored as a large object."""

    content: bytes
    large: bool

    @property
    def oid(self) -> str:
        """git's name for it."""
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.oid


@dataclass
class Repo:
    """Commits are whole trees; branches and tags are names of commits."""

    private: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit_of(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a hash stands for."""
        for names in (self.branches, self.tags):
            if revision in names:
                return names[revision]
        return revision if revision in self.commits else None


class Conflict(Exception):  # noqa: N818 - it says the condition
    """The thing exists already, or has changed meanwhile."""


class Store:
    """All repositories.

    Args:
        tokens: who each token stands for, as the names of the organizations that it may write to.
    """

    def __init__(self, tokens: dict[str, set[str]]) -> None:
        self.tokens = tokens
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.lock = threading.RLock()
        self._counter = itertools.count()

    def create(self, repo_id: str, private: bool) -> None:
        with self.lock:
            if repo_id in self.repos:
                raise Conflict
            self.repos[repo_id] = Repo(private=private)
            attributes = "".join(f"*{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in LARGE)
            self.write(repo_id, "main", {".gitattributes": Blob(attributes.encode(), False)}, set(), "initial commit")

    def write(
        self,
        repo_id: str,
        branch: str,
        added: dict[str, Blob],
        deleted: set[str],
        message: str,
        parent: str | None = None,
    ) -> str:
        """Commit; ``parent`` is the commit that the branch must still be at."""
        with self.lock:
            repo = self.repos[repo_id]
            head = repo.branches.get(branch)
            if parent is not None and head is not None and not head.startswith(parent):
                raise Conflict
            tree = {path: blob for path, blob in repo.commits.get(head or "", {}).items() if path not in deleted}
            commit = hashlib.sha1(f"{repo_id} {next(self._counter)}".encode()).hexdigest()
            repo.commits[commit] = {**tree, **added}
            repo.messages[commit] = message
            repo.branches[branch] = commit
            return commit

    def name(self, names: dict[str, str], name: str, commit: str) -> None:
        """Make a branch or a tag."""
        with self.lock:
            if name in names:
                raise Conflict
            names[name] = commit

    def put(self, repo_id: str, files: dict[str, bytes], branch: str = "main") -> str:
        """What a test wants to be there, whoever may have written it."""
        if repo_id not in self.repos:
            self.create(repo_id, private=False)
        blobs = {path: Blob(content, path.endswith(LARGE)) for path, content in files.items()}
        return self.write(repo_id, branch, blobs, set(), "by hand")
