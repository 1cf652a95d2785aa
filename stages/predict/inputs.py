"""Finds and reads the inputs of a classifier: images, or samples of another form."""

from collections.abc import Iterable, Iterator

from stages.predict.classifier import Classifier
from stages.predict.image_arrays import Images, RejectedInput
from stages.predict.image_files import NO_PICTURE, SUFFIXES, LeftOut, expand_paths, read_images
from stages.predict.sample_files import SAMPLE_SUFFIXES, read_samples

NO_SAMPLES = "is no npy, npz or CSV file, and was left out"


def expand(classifier: Classifier, arguments: Iterable[str]) -> Iterator[str | RejectedInput | LeftOut]:
    """Yields the files that `arguments` name, those of folders too, as `expand_paths` does."""
    if classifier.form is None:
        yield from expand_paths(arguments, SUFFIXES)
        return
    for item in expand_paths(arguments, SAMPLE_SUFFIXES):
        if isinstance(item, LeftOut) and item.reason == NO_PICTURE:
            yield LeftOut(item.name, NO_SAMPLES)
        else:
            yield item


def read(classifier: Classifier, name: str) -> Iterator[Images | RejectedInput]:
    """Yields the samples of the file `name` in chunks, those that cannot be used as rejected inputs."""
    if classifier.form:
        return read_samples(name, classifier.form)
    return read_images(name, pixel_range=classifier.pixel_range)
