"""What a worker is sent so that it runs a stage as the orchestrator would: code by commit and patch, inputs by hash."""

import base64
import platform
import subprocess
import zlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field

from flows.core.errors import CannotBeSent

FORMAT = 1
MAX_PATCH_BYTES = 300_000  # packed; Prefect's server takes parameters of half a megabyte
DIFF = (  # as `git apply` takes it and as a worker sees the files, whatever the user's git is set to
    "diff", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative",
    "--src-prefix=a/", "--dst-prefix=b/", "--unified=3",
)  # fmt: skip
NOT_IN_PATCHES = (":(top,exclude)dvc.lock", ":(top,exclude)**/dvc.lock")  # what it records is sent by hash


class Order(BaseModel):
    """One stage to run on a worker, with all that decides its result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(FORMAT, description="of this order; a worker refuses one that it does not know")
    stage: str = Field(description="name of the stage in dvc.yaml, for example train@cnn")
    run_key: str = Field(description="the key of DVC's run cache for the stage on the inputs as they were frozen")
    source: str = Field(description="git repository that the worker fetches the commit from")
    commit: str = Field(description="the commit whose files the worker checks out")
    patch: str = Field("", description="how the orchestrator's tracked files differ from the commit, packed")
    folder: str = Field("", description="the DVC project's folder below the top of the git repository")
    inputs: dict[str, str] = Field(
        default_factory=dict, description="hash of each output of other stages that it reads"
    )
    remote_folder: dict[str, str] = Field(default_factory=dict, description="DVC remotes that are folders, by name")
    versions: dict[str, str] = Field(default_factory=dict, description="the orchestrator's versions of packages")
    other_versions: str = Field("refuse", description="refuse or warn where the worker's versions are others")
    timeout_s: float | None = Field(None, description="time limit of the stage, in seconds")
    force: bool = Field(False, description="run it even where the worker's cache has its result")


def source_of(root: Path, files: Sequence[str], stage: str) -> dict[str, str]:
    """The fields `source`, `commit`, `patch` and `folder` of an order for `stage`, which reads `files`.

    The commit is the newest one that the source knows, so that a worker can fetch it; what was committed or edited
    since goes along as a patch.

    Raises:
        CannotBeSent: there is no commit, git does not know one of the files, or the patch is too large.
    """
    if not _git(root, "rev-parse", "--verify", "--quiet", "HEAD"):
        raise CannotBeSent(stage, "a worker checks out a git commit, and there is none yet; commit first")
    unknown = _unknown(root, files)
    if unknown:
        raise CannotBeSent(
            stage, f"it reads {', '.join(unknown)}, which git does not know, so that no worker can see it; `git add` it"
        )
    origin = _git(root, "config", "--get", "remote.origin.url").strip()
    commit = _newest_known(root) if origin else _git(root, "rev-parse", "HEAD").strip()
    if not commit:
        raise CannotBeSent(stage, f"{origin} knows no commit of this branch's history; `git push` first")
    difference = [*DIFF, commit, "--", ":/", *NOT_IN_PATCHES]
    packed = base64.b85encode(zlib.compress(_git_bytes(root, *difference), 9)).decode()
    if len(packed) > MAX_PATCH_BYTES:
        raise CannotBeSent(
            stage,
            f"what differs from the commit {commit[:10]} makes {len(packed):,} bytes, of which a worker takes at most "
            f"{MAX_PATCH_BYTES:,}; commit and push it",
        )
    top = _git(root, "rev-parse", "--show-toplevel").strip()
    source = without_secrets(origin) if _is_address(origin) else str((Path(top) / origin).resolve())
    return {
        "source": source,
        "commit": commit,
        "patch": packed,
        "folder": _git(root, "rev-parse", "--show-prefix").strip(),
    }


def unpacked(patch: str) -> bytes:
    """The patch of an order as `git apply` takes it."""
    return zlib.decompress(base64.b85decode(patch)) if patch else b""


def versions_of(names: Sequence[str]) -> dict[str, str]:
    """Versions of packages that are installed here, and of `python`, whose third number changes no result."""
    found = {}
    for name in names:
        if name == "python":
            found[name] = ".".join(platform.python_version_tuple()[:2])
            continue
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def other_versions(order: Order) -> str:
    """What is different here, in words; empty when nothing is."""
    here = versions_of(list(order.versions))
    others = [
        f"{name} {here[name]} instead of {wanted}" for name, wanted in order.versions.items() if here[name] != wanted
    ]
    return ", ".join(others)


def _newest_known(root: Path) -> str:
    """The newest commit of HEAD's history that origin is known to have; empty when it has none."""
    ours = _git(root, "rev-list", "--boundary", "--topo-order", "HEAD", "--not", "--remotes=origin").split()
    if not ours:
        return _git(root, "rev-parse", "HEAD").strip()
    return next((line[1:] for line in ours if line.startswith("-")), "")


def _unknown(root: Path, files: Sequence[str]) -> list[str]:
    """Those of `files`, or files in them, that git does not track."""
    if not files:
        return []
    tracked = set(_git(root, "ls-files", "-z", "--", *[f":(literal){file}" for file in files]).split("\0"))
    return [file for file in files if file not in tracked]


def _is_address(source: str) -> bool:
    """True for a repository on another machine, `host:path` too; false for a folder."""
    return "://" in source or ":" in source.partition("/")[0]


def without_secrets(address: str) -> str:
    """The address without a password or token: the order is shown on Prefect's page, and a worker has its own."""
    parts = urlsplit(address)
    login, _, host = parts.netloc.rpartition("@")
    user = "" if parts.scheme in ("http", "https") else login.partition(":")[0]  # a token stands there on the web
    return urlunsplit(parts._replace(netloc=f"{user}@{host}" if user else host)) if login else address


def _git(root: Path, *arguments: str) -> str:
    return _git_bytes(root, *arguments).decode(errors="replace")


def _git_bytes(root: Path, *arguments: str) -> bytes:
    """What git prints; nothing where it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    return done.stdout if not done.returncode else b""
