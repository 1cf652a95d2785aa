"""Files and parameters that DVC cannot hash or record are named in one sentence; edits keep a file's form."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from flows.cli.main import _redacted_main, main
from flows.core.errors import DvcFailed, PipelineInvalid, SpecialFile, UnknownStage
from flows.core.own_data import remember
from stages.base.errors import InkflowError, InvalidInput
from tests.conftest import Inkflow, Toy

ONE = "stages:\n  s: {{cmd: {command}, {inputs}, outs: [out]}}\n"


def write_stage(toy: Toy, inputs: str = "deps: [in]", command: str = "echo 1 > out") -> None:
    """Writes a pipeline of one stage."""
    toy.write({"dvc.yaml": ONE.format(command=command, inputs=inputs)})


def commit() -> None:
    """Commits all files of the current folder."""
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    for arguments in (["add", "--all"], [*identity, "commit", "--quiet", "-m", "first"]):
        subprocess.run(["git", *arguments], check=True)


@pytest.mark.parametrize("verb", [["plan"], ["run", "--no-server"]])
def test_a_named_pipe_among_the_inputs(toy: Toy, verb: list[str]) -> None:
    """A pipe in a folder, which would never be read to its end, is named; one that DVC ignores does not count."""
    write_stage(toy)
    toy.write({"in/file": "1\n"})
    os.mkfifo("in/pipe")
    with pytest.raises(SpecialFile, match=r"^in/pipe is a named pipe, expected a file or a folder, .*\.dvcignore$"):
        main(verb)
    toy.write({".dvcignore": "pipe\n"})
    assert main(verb) == 0


@pytest.mark.parametrize("verb", ["plan", "init", "doctor"])
def test_a_deleted_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """A folder that another program has deleted, or made anew, is told in one sentence."""
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    folder.mkdir()
    monkeypatch.setattr("sys.argv", ["inkflow", verb])
    with pytest.raises(InvalidInput, match=r"^the present folder no longer exists; `cd` to it again$"):
        _redacted_main()


def test_a_named_pipe_as_an_output(toy: Toy) -> None:
    """A stage that makes a pipe fails, and nothing is recorded."""
    write_stage(toy, "params: []", "mkfifo out")
    with pytest.raises(SpecialFile, match=r"^s: out is a named pipe"):
        main(["run", "--no-server"])
    assert not Path("dvc.lock").exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("params.yaml", "day: 2020-01-01\n", "params.yaml:day is a date"),
        ("p.toml", "day = 1979-05-27T07:32:00Z\n", "p.toml: day is a datetime"),
        ("p.py", "day = {1, 2}\n", "p.py: day is a set"),
        ("params.yaml", "day: {1: a, b: c}\n", "params.yaml: day has a key that is no text"),
    ],
)
@pytest.mark.parametrize("verb", [["plan"], ["run", "--no-server"]])
def test_a_parameter_that_dvc_cannot_record(toy: Toy, file: str, content: str, message: str, verb: list[str]) -> None:
    """Its file, name and type are told, with what is expected."""
    write_stage(toy, f"params: [{{{file}: [day]}}]")
    toy.write({file: content})
    with pytest.raises(
        PipelineInvalid,
        match=f"^(s: )?{message}(, expected text, .*; write it as |.*; write all )",
    ):
        main(verb)


def test_not_a_number_is_a_value(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A parameter that is NaN counts as unchanged, while its stage runs and afterwards."""
    write_stage(toy, "params: [rate]")
    toy.write({"params.yaml": "rate: 1.0\nother: [{a: .nan}]\n"})
    assert main(["run", "--no-server", "--set", "rate=.nan"]) == 0
    write_stage(toy, "params: [rate, other]")
    assert main(["run", "--no-server"]) == 0
    capsys.readouterr()
    assert main(["plan", "--json"]) == 0
    assert [row["verdict"] for row in json.loads(capsys.readouterr().out)["stages"]] == ["unchanged"]


