"""Parts of TensorFlow's interface that are imported only when something reads them: a fifth of its import time.

`import tensorflow` imports its whole interface: that of TensorFlow 1, LiteRT, tests, TPUs, Keras 2. A training reads
few of these. All of them can still be used; only REMOVED_NAMES are missing.
"""

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = "tensorflow._api.v2."
DEFERRED = (
    "compat.v2", "debugging.experimental", "feature_column", "linalg", "lite",
    "raw_ops", "test", "tpu", "train", "__internal__.distribute.combinations", "__internal__.feature_column",
    "__internal__.distribute.multi_process_runner", "__internal__.mixed_precision", "__internal__.saved_model",
    "__internal__.test",
)  # fmt: skip
VERSION_1 = "compat.v1"  # Keras reads a function of it, but none of its parts
# `tf.nn` has three wrappers of cells of Keras 2, which would import the whole of it; Keras 3 has no use for them.
REMOVED = "tensorflow.python.keras.layers.rnn_cell_wrapper_v2"
REMOVED_NAMES = ("DeviceWrapper", "DropoutWrapper", "ResidualWrapper")
NAMESAKE = "tensorflow.lite"  # a package whose first import would replace the deferred part, `tf.lite`


NEEDED_BY_EXPORT = (("train", "Checkpoint"), ("compat.v1.train", "export_meta_graph"))  # parts, and what is read there
EXPORTER = "tf2onnx.convert"
LOCK = threading.Lock()


class DeferredModule(ModuleType):
    """Stands in `sys.modules` for a module, and imports it when an attribute is read."""

    def __getattr__(self, name: str) -> Any:
        """Returns an attribute of the module; its private ones, which tools read of all modules, are missing."""
        if name.startswith("__"):
            raise AttributeError(name)
        with LOCK:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def deferred_imports() -> Iterator[None]:
    """Defers parts of TensorFlow, which is imported within the block; no effect if it has been imported before."""
    spec = find_spec("tensorflow") if "tensorflow" not in sys.modules else None
    if spec is None or not spec.submodule_search_locations:
        yield
        return
    interface = Path(spec.submodule_search_locations[0], "_api", "v2")
    parts = interface.joinpath(*VERSION_1.split(".")).glob("*/__init__.py")
    for name in (*DEFERRED, *(f"{VERSION_1}.{path.parent.name}" for path in parts)):
        module = DeferredModule(PREFIX + name)
        module.__path__ = [str(interface.joinpath(*name.split(".")))]
        sys.modules[module.__name__] = module
    without_wrappers = ModuleType(REMOVED)
    vars(without_wrappers).update(dict.fromkeys(REMOVED_NAMES))
    sys.modules[REMOVED] = without_wrappers
    try:
        yield
        tensorflow = sys.modules["tensorflow"]
        kept = dict(vars(tensorflow))
        importlib.import_module(NAMESAKE)
        vars(tensorflow).update(kept)
    finally:
        del sys.modules[REMOVED]


def import_exporter() -> None:
    """Imports what the export of a model needs, so that it need not be imported then; TensorFlow has been imported."""
    importlib.import_module(EXPORTER)
    for name, attribute in NEEDED_BY_EXPORT:
        getattr(sys.modules[PREFIX + name], attribute)
