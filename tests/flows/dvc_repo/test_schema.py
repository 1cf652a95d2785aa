"""Each option of DVC's schema of dvc.yaml has the effect that `dvc repro` and `dvc push` give it."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import voluptuous
from dvc import schema
from dvc.repo import Repo

from flows.dvc_repo import remotes
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import counts, dvc_repro, locks, succeeded, twin
from tests.support.dvc_calls import add_remote

OUT = "echo >> a.runs; mkdir -p a; cp in a/x"
UNTESTED = {"datasets": "is a list of remote data sets, which need a network"}
# Options with a dvc.yaml that has them; the first stage writes to `a.runs`.
CASES: dict[str, str] = {
    "cmd deps outs desc meta": f"a: {{cmd: {OUT}, desc: text, meta: {{k: 1}}, deps: [in], outs: [a]}}",
    "wdir": "a: {cmd: echo >> ../a.runs; cp ../in x, wdir: sub, deps: [../in], outs: [x]}",
    "params": "a: {cmd: echo >> a.runs; cp in a, deps: [in], params: [speed, {other.yaml: [pace]}], outs: [a]}",
    "vars": "a: {cmd: 'echo >> a.runs; echo ${depth} > a', vars: [{depth: 3}], deps: [in], outs: [a]}",
    "frozen": "a: {cmd: echo >> a.runs; cp in a, deps: [in], outs: [a]}\n  b: {cmd: 'true', frozen: true}",
    "always_changed": f"a: {{cmd: {OUT}, always_changed: true, deps: [in], outs: [a]}}",
    "foreach do": "a: {foreach: [x, y], do: {cmd: 'echo >> a.runs; cp in ${item}', deps: [in], outs: ['${item}']}}",
    "matrix": "a: {matrix: {k: [x, y]}, cmd: 'echo >> a.runs; cp in ${item.k}', deps: [in], outs: ['${item.k}']}",
    "metrics": "a: {cmd: echo >> a.runs; echo 1 > a.json, deps: [in], metrics: [a.json]}",
    "plots template x y x_label y_label title header": (
        "a: {cmd: 'echo >> a.runs; printf \"x,y\\n1,2\\n\" > a.csv', deps: [in], plots: [a.csv: {x: x, y: y, "
        "x_label: X, y_label: Y, title: T, header: true, template: linear}]}"
    ),
    "cache": f"a: {{cmd: {OUT}, deps: [in], outs: [a: {{cache: false}}]}}",
    "persist": f"a: {{cmd: {OUT}; cat in >> a/log, deps: [in], outs: [a: {{persist: true}}]}}",
    "push": f"a: {{cmd: {OUT}; cp in b, deps: [in], outs: [a: {{push: false}}, b]}}",
    "remote": f"a: {{cmd: {OUT}; cp in b; echo b >> b, deps: [in], outs: [a: {{remote: other}}, b]}}",
    "type labels": f"a: {{cmd: {OUT}, deps: [in], outs: [a: {{desc: text, type: model, labels: [l], meta: 1}}]}}",
    "checkpoint": f"a: {{cmd: {OUT}, deps: [in], outs: [a: {{checkpoint: false}}]}}",
}
TOP_LEVEL = """
vars: [{top: 1}]
params: [other.yaml]
metrics: [m.json]
plots: [p.csv: {x: x, y: y}]
artifacts: {model: {path: a, type: model, desc: text, labels: [l], meta: {k: 1}}}
"""


def options(part: Any) -> Iterator[str]:
    """Yield the names of the options in a part of DVC's schema."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            name = key.schema if isinstance(key, voluptuous.Marker) else key
            if isinstance(name, str):
                yield name
            yield from options(value)
    elif isinstance(part, list | tuple):
        for item in part:
            yield from options(item)
    elif isinstance(part, voluptuous.Any):
        yield from options(part.validators)


def pushed(folder: Path) -> dict[str, list[str]]:
    """Return the contents that each remote of the project has."""
    stores = {name: folder.parent / f"{folder.name}-{name}" for name in ("store", "other")}
    return {
        name: sorted(path.parent.name + path.name for path in store.glob("files/md5/??/*"))
        for name, store in stores.items()
    }


def files(folder: Path) -> dict[str, bytes]:
    """Return the files of the workspace that are not DVC's or ours."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in paths}
    return {
        name: path.read_bytes() for name, path in names.items() if not name.startswith((".dvc", ".git", ".inkflow"))
    }


def add_remotes(folder: Path) -> None:
    """Configure a default remote and another one beside the project."""
    with chdir(folder):
        add_remote(folder.with_name(f"{folder.name}-store"))
        add_remote(folder.with_name(f"{folder.name}-other"), "other", is_default=False)


def test_all_options_have_a_case() -> None:
    """The table has each option that DVC's schema has, so that a new one is noticed."""
    parts = (
        schema.STAGE_DEFINITION,
        schema.FOREACH_IN,
        schema.MULTI_STAGE_SCHEMA,
        schema.SINGLE_ARTIFACT_SCHEMA.schema,
    )
    known = {name for names in CASES for name in names.split()} | {"stages", "artifacts", "path", *UNTESTED}
    assert set(options(parts)) == known


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if "cmd" in name or "matrix" in name or "persist" in name else pytest.mark.farm)
        for name in CASES
    ],
)
def test_options_have_the_effect_that_dvc_gives_them(toy: Toy, name: str) -> None:
    """A run, a push and a second run without outputs give the files, records, uploads and numbers of runs of DVC."""
    data = {"in": "one\n", "params.yaml": "speed: 1\n", "other.yaml": "pace: 2\n", "m.json": "{}", "p.csv": "x,y\n"}
    toy.write(data | {"dvc.yaml": f"{TOP_LEVEL}stages:\n  {CASES[name]}\n", "sub/.gitkeep": ""})
    copy = twin(toy.folder)
    for folder in (toy.folder, copy):
        add_remotes(folder)
    for _ in range(2):
        succeeded(run_engine())
        dvc_repro(copy)
        assert (locks(toy.folder), files(toy.folder)) == (locks(copy), files(copy))
        assert counts(toy.folder) == counts(copy)
        for folder in (toy.folder, copy):
            with Repo(str(folder)) as repo:
                outputs = [(Path(out.fs_path), str(out.hash_info.value)) for out in repo.index.outs]
                uncached = {str(out.hash_info.value) for out in repo.index.outs if not out.use_cache}
            for path, _ in outputs:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    remotes.push_all(Path())
    with chdir(copy), Repo() as repo:
        repo.push()
    if not uncached:  # which `inkflow run --push` sends too, for other machines' run cache
        assert pushed(toy.folder) == pushed(copy)
