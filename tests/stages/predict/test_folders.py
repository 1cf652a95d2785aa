"""Folders of pictures: every file is classified, refused, or named as no picture."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.cli.main import main
from stages.base.errors import exit_with
from stages.predict import score
from stages.predict.image_arrays import Images, RejectedInput
from stages.predict.image_files import LeftOut, expand_paths, read_images
from tests.support.pictures import draw, encoded, npy, scan, template, write_reader
from tests.support.prepared import copy_prepared


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the model `reader` and a folder `box` of all kinds of files."""
    monkeypatch.chdir(tmp_path)
    copy_prepared(write_work, tmp_path)
    os.mkfifo(tmp_path / "box/pipe")
    (tmp_path / "box/elsewhere").symlink_to(tmp_path)
    (tmp_path / "box/gone.png").symlink_to("nowhere")
    return tmp_path


def write_work(folder: Path) -> None:
    """Writes the model and all regular files."""
    write_reader(folder / "models/reader/model.onnx")
    box = folder / "box"
    (box / "deep").mkdir(parents=True)
    for name, form in PICTURES.items():
        (box / name).write_bytes(encoded(scan(int(name.removeprefix("deep/")[0]), 3), form))
    (box / "7.npy").write_bytes(npy(template(7)[None].astype("uint8")))
    for name, content in OTHERS.items():
        (box / name).write_bytes(content)


PICTURES = {
    "1.PNG": "PNG", "2.tiff": "TIFF", "3.bmp": "BMP", "4.Gif": "GIF", "5": "PNG", "6.tif": "TIFF", "8.bak": "JPEG",
    "9.picture": "WEBP", "deep/0": "BMP",
}  # fmt: skip
OTHERS = {
    "IMG_1.HEIC": b"x", "phone": b"\0\0\0\x18ftypheic\0\0\0\0", "empty.png": b"", "notes.txt": b"BM is no bitmap",
    "song": b"RIFF\0\0\0\0WAVE", ".DS_Store": b"\0\0\0\1Bud1", "book.docx": b"PK\3\4", "empty": b"",
    "deep/a": b"%PDF-1",
}  # fmt: skip
REFUSED = {"IMG_1.HEIC", "phone", "empty.png", "gone.png"}
LEFT_OUT = {"notes.txt", "song", ".DS_Store", "book.docx", "empty", "deep/a", "pipe", "elsewhere"}


def test_every_file_has_its_line(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures of any format and name are classified, damaged ones refused, all other files named with a note."""
    assert exit_with(lambda: main(["predict", "reader", "box"])) == 2
    output, errors = capsys.readouterr()
    labels = {line.split()[0].removeprefix("box/"): line.split()[1] for line in output.splitlines()[1:]}
    assert labels == {name: name[-1 if name[0] == "d" else 0] for name in PICTURES} | {"7.npy[0]": "7"}
    lines = errors.splitlines()
    assert {line.split(": ")[1].removeprefix("box/") for line in lines if line.startswith("error: ")} == REFUSED
    assert {line.split(": ")[1].removeprefix("box/") for line in lines if line.startswith("note: ")} == LEFT_OUT
    assert lines[-1] == "10 read, 4 refused"
    assert sum("pillow-heif" in line for line in lines) == 2


def test_other_files_alone_are_no_error_of_a_score(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The batch job names what is no picture on standard error, and does not count it as rejected."""
    assert exit_with(lambda: score.main(["--model=reader", "--folder=box", "--out=scores.parquet"])) == 0
    output, errors = capsys.readouterr()
    assert output == "score: 10 files scored, 0 scored before, 4 could not be scored\n"
    assert errors.count("note: ") == len(LEFT_OUT)


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A file without a picture's name that cannot be read is not left out: it could be a picture."""
    (tmp_path / "closed").write_bytes(b"text")
    (tmp_path / "closed").chmod(0)
    expected: list[object] = [str(tmp_path / "closed")]
    if os.access(tmp_path / "closed", os.R_OK):  # the superuser may read everything
        expected = [LeftOut(str(tmp_path / "closed"), "is no picture, and was left out")]
    assert list(expand_paths([str(tmp_path)]))[: len(expected)] == expected


def as_mode(mode: str) -> Image.Image:
    """Returns a drawn 3 in one of Pillow's modes."""
    return draw(3, 40).convert("RGB").convert(mode)


@pytest.mark.parametrize(
    "content",
    [
        encoded(as_mode("L"), "TIFF", compression="tiff_lzw"),
        encoded(as_mode("1"), "TIFF", compression="group4"),
        encoded(as_mode("CMYK"), "TIFF"),
        encoded(Image.fromarray(np.asarray(draw(3, 40)).astype(np.float32) / 255), "TIFF"),
        encoded(Image.fromarray(np.asarray(draw(3, 40)).astype(np.int32)), "TIFF"),
        encoded(as_mode("RGB"), "BMP"),
        encoded(as_mode("P"), "GIF"),
    ],
    ids=["lzw", "fax", "cmyk", "float", "32-bit", "bmp", "gif"],
)
def test_tiff_bmp_and_gif_are_read(tmp_path: Path, content: bytes) -> None:
    """Pictures of these formats, compressed, in CMYK, palette, floats or 32 bits, are read as the picture in 8 bits."""
    (tmp_path / "picture").write_bytes(content)
    (images,) = read_images(str(tmp_path / "picture"))
    assert isinstance(images, Images) and images.pixels.dtype == np.uint8
    pixels = images.pixels[0] if images.pixels.ndim == 3 else images.pixels[0].mean(axis=2)
    assert np.corrcoef(pixels.ravel(), np.asarray(draw(3, 40), float).ravel())[0, 1] > 0.97
    assert pixels.max() > 250


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(draw(1, 9), "TIFF", save_all=True, append_images=[draw(2, 9)]), "has 2 pages, expected one picture"),
        (encoded(draw(1, 9), "GIF", save_all=True, append_images=[draw(2, 9)]), "is animated (2 frames)"),
        (encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"), "are no finite numbers"),
        (b"%PDF-1.7", "is a PDF file, expected PNG, JPEG, WebP, TIFF, BMP, GIF, npz or npy; convert it first"),
        (b"GIF89a", "its header is damaged: it begins with 'GIF89a'"),
    ],
)
def test_rejected_tiff_and_gif(tmp_path: Path, content: bytes, reason: str) -> None:
    """Several pages or frames, values that are no numbers, and cut headers are refused with the reason."""
    (tmp_path / "picture").write_bytes(content)
    (rejected,) = read_images(str(tmp_path / "picture"))
    assert isinstance(rejected, RejectedInput) and reason in rejected.reason
