"""Plans the edits of dvc.yaml with which its stages declare the code that they import."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.edits.yaml_list import edit_list, keys_at, list_entries
from flows.python_code.cover import covers, join_to_folders
from flows.python_code.stage_code import Finding, StageCode
from stages.base.errors import InvalidInput


@dataclass(frozen=True)
class Edit:
    """The edit of one entry of a dvc.yaml: paths to add and to remove, as they stand in the file."""

    file: str
    entry: str
    add: tuple[str, ...]
    remove: tuple[str, ...]
    before: str | None  # the entry before which new ones are added


@dataclass(frozen=True)
class Project:
    """What an edit has to know of the project.

    Attributes:
        root: its folder.
        python_files: its Python files, relative to it.
        may_be_declared: whether a stage may depend on a folder.
    """

    root: Path
    python_files: Collection[str]
    may_be_declared: Callable[[str], bool]


def of_one_entry(findings: Sequence[Finding], text: str) -> list[Finding]:
    """Returns the findings of the stages of one entry of a dvc.yaml with the same needless entries.

    An entry is needless if no stage needs it, and the comment `# inkflow: keep` does not mark it.

    Args:
        findings: those of all stages of the entry.
        text: the dvc.yaml.
    """
    entries = _entries(findings, text) if any(item.needless for item in findings) else None
    if entries is None:  # for a list that is written elsewhere or made of expressions, each stage is by itself
        return list(findings)
    places = [
        place
        for place, (_, is_kept) in enumerate(entries)
        if not is_kept and all(item.stage.listed[place] in item.needless for item in findings)
    ]
    return [replace(item, needless=tuple(item.stage.listed[place] for place in places)) for item in findings]


def plan_edit(findings: Sequence[Finding], project: Project, text: str) -> Edit | None:
    """Returns the edit for the stages of one entry, whose needless entries are the same; None if it needs none.

    Args:
        findings: those of all stages of the entry.
        project: the project.
        text: the dvc.yaml.
    """
    needless = {path for item in findings for path in item.needless}
    missing = {path for item in findings for path in item.missing}
    if not (needless or missing):
        return None
    entries = _entries(findings, text)
    written = {path: entry for path, (entry, _) in zip(findings[0].stage.listed, entries or (), strict=False)}
    removed = needless if entries is None else set(findings[0].needless)
    stages = [item.stage for item in findings]
    common = {file for file in findings[0].files if all(file in item.files for item in findings)}
    declared = [path for path in stages[0].dependencies if all(path in stage.dependencies for stage in stages)]
    single = {path for path in declared if path in common}  # a file by itself may be joined with others
    templates = _templates({item.stage.name: set(item.missing) - common for item in findings}, stages)
    own = set() if templates is not None else missing - common
    joined = join_to_folders(
        (missing & common) | own | single, common | own, project.python_files, project.may_be_declared
    )
    folders = [path for path in joined if path not in project.python_files]
    removed |= {path for path in single if any(covers(folder, path) for folder in folders)}
    added = [path for path in [*joined, *(templates or ())] if path not in declared]
    code = {path for path in declared if any(covers(path, file) for file in project.python_files)}
    before = next((path for path in declared if path not in code), None)
    to_entry = _relative_to(stages[0], project.root)
    return Edit(
        stages[0].file,
        stages[0].entry,
        tuple(map(to_entry, added)),
        tuple(sorted(written.get(path) or to_entry(path) for path in removed)),
        (written.get(before) or to_entry(before)) if before else None,
    )


def apply_edit(text: str, edit: Edit) -> str:
    """Returns the text of a dvc.yaml after `edit`.

    Raises:
        InvalidInput: the list cannot be edited, as one behind an anchor.
    """
    return edit_list(text, _path(text, edit.entry), edit.add, edit.remove, edit.before)


def _entries(findings: Sequence[Finding], text: str) -> list[tuple[str, bool]] | None:
    """Returns the entries that the stages of one template have in common, and whether they are marked.

    Returns:
        None if the list is not in the file itself, or the stages have others than stand there.
    """
    try:
        entries = list_entries(text, _path(text, findings[0].stage.entry))
    except InvalidInput:
        return None
    return entries if all(len(item.stage.listed) == len(entries) for item in findings) else None


def _path(text: str, entry: str) -> tuple[str, ...]:
    """Returns the keys that lead to the dependencies of an entry; those of `foreach` are in `do`."""
    return ("stages", entry, *(["do"] if "do" in keys_at(text, ("stages", entry)) else []), "deps")


def _relative_to(stage: StageCode, root: Path) -> Callable[[str], str]:
    return lambda path: os.path.relpath(root / path, stage.folder)


def _templates(missing: Mapping[str, set[str]], stages: Sequence[StageCode]) -> list[str] | None:
    """Returns expressions that stand for the files of each stage; None if there are none for all of them."""
    variables = {stage.name: stage.variables for stage in stages}
    found: dict[str, None] = {}
    for stage, files in missing.items():
        for file in sorted(files):
            template = next(_candidates(file, variables[stage], missing, variables), None)
            if template is None:
                return None
            found[template] = None
    return list(found)


def _candidates(
    file: str,
    values: Mapping[str, str],
    missing: Mapping[str, set[str]],
    variables: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    for name, value in values.items():
        starts = [start for start in range(len(file)) if file.startswith(value, start)]
        for template in [file[:start] + name + file[start + len(value) :] for start in starts] + [
            file.replace(value, name)
        ]:
            resolved = {stage: template.replace(name, others.get(name, "")) for stage, others in variables.items()}
            if name in template and all(path in missing[stage] for stage, path in resolved.items()):
                yield template