def test_keys_that_are_numbers(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A mapping with such keys is a value like others; `plan` names them."""
    write_stage(toy, "params: [rate]")
    toy.write({"params.yaml": "rate: 1\n"})
    assert main(["run", "--no-server"]) == 0
    toy.write({"params.yaml": "rate: {0: cat, 1: dog}\n"})
    assert main(["plan"]) == 0
    assert "rate 1 → {0, 1}" in capsys.readouterr().out
    assert main(["run", "--no-server"]) == 0


def test_an_edit_keeps_the_form_of_the_file(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """`--set` writes the file that a link leads to, with its own ends of lines; a new key is told."""
    write_stage(toy, "params: [rate]")
    Path("shared.yaml").write_bytes(b"rate: 1\r\nother: 2\r\n")
    Path("shared.yaml").chmod(0o640)
    Path("params.yaml").symlink_to("shared.yaml")
    assert main(["run", "--no-server", "--set", "rate=3", "--set", "rat=4", ":s"]) == 0
    assert Path("params.yaml").is_symlink()
    assert Path("shared.yaml").read_bytes() == b"rate: 3\r\nother: 2\r\nrat: 4\r\n"
    assert Path("shared.yaml").stat().st_mode & 0o777 == 0o640
    captured = capsys.readouterr()
    assert "--set rat: params.yaml has no such key; it is added" in captured.out + captured.err


@pytest.mark.parametrize("arguments", [[], ["--set", "rate=1"]])
def test_params_yaml_in_another_encoding(toy: Toy, arguments: list[str]) -> None:
    """A file in UTF-16, or a folder of that name, ends in one sentence that names it."""
    write_stage(toy, "params: [rate]")
    Path("params.yaml").write_bytes("rate: 1\n".encode("utf-16"))
    with pytest.raises(InvalidInput, match=r"params\.yaml"):
        main(["run", "--no-server", *arguments])
    Path("params.yaml").unlink()
    Path("params.yaml").mkdir()
    with pytest.raises(InkflowError, match=r"params\.yaml"):
        main(["run", "--no-server", *arguments])


def test_a_project_without_params_yaml(toy: Toy) -> None:
    """`compare` works without it; a verb for Inkflow's own models says that this project has none."""
    write_stage(toy, "deps: [in]")
    toy.write({"in": "1\n"})
    assert main(["run", "--no-server"]) == 0
    commit()
    assert main(["compare", "HEAD"]) == 0
    with pytest.raises(InvalidInput, match="models of Inkflow's own pipeline"):
        main(["check"])


@pytest.mark.farm
def test_an_experiment_whose_lock_file_is_again_that_of_the_commit(toy: Toy, inkflow: Inkflow) -> None:
    """The lock file has an uncommitted entry; that of the experiment is the committed one."""

    def call(*arguments: str) -> None:
        done = inkflow(*arguments, folder=toy.folder)
        assert done.returncode == 0, done.stdout + done.stderr

    write_stage(toy, "deps: [in], params: [rate]", "cat in > out")
    toy.write({"params.yaml": "rate: 1\nother: 0\n", "in": "1\n", ".gitignore": ".inkflow\n"})
    call("run", "--no-server")
    commit()
    toy.write({"in": "2\n"})
    call("run", "--no-server")
    toy.write({"in": "1\n"})  # dvc.lock still has the other content
    call("sweep", "--grid", "other=1")
    assert "other=1" in subprocess.check_output(["git", "for-each-ref", "refs/exps"], text=True)


def test_an_empty_address(toy: Toy) -> None:
    """It is refused, as it may be that of an unset variable; all stages would run."""
    write_stage(toy)
    with pytest.raises(UnknownStage, match="unknown stage ''; known: s"):
        main(["plan", ""])


def test_a_remote_without_credentials(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason of the library is told, as the error of the stage."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    write_stage(toy, 'deps: ["s3://bucket/file"]')
    with pytest.raises(DvcFailed, match="another machine: Unable to locate credentials"):
        main(["run", "--no-server"])


@pytest.mark.parametrize("verb", [["verify", "--against"], ["prune", "--also-for"]])
@pytest.mark.parametrize("path", ["a" * 300, f"/{'a' * 300}", f"a/{'a' * 300}/b"])
def test_a_name_that_is_too_long(toy: Toy, verb: list[str], path: str) -> None:
    """A path that no file system can hold is a mistake like any other that does not exist."""
    write_stage(toy)
    commit()
    with pytest.raises(InvalidInput, match="a" * 300):
        main([*verb, path])


def test_a_long_address_as_a_source_of_a_data_set(toy: Toy) -> None:
    """A data set may come from an address that is longer than a name of a file; it is no file to watch."""
    remember(toy.folder, "mine", ["inkflow"], [f"https://example.org/{'a' * 300}"])
