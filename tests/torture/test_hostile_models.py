"""Model files that try to run code, to read or write other files, or to fill the memory."""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]  # comes with Keras
import numpy as np
import onnx
import pytest

from flows.dvc_repo.inotify import FileOpenWatch
from stages.base.errors import InkflowError
from stages.data.memory import bound, share_of_machine
from stages.inference.onnx_session import MEMORY_FACTOR, open_model
from stages.predict.classifier import open_classifier
from stages.predict.image_arrays import Images
from stages.serve.served_model import open_served_model
from stages.verify.compare_files import Verdict, compare
from stages.verify.load_files import UNPACKED_FACTOR
from tests.support.hostile_zip import entries_of
from tests.support.learning import make_model, write_data
from tests.support.pictures import write_reader
from tests.torture.conftest import Rounds, Try
from tests.torture.promises import Promise
from tests.torture.support.audited import audited
from tests.torture.support.hostile_models import CODE, DEVICE, KERAS, ONNX, OUTSIDE, stored_elsewhere
from tests.torture.support.peak import memory, reset_peak
from tests.torture.support.watched import watched

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.export.export import export  # noqa: E402  (imports Keras)
from stages.train import networks  # noqa: E402  (as the others)
from stages.train.export import model_files  # noqa: E402  (as the others)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]
SEED = 18  # in `make test`, where it picks no file that fills gigabytes before it is refused
MAX_SENTENCE = 1_000  # characters
WATCHED = "watched are Python's own opening of files and a folder outside"
# The files that ask for memory where the model runs, as ONNX Runtime makes no large constant before; others at opening.
RUN = ("for each image", "a constant of 12 GB")
Use = Callable[[Path], object]
IMAGE = Images(["a"], np.eye(28, dtype=np.uint8)[np.newaxis] * 255, True)
USES: dict[str, Use] = {  # of a model.onnx
    "predict": lambda file: list(open_classifier(file).predict([IMAGE], raw=True)),
    "evaluate": lambda file: open_model(file, (28, 28), 10),
    "serve": open_served_model,
}


