"""`inkflow data add`: the entry in params.yaml, what stays as it was, and changed files."""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from flows.cli import data
from flows.cli.main import main
from flows.core import own_data
from flows.core.own_data import check_own_data
from flows.core.params_edit import load_project_params
from flows.edits.edited_file import write_edited
from stages.base.errors import InkflowError, InvalidInput
from stages.download import download
from tests.support.http_server import Server, serve
from tests.support.own_forms import samples, write_csv, write_pictures
from tests.support.own_programs import run_here
from tests.support.root import ROOT

X, Y = samples(40, 1, 4)
ARRAYS = {"x_train": X, "y_train": Y, "x_test": X[:8], "y_test": Y[:8]}
NAMES = ("ant", "bee", "cat", "dog")
GROUPS = {"file": "owners.npz", "sha256": {"train": "0" * 64, "test": "1" * 64}}
PARAMS = """\
dataset: tiny # chosen

datasets:
  tiny: # a comment
    title: Tiny
    embedded: digits

  # the end of the data sets
prepare: {}
models:
  dense: {network: dense, units: [4], optimizer: {name: adam}, batch_size: 8, epochs: 1} # quick
report: {}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a params.yaml with comments, in which the command runs."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "params.yaml").write_text(PARAMS)
    shutil.copyfile(ROOT / "params.schema.json", folder / "params.schema.json")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("INKFLOW_MIRROR", raising=False)
    monkeypatch.setenv("INKFLOW_PROJECT", "")  # restored after the test: the command sets it
    return folder


@pytest.fixture
def programs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the program that reads the data in this process; other tests have it as a process."""
    for module in (data, own_data):
        monkeypatch.setattr(module, "run_program", run_here)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder of pictures, one folder a class."""
    return write_pictures(tmp_path / "pets", X, Y, NAMES)


def refused(*arguments: str) -> str:
    """Runs `inkflow data add`, which must refuse; returns the sentence."""
    with pytest.raises(InkflowError) as caught:
        main(["data", "add", *arguments])
    return str(caught.value)


def check() -> None:
    """Compares the chosen data set's files as `inkflow plan` and `inkflow run` do."""
    check_own_data(load_project_params(Path()), Path())


