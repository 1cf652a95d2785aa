"""Addresses of registered models: MODEL@STAGE and MODEL@VERSION, wherever a model or a version is named."""

from pathlib import Path

from flows.core.project import find_project


def model_folder(model: str) -> str:
    """Returns the folder with the files of a registered model, or `model` itself if it is no address.

    Raises:
        InvalidInput: there is no such model, stage or version.
        RegistryFailed: the tag, dvc.lock and the files do not agree.
        RevisionUnusable: no cache and no remote has the files.
    """
    if "@" not in model:  # most calls: they need neither Git nor DVC
        return model
    from flows.registry.model_files import fetch_model, is_address

    if not is_address(model):
        return model
    root = find_project()
    return str(root / fetch_model(root, model).path.parent)


def revision(name: str, root: Path) -> str:
    """Returns the commit of a registered model, or `name` itself if it is no address.

    Raises:
        InvalidInput: there is no such model, stage or version.
    """
    if "@" not in name:
        return name
    from flows.registry.model_files import find_version, is_address

    return find_version(root, name).commit if is_address(name) else name
