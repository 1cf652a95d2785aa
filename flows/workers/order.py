"""Defines the order that a worker receives to run a stage: its code by commit and patch, its inputs by hash."""

import base64
import platform
import zlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field

from flows.core.errors import CannotBeSent
from flows.core.git import fetch_address, git_names, git_text, head_commit, refreshed_index, run_git
from flows.core.redaction import mask
from flows.engine.environment.present import present_version
from flows.workers.patch_secrets import is_dvc_config, secret_in_patch
from stages.base.shown_text import url_secrets

FORMAT = 1
MAX_PATCH_BYTES = 300_000  # compressed and encoded; Prefect's server accepts parameters of half a megabyte
GIT_DIFF = (  # in the form that `git apply` reads, whatever the user's settings of git are
    "diff", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative",
    "--src-prefix=a/", "--dst-prefix=b/", "--unified=3",
)  # fmt: skip
# Contents of the one are sent as hashes, and a worker does not read the other.
PATCH_EXCLUDES = tuple(
    f":(top,exclude){name}" for name in ("dvc.lock", "**/dvc.lock", "environment.lock", "**/environment.lock")
)


class Order(BaseModel):
    """One stage to run on a worker, with everything that decides its result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(FORMAT, description="version of this format; a worker refuses a version that it does not know")
    stage: str = Field(description="name of the stage in dvc.yaml, for example train@cnn")
    run_key: str = Field(description="key of the stage in DVC's run cache, for the inputs of this order")
    source: str = Field(description="git repository from which the worker fetches the commit")
    commit: str = Field(description="commit that the worker checks out")
    patch: str = Field("", description="difference between the commit and the orchestrator's tracked files, compressed")
    folder: str = Field("", description="folder of the DVC project, relative to the top of the git repository")
    inputs: dict[str, str] = Field(
        default_factory=dict, description="hash of each output of another stage that the stage reads, by path"
    )
    executables: list[str] | None = Field(
        None, description="paths of executable files among the inputs; without it, dvc.lock of the commit names them"
    )
    remote_folder: dict[str, str] = Field(
        default_factory=dict, description="path of each DVC remote that is a folder, by the remote's name"
    )
    remote: str = Field("", exclude=True, description="digest of the place of the default DVC remote; it is not sent")
    versions: dict[str, str] = Field(default_factory=dict, description="versions of the orchestrator's packages")
    other_versions: str = Field("refuse", description="refuse or warn, if the worker's versions differ")
    timeout_s: float | None = Field(None, description="time limit of the stage, in seconds")
    force: bool = Field(False, description="run the stage even if the worker's cache has its result")


def code_fields(root: Path, files: Sequence[str], stage: str) -> dict[str, str]:
    """Return the fields `source`, `commit`, `patch` and `folder` of an order for `stage`, which reads `files`.

    The commit is the newest one that the source has, so that a worker can fetch it. Later commits and edits are sent
    as a patch.

    Raises:
        CannotBeSent: there is no commit, git does not track one of the files, the patch is too large or holds a
            secret, or origin has an address that cannot be sent.
        GitFailed: git cannot read the repository.
    """
    if not head_commit(root):
        raise CannotBeSent(stage, "the repository has no commit that a worker could check out; commit first")
    submodules = _in_submodules(root, files)
    if submodules:
        raise CannotBeSent(
            stage,
            f"it reads {', '.join(submodules)} in a git submodule, which workers lack; copy the files",
        )
    untracked = _untracked(root, files)
    if untracked:
        raise CannotBeSent(
            stage, f"it reads {', '.join(untracked)}, which git does not track and a worker would lack; `git add` it"
        )
    origin = fetch_address(root)
    source = _source(stage, origin, Path(git_text(["rev-parse", "--show-toplevel"], root)))
    commit = _newest_pushed_commit(root) if origin else head_commit(root)
    if not commit:
        raise CannotBeSent(stage, f"{source} has no commit from the history of this branch; `git push` first")
    with refreshed_index(root) as index:
        difference = run_git([*GIT_DIFF, commit, "--", ":/", *PATCH_EXCLUDES], root, index=index)
    patch = base64.b85encode(zlib.compress(difference, 9)).decode()
    if len(patch) > MAX_PATCH_BYTES:
        raise CannotBeSent(
            stage,
            f"the changes since the commit {commit[:10]} take {len(patch):,} bytes, and an order holds at most "
            f"{MAX_PATCH_BYTES:,}; commit and push them",
        )
    _check_secrets(stage, difference, commit)
    return {
        "source": source,
        "commit": commit,
        "patch": patch,
        "folder": git_text(["rev-parse", "--show-prefix"], root),
    }


def _check_secrets(stage: str, difference: bytes, commit: str) -> None:
    """Refuses a patch with a secret: Prefect's server stores orders, and shows them on its page."""
    found = secret_in_patch(difference)
    if found is None:
        return
    name, secret = found
    advice = (
        "move it to .dvc/config.local with `dvc remote modify --local`"
        if is_dvc_config(name)
        else "take it out of the file"
    )
    raise CannotBeSent(
        stage,
        f"the changes of {name} since the commit {commit[:10]} hold a credential ({secret}), which Prefect's server "
        f"would store; {advice}, then commit and push",
    )


