"""Creates DVC projects."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dvc.dvcfile import ProjectFile
from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows.core.errors import DvcFailed, PipelineInvalid
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


def check_schema(pipeline: Mapping[str, Any], name: str) -> None:
    """Checks the content of a dvc.yaml against DVC's schema, also where no DVC project is yet.

    Raises:
        PipelineInvalid: it does not match; the message says where.
    """
    try:
        ProjectFile.validate(pipeline, name)
    except DvcException as error:
        raise PipelineInvalid(f"DVC cannot read the pipeline: {describe_error(error)}") from error
