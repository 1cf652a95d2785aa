"""Pull step of the deployments: the folder that they were deployed from, or a clone at the commit of that time."""

import os
from pathlib import Path

from prefect.deployments.steps.pull import agit_clone, set_working_directory


async def project(folder: str, repository: str | None = None, commit: str | None = None) -> dict[str, str]:
    """Make the project the current folder of a run.

    Args:
        folder: where `prefect deploy` was called.
        repository: git address to clone; the folder itself where it is empty.
        commit: what to check out of the clone.

    Returns:
        The folder, as Prefect wants it told.

    Raises:
        ValueError: a repository without a commit: nobody could say later what ran.
    """
    if not repository or repository.startswith("{{"):  # as Prefect leaves a variable that is not set
        return dict(set_working_directory(folder))
    if not commit:
        raise ValueError(f"{repository}: expected a commit to check out; deploy from a folder where one is")
    found = await agit_clone(repository, commit_sha=commit)
    os.chdir(found["directory"])
    return {"directory": str(Path.cwd())}
