"""Finds secrets in the patch of an order: it is packed, and Prefect's server stores it where no mask finds them."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from flows.core.redaction import MIN_LENGTH, holds_known_secret, secrets_in_config
from flows.core.secrets.variables import environment_secrets
from stages.base.shown_text import url_secrets

DVC_CONFIG = (".dvc/config", ".dvc/config.local")
ENV_FILE = re.compile(r"\.env(\.(?!example|sample|template|dist)[\w.-]+)?|[\w.-]+\.env")
VARIABLE = re.compile(r"""^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=[ \t]*(["']?)(.*?)\2[ \t\r]*$""", re.MULTILINE)
PLACEHOLDER = re.compile(r"[{}<>$]|^[%*]")  # {password}, <password>, $PASSWORD, %s, ***: no password
FILE = re.compile(r'^(?:---|\+\+\+) "?[ab]/(.*?)"?\t?$')
SECTION = re.compile(r"^diff --git ", re.MULTILINE)


def secret_in_patch(difference: bytes) -> tuple[str, str] | None:
    """Returns the first file whose part of the patch holds a secret, and what the secret is; None without one.

    Lines of DVC's configuration that did not change count too: the patch has them as context.

    Args:
        difference: output of `git diff`.
    """
    for section in SECTION.split(difference.decode(errors="replace"))[1:]:
        header, _, body = section.partition("\n@@")
        names = [found[1] for line in header.split("\n") if (found := FILE.match(line))]
        if not names:  # a binary file, or only a change of its name or mode
            continue
        lines = body.split("\n")[1:]  # the first one is the rest of the line with @@
        changed = "\n".join(line[1:] for line in lines if line.startswith(("+", "-")))
        everything = "\n".join(line[1:] for line in lines)
        if secret := next(_secrets(names[-1], changed, everything), None):
            return names[-1], secret
    return None


def is_dvc_config(name: str) -> bool:
    """Returns True if the file `name` of a repository is a configuration of DVC."""
    return f"/{name}".endswith(tuple(f"/{config}" for config in DVC_CONFIG))


def _secrets(name: str, changed: str, everything: str) -> Iterator[str]:
    """Yields what the secrets in a file's part of a patch are, from its changed lines and from all of them."""
    if is_dvc_config(name):
        yield from secrets_in_config(everything)
    if ENV_FILE.fullmatch(PurePosixPath(name).name):
        for variable, _, value in VARIABLE.findall(changed):
            if any(_is_real(secret) for secret in environment_secrets({variable: value})):
                yield variable
    if any(_is_real(secret) for secret in url_secrets(changed)):
        yield "a password or token in a URL"
    if holds_known_secret(changed):
        yield "the value of a secret variable, or of a credential of DVC"


def _is_real(secret: str) -> bool:
    return len(secret) >= MIN_LENGTH and not PLACEHOLDER.search(secret)
