"""Checks that DVC's default remote can be reached: `python -m flows.dvc_repo.remote.check`.

It is a program, so that its caller can terminate it when a connection hangs.
"""

import sys

from aiohttp import ClientConnectionError
from dvc.exceptions import DvcException
from dvc.fs import FileSystem
from dvc.repo import Repo

from stages.base.streams import escape_unencodable

REACHED, UNREACHABLE = 0, 1


def look(file_system: FileSystem, path: str) -> None:
    """Asks for the folder at `path`; a connection that failed is an error, a folder that is not there is none."""
    try:
        file_system.info(path)
    except FileNotFoundError as error:
        if isinstance(error.__cause__, OSError | ClientConnectionError):  # HTTP's "not found" where nobody answers
            raise error.__cause__ from None


def main() -> int:
    """Access the remote's folder, and return the exit code. A new remote has no folder yet; it counts as reached."""
    escape_unencodable()
    try:
        with Repo() as repo:
            odb = repo.cloud.get_remote_odb()
            look(odb.fs, odb.path)
            protocol = odb.fs.protocol
            if (protocol if isinstance(protocol, str) else protocol[0]) in ("file", "local"):
                odb.fs.makedirs(odb.path, exist_ok=True)
    except DvcException as error:
        print(error)
        return UNREACHABLE
    except Exception as error:  # noqa: BLE001 - each kind of remote has a library with its own errors
        print(f"{type(error).__name__}: {error}")
        return UNREACHABLE
    return REACHED


if __name__ == "__main__":
    sys.exit(main())
