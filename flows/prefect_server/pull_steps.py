"""Steps of prefect.yaml: the repository address that a deployment stores, and the working folder of its runs.

A run works in the folder that its deployment was deployed from, or in a clone at the commit of that time.
"""

import os
from pathlib import Path

from prefect.deployments.steps.pull import agit_clone, set_working_directory

from flows.core.redaction import mask
from flows.engine.processes.stage_fork_server import unload_own_packages
from flows.workers.order import strip_credentials


def address(repository: str | None = None) -> dict[str, str]:
    """Returns `repository`, the git address to clone, after a check that it holds no password.

    Prefect shows the address to everyone who can open its page.

    Raises:
        ValueError: The address holds a password or token, or is no URL.
    """
    if not repository or repository.startswith("{{"):  # Prefect leaves the template of an unset variable as it is
        return {"repository": ""}
    try:
        bare = strip_credentials(repository)
    except ValueError as error:
        raise ValueError(f"INKFLOW_REPOSITORY {mask(repository)}: {error}; correct it") from error
    if bare != repository:
        raise ValueError(
            f"INKFLOW_REPOSITORY {mask(repository)}: got a password or token, which Prefect's page would show; set "
            f"{bare}, and give each worker git's credential helper or an SSH key"
        )
    return {"repository": repository}


async def project(
    folder: str, repository: str | None = None, commit: str | None = None, prefix: str | None = None
) -> dict[str, str]:
    """Changes the current folder of a run to the project.

    Args:
        folder: The folder in which `prefect deploy` was called.
        repository: The git address to clone; empty for `folder` itself.
        commit: The commit to check out in the clone.
        prefix: The project's folder in the clone; by default the clone itself.

    Returns:
        The folder, in the form that Prefect expects of a pull step.

    Raises:
        ValueError: `repository` holds a password, or has no `commit`: the run's code could not be traced later; or
            the commit has no folder `prefix`.
    """
    if not address(repository)["repository"]:
        return dict(set_working_directory(folder))
    if not commit:
        raise ValueError(f"{repository}: got no commit, expected a commit to check out; deploy from a git repository")
    clone = await agit_clone(str(repository), commit_sha=commit, include_submodules=True)
    target = Path(clone["directory"], prefix or "")
    if not target.is_dir():
        raise ValueError(f"{repository}: commit {commit} has no folder {prefix}; commit it, and deploy again")
    os.chdir(target)
    if (target / "flows").is_dir():  # of another commit: the flow imports these modules, not those of this worker
        unload_own_packages()
    return {"directory": str(Path.cwd())}