def test_adds_an_entry_and_keeps_every_other_line(project: Path, pets: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The entry is added below the others, all other lines stay, and the stage `download` reads the data set."""
    assert main(["data", "add", "pets", str(pets), "--title", "My pets: all", "--licence", "mine"]) == 0
    text = (project / "params.yaml").read_text()
    before = PARAMS.splitlines()
    assert [line for line in text.splitlines() if line in before] == before
    entry = YAML(typ="safe").load(text)["datasets"]["pets"]
    digests = entry.pop("sha256")
    assert entry == {
        "title": "My pets: all", "licence": "mine", "path": "data/own/pets.npz", "shape": [9, 12], "classes": 4,
        "class_names": [*NAMES],
    }  # fmt: skip
    assert len(digests) == 4
    printed = capfd.readouterr().out
    assert "32 training and 8 test images, 9 x 12, grey" in printed
    assert "use it: inkflow run --dataset pets" in printed
    assert main(["data", "add", "more", str(pets), "--use"]) == 0
    assert load_project_params(project).dataset == "more"  # type: ignore[union-attr]
    assert download.main(["--out", "data/raw"]) == 0
    with np.load("data/raw/dataset.npz") as arrays:
        assert np.isin(np.concatenate([arrays["x_train"], arrays["x_test"]]).sum(axis=(1, 2)), X.sum(axis=(1, 2))).all()


@pytest.mark.farm
def test_an_existing_name_needs_replace(
    project: Path, pets: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without --replace an entry stays; with it, title and comments stay, the data are new, and groups go with them."""
    assert "the data set tiny exists; choose another name, or replace it with --replace" in refused("tiny", str(pets))
    assert (project / "params.yaml").read_text() == PARAMS
    main(["data", "add", "pets", str(pets), "--title", "Mine"])
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("path: data/own/pets.npz", "path: data/own/pets.npz # by me"))
    before = path.read_text()
    write_pictures(pets, X[:4] // 2, Y[:4], NAMES)
    assert main(["data", "add", "pets", str(pets), "--replace"]) == 0
    after = path.read_text()
    assert "# by me" in after and "title: Mine" in after
    changed = [new for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]
    assert [line.split(":")[0].strip() for line in changed] == ["x_train", "x_test"] or len(changed) == 1
    write_csv(tmp_path / "a.csv", samples(40, 2, 4, (8, 8))[0], Y)
    path.write_text(after.replace("title: Mine", f"title: Mine\n    groups: {json.dumps(GROUPS)}"))
    assert main(["data", "add", "pets", str(tmp_path / "a.csv"), "--replace"]) == 0
    entry = YAML(typ="safe").load(path.read_text())["datasets"]["pets"]
    assert entry["title"] == "Mine" and "class_names" not in entry and "groups" not in entry
    assert "datasets.pets.groups removed: these were the groups of other samples" in capfd.readouterr().out
    assert "# the end of the data sets" in path.read_text()


@pytest.mark.usefixtures("programs_here")
@pytest.mark.cases(1)
@pytest.mark.parametrize("again", ["run", "add"])
def test_a_killed_replacement_is_finished(
    project: Path, pets: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """A kill between params.yaml and the data leaves a complete copy, which the next command moves into place."""
    main(["data", "add", "pets", str(pets), "--use"])
    own = project / "data/own"
    old = (own / "pets.npz").read_bytes()
    there: list[tuple[Path, bytes]] = []

    def write_params(path: Path, text: str) -> None:
        there.extend((found, found.read_bytes()) for found in own.glob(".*"))
        write_edited(path, text)

    monkeypatch.setattr(data, "write_edited", write_params)
    write_pictures(pets, X[:4] // 2, Y[:4], NAMES)
    assert main(["data", "add", "pets", str(pets), "--replace"]) == 0
    [(copy, new)] = there
    copy.write_bytes(new)  # the files as they were when params.yaml was written
    (own / "pets.npz").write_bytes(old)
    if again == "add":
        assert "no such file" in refused("pets", str(project / "none"), "--replace").lower()
    check()
    assert (own / "pets.npz").read_bytes() == new != old
    assert [path.name for path in own.iterdir()] == ["pets.npz"]


@pytest.mark.usefixtures("programs_here")
def test_copies_that_params_do_not_record_are_removed(project: Path, pets: Path) -> None:
    """What a killed command left before it wrote params.yaml goes with the next one, and takes no place."""
    main(["data", "add", "pets", str(pets), "--use"])
    own = project / "data/own"
    before = (own / "pets.npz").read_bytes()
    for name in (".pets.new.npz", ".pets-0123456789abcdef.new.npz", ".pets-7.npz", "..pets.7.new-8.tmp.npz"):
        (own / name).write_bytes(b"a part")
    check()
    assert (own / "pets.npz").read_bytes() == before
    main(["data", "add", "pets", str(pets), "--replace"])
    assert [path.name for path in own.iterdir()] == ["pets.npz"]


@pytest.mark.farm
def test_other_writers_are_noticed(project: Path) -> None:
    """A file with other groups stops the run, and the command that the message names writes their digest."""
    np.savez(project / "a.npz", allow_pickle=False, **ARRAYS, g_train=np.arange(40))
    main(["data", "add", "pets", "a.npz", "--use"])
    assert download.main(["--out", "data/raw"]) == 0
    np.savez(project / "a.npz", allow_pickle=False, **ARRAYS, g_train=np.arange(40) // 2)
    with pytest.raises(InvalidInput, match=r"records \(g_train\): .*`inkflow data add pets a.npz --replace`"):
        check()
    assert main(["data", "add", "pets", "a.npz", "--replace"]) == 0
    check()
    assert download.main(["--out", "data/raw"]) == 0


def test_groups_stay_with_their_samples() -> None:
    """With --replace the groups of an entry stay if all images and labels are the same, not the arrays beside them."""
    arguments = argparse.Namespace(name="pets", title=None, licence=None, max_bytes=None)
    digests = {name: name for name in ("x_train", "y_train", "x_test", "y_test")}
    old = {"groups": GROUPS, "sha256": digests}
    for new, kept in (
        (digests | {"w_train": "w", "g_train": "g"}, True),
        *((digests | {name: "other"}, False) for name in digests),
    ):
        found = {"unchanged": False, "entry": {"sha256": new}}
        assert ("groups" in data._entry(arguments, old, {"path": "a.npz"}, found)) is kept


@pytest.mark.usefixtures("programs_here")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Pets!"], "got the name 'Pets!', expected lower-case letters, digits and _"),
        (["pets", "--test-share", "0"], "--test-share: Input should be greater than 0, got 0.0"),
        (["pets", "--size", "4"], "has 4 x 4 pixels, expected 8 to 128 a side"),
        (["pets", "--class-names", "a,b"], "--class-names has 2 names, but there are 4 classes"),
        (["pets", "--size", "8", "9", "7"], "--size has 3 numbers, expected 1 or 2"),
    ],
)
def test_nothing_is_written_when_anything_is_wrong(
    project: Path, pets: Path, arguments: list[str], message: str
) -> None:
    """A mistake leaves params.yaml, data/ and the record as they were."""
    assert message in refused(arguments[0], str(pets), *arguments[1:])
    assert (project / "params.yaml").read_text() == PARAMS
    assert [path for path in project.rglob("*") if path.suffix in (".npz", ".json")] == [project / "params.schema.json"]


@pytest.mark.usefixtures("programs_here")
def test_a_data_set_that_no_model_can_use_is_not_chosen(project: Path, pets: Path) -> None:
    """With --use, the whole params.yaml is checked first: a crop that leaves nothing refuses the data set."""
    text = PARAMS.replace("prepare: {}", "prepare: {crop: {top: 9}}")
    (project / "params.yaml").write_text(text)
    assert "prepare.crop removes 9 and 0 rows" in refused("pets", str(pets), "--use")
    assert (project / "params.yaml").read_text() == text
    assert not (project / "data" / "own" / "pets.npz").exists()


@pytest.mark.usefixtures("programs_here")
def test_dry_run_writes_the_sheet_alone(project: Path, pets: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """--dry-run shows what was found, writes the contact sheet if asked for, and nothing else."""
    assert main(["data", "add", "pets", str(pets), "--dry-run", "--sheet", "sheet.png"]) == 0
    assert (project / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "nothing was written" in capfd.readouterr().out
    assert (project / "params.yaml").read_text() == PARAMS
    assert not (project / "data").exists()


@pytest.mark.farm
def test_an_npz_file_of_the_right_form_is_used_where_it_is(project: Path, tmp_path: Path) -> None:
    """Within the project its path is written, from an address the address; a file elsewhere is copied."""
    for path in (project / "my data.npz", tmp_path / "outside.npz"):
        np.savez_compressed(path, allow_pickle=False, **ARRAYS)
    with Server().running() as server:
        server.respond_with(serve((tmp_path / "outside.npz").read_bytes()))
        main(["data", "add", "inside", "my data.npz", "--use"])
        main(["data", "add", "outside", str(tmp_path / "outside.npz")])
        main(["data", "add", "far", f"{server.url}/far.npz"])
        main(["data", "add", "secret", f"{server.url}/far.npz?token=abcdef123456"])
        params = load_project_params(project)
        assert params is not None
        assert params.datasets["inside"].path == "my data.npz"
        assert params.datasets["outside"].path == "data/own/outside.npz"
        assert params.datasets["far"].url == f"{server.url}/far.npz"
        assert params.datasets["secret"].path == "data/own/secret.npz"  # git tracks params.yaml
    assert "abcdef123456" not in (project / "params.yaml").read_text() + Path(".inkflow/own_data.json").read_text()
    assert len({str(params.datasets[name].sha256) for name in ("inside", "outside", "far")}) == 1
    assert download.main(["--out", "data/raw"]) == 0
