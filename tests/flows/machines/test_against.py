"""`inkflow verify --against` in any DVC project. Its stages read a variable for the machine: no declared input."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import chdir
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from flows.cli.main import main
from flows.core.errors import RevisionUnusable
from stages.base.errors import InvalidInput, SourceUnavailable
from tests.conftest import Toy, run_engine
from tests.support.commands import dvc

GRAPH = """
stages:
  same: {cmd: cp in same.txt, deps: [in], outs: [same.txt]}
  numbers: {cmd: python make.py numbers, deps: [same.txt, make.py], params: [size], outs: [numbers.npz, order.json]}
  page: {cmd: python make.py page, deps: [numbers.npz, order.json], outs: [page.html]}
  wild: {cmd: python make.py wild, deps: [in], outs: [wild]}
"""
MAKE = """
import json, os, pathlib, sys, zipfile
machine = os.environ.get("MACHINE", "there")
if sys.argv[1] == "numbers":
    kind = zipfile.ZIP_DEFLATED if machine == "here" else zipfile.ZIP_STORED
    fields = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }"
    head = b"\\x93NUMPY\\x01\\x00v\\x00" + fields.ljust(117) + b"\\n"
    with zipfile.ZipFile("numbers.npz", "w", kind) as archive:
        archive.writestr("x.npy", head + bytes(range(4)))
    drift = 1e-9 if machine == "here" else 0
    pathlib.Path("order.json").write_text(json.dumps({"a": 0.5 + drift, "b": 2}))
elif sys.argv[1] == "page":
    pathlib.Path("page.html").write_text(machine)
else:
    pathlib.Path("wild").mkdir()
    pathlib.Path("wild/a.json").write_text(json.dumps([1, machine]))
"""
COMMIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose HEAD has the results of the machine `there`, and its workspace those of `here`."""
    folder = tmp_path_factory.mktemp("machines")
    toy = Toy(folder)
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        toy.write({"dvc.yaml": GRAPH, "make.py": MAKE, "in": "one\n", "params.yaml": "size: 3\n"})
        toy.write({".gitignore": "/same.txt\n/numbers.npz\n/order.json\n/page.html\n/wild\n/.inkflow\n"})
        run_engine()
        toy.write({"environment.lock": environment(toy, "2.20.0", "AVX2, AMX")})
        for command in (["git", "add", "--all"], [*COMMIT, "there"]):
            subprocess.run(command, check=True)
        patch.setenv("MACHINE", "here")
        run_engine(force=True)
        toy.write({"environment.lock": environment(toy, "2.21.0", "AVX2, BF16")})
    return folder


