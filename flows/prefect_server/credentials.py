"""The password of `inkflow up`: made at the first start, kept in a folder of this user, found by clients beside it.

The folder also has a page that opens Prefect's page with the password. Prefect's page keeps it in the browser's storage
for its address, so the address of the file's link ends with `#` and the password, which a browser sends to no server.
"""

import base64
import fcntl
import html
import os
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from flows.prefect_server.environment import PASSWORD
from stages.base.errors import InkflowError

HOME = Path(".inkflow/up")  # PREFECT_HOME of the server and the workers
LOCK = Path(".inkflow/up.lock")  # held by `inkflow up`
ADDRESS_FILE = "address"  # in HOME: the API's URL, while the server runs
AUTH_FILE = "auth"  # in HOME: NAME:PASSWORD
PAGE_FILE = "page.html"  # in HOME: opens Prefect's page with the password, while the server runs
LOGIN_PATH = "/log-in"  # of the server; it stores what follows # in the address
CLIENT_PASSWORD = "PREFECT_API_AUTH_STRING"
LOGIN_PAGE = """<!doctype html>
<title>Inkflow</title>
<script>
localStorage.setItem("prefect-password", decodeURIComponent(location.hash.slice(1)));
location.replace("/");
</script>
"""


def close_folder(folder: Path) -> None:
    """Creates `folder`, or closes it to all other users.

    Raises:
        InkflowError: The folder belongs to another user, or is a link.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
        raise InkflowError(f"{folder} is not a folder of this user, who would share its password; remove it first")
    folder.chmod(0o700)  # older versions made the folder readable for other users


def read_or_create_password(path: Path) -> str:
    """Returns NAME:PASSWORD from the file `path`; writes it, for this user only, if it is missing or invalid."""
    with suppress(OSError, UnicodeDecodeError):
        password = path.read_text(encoding="utf-8").strip()
        if password.partition(":")[2] and path.stat().st_uid == os.getuid() and not path.is_symlink():
            path.chmod(0o600)
            return password
    password = f"inkflow:{secrets.token_urlsafe(24)}"
    _write_private(path, password)
    return password


def write_page(home: Path, ui_url: str, password: str) -> Path:
    """Writes the page that opens Prefect's page with the password, readable by this user only, and returns its path."""
    token = base64.b64encode(password.encode()).decode()
    target = html.escape(f"{ui_url}{LOGIN_PATH}#{token}")
    _write_private(home / PAGE_FILE, f'<!doctype html><meta http-equiv="refresh" content="0; url={target}">\n')
    return home / PAGE_FILE


def find_password(root: Path, url: str) -> str | None:
    """Returns NAME:PASSWORD of the `inkflow up` in `root` if that one serves `url`; None if the caller has set one."""
    if os.environ.get(CLIENT_PASSWORD):
        return None
    with suppress(OSError, UnicodeDecodeError, ValueError):
        address = (root / HOME / ADDRESS_FILE).read_text(encoding="utf-8")
        if _place(url) == _place(address) and is_running(root):
            return (root / HOME / AUTH_FILE).read_text(encoding="utf-8").strip()
    return None


def login_variables(root: Path, url: str) -> dict[str, str]:
    """Returns the variable with which Prefect's client logs in to the `inkflow up` in `root`, if that serves `url`."""
    password = find_password(root, url)
    return {CLIENT_PASSWORD: password} if password else {}


def password_hints(root: Path, password: str) -> tuple[list[str], list[str]]:
    """Returns the line that names the source of `password`, and the shell command that exports it.

    `inkflow run` in this folder finds the password itself; Prefect's commands need the variable.
    """
    file = HOME / AUTH_FILE
    path = root / file
    if path.exists() and path.read_text(encoding="utf-8").strip() == password:
        source, value = f"in {file}, readable by this user only; the page asks for the whole line", f"$(cat {file})"
    else:
        source, value = f"the value of {PASSWORD}", f"${PASSWORD}"
    return [f"Password:        {source}"], [f'  export {CLIENT_PASSWORD}="{value}"']


def is_running(root: Path) -> bool:
    """Returns whether the `inkflow up` in `root` runs.

    A killed one leaves its address, which the server of another user may take.
    """
    with (root / LOCK).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _place(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url.strip())
    return (parts.hostname or "").replace("localhost", "127.0.0.1"), parts.port


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
