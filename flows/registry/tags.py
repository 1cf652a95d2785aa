"""Reads and writes the tags of the registry, with GTO: `cnn@v0.0.1` is a version, `cnn#prod#2` puts one in a stage.

A version's tag carries facts in its message as `Key: value` lines (trailers, as `git interpret-trailers` has them).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scmrepo.exceptions import SCMError

from flows.core.errors import GitFailed, RegistryFailed
from flows.core.git import git_succeeds, git_text, require_repository
from flows.core.redaction import mask
from flows.registry.gto_names import (
    COUNTER,
    NAME,
    SEPARATOR_IN_NAME,
    GitRegistry,
    GTOException,
    ManyVersions,
    SemVer,
    TagExists,
    VersionAlreadyRegistered,
    VersionExistsForCommit,
    VersionSort,
    fullname_re,
    name_re,
    parse_name,
)
from flows.registry.tag_files import check_tags, versions_of_one_commit
from stages.base.errors import InvalidInput
from stages.base.files import parse_json
from stages.base.suggestions import did_you_mean

VERSION = re.compile(r"v\d+\.\d+\.\d+([-+].*)?")
ROLLED_BACK_FROM = "Rolled-back-from"  # trailer of an assignment


@dataclass(frozen=True)
class Assignment:
    """One event in the history of a stage: from `created_at` (UTC) on it held `version`, as `tag` says."""

    tag: str
    version: str
    created_at: datetime
    author: str
    trailers: Mapping[str, str]


@dataclass(frozen=True)
class ModelVersion:
    """A version of a model, as its tag records it.

    Attributes:
        model: the artifact's name in dvc.yaml.
        version: such as v0.1.0.
        commit: the commit that the tag marks.
        created_at: the time of the tag, in UTC.
        author: who made the tag.
        trailers: the facts in the tag's message, by key.
        stages: the stages that hold this version now.
    """

    model: str
    version: str
    commit: str
    created_at: datetime
    author: str
    trailers: Mapping[str, str]
    stages: tuple[str, ...]

    @property
    def scores(self) -> dict[str, float]:
        """The scores that the tag records, with their intervals; empty if it records none."""
        try:
            scores = parse_json(self.trailers.get("Scores", "{}"))
        except ValueError:
            return {}
        return scores if isinstance(scores, dict) else {}


class Registry:
    """The versions and stages of the models of one project."""

    def __init__(self, root: Path) -> None:
        """Opens the registry of the DVC project in `root`.

        Raises:
            RevisionUnusable: the project is in no Git repository.
            GitFailed: Git refuses to read it.
            RegistryFailed: the file of a tag is damaged.
        """
        require_repository(root, "and the registry of models is its tags")
        self._top = Path(git_text(["rev-parse", "--show-toplevel"], root))
        folder = root.resolve().relative_to(self._top.resolve()).as_posix()
        self._prefix = "" if folder == "." else f"{folder}{SEPARATOR_IN_NAME}"
        check_tags(self._top)

    def versions(self, model: str | None = None) -> list[ModelVersion]:
        """Returns the registered versions of `model`, or of all models of the project, the newest version first."""
        found = []
        with self._open() as registry:
            for name, artifact in registry.get_state().artifacts.items():
                own = name.removeprefix(self._prefix)
                if not self._is_own(name) or model not in (None, own):
                    continue
                # One version a stage, the one assigned last, as `gto show` and `dvc artifacts get` have it.
                holders = artifact.get_vstages(registered_only=True, sort=VersionSort.Timestamp)
                registered = [item for item in artifact.versions if item.is_registered and item.is_active]
                for item in sorted(registered, key=lambda item: SemVer(item.version), reverse=True):
                    stages = tuple(sorted(name for name, [held] in holders.items() if held.version == item.version))
                    facts = trailers(item.message)
                    author = f"{item.author} <{item.author_email}>"
                    made = item.created_at.astimezone(UTC)
                    found.append(ModelVersion(own, item.version, item.commit_hexsha, made, author, facts, stages))
        return found

    def history(self, model: str, stage: str) -> list[Assignment]:
        """Returns what the stage of `model` has held, of versions that are registered still, the oldest first."""
        with self._open() as registry:
            artifact = registry.get_state().artifacts.get(self._prefix + model)
            versions = [item for item in artifact.versions if item.is_active] if artifact else []
        events = [event for item in versions if stage in item.stages for event in item.stages[stage].assignments]
        return [
            Assignment(
                event.tag, event.version, event.created_at.astimezone(UTC), event.author, trailers(event.message)
            )
            for event in sorted(events, key=lambda event: (event.created_at, _counter(event.tag)))
        ]

    def register(self, model: str, commit: str, version: str | None, message: str) -> str:
        """Makes the tag of a version at `commit` and returns the version: the next patch unless one is given.

        Raises:
            RegistryFailed: another commit has that version, or another process made one at the same moment.
        """
        with self._open() as registry:
            author, email = self._identity()
            event = registry.register(
                self._prefix + model, commit, version, message=message, simple=True, author=author, author_email=email
            )
            return str(event.version)

    def assign(self, model: str, stage: str, version: str, message: str) -> str:
        """Makes the tag that puts a version in a stage, and returns the tag's name."""
        with self._open() as registry:
            author, email = self._identity()
            event = registry.assign(
                self._prefix + model, stage, version, message=message, force=True, author=author, author_email=email
            )
            return str(event.tag)

    def remove(self, tag: str) -> None:
        """Removes a tag of this repository; not from remotes.

        Raises:
            GitFailed: Git cannot remove it.
        """
        git_text(["tag", "--delete", tag], self._top)

    def version_tag(self, model: str, version: str) -> str:
        """Returns the name of a version's tag."""
        return f"{self._prefix.replace(SEPARATOR_IN_NAME, '=')}{model}@{version}"

    def stage_tags(self, model: str) -> str:
        """Returns a pattern of the names of the tags that put versions of a model in stages."""
        return f"{self._prefix.replace(SEPARATOR_IN_NAME, '=')}{model}#*"

    def check_name(self, model: str) -> None:
        """Checks that GTO and Git allow tags of `model` in this project: their names have the project's folder.

        Raises:
            InvalidInput: they do not; the message says what to rename.
        """
        folder = self._prefix.removesuffix(SEPARATOR_IN_NAME)
        if not name_re.fullmatch(model):
            raise InvalidInput(
                f"the artifact {model!r} cannot be the name of a tag: expected letters, digits, -, _ and /, with a "
                "letter or digit at both ends; rename it under `artifacts` in dvc.yaml"
            )
        tag = f"refs/tags/{self.version_tag(model, 'v0.0.1')}"
        if not (fullname_re.fullmatch(self._prefix + model) and git_succeeds(["check-ref-format", tag], self._top)):
            raise InvalidInput(
                f"the project's folder {folder!r} cannot be in the name of a tag, as that of {model} would have it: "
                "expected letters, digits, -, _, . and /, and no name that begins with a point or ends with .lock; "
                f"rename it below {self._top}"
            )

    def has_tag(self, tag: str) -> bool:
        """Returns True if a tag of this name is one of a version or a stage of a model of this project."""
        name = str(parse_name(tag, raise_on_fail=False).get(NAME, ""))
        return name != "" and self._is_own(name)

    def _is_own(self, name: str) -> bool:
        """Returns True if GTO's name of a model has the folder of this project, and not that of one below it."""
        return name.startswith(self._prefix) and SEPARATOR_IN_NAME not in name.removeprefix(self._prefix)

    @contextmanager
    def _open(self) -> Iterator[GitRegistry]:
        try:
            with GitRegistry.from_url(str(self._top)) as registry:
                yield registry
        except VersionAlreadyRegistered as error:
            sentence = " ".join(str(error).split()).rstrip(".")
            raise RegistryFailed(f"{sentence} at another commit; give another --version, or none") from error
        except ManyVersions as error:
            raise versions_of_one_commit(self._top, str(error)) from error
        except (TagExists, VersionExistsForCommit) as error:
            raise RegistryFailed(
                f"another process registered a version, or gave it a stage, at the same moment ({error}); repeat the "
                "command"
            ) from error
        except OSError as error:
            raise RegistryFailed(f"a tag cannot be read or written: {error}; {self._advice()}") from error
        except (GTOException, SCMError, AttributeError, LookupError, ValueError) as error:  # of tags of others
            raise RegistryFailed(
                f"the registry cannot be read or written: {error}; `git for-each-ref refs/tags` lists the tags, delete "
                "the one that is not of GTO's form"
            ) from error

    def _advice(self) -> str:
        """Returns what to do about an error of a file: the locks of a killed process stay, and keep others away."""
        folder = self._top / git_text(["rev-parse", "--git-path", "refs/tags"], self._top)
        locks = [str(path) for path in sorted(folder.rglob("*.lock"))]
        if not locks:
            return "correct the permissions or free the disk, then repeat the command"
        return f"if no other process writes tags, one was killed: remove {', '.join(locks)}, then repeat the command"

    def _identity(self) -> tuple[str, str]:
        """Returns name and address of the user, as Git would write them into a tag.

        Raises:
            InvalidInput: Git knows neither.
        """
        try:
            name, _, rest = git_text(["var", "GIT_COMMITTER_IDENT"], self._top).partition(" <")
        except GitFailed as error:
            raise InvalidInput(
                "Git does not know who you are, and a tag records that; set `git config user.name` and `user.email`"
            ) from error
        return name, rest.partition(">")[0]


