"""Tells which changed dependencies of a stage have changed in comments, docstrings and formatting alone."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc_data.hashfile.build import build
from dvc_data.hashfile.tree import Tree

from flows.dvc_repo.change_detection import is_in_project, path_of
from flows.dvc_repo.code.old_content import Files, OldContent, folder_files, md5_of
from flows.dvc_repo.lock.contents import content_of
from flows.engine.planning.stage_facts import CosmeticChange

if TYPE_CHECKING:
    from flows.engine.policy import Policies
    from flows.python_code.cosmetic import CosmeticJudge, Judge

HASH = "md5"
CACHES = "__pycache__"  # by-products in a folder


class CosmeticChanges:
    """Looks into the changes of one project's code; reads nothing as long as nothing has changed."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._root = Path(repo.root_dir)
        self.old = OldContent(repo)

    @cached_property
    def _policies(self) -> "Policies":
        from flows.engine.policy import load_policies  # late: it imports pydantic, which a run without changes saves

        return load_policies(self._root)

    @cached_property
    def _judge(self) -> "CosmeticJudge":
        from flows.python_code.cosmetic import CosmeticJudge  # late: seldom needed

        return CosmeticJudge(self._root)

    def find(self, stage: DvcStage, deps: Sequence[Any]) -> dict[Any, CosmeticChange]:
        """Return those of the changed dependencies `deps` whose changes are cosmetic, with these changes."""
        code = [dep for dep in deps if is_in_project(dep) and dep.hash_info and dep.hash_info.name == HASH]
        plain = [dep for dep in code if dep.isdir() or dep.fs_path.endswith(".py")]
        if not plain or self._policies.runs_cosmetic_changes(stage.addressing):
            return {}
        from flows.dvc_repo.code.graph_code import stage_code  # late: seldom needed

        declared = stage_code(stage)
        judge = self._judge.judge(declared) if declared else None
        if judge is None or isinstance(judge, str):
            return {}
        found = {dep: self._change(dep, judge) for dep in plain}
        return {dep: change for dep, change in found.items() if change is not None}

    def _change(self, dep: Any, judge: "Judge") -> CosmeticChange | None:
        """Return the change of one dependency; None if it is not cosmetic."""
        path, old = path_of(dep), content_of(dep).hash
        cache, ignore = self._repo.cache.local, self._repo.dvcignore
        content = build(cache, dep.fs_path, self._repo.fs, HASH, ignore=ignore, dry_run=True)[2]
        present = str(content.hash_info.value)
        if isinstance(content, Tree) and old.endswith(".dir"):
            pairs = self._changed_in_folder(path, old, content)
        else:
            pairs = {} if isinstance(content, Tree) or old.endswith(".dir") else {path: (old, present)}
        if not pairs or not all(self._is_cosmetic(name, *hashes, judge) for name, hashes in pairs.items()):
            return None
        return CosmeticChange(path, tuple(pairs), old, present)

    def _changed_in_folder(self, path: str, old: str, tree: Tree) -> dict[str, tuple[str, str]]:
        """Return old and new hash of each changed file in a folder; none if a file was added or removed."""
        before = self.old.folder(path, old)
        if before is None:
            return {}
        earlier, present = _without_caches(before), _without_caches(folder_files(tree))
        if earlier.keys() != present.keys():
            return {}
        return {f"{path}/{name}": (md5, present[name]) for name, md5 in sorted(earlier.items()) if present[name] != md5}

    def _is_cosmetic(self, name: str, old_md5: str, new_md5: str, judge: "Judge") -> bool:
        old = self.old.file(name, old_md5) if name.endswith(".py") else None
        try:
            new = (self._root / name).read_bytes()
        except OSError:
            return False
        return old is not None and md5_of(new) == new_md5 and judge(name, old, new)


def _without_caches(files: Files) -> Files:
    return {name: md5 for name, md5 in files.items() if CACHES not in name.split("/")}