class Watch:
    """Notices any use of the files of a folder, and of the device."""

    def __init__(self, *watches: FileOpenWatch) -> None:
        self._watches = watches

    def was_opened(self) -> bool:
        """True when a process, this one included, opened one of them since the last call."""
        opened = [watch.was_opened() for watch in self._watches]  # asks each of them
        return any(opened)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Watch]]:
    """A folder with a secret beside the project, which is the current folder; any use of it is noticed."""
    folder = tmp_path / "outside"
    (tmp_path / "project").mkdir()
    folder.mkdir()
    (folder / "secret").write_bytes(np.zeros((784, 10), np.float32).tobytes())
    (folder / "evil.py").write_text("raise SystemExit('code ran')\n")
    monkeypatch.setattr(os, "system", lambda _: pytest.fail("os.system was called"))  # with anything: no text as well
    monkeypatch.chdir(tmp_path / "project")
    Path("tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(Path("tmp").absolute()))  # files may be written in the project alone
    with watched(folder) as watch, watched(DEVICE) as device:
        yield folder, Watch(watch, device)


def model_place(outside: Path) -> Path:
    """Returns where a model.onnx of the project is, in a folder with links to what is outside."""
    path = Path("models/reader/model.onnx").absolute()
    (path.parent / "a").mkdir(parents=True)
    (path.parent / "link").symlink_to(outside / "secret")
    (path.parent / "folder").symlink_to(outside)
    return path


def is_refused(use: Use, path: Path, watch: Watch) -> bool:
    """Uses the file; it may be refused in one sentence, no program starts and the files outside are not touched."""
    watch.was_opened()
    refused = False
    with audited(Path.cwd(), Path("../data")) as deeds:
        try:
            use(path)
        except InkflowError as error:
            refused, text = True, str(error)
            assert 0 < len(text) <= MAX_SENTENCE and "\n" not in text and "\x1b" not in text, text[:300]
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {str(error)[:500]}") from error
    assert not watch.was_opened(), "it opened a file of the folder outside"
    assert not deeds, deeds[0]
    return refused


def try_uses(tried: Promise, name: str, path: Path, uses: Mapping[str, Use], watch: Watch) -> int:
    """Tries the file at `path` by each use; returns the most bytes by which the memory grew."""
    most = 0
    for verb, use in uses.items():
        with tried.attempt(f"{verb}: {name}"):
            before = begin_peak()
            refused = is_refused(use, path, watch)
            used = memory("VmHWM") - before
            allowed = allowed_memory(verb, name, path.stat().st_size)
            assert used <= allowed, f"{used:,} bytes more than before, expected at most {allowed:,}"
            assert refused or verb == "verify" or name not in CODE | OUTSIDE, "it was not refused"
            most = max(most, used)
    return most


def allowed_memory(verb: str, name: str, size: int) -> int:
    """Returns by how many bytes the code lets the memory grow for a file of `size` bytes."""
    if verb == "verify":
        return bound(2 * UNPACKED_FACTOR * size)  # of both files, whose sizes are alike
    return bound(share_of_machine() if name.endswith(RUN) else MEMORY_FACTOR * size)


def memory_text(most: int) -> str:
    """Returns the end of a row: by how much the memory grew at most, and what the code allows."""
    return f"; the memory grew by {most / 1e9:.1f} GB at most, {bound(0) / 1e9:.1f} GB and a multiple of its size"


def begin_peak() -> int:
    """Lets the peak of the memory begin anew; returns the memory of now, in bytes."""
    try:
        return reset_peak()
    except OSError as error:
        pytest.skip(f"the peak of the memory cannot be measured, as the system does not let it begin anew: {error}")


def test_the_peak_is_one_of_its_own() -> None:
    """A large test before does not hide what a later one needs, and memory that was given back counts."""
    np.ones(300_000_000, np.uint8).sum()
    before = begin_peak()
    assert memory("VmHWM") - before < 20_000_000
    np.ones(100_000_000, np.uint8).sum()
    assert 90_000_000 < memory("VmHWM") - before < 150_000_000


def test_keras_files_run_no_code_and_touch_no_other_file(
    promise: Try, rounds: Rounds, outside: tuple[Path, Watch], tmp_path: Path
) -> None:
    """`inkflow export` and `inkflow verify` refuse a hostile model.keras, whose code does not run."""
    folder, watch = outside
    data = write_data(tmp_path / "data").prepared
    prepared = write_data(tmp_path / "data").data.prepared
    path, other = Path("models/cnn/model.keras").absolute(), Path("models/other/model.keras").absolute()
    for place in (path, other):
        place.parent.mkdir(parents=True)
    model_files.save_keras(networks.build(make_model("cnn"), prepared.shape, prepared.classes), other)
    good = other.read_bytes()
    uses: dict[str, Use] = {
        "export": lambda file: export(str(file), "saved_model", data),
        "verify": lambda file: compare(file, other, 1e-6),
    }
    with promise(
        "Hostile input",
        "A hostile model.keras runs no code, opens no file outside the project and stays within its bound of memory.",
        f"{len(KERAS)} files (Lambda, other modules, linked weights, bombs), by export and verify; {WATCHED}; export "
        f"refuses the {len(CODE & KERAS.keys())} that name code and the {len(OUTSIDE & KERAS.keys())} that name a file "
        "outside",
    ) as tried:
        most = 0
        for name, make in random.Random(SEED).sample(list(KERAS.items()), rounds(5, len(KERAS))):
            path.write_bytes(make(good, folder))
            most = max(most, try_uses(tried, name, path, uses, watch))
        tried.how += f"{memory_text(most)} are allowed"


def test_onnx_files_touch_no_other_file_and_no_other_memory(
    promise: Try, rounds: Rounds, outside: tuple[Path, Watch], tmp_path: Path
) -> None:
    """predict, evaluate, serve and verify refuse a hostile model.onnx, in one sentence."""
    folder, watch = outside
    path = model_place(folder)
    other = write_reader(Path("other.onnx"))
    uses = USES | {"verify": lambda file: compare(file, other, 1e-6)}
    with promise(
        "Hostile input",
        "A hostile model.onnx opens no file outside the project, runs no own code and stays within its bound of "
        "memory.",
        f"{len(ONNX)} files (external data, domains, lying and huge shapes), by predict, evaluate, serve and verify; "
        f"{WATCHED}; all but verify, which runs nothing, refuse the {len(CODE & ONNX.keys())} with operators of others "
        f"and the {len(OUTSIDE & ONNX.keys())} with data outside",
    ) as tried:
        most = 0
        for name, make in random.Random(SEED).sample(list(ONNX.items()), rounds(4, len(ONNX))):
            path.write_bytes(make(folder))
            most = max(most, try_uses(tried, name, path, uses, watch))
        running = f"{bound(share_of_machine()) / 1e9:.1f} GB for those that grow where they run"
        tried.how += f"{memory_text(most)} are allowed, {running}"


def test_data_beside_a_model_are_read(outside: tuple[Path, Watch]) -> None:
    """The models with data outside are refused because of the place: the same model takes those in its own folder."""
    folder, watch = outside
    path = model_place(folder)
    shutil.copy(folder / "secret", path.parent)
    path.write_bytes(stored_elsewhere("secret")(folder))
    assert [is_refused(use, path, watch) for use in USES.values()] == [False] * len(USES)


def read_onnx(path: Path) -> None:
    """Reads data that a model has elsewhere, wherever that is."""
    (tensor,) = [one for one in onnx.load(path, load_external_data=False).graph.initializer if one.external_data]
    with (path.parent / tensor.external_data[0].value).open("rb") as file:
        file.read(100)


def read_keras(path: Path) -> None:
    """Reads all weights, wherever they are."""

    def read(group: Any) -> None:
        for item in group.values():
            read(item) if isinstance(item, h5py.Group) else item[...]

    Path("weights.h5").write_bytes(entries_of(path.read_bytes())["model.weights.h5"])
    with h5py.File("weights.h5") as file:
        read(file)


@pytest.mark.parametrize("name", [name for name in sorted(OUTSIDE) if not name.startswith("a vocabulary")])
def test_reading_a_file_outside_is_noticed(outside: tuple[Path, Watch], name: str) -> None:
    """A reader that follows each of the hostile files is noticed: their canaries are there, and are watched."""
    folder, watch = outside
    path = model_place(folder)
    if name in KERAS:
        network = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
        model_files.save_keras(network, Path("good.keras"))
        path.write_bytes(KERAS[name](Path("good.keras").read_bytes(), folder))
    else:
        path.write_bytes(ONNX[name](folder))
    with pytest.raises(AssertionError, match="it opened a file of the folder outside"):
        is_refused(read_keras if name in KERAS else read_onnx, path, watch)


def test_verify_reads_no_weights_of_another_file(outside: tuple[Path, Watch]) -> None:
    """Two .keras files whose weights are in a file outside differ: that file is not read."""
    folder, watch = outside
    good = Path("good.keras")
    network = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
    model_files.save_keras(network, good)
    one, two = Path("one.keras"), Path("two.keras")
    one.write_bytes(KERAS["weights in another file"](good.read_bytes(), folder))
    two.write_bytes(one.read_bytes() + b" ")
    watch.was_opened()
    result = compare(one, two, 1e-6)
    assert (result.verdict, "in another file" in result.detail) == (Verdict.DIFFERENT, True), json.dumps(result.detail)
    assert not watch.was_opened()
