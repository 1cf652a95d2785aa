"""The files of an own data set after `inkflow data add`: changed, missing, and read in a clone."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from flows.cli.main import main
from flows.core.params_edit import load_project_params
from stages.base.errors import InkflowError, InvalidInput
from stages.download import download
from tests.flows.cli.test_data import ARRAYS, NAMES, check, pets, programs_here, project

__all__ = ["pets", "programs_here", "project"]  # fixtures


@pytest.mark.farm
def test_changed_files_are_noticed(project: Path, pets: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A changed picture is a note with the command to add it; a changed npz file is an error with the remedy."""
    main(["data", "add", "pets", str(pets), "--use", "--seed", "3"])
    capfd.readouterr()
    check()
    os.utime(pets / "ant" / "0000.png")  # another time, but the same content
    check()
    assert capfd.readouterr().err == ""
    (pets / "ant" / "0004.png").unlink()
    check()
    error = capfd.readouterr().err
    assert "note: the files that pets was made from have changed" in error
    assert f"inkflow data add pets {pets} --seed 3 --replace" in error
    path = project / "data" / "own" / "pets.npz"
    with np.load(path) as arrays:
        changed = dict(arrays) | {"y_test": arrays["y_test"][::-1]}
    np.savez(path, allow_pickle=False, **changed)
    with pytest.raises(
        InvalidInput, match=r"other content .* \(y_test\): restore .* with `inkflow data add pets data/own/"
    ):
        check()
    assert main(["data", "add", "pets", "data/own/pets.npz", "--replace"]) == 0
    check()
    assert load_project_params(project).datasets["pets"].class_names == [*NAMES]  # type: ignore[union-attr]
    path.unlink()
    check()  # a run needs the file only if the stage `download` has to run, which then says so


@pytest.mark.usefixtures("programs_here")
def test_a_missing_file_has_a_remedy(project: Path, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage `download` says how to get a missing file back, and looks for it in the project and in the mirror."""
    main(["data", "add", "pets", str(pets), "--use"])
    Path("data/own/pets.npz").rename(project / "pets.npz")
    with pytest.raises(InkflowError, match=r"dvc pull data/own/pets.npz.*inkflow data add pets \.\.\. --replace"):
        download.main(["--out", "data/raw"])
    monkeypatch.setenv("INKFLOW_MIRROR", str(project))
    assert download.main(["--out", "data/raw"]) == 0


@pytest.mark.usefixtures("programs_here")
@pytest.mark.parametrize("linked", [".dvc/cache/files/md5/ab/cdef", "../outside", "store.npz"])
def test_a_linked_file_has_its_own_name(project: Path, linked: str) -> None:
    """A file that DVC linked from its cache is copied, as one outside; the record names it as the user did."""
    target = project / linked
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        np.savez(file, allow_pickle=False, **ARRAYS)
    (project / "mine").mkdir()
    (project / "mine" / "pets.npz").symlink_to(target)
    main(["data", "add", "pets", "mine/pets.npz", "--use"])
    path = load_project_params(project).datasets["pets"].path  # type: ignore[union-attr]
    assert path == ("mine/pets.npz" if linked == "store.npz" else "data/own/pets.npz")
    record = Path(".inkflow/own_data.json").read_text()
    assert "cdef" not in record and "outside" not in record
    assert "mine/pets.npz" in record or linked == "store.npz"
    assert download.main(["--out", "data/raw"]) == 0


@pytest.mark.usefixtures("programs_here")
def test_a_copy_that_dvc_linked_stays_a_link(project: Path, pets: Path) -> None:
    """The copy that `dvc add` moved into the cache is added again where it is, with the names of its classes."""
    main(["data", "add", "pets", str(pets), "--use"])
    own, cached = project / "data/own/pets.npz", project / ".dvc/cache/abcd"
    cached.parent.mkdir()
    own.rename(cached)
    own.symlink_to(cached)
    main(["data", "add", "pets", "data/own/pets.npz", "--replace"])
    assert own.is_symlink()
    assert load_project_params(project).datasets["pets"].class_names == [*NAMES]  # type: ignore[union-attr]


@pytest.mark.usefixtures("programs_here")
@pytest.mark.parametrize("path", [".", "../project", "data/.."])
def test_the_project_itself_is_no_data(project: Path, path: str) -> None:
    """The folder of the project is refused in one sentence, as any other folder without data."""
    (project / "data").mkdir()
    with pytest.raises(InkflowError, match=r"expected npz|no picture|no folder"):
        main(["data", "add", "pets", path])


@pytest.mark.farm
def test_many_paths(project: Path, tmp_path: Path) -> None:
    """More paths than a command line of the system can hold in one word."""
    images = tmp_path / "images"
    for number in range(2_000):
        (images / f"{'long' * 20}_{number}").mkdir(parents=True)
    with pytest.raises(InkflowError, match="long_0: holds no file"):
        main(["data", "add", "pets", *map(str, sorted(images.iterdir()))])


def test_paths_that_are_no_text(project: Path, tmp_path: Path) -> None:
    """A name of other bytes than UTF-8 is shown with these bytes escaped."""
    for arguments in ([f"{tmp_path}/b\udcff.npz"], ["a.npz", "--test", "b\udcff.npz"], ["a.npz", "--label", "b\udcff"]):
        with pytest.raises(InvalidInput, match=r"b\\udcff(\.npz)?: has bytes that are no UTF-8"):
            main(["data", "add", "pets", *arguments])


@pytest.mark.usefixtures("programs_here")
def test_the_limit_of_an_entry_stays(project: Path, pets: Path) -> None:
    """`max_bytes` of an entry that is replaced bounds the new data too, unless another one is given."""
    main(["data", "add", "pets", str(pets), "--use"])
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("    shape: [9, 12]", "    max_bytes: 5000\n    shape: [9, 12]"))
    with pytest.raises(InkflowError, match="expected at most 5,000; raise --max-bytes"):
        main(["data", "add", "pets", str(pets), "--replace"])
    main(["data", "add", "pets", str(pets), "--replace", "--max-bytes", "50000"])
    assert "max_bytes" not in path.read_text()
    assert download.main(["--out", "data/raw"]) == 0


@pytest.mark.usefixtures("programs_here")
def test_verify_reads_own_data_in_its_clone(
    project: Path, pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that runs in a clone of the project, as for `inkflow verify`, finds the file in the project."""
    main(["data", "add", "pets", str(pets), "--use"])
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.copyfile(project / "params.yaml", clone / "params.yaml")
    monkeypatch.chdir(clone)
    assert download.main(["--out", "data/raw"]) == 0