def _counter(tag: str) -> int:
    """Returns the number at the end of the name of a tag; 0 without one, as `gto assign --simple true` makes it."""
    return int(parse_name(tag).get(COUNTER, 0))


def trailers(message: str) -> dict[str, str]:
    """Returns the `Key: value` lines at the end of a tag's message."""
    lines = message.strip().rpartition("\n\n")[2].splitlines()
    return {key: value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}


def with_trailers(subject: str, facts: Mapping[str, str]) -> str:
    """Returns the message of a tag: a sentence, and facts below it, each in one line and masked."""
    lines = [f"{key}: {mask(' '.join(value.split()))}" for key, value in facts.items() if value]
    return "\n\n".join([subject, *(["\n".join(lines)] if lines else [])])


def require_version(versions: Sequence[ModelVersion], model: str, version: str, hint: str = "") -> ModelVersion:
    """Returns the version of `model` with that name; `hint` ends the sentence about one that is not found.

    Raises:
        InvalidInput: there is none; the message names those that exist.
    """
    known = [item.version for item in versions]
    for item in versions:
        if item.version == version:
            return item
    names = f"{did_you_mean(version, known)}known: {', '.join(known)}" if known else _NO_VERSION.format(model=model)
    raise InvalidInput(f"{model} has no version {version}; {names}{hint}")


_NO_VERSION = "`inkflow promote {model} STAGE` makes the first"
