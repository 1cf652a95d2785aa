"""What `inkflow init` finds: the folder of the project, its git repository, DVC, and a pipeline."""

from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml.error import YAMLError

from flows.core.errors import PipelineInvalid
from flows.core.git import git_text, is_in_repository
from flows.core.project import merge_conflict
from stages.base.errors import InvalidInput
from stages.base.yaml_text import parse_yaml

PIPELINE = "dvc.yaml"
FIRST_FILES = ("readme", "license", "licence", "copying")  # a new repository may have them: it counts as empty


@dataclass(frozen=True)
class Surroundings:
    """A folder that becomes a project, or is one.

    Attributes:
        root: the folder of the DVC project, or the one that becomes it.
        repository: the root of the git repository around it; None without one.
        has_dvc: whether DVC is initialised.
        has_pipeline: whether the folder has a dvc.yaml.
        names: the names in the folder that make it not empty.
    """

    root: Path
    repository: Path | None
    has_dvc: bool
    has_pipeline: bool
    names: frozenset[str]

    @property
    def will_have_git(self) -> bool:
        """True if there is a git repository, or `inkflow init` makes one; a DVC project without git stays one."""
        return self.repository is not None or not self.has_dvc

    @property
    def is_subfolder(self) -> bool:
        """True if the git repository has folders beside the project."""
        return self.repository is not None and self.repository != self.root


def look_around(folder: Path) -> Surroundings:
    """Returns what is in `folder` and around it.

    Raises:
        PipelineInvalid: dvc.yaml is not YAML.
        InvalidInput: the folder cannot be read, or its path is not UTF-8.
        GitFailed: git refuses to read the repository.
    """
    folder = folder.resolve()
    dvc_root = next((parent for parent in (folder, *folder.parents) if (parent / ".dvc").is_dir()), None)
    root = dvc_root or folder
    try:
        str(root).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{str(root)!r} is not UTF-8, as DVC needs it; rename the folder") from error
    repository = Path(git_text(["rev-parse", "--show-toplevel"], root)) if is_in_repository(root) else None
    try:
        names = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    except OSError as error:
        raise InvalidInput(f"{root} cannot be read ({error.strerror}): give yourself the right to read it") from error
    others = frozenset(name for name in names if not name.lower().startswith(FIRST_FILES))
    has_pipeline = PIPELINE in names
    if has_pipeline:
        _check_yaml(root)
    return Surroundings(root, repository, dvc_root is not None, has_pipeline, others)


def check_initialisable(found: Surroundings) -> None:
    """Checks that git and DVC may be initialised in a folder that has files and no pipeline.

    Raises:
        InvalidInput: the folder is perhaps not one that should become a project.
    """
    if found.has_dvc or found.has_pipeline or not found.names or found.repository == found.root:
        return
    if found.repository is None:
        raise InvalidInput(
            f"{found.root} has files, but no git repository and no {PIPELINE}: `git init` it if it should become a "
            "project, or call `inkflow init` in an empty folder"
        )
    raise InvalidInput(
        f"{found.root} is a folder in the git repository {found.repository}, with files and without {PIPELINE}: call "
        f"`inkflow init` in {found.repository}, or `dvc init --subdir` here if this folder should become a project"
    )


def _check_yaml(root: Path) -> None:
    if conflict := merge_conflict(root):
        raise PipelineInvalid(f"{conflict}; nothing was written")
    try:
        content = parse_yaml((root / PIPELINE).read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise PipelineInvalid(f"{PIPELINE} cannot be read: {reason}; nothing was written") from error
    if not isinstance(content, dict | None):
        raise PipelineInvalid(f"{PIPELINE}: got {type(content).__name__}, expected `stages:`; nothing was written")
    from flows.dvc_repo.creation import check_schema  # late: DVC takes 0.5 s to import

    check_schema(content or {}, PIPELINE)