@pytest.fixture
def machines(finished: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of the finished project, which is also the current folder."""
    shutil.rmtree(toy.folder / ".git")
    shutil.copytree(finished, toy.folder, symlinks=True, dirs_exist_ok=True)
    monkeypatch.setenv("MACHINE", "here")
    return toy


def environment(toy: Toy, version: str, sets: str) -> str:
    """Returns environment.lock for the results in the workspace."""
    from flows.dvc_repo.history.parsing import parse_lock
    from flows.engine.environment.records import EnvironmentRecords

    (toy.folder / "environment.lock").unlink(missing_ok=True)
    records = EnvironmentRecords(toy.folder, toy.folder / "nowhere")
    for name, entry in parse_lock((toy.folder / "dvc.lock").read_bytes()).items():
        records.put(name, entry.outs, {"tensorflow": version, "processor": f"AMD x86_64 with {sets}"})
    return toy.read("environment.lock")


def verify(capsys: pytest.CaptureFixture[str], *arguments: str, code: int) -> dict[str, Any]:
    """Returns what `--json` prints; the command must end with `code`."""
    capsys.readouterr()
    assert main(["verify", "--json", *arguments]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code
    return found


def verdicts(found: Mapping[str, Any]) -> dict[str, str]:
    """Returns the verdict on each output."""
    return {row["output"]: row["verdict"] for row in found["outputs"]}


def row(found: Mapping[str, Any], output: str) -> Any:
    """Returns what is said about one output."""
    return next(item for item in found["outputs"] if item["output"] == output)


EXPECTED = {
    "same.txt": "byte-equal",
    "numbers.npz": "value-equal",
    "order.json": "within tolerance",
    "page.html": "follows",
    "wild": "different",
}


def test_against_a_commit(machines: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Each output has a verdict, and what differs of the environments is named; no stage runs, no file changes."""
    before = {path: path.read_bytes() for path in machines.folder.glob("*") if path.is_file()}
    found = verify(capsys, "--against", "HEAD", code=1)
    assert verdicts(found) == EXPECTED
    assert found["inputs"] == [] and found["only_here"] == found["only_there"] == found["notes"] == []
    seen = {(item["name"], item["here"], item["there"]) for item in found["environment"]}
    sets = "AMD x86_64 with BF16", "AMD x86_64 with AMX"
    assert seen == {("tensorflow", "2.21.0", "2.20.0"), ("processor", *sets)}
    assert {item["stage"] for item in found["environment"]} == {"numbers", "page", "wild"}
    wild = row(found, "wild")
    assert wild["detail"] == "a.json: [1]: 'here' became 'there'" and wild["here"] != wild["there"]
    assert {path: path.read_bytes() for path in machines.folder.glob("*") if path.is_file()} == before
    assert verdicts(verify(capsys, "same", "page", "--against", "HEAD", code=0)) == {
        "same.txt": "byte-equal",
        "page.html": "follows",
    }
    assert verdicts(verify(capsys, "--against", "HEAD", "--tolerance", "1e-15", code=1))["order.json"] == "different"


def test_table(machines: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal shows what differs and why in few lines, and says when equal records prove nothing."""
    assert main(["verify", "--against", "HEAD"]) == 1
    text = capsys.readouterr().out
    assert "\\n" not in text and "\n\n" in text  # empty lines between the parts
    assert "tensorflow: 2.21.0 here, 2.20.0 there (" in text
    assert "  within tolerance     order.json\n                       a: differs by 1e-09\n" in text
    assert "made from order.json, which is within tolerance" in text and "same.txt" not in text
    assert "5 outputs: 1 different, 1 within tolerance" not in text and "1 byte-equal" in text
    assert main(["verify", "--against", "dvc.lock"]) == 0
    assert "Equal records do not show that this machine makes these bytes" in capsys.readouterr().out


def test_files_folders_and_urls(machines: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other dvc.lock can be a file with any name, a checkout of the other machine, or a URL; the result agrees."""
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", ".", str(other)], check=True)
    shutil.copy(other / "dvc.lock", tmp_path / "theirs.lock")
    for source in (other, tmp_path / "theirs.lock"):
        assert verdicts(verify(capsys, "--against", str(source), code=1)) == EXPECTED
    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: SimpleHTTPRequestHandler(*a, directory=str(other))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        found = verify(capsys, "--against", f"{url}/dvc.lock", code=1)
        assert verdicts(found) == EXPECTED and len(found["environment"]) == 6
        with pytest.raises(SourceUnavailable, match="does not exist there"):
            main(["verify", "--against", f"{url}/nothing.lock"])
        server.shutdown()
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        main(["verify", "--against", f"{url}/dvc.lock"])


def test_inputs_that_differ_come_first(machines: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A parameter, code or data that differ are named, and what they decide is not comparable: exit code 3, not 1."""
    text = GRAPH.replace("wild: {cmd: python make.py wild", "wild: {cmd: python  make.py wild")
    machines.write({"params.yaml": "size: true\n", "make.py": MAKE + "\n", "dvc.yaml": text, "in": "two\n"})
    run_engine()
    found = verify(capsys, "--against", "HEAD", code=3)
    assert [(item["stage"], item["kind"], item["name"]) for item in found["inputs"]] == [
        ("same", "code", "in"),
        ("wild", "command", "command"),
        ("wild", "code", "in"),
        ("numbers", "parameter", "size"),
        ("numbers", "code", "make.py"),
    ]
    assert set(verdicts(found).values()) == {"not comparable"}
    assert main(["verify", "--against", "HEAD"]) == 3
    output = capsys.readouterr().out
    assert "parameter size: True here, 3 there (numbers)" in output
    assert output.index("Inputs that differ:") < output.index("not comparable")
    assert "made from results of numbers, which cannot be compared" in output


def test_only_hashes_are_known(machines: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """What no cache has is unknown, with the reason; what is made from it follows, and equal hashes are enough."""
    shutil.rmtree(machines.folder / ".dvc/cache")
    found = verify(capsys, "--against", "HEAD", code=3)
    assert verdicts(found) == EXPECTED | dict.fromkeys(["numbers.npz", "order.json", "wild"], "unknown")
    assert row(found, "wild")["detail"] == "only the hashes are known: neither the cache nor the remote has it (there)"


def test_other_bytes_come_from_the_remote(machines: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Contents that the cache lacks, or has damaged, come from the DVC remote; without them damage is named."""
    dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    shutil.copytree(machines.folder / ".dvc/cache/files", tmp_path / "store/files")  # `dvc push` of both machines
    damage(machines)
    assert verdicts(verify(capsys, "--against", "HEAD", code=1)) == EXPECTED
    shutil.rmtree(tmp_path / "store")
    damage(machines)
    found = verify(capsys, "--against", "HEAD", code=3)
    assert verdicts(found)["numbers.npz"] == "unknown"
    dvc("remote", "remove", "-q", "store")
    (machines.folder / ".dvc/cache/damaged").rename(machines.folder / "damaged")
    for path in (machines.folder / "damaged").iterdir():
        target = machines.folder / ".dvc/cache/files/md5" / path.name[:2] / path.name[2:]
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    found = verify(capsys, "--against", "HEAD", code=3)
    assert row(found, "numbers.npz")["verdict"] == "unknown" and "damaged" in row(found, "numbers.npz")["detail"]


def damage(machines: Toy) -> None:
    """Gives all objects in the cache another content."""
    for path in (machines.folder / ".dvc/cache/files/md5").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"damage")
            path.chmod(0o444)  # DVC trusts the name of an object that nobody may write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no stage"),
        ("stages: {}\n", "names no stage"),
        ("{", "dvc.lock: "),
        ("stages: [1]\n", "expected a mapping"),
        ("<<<<<<< HEAD\n", "merge conflict"),
        ("schema: '2.0'\nstages:\n  same: 3\n", "expected a mapping"),
        ("schema: '2.0'\nstages:\n  same:\n    params: [1]\n", "parameters cannot be read"),
        ("\x80", "not UTF-8"),
        ("a: " + "[" * 600, "cannot be compared"),
        (
            "stages:\n  same:\n    deps: [{path: b}]\n    outs: [{path: a}]\n"
            "  wild:\n    deps: [{path: a}]\n    outs: [{path: b}]\n",
            "read from each other",
        ),
    ],
)
def test_damaged_records(machines: Toy, tmp_path: Path, text: str, message: str) -> None:
    """A dvc.lock that cannot be read is one sentence with exit code 2."""
    (tmp_path / "theirs.lock").write_text(text, encoding="latin-1")
    with pytest.raises(InvalidInput, match=message):
        main(["verify", "--against", str(tmp_path / "theirs.lock")])


