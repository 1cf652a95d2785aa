"""Secrets in the patch of an order: refused, since Prefect's server would store them, packed, unmasked."""

import subprocess
from pathlib import Path

import pytest

from flows.core.errors import CannotBeSent
from flows.workers.order import code_fields, unpack_patch

GIT_IDENTITY = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
REMOTE = "['remote \"r\"']\n    url = s3://bucket/store\n"


def git(folder: Path, *arguments: str) -> None:
    """Run a git command."""
    subprocess.run(["git", *GIT_IDENTITY, *arguments], cwd=folder, capture_output=True, check=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return the clone of a repository with a DVC configuration, a program and a file of variables."""
    origin = tmp_path / "origin"
    (origin / "sub/.dvc").mkdir(parents=True)
    (origin / "sub/.dvc/config").write_text(REMOTE)
    (origin / "a.py").write_text("print('one')\n")
    (origin / ".env").write_text("REGION=eu\n")
    git(tmp_path, "init", "--quiet", "origin")
    git(origin, "add", "--all", "--force")
    git(origin, "commit", "--quiet", "--message", "one")
    git(tmp_path, "clone", "--quiet", str(origin), "clone")
    return tmp_path / "clone"


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize(
    ("file", "line", "sentence"),
    [
        (
            "sub/.dvc/config",
            "    secret_access_key = Zz9SECRET",
            r"the changes of sub/\.dvc/config since the commit \w{10} hold a credential \(secret_access_key\), which "
            r"Prefect's server would store; move it to \.dvc/config\.local with `dvc remote modify --local`, then",
        ),
        (".env", "export API_TOKEN='Zz9SECRET'", r"of \.env .* \(API_TOKEN\).*; take it out of the file"),
        (".env", "EMPTY=\n\nAPI_TOKEN=Zz9SECRET", r"of \.env .* \(API_TOKEN\).*"),
        ("a.py", "a\x0curl = 'https://me:Zz9SECRET@host/x'", r"of a\.py .* \(a password or token in a URL\)"),
        ("a.py", "fetch('https://me:Zz9SECRET@host/x')", r"of a\.py .* \(a password or token in a URL\)"),
        ("a.py", "key = 'Zz9KNOWN'", r"of a\.py .* \(the value of a secret variable, or"),
    ],
)
def test_changes_with_a_secret_are_not_sent(
    clone: Path, monkeypatch: pytest.MonkeyPatch, *, file: str, line: str, sentence: str, is_committed: bool
) -> None:
    """An edit or an unpushed commit that holds a secret is refused; the error names file and remedy, not the secret."""
    monkeypatch.setenv("SOME_PASSWORD", "Zz9KNOWN")
    with (clone / file).open("a") as content:
        content.write(f"{line}\n")
    if is_committed:
        git(clone, "commit", "--quiet", "--all", "--message", "two")
    with pytest.raises(CannotBeSent, match=sentence) as caught:
        code_fields(clone, [], "s")
    assert "Zz9" not in str(caught.value)


def test_a_credential_beside_a_change_is_not_sent(clone: Path, tmp_path: Path) -> None:
    """A credential that the pushed commit has already is in the patch too, beside the changed lines: refused."""
    with (clone / "sub/.dvc/config").open("a") as content:
        content.write("    password = Zz9SECRET\n")
    git(clone, "commit", "--quiet", "--all", "--message", "two")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/two")
    assert code_fields(clone, [], "s")["patch"]
    with (clone / "sub/.dvc/config").open("a") as content:
        content.write("    user = me\n")
    with pytest.raises(CannotBeSent, match=r"\(password\)"):
        code_fields(clone, [], "s")


def test_changes_without_a_secret_are_sent(clone: Path) -> None:
    """Placeholders, ordinary settings, examples of variables, and a secret in DVC's local settings stop no order."""
    (clone / "sub/.dvc/config").write_text(REMOTE.replace("bucket", "other"))
    (clone / ".env").write_text("REGION=us\nAPI_TOKEN=\nZONE=europe-west\nDB_PASSWORD=${PASSWORD}\n")
    (clone / ".env.example").write_text("API_TOKEN=changeme\n")
    (clone / "a.py").write_text("url = f'https://{user}:{password}@{host}/x'\npassword = 'of nothing'\n")
    git(clone, "add", "--all", "--force")
    (clone / "sub/.dvc/config.local").write_text("['remote \"r\"']\n    password = Zz9SECRET\n")
    patch = unpack_patch(code_fields(clone, [], "s")["patch"])
    assert b"s3://other" in patch
    assert b"{password}" in patch
    assert b"Zz9" not in patch
