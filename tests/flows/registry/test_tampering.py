"""A registered model is refused if its tag, commit, cache object, remote object or copy was changed; each says why."""

import json
import subprocess
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from flows.core.errors import RegistryFailed, RevisionUnusable
from flows.registry.model_files import fetch_model
from stages.base.errors import InkflowError, InvalidInput
from tests.conftest import Toy
from tests.flows.engine.helpers import dvc
from tests.support.pictures import draw, encoded, write_reader
from tests.support.registered_reader import MODEL, commit_version, git, reader

__all__ = ["reader"]  # the fixture

TAG = "reader@v0.0.1"


@pytest.fixture
def promoted(reader: Toy) -> Toy:
    """The project with its first version in `prod`."""
    assert inkflow(["promote", "reader", "prod"]) == 0
    return reader


def refusal(error: type[InkflowError] = RegistryFailed, address: str = "reader@prod") -> str:
    """The sentence with which the model at `address` is refused."""
    with pytest.raises(error) as raised:
        fetch_model(Path(), address)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def md5() -> str:
    """The hash of the model in the working tree."""
    return subprocess.run(["md5sum", MODEL], check=True, capture_output=True, text=True).stdout.split()[0]


def cached(digest: str) -> Path:
    """The object in DVC's cache."""
    return Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]


def replace_tag(message: str, commit: str = "HEAD") -> None:
    """Makes the tag of the version anew."""
    git("tag", "--force", "--annotate", "--message", message, TAG, commit)


def message() -> str:
    """The message of the version's tag."""
    return git("for-each-ref", "--format=%(contents)", f"refs/tags/{TAG}")


def test_a_tag_at_a_commit_without_the_model(promoted: Toy) -> None:
    """A tag that was moved to a commit that has no such model is refused."""
    told = message()
    git("rm", "-q", "dvc.lock")
    git("commit", "-qm", "none")
    replace_tag(told)
    assert "name no output of a stage for it" in refusal(address=TAG)
    assert "no version of reader holds prod" in refusal(InvalidInput)


def test_a_tag_at_another_version(promoted: Toy) -> None:
    """A tag that was moved to another model is refused: it tells another hash than dvc.lock."""
    told = message()
    commit_version("two")
    replace_tag(told)
    assert "the tag was moved" in refusal(address=TAG)
    assert "no version of reader holds prod" in refusal(InvalidInput)  # for GTO too: the stage marks a commit


@pytest.mark.parametrize(
    ("key", "sentence"), [("MD5", "its tag says MD5 0000"), ("Model-SHA256", "the tag says SHA-256 0000")]
)
def test_an_altered_message(promoted: Toy, key: str, sentence: str) -> None:
    """A tag whose recorded hashes were changed is refused."""
    [line] = [line for line in message().splitlines() if line.startswith(f"{key}:")]
    replace_tag(message().replace(line, f"{key}: {'0' * 32}"))
    assert sentence in refusal()


def test_an_altered_lock_file(promoted: Toy) -> None:
    """A dvc.lock with another digest, committed under the version's tag, is refused."""
    told, first = message(), md5()
    write_reader(Path("other.onnx"), [f"evil {digit}" for digit in range(10)])
    dvc("add", "-q", "other.onnx")
    evil = next(line.split()[-1] for line in Path("other.onnx.dvc").read_text().splitlines() if "md5: " in line)
    Path("dvc.lock").write_text(Path("dvc.lock").read_text().replace(first, evil))
    git("commit", "-qam", "evil")
    replace_tag(told)
    assert f"its tag says MD5 {first}, dvc.lock at its commit {evil}" in refusal(address=TAG)


@pytest.mark.cases(1)
@pytest.mark.parametrize("link", ["other content", "nothing"])
def test_a_cache_object_that_is_a_link(promoted: Toy, link: str) -> None:
    """An object of the cache that was replaced by a link to other content, or to nothing, is refused."""
    write_reader(Path("evil.onnx"), [f"evil {digit}" for digit in range(10)])
    target = cached(md5())
    target.unlink()
    target.symlink_to(Path("evil.onnx" if link == "other content" else "missing").absolute())
    assert "neither in git, the cache nor a remote" in refusal(RevisionUnusable)
    assert not Path(".inkflow/models/reader@v0.0.1/model.onnx").exists()


@pytest.mark.cases(1)
@pytest.mark.parametrize("kept", [100, 0])
def test_a_truncated_object_in_the_remote(reader: Toy, tmp_path: Path, kept: int) -> None:
    """An object of the remote that was cut is refused, and no part of it is kept."""
    dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    git("commit", "-qam", "remote")
    assert inkflow(["promote", "reader", "prod"]) == 0
    dvc("push", "-q")
    digest = md5()
    cached(digest).unlink()
    remote = tmp_path / "store" / "files" / "md5" / digest[:2] / digest[2:]
    remote.chmod(0o644)
    remote.write_bytes(remote.read_bytes()[:kept])
    assert "the remote's object is damaged" in refusal()
    assert not Path(".inkflow/models/reader@v0.0.1/model.onnx").exists()


def test_a_tampered_copy_is_never_used(promoted: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The kept copy of a model is compared at each use: a changed one is fetched again, and never predicts."""
    copy = fetch_model(Path(), "reader@prod").path
    picture = tmp_path / "seven.png"
    picture.write_bytes(encoded(draw(7), "PNG"))
    for _ in range(2):
        write_reader(copy, [f"evil {digit}" for digit in range(10)])
        capsys.readouterr()
        assert inkflow(["predict", "reader@prod", str(picture), "--json"]) == 0
        [answer] = map(json.loads, capsys.readouterr().out.splitlines())
        assert answer["label"] == "one 7" and answer["model_version"] == "v0.0.1"


def test_a_stage_that_marks_no_version(promoted: Toy) -> None:
    """Without the tag of its version, the tag of the stage gives nothing."""
    git("tag", "--delete", TAG)
    assert "no version of reader is registered" in refusal(InvalidInput)
