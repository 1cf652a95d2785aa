"""Opens a project with DVC for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from ruamel.yaml.error import YAMLError

from flows.core.errors import PipelineInvalid
from flows.dvc_repo.dvc_errors import describe_error


@contextmanager
def open_repo(root: Path) -> Iterator[Repo]:
    """Yields DVC's view of the project at `root`.

    Raises:
        PipelineInvalid: DVC cannot read the project, in opening it or within the block.
    """
    try:
        with Repo(str(root)) as repo:
            yield repo
    except (DvcException, YAMLError) as error:
        raise PipelineInvalid(f"DVC cannot read the project: {describe_error(error)}") from error
