"""Records with a digest: a flipped bit is noticed."""

import hashlib
import json
import random
from pathlib import Path

import pytest

from stages.base.digests import KEY, read_sealed, sealed, unsealed, write_sealed

RECORD = {"fit_s": 1.25, "name": "dense ü", "none": None, "parts": [1, {"a": True}]}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """A record comes back as it was; one of an earlier version, without a digest, too."""
    write_sealed(tmp_path / "a.json", RECORD)
    assert read_sealed(tmp_path / "a.json") == RECORD
    (tmp_path / "a.json").write_text(json.dumps(RECORD))
    assert read_sealed(tmp_path / "a.json") == RECORD


def test_a_flipped_bit_gives_no_other_record(tmp_path: Path) -> None:
    """Whatever bit is flipped, the record is refused, or has the same content under all of its keys."""
    write_sealed(tmp_path / "a.json", RECORD)
    content, chance = (tmp_path / "a.json").read_bytes(), random.Random(17)
    for _ in range(300):
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        damaged = content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]
        (tmp_path / "a.json").write_bytes(damaged)
        try:
            found = read_sealed(tmp_path / "a.json")
        except ValueError:
            continue
        assert {key: found.get(key) for key in RECORD} == RECORD, f"bit {bit} of byte {place}"


@pytest.mark.parametrize("content", ["[]", "null", "1", "[" * 100_000, ""])
def test_other_json_is_no_record(tmp_path: Path, content: str) -> None:
    """Anything but an object is refused."""
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=r"expected|nested|Expecting"):
        read_sealed(tmp_path / "a.json")


def test_a_changed_record_is_refused() -> None:
    """A value that was changed by hand has another digest."""
    with pytest.raises(ValueError, match="another digest"):
        unsealed(sealed(RECORD) | {"fit_s": 2.0})
    assert unsealed({KEY: sealed({})[KEY]}) == {}


def test_records_of_earlier_versions_keep_their_digest() -> None:
    """The digest is the beginning of a SHA-256, as in records that are on disks already."""
    content = '{"fit_s": 1.25, "model": "dense"}'
    assert sealed(json.loads(content))[KEY] == hashlib.sha256(content.encode()).hexdigest()[:16]
