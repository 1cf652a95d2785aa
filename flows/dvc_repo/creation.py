"""Creates DVC projects."""

import logging
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows.core.errors import DvcFailed
from flows.dvc_repo.dvc_errors import describe_error
from stages.base.errors import OutputError


def create_project(root: Path, *, is_subfolder: bool) -> None:
    """Does what `dvc init` does in the folder `root`; `is_subfolder` if it is not the root of its git repository.

    Raises:
        DvcFailed: git ignores the folder `.dvc`, for example.
        OutputError: the folder cannot be written.
    """
    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # it prints advice
    try:
        Repo.init(str(root), subdir=is_subfolder).close()
    except DvcException as error:
        raise DvcFailed(f"`dvc init` in {root} failed: {describe_error(error)}") from error
    except OSError as error:
        raise OutputError(error.filename or root, error) from error
