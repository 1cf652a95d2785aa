"""Rows of versions, each compared with the one before it; parameters that never change; experiments of one sweep."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flows.core.values import is_same_value
from flows.dvc_repo.history.links import Links, Stage
from flows.dvc_repo.history.revisions import History, Revision
from flows.dvc_repo.history.versions import Version

Row = dict[str, Any]


def are_equal(one: Version, other: Version) -> bool:
    """Returns whether two versions have the same parameters, results and metrics."""
    return (
        one.params == other.params
        and one.stages == other.stages
        and one.metrics == other.metrics
        and one.models == other.models
        and one.problems == other.problems
    )


def rows(history: History, read: Sequence[tuple[Revision, Version]]) -> list[Row]:
    """Returns a row for each version that differs from its parents, and moves the names of the others to their parent.

    A version without any stage, parameter and metric has no row.
    """
    known = {revision.commit: version for revision, version in read}
    kept: dict[str, str] = {}  # by commit: the row that stands for it
    found: list[Row] = []
    by_id: dict[str, Row] = {}
    for revision, version in read:
        parents = [kept[parent] for parent in revision.parents if kept.get(parent)]
        same = next((one for one in parents if not revision.experiment and are_equal(version, known[one])), None)
        if same is not None or not (version.stages or version.params or version.metrics or version.problems):
            kept[revision.commit] = same or ""
        else:
            kept[revision.commit] = revision.commit
            base = parents[0] if parents else ""
            by_id[revision.commit] = _row(revision, version, base, known.get(base))
            found.append(by_id[revision.commit])
        row = by_id.get(kept[revision.commit])
        if row is not None:
            row["refs"] += [{"kind": kind, "name": name} for kind, name in revision.refs]
            row["head"] = row["head"] or revision.commit == history.head
            if row["id"] != revision.commit:
                row["same"].append(revision.commit)
    return found


def _row(revision: Revision, version: Version, base: str, before: Version | None) -> Row:
    kind = "experiment" if revision.experiment else "workspace" if revision.commit == "workspace" else "commit"
    return {
        "id": revision.commit,
        "kind": kind,
        "name": revision.experiment or ("workspace" if kind == "workspace" else revision.commit[:7]),
        "title": revision.title,
        "author": revision.author,
        "when": revision.when,
        "base": base,
        "refs": [],
        "same": [],
        "head": False,
        "problems": version.problems,
        "params": version.params,
        "changed": _changed(before.params, version.params) if before else {},
        "marks": _marks(before, version) if before else [],
        "dataset": version.dataset,
        "data": version.data,
        "description": version.description,
        "metrics": version.metrics,
        "models": version.models,
        "chosen": version.chosen,
        "gates": version.gates,
        "locks": version.locks,
        "stages": _stages(version, before.stages if before else {}),
    }


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    keys = dict.fromkeys([*new, *old])
    return {
        key: [old.get(key), new.get(key)]
        for key in keys
        if type(old.get(key)) is not type(new.get(key)) or not is_same_value(old.get(key), new.get(key))
    }


def _marks(before: Version, after: Version) -> list[str]:
    """Returns what changed beside parameters: `data`, `code`, `gates`."""

    def gates(version: Version) -> dict[str, Any]:
        return {key: value for key, value in version.params.items() if key.startswith("gates.")}

    is_new_data = bool(before.data and after.data and before.data != after.data) or before.dataset != after.dataset
    is_new_code = bool(before.code and after.code and before.code != after.code)
    marks = {"data": is_new_data, "code": is_new_code, "gates": gates(before) != gates(after)}
    return [name for name, is_new in marks.items() if is_new]


def _stages(version: Version, before: Mapping[str, Stage]) -> list[dict[str, Any]]:
    """Returns each stage with those that it depends on, and why it differs from the version before.

    `outdated` says why its results are not those of this version; it is empty where they are.
    """
    links = Links(version.stages)
    return [
        {
            "name": name,
            "upstream": links.makers_before(name),
            "deps": dict(stage.deps),
            "outs": dict(stage.outs),
            "changed": before.get(name) != stage,
            "reasons": _reasons(before.get(name), stage) if before else [],
            "outdated": version.outdated.get(name, ""),
        }
        for name, stage in version.stages.items()
    ]


def _reasons(old: Stage | None, new: Stage) -> list[str]:
    if old is None:
        return ["new stage"]
    reasons = ["command changed"] if old.command != new.command else []
    reasons += [] if is_same_value(old.params, new.params) else ["parameters changed"]
    return reasons + [f"{path} changed" for path in new.deps if old.deps.get(path) != new.deps[path]]


def is_of_file(key: str, files: Collection[str]) -> bool:
    """Returns whether a parameter is of one of `files`, whose keys are FILE:KEY."""
    return any(key.startswith(f"{file}:") for file in files)


def split_constants(found: Sequence[Row], files: Collection[str]) -> dict[str, Any]:
    """Removes the parameters that all rows share from the rows, and returns them.

    Args:
        found: the rows. Those of failed runs have the parameters of params.yaml alone.
        files: the other files with parameters.
    """
    with_params = [row for row in found if row["params"]]
    if not with_params:
        return {}
    first = with_params[0]["params"]
    constants = {key: value for key, value in first.items() if all(_has(row, key, value, files) for row in with_params)}
    for row in with_params:
        row["params"] = {key: value for key, value in row["params"].items() if key not in constants}
    return constants


def _has(row: Row, key: str, value: Any, files: Collection[str]) -> bool:
    """Returns whether a row has this value of a parameter, or does not know it."""
    if key not in row["params"]:
        return row["kind"] == "run" and is_of_file(key, files)
    return _same(row["params"][key], value)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def sweeps(found: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns the groups of experiments on the same commit that vary the same parameters, of two members or more.

    An experiment with the values of its commit for some of the parameters belongs to the group too.
    """
    groups: list[dict[str, Any]] = []
    experiments = [row for row in found if row["kind"] == "experiment" or row.get("experiment")]
    for row in sorted(experiments, key=lambda row: -len(row["changed"])):
        keys = set(row["changed"])
        fitting = [group for group in groups if group["base"] == row["base"] and keys <= set(group["keys"])]
        shape = _shape(row["name"])
        group = next((one for one in fitting if shape in one["shapes"]), fitting[-1] if fitting else None)
        if group is None:
            group = {"id": "", "base": row["base"], "keys": list(row["changed"]), "members": [], "shapes": set()}
            group["id"] = f"sweep-{len(groups) + 1}"
            groups.append(group)
        group["members"].append(row["id"])
        group["shapes"].add(shape)
    order = {row["id"]: number for number, row in enumerate(found)}
    large = [group for group in groups if len(group["members"]) > 1 and group["keys"]]
    for group in large:
        group["members"].sort(key=order.__getitem__)
        del group["shapes"]
    return large


def _shape(name: str) -> str:
    """Returns the name of an experiment without its values: equal for the experiments of one sweep."""
    return re.sub(r"(?<==)[^,]*|\d+", "", re.sub(r"-[0-9a-f]{8}$", "", name))