def test_hostile_records(machines: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Paths and hashes that lead out of the project are not followed: the output is unknown, and nothing is written."""
    secret = tmp_path / "secret.json"
    secret.write_text("[1]")
    lock = machines.read("dvc.lock")
    digest = verify(capsys, "wild", "--against", "HEAD", code=1)["outputs"][0]["here"]
    for bad in ("../../../../secret.json", f"{'0' * 32}", "", str(secret)):
        (tmp_path / "theirs.lock").write_text(lock.replace(digest, bad or "''"))
        found = verify(capsys, "wild", "--against", str(tmp_path / "theirs.lock"), code=3)
        assert verdicts(found)["wild"] == "unknown" and (bad or row(found, "wild")["detail"] == "no hash in dvc.lock")
    (tmp_path / "theirs.lock").write_text(lock.replace("path: wild", "path: ../secret.json"))
    assert verdicts(verify(capsys, "--against", str(tmp_path / "theirs.lock"), code=3))["wild"] == "not comparable"
    assert secret.read_text() == "[1]"


def test_what_is_no_source(machines: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no file, version or URL is one sentence; so is a project that never ran."""
    for given, message in (
        ("", "got ''"),
        ("ftp://a/dvc.lock", "URL of a dvc.lock"),
        ("http://", "URL"),
        ("/no", "/no"),
    ):
        with pytest.raises(InvalidInput, match=message):
            main(["verify", "--against", given])
    with pytest.raises(RevisionUnusable, match="nowhere: no such version"):
        main(["verify", "--against", "nowhere"])
    (machines.folder / "environment.lock").write_text("{")
    with pytest.raises(InvalidInput, match=r"environment.lock cannot be read"):
        main(["verify", "--against", "HEAD"])
    (machines.folder / "dvc.lock").unlink()
    with pytest.raises(InvalidInput, match="`inkflow run` first"):
        main(["verify", "--against", "HEAD"])


def test_stages_of_one_side(machines: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage that only one side has is named, and the exit code says that not everything was compared."""
    machines.write({"dvc.yaml": GRAPH + "  new: {cmd: cp in new, deps: [in], outs: [new]}\n"})
    run_engine("new")
    found = verify(capsys, "same", "new", "--against", "HEAD", code=3)
    assert (found["only_here"], found["only_there"], verdicts(found)) == (["new"], [], {"same.txt": "byte-equal"})


def test_from_a_subfolder(machines: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A path is relative to the caller's folder."""
    (machines.folder / "sub").mkdir()
    with chdir("sub"):
        assert verdicts(verify(capsys, "--against", "../dvc.lock", code=0))