def unpack_patch(patch: str) -> bytes:
    """Return the patch of an order in the form that `git apply` reads."""
    return zlib.decompress(base64.b85decode(patch)) if patch else b""


def installed_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages in this environment.

    The name `python` gives the interpreter's major and minor number: the third number changes no result.
    """
    versions = {}
    for name in names:
        is_python = name == "python"
        versions[name] = ".".join(platform.python_version_tuple()[:2]) if is_python else present_version(name)
    return versions


def version_differences(order: Order) -> str:
    """Describe the packages whose installed versions differ from those of the order; empty if none differs."""
    installed = installed_versions(list(order.versions))
    return ", ".join(
        f"{name} {installed[name]} instead of {expected}"
        for name, expected in order.versions.items()
        if installed[name] != expected
    )


def strip_credentials(address: str) -> str:
    """Return a git address without its passwords and tokens: orders are visible on Prefect's page.

    Raises:
        ValueError: the address is no URL, or has a password in a form that cannot be removed; the message is the reason
            and does not quote the address.
    """
    try:
        parts = urlsplit(address)
    except ValueError:  # its message may have a part of a password
        raise ValueError("it is no valid URL") from None
    login, _, host = parts.netloc.rpartition("@")
    user = "" if parts.scheme in ("http", "https") else login.partition(":")[0]  # over HTTP the user may be a token
    if login:
        parts = parts._replace(netloc=f"{user}@{host}" if user else host)
    if url_secrets(f"?{parts.query}#{parts.fragment}"):
        parts = parts._replace(query="", fragment="")
    if url_secrets(urlunsplit(parts)):
        raise ValueError(
            "it has a password or token with a character that belongs into no URL, such as a / without %2F"
        )
    return address if parts == urlsplit(address) else urlunsplit(parts)


def _source(stage: str, origin: str, top: Path) -> str:
    """Return the git repository from which workers fetch: `origin`, or without one the folder `top`.

    Raises:
        CannotBeSent: `origin` has an address that cannot be sent.
    """
    if not _is_on_network(origin):
        return str((top / origin).resolve())
    try:
        return strip_credentials(origin)
    except ValueError as error:
        advice = "set one without a password with `git remote set-url origin URL`"
        raise CannotBeSent(stage, f"the address of origin is {mask(origin)}: {error}; {advice}") from error


def _newest_pushed_commit(root: Path) -> str:
    """Return the newest commit in the history of HEAD that origin is known to have; empty if it has none."""
    command = ["rev-list", "--boundary", "--topo-order", "HEAD", "--not", "--remotes=origin"]
    unpushed = git_text(command, root).split()
    if not unpushed:
        return head_commit(root)
    return next((line[1:] for line in unpushed if line.startswith("-")), "")


def _in_submodules(root: Path, files: Sequence[str]) -> list[str]:
    """Return those of `files` that are in a submodule of the repository."""
    entries = git_names(["ls-files", "-z", "--stage"], root)
    submodules = [entry.partition("\t")[2] for entry in entries if entry.startswith("160000 ")]
    return [file for file in files if any(Path(file).is_relative_to(submodule) for submodule in submodules)]


def _untracked(root: Path, files: Sequence[str]) -> list[str]:
    """Return those of `files` that git does not track."""
    if not files:
        return []
    tracked = set(git_names(["ls-files", "-z", "--", *[f":(literal){file}" for file in files]], root))
    return [file for file in files if file not in tracked]


def _is_on_network(source: str) -> bool:
    """Return True for the address of a repository on another machine, `host:path` included; False for a folder."""
    return "://" in source or ":" in source.partition("/")[0]
