"""The files that `inkflow init` adds to a project: their paths, their content and what they are for."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.cli.adoption.surroundings import PIPELINE, Surroundings
from flows.core.code_path import CODE
from flows.core.git import git_succeeds
from stages.base.errors import InvalidInput, OutputError

SOURCE = next(folder for folder in (CODE / "project", CODE) if (folder / "templates").is_dir())  # installed, checkout
STATE_RULE = "/.inkflow/"
IGNORE_FILES = (".gitignore", ".dvcignore")
# This project, with its programs. pyproject.toml puts these files into the wheel.
DIGITS = (
    "params.yaml", "params.schema.json", "execution.yaml", "prefect.yaml", "prefect.toml", "docs/parameters.md",
    "custom/*.py", "workers/*.json", ".dvc/plots/*.json", *IGNORE_FILES, PIPELINE,
)  # fmt: skip
SMALL = ("params.yaml", "src/*.py", *IGNORE_FILES, PIPELINE)
OWN_FLOW = re.compile(r"\bflows/(\w+)\.py:(\w+)")  # an entry point in this project's folder
CI_FILES = {"github": ".github/workflows/inkflow.yml", "gitlab": ".gitlab-ci.yml"}


@dataclass(frozen=True)
class NewFile:
    """A file of a new project: where it is to be, its content, and what it is for."""

    path: Path
    content: bytes
    purpose: str = ""

    @property
    def is_there(self) -> bool:
        """True if there is something of this name, a broken link too."""
        return self.path.exists() or self.path.is_symlink()

    @property
    def is_same(self) -> bool:
        """True if there is a file with this content."""
        return self.path.is_file() and _read(self.path) == self.content

    @property
    def lacks(self) -> list[str]:
        """The rules of this ignore file that the existing one lacks."""
        existing = set(map(str.strip, _read(self.path).decode(errors="replace").splitlines()))
        rules = [line for line in self.content.decode().splitlines() if line and not line.startswith("#")]
        return [rule for rule in rules if rule not in existing]


def template_files(name: str, root: Path) -> list[NewFile]:
    """Returns the files of the template `name`; dvc.yaml, which makes them a pipeline, is the last one.

    Raises:
        InvalidInput: this code was copied without the template.
    """
    if name == "small":
        source = SOURCE / "templates" / "small"
        return [NewFile(root / path.relative_to(source), _read(path)) for path in _find(source, SMALL)]
    if not (SOURCE / PIPELINE).is_file():
        raise InvalidInput(f"the template digits is not in {SOURCE}, as in an image for workers; install the wheel")
    programs = sorted((CODE / "stages").rglob("*"))
    code = [path for path in programs if path.is_file() and "__pycache__" not in path.parts]
    files = {path.relative_to(CODE): _read(path) for path in code}
    files |= {path.relative_to(SOURCE): _read(path) for path in _find(SOURCE, DIGITS)}
    prefect = Path("prefect.yaml")  # a project from the template has no folder `flows`
    files[prefect] = OWN_FLOW.sub(r"inkflow.flows.\1.\2", files[prefect].decode()).encode()
    return [NewFile(root / path, content) for path, content in files.items()]


def check_template(name: str, files: list[NewFile]) -> None:
    """Checks that the template `name` does not mix with other files; what an earlier call has written is no other file.

    Raises:
        InvalidInput: the project has a pipeline of its own, or a file with a name of the template.
    """
    *others, pipeline = files
    if pipeline.is_there:
        if pipeline.is_same:  # the template was written before, and may have been edited since
            return
        raise InvalidInput(
            f"{pipeline.path} is another pipeline than the template {name}: `inkflow init` without --template adopts "
            "it, and an empty folder can take the template"
        )
    different = [str(file.path) for file in others if file.is_there and not _is_addition(file) and not file.is_same]
    if different:
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise InvalidInput(
            f"{', '.join(different[:3])}{more}: got other content than the template {name} has, and nothing is "
            "overwritten; move it, or call `inkflow init` in an empty folder"
        )


def engine_files(found: Surroundings) -> list[NewFile]:
    """Returns the files for the engine that any DVC project can have."""
    purposes = {
        "execution.yaml": "how each stage may run: examples in comments",
        "prefect.yaml": "the deployments nightly and retry-crashed, for `inkflow up`",
    }
    source = SOURCE / "templates" / "engine"
    files = [NewFile(found.root / name, _read(source / name), purpose) for name, purpose in purposes.items()]
    is_ignored = ["check-ignore", "--quiet", "--no-index", ".inkflow/state"]
    if found.will_have_git and not (found.repository and git_succeeds(is_ignored, found.root)):
        files.insert(0, NewFile(found.root / ".gitignore", f"{STATE_RULE}\n".encode(), "state of this machine"))
    return files


def ci_file(service: str, found: Surroundings, package: str) -> NewFile:
    """Returns the workflow of `service` (github, gitlab), which installs the requirement `package`.

    Raises:
        InvalidInput: there is no git repository, or GitHub would run a part of the folder's name.
    """
    if not found.will_have_git:
        raise InvalidInput(f"--ci {service}: {found.root} is in no git repository, which CI needs; `git init` it first")
    repository = found.repository or found.root
    folder = found.root.relative_to(repository).as_posix()
    if service == "github" and "${{" in folder:
        raise InvalidInput(
            f"--ci github: GitHub would replace the ${{{{ in the name of the folder {found.root}; rename the folder"
        )
    install = f"pip install '{package}' && if [ -f requirements.txt ]; then pip install -r requirements.txt; fi"
    text = _read(SOURCE / "templates" / "engine" / f"{service}.yml").decode()
    locks = [(Path(folder) / name).as_posix() for name in ("dvc.lock", "environment.lock")]
    values = {  # each is a whole value of YAML in the template, which JSON's quotes make a text
        "INSTALL": install,
        "BOTH_LOCKS": "\n".join(locks),
        "FOLDER/dvc.lock": locks[0],
        "FOLDER/environment.lock": locks[1],
        "cd FOLDER": f"cd {shlex.quote(folder)}",
        "FOLDER": folder,
    }
    text = re.sub("|".join(values), lambda match: json.dumps(values[match[0]], ensure_ascii=False), text)
    return NewFile(repository / CI_FILES[service], text.encode(), f"checks and runs the pipeline on {service}")


def changes(files: list[NewFile]) -> list[tuple[NewFile, list[str] | None]]:
    """Returns the files that are to be written, and for existing ignore files the rules that are to be added."""
    result: list[tuple[NewFile, list[str] | None]] = []
    for file in files:
        if not file.is_there:
            result.append((file, None))
        elif _is_addition(file) and file.lacks:
            result.append((file, file.lacks))
    return result


def _is_addition(file: NewFile) -> bool:
    return file.path.name in IGNORE_FILES and file.path.is_file()


def _find(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(folder.glob(pattern))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OutputError(path, error) from error
