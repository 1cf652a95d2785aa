"""Checks execution.yaml for a run that may have nothing to do, without Pydantic if the file was found valid before."""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from flows.core.project import STATE, make_state_folder
from stages.base.errors import OutputError
from stages.base.files import write_text

if TYPE_CHECKING:
    from flows.engine.policy import Policies

FILE = "execution.yaml"
VALID = STATE / "execution.sha256"  # the digest of the last file that was found valid, together with the schema
ENGINE = Path(__file__).parent
SCHEMA = (ENGINE / "policy.py", ENGINE / "environment" / "grades.py")  # another schema may refuse the same file


def environment_policies(root: Path, *, local: bool) -> "Policies | None":
    """Checks execution.yaml and returns its policies, without pools if `local`; None if no environment counts.

    Raises:
        PolicyInvalid: the file has mistakes.
    """
    if not (root / FILE).exists():
        return None
    content = _content(root)
    has_environment = content is not None and b"environment" in content
    if content is not None and not has_environment and (_has_only_comments(content) or _was_valid(root, content)):
        return None
    from flows.engine.policy import load_policies  # late: pydantic is not needed if there is nothing to do

    policies = load_policies(root)
    if content is not None:
        with suppress(OutputError, OSError):  # the record only saves time
            make_state_folder(root)
            write_text(root / VALID, _digest(content))
    if not has_environment:
        return None
    return policies.without_pools() if local else policies


def _content(root: Path) -> bytes | None:
    """Returns the file's content; None if it cannot be read, which `load_policies` reports."""
    try:
        return (root / FILE).read_bytes()
    except OSError:
        return None


def _has_only_comments(content: bytes) -> bool:
    """Returns True for a file without settings, as `inkflow init` writes it."""
    return all(not line.strip() or line.lstrip().startswith(b"#") for line in content.splitlines())


def _was_valid(root: Path, content: bytes) -> bool:
    try:
        return (root / VALID).read_text(encoding="utf-8", errors="replace") == _digest(content)
    except OSError:
        return False


def _digest(content: bytes) -> str:
    """Returns the digest of a file's content and of the programs that say what is valid."""
    digest = sha256(content)
    for path in SCHEMA:
        with suppress(OSError):  # a package without sources, whose schema is then not told apart
            digest.update(path.read_bytes())
    return digest.hexdigest()
