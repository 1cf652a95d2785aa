"""What a CI machine has to install to get this Inkflow. On PyPI, the name `inkflow` is another project's."""

import importlib.metadata
import json
from urllib.parse import urlsplit

PACKAGE = "inkflow"
UNKNOWN = "git+https://git.example/inkflow.git"  # the user writes the address of the copy


def requirement(extra: str | None) -> str:
    """Returns a requirement as of PEP 508, with the address that this Inkflow was installed from.

    That is a Git repository at its commit, or an archive, by what pip and uv record (PEP 610); UNKNOWN for a folder or
    file of this machine. Passwords in the address are left out.
    """
    name = f"{PACKAGE}[{extra}]" if extra else PACKAGE
    return f"{name} @ {_address()}"


def _address() -> str:
    try:
        record = importlib.metadata.distribution(PACKAGE).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:  # it runs from a folder that is not installed
        return UNKNOWN
    found = json.loads(record) if record else {}
    url = urlsplit(str(found.get("url", "")))
    if url.scheme not in ("https", "http", "ssh"):
        return UNKNOWN
    user = f"{url.username}@" if url.scheme == "ssh" and url.username else ""
    address = url._replace(netloc=user + url.netloc.rpartition("@")[2]).geturl()
    vcs = found.get("vcs_info")
    return f"{vcs['vcs']}+{address}@{vcs['commit_id']}" if vcs else address
