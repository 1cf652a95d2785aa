"""Steps of the deployments: what is kept of their repository, and where a run works.

A run works in the folder that its deployment was deployed from, or in a clone at the commit of that time.
"""

import os
from pathlib import Path

from prefect.deployments.steps.pull import agit_clone, set_working_directory

from flows.core.redaction import mask
from flows.workers.order import without_secrets


def address(repository: str | None = None) -> dict[str, str]:
    """Let `repository`, the git address to clone, into the deployments; every reader of Prefect's page sees it there.

    Raises:
        ValueError: a password or token stands in it.
    """
    if not repository or repository.startswith("{{"):  # as Prefect leaves a variable that is not set
        return {"repository": ""}
    if without_secrets(repository) != repository:
        raise ValueError(
            f"INKFLOW_REPOSITORY {mask(repository)}: a password or token in it would stand on Prefect's page; name "
            f"{without_secrets(repository)}, and give each worker git's credential helper or an SSH key"
        )
    return {"repository": repository}


async def project(folder: str, repository: str | None = None, commit: str | None = None) -> dict[str, str]:
    """Make the project the current folder of a run.

    Args:
        folder: where `prefect deploy` was called.
        repository: git address to clone; the folder itself where it is empty.
        commit: what to check out of the clone.

    Returns:
        The folder, as Prefect wants it told.

    Raises:
        ValueError: a repository without a commit: nobody could say later what ran; or with a password in its address.
    """
    if not address(repository)["repository"]:
        return dict(set_working_directory(folder))
    if not commit:
        raise ValueError(f"{repository}: expected a commit to check out; deploy from a folder where one is")
    found = await agit_clone(str(repository), commit_sha=commit)
    os.chdir(found["directory"])
    return {"directory": str(Path.cwd())}
