"""The settings `push` and `remote` of dvc.yaml for the outputs of run-cache entries, which name them by path alone."""

from collections.abc import Mapping

from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc_data.hashfile.hash_info import HashInfo

from flows.dvc_repo.change_detection import run_key


class OutputSettings:
    """The settings of all outputs of a project."""

    def __init__(self, repo: Repo) -> None:
        self._stages = [stage for stage in repo.index.stages if stage.cmd]
        self._recorded: dict[str, list[DvcStage]] = {}
        for stage in self._stages:
            self._recorded.setdefault(run_key(stage), []).append(stage)

    def by_remote(self, key: str, outputs: Mapping[str, HashInfo]) -> set[tuple[str | None, HashInfo]]:
        """Return the outputs of the entry with this run-cache key, each with the name of its remote; None: the default.

        Paths are relative to the dvc.yaml, so that stages of two folders may have the same ones. An entry with the
        recorded inputs of a stage is of that stage; any other one may be of each stage that has such an output.

        Returns:
            An empty set if one of the outputs has `push: false`, or if it is unknown which remote it belongs to: no
            stage has it now, as after it was renamed, or several have it with different remotes.
        """
        outs = [out for stage in self._recorded.get(key, self._stages) for out in stage.outs if out.def_path in outputs]
        remotes = {path: {out.remote for out in outs if out.def_path == path} for path in outputs}
        if not all(out.can_push for out in outs) or any(len(names) != 1 for names in remotes.values()):
            return set()
        return {(name, item) for path, item in outputs.items() for name in remotes[path]}


def names_remote(repo: Repo) -> bool:
    """Return True if an output of the project names its own remote."""
    return bool(repo.config["remote"]) and any(out.remote and out.use_cache for out in repo.index.outs)
