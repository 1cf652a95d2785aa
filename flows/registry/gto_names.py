"""What Inkflow uses of GTO, imported without its set-up of logging, which closes the streams of other handlers."""

import logging.config
from unittest.mock import patch

with patch.object(logging.config, "dictConfig"):
    from gto.constants import COUNTER, NAME, SEPARATOR_IN_NAME, VersionSort, fullname_re, name_re
    from gto.exceptions import (
        GTOException,
        ManyVersions,
        TagExists,
        VersionAlreadyRegistered,
        VersionExistsForCommit,
    )
    from gto.registry import GitRegistry
    from gto.tag import parse_name
    from gto.versions import SemVer

__all__ = [
    "COUNTER",
    "NAME",
    "SEPARATOR_IN_NAME",
    "GTOException",
    "GitRegistry",
    "ManyVersions",
    "SemVer",
    "TagExists",
    "VersionAlreadyRegistered",
    "VersionExistsForCommit",
    "VersionSort",
    "fullname_re",
    "name_re",
    "parse_name",
]
