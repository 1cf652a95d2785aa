"""TensorFlow's deferred parts are imported when something reads them."""

import subprocess
import sys

import pytest

pytest.importorskip("tensorflow")

PROGRAM = """
import os, sys
os.environ["KERAS_BACKEND"] = "tensorflow"
from stages.train.device import load_keras
load_keras()
from stages.train import networks
from stages.train.deferred_imports import PREFIX, REMOVED, DeferredModule, import_exporter
import tensorflow as tf

def is_deferred(name):
    return type(sys.modules[PREFIX + name]) is DeferredModule

networks.keras.utils.clear_session()  # reads tf.compat.v1
unused = ["compat.v2", "lite", "train", "compat.v1.train", "compat.v1.compat", "feature_column"]
assert all(map(is_deferred, unused)), [name for name in unused if not is_deferred(name)]
assert not [name for name in sys.modules if name.startswith("tensorflow.python.keras.engine")]
assert REMOVED not in sys.modules
import_exporter()
assert not is_deferred("train") and not is_deferred("compat.v1.train") and is_deferred("lite")
for read in (
    lambda: tf.lite.TFLiteConverter, lambda: tf.compat.v1.Session, lambda: tf.compat.v1.nn.relu,
    lambda: tf.test.TestCase,
    lambda: tf.compat.v2.nn.relu, lambda: tf.raw_ops.Add, lambda: tf.train.Checkpoint, lambda: tf.linalg.norm,
    lambda: tf.distribute.has_strategy, lambda: tf.compat.v1.compat.v2.nn, lambda: tf.compat.v1.lite.TFLiteConverter,
    lambda: tf.tpu.experimental, lambda: tf.feature_column.numeric_column, lambda: tf.debugging.experimental,
):
    assert read() is not None
import tensorflow.lite.python.interpreter, tensorflow.compat.v1
assert tf.lite.TFLiteConverter and tensorflow.compat.v1.Session and tf.distribute.has_strategy() is False
load_keras()
assert not is_deferred("lite")
"""


def test_parts_are_imported_when_they_are_read() -> None:
    """A training imports no old, test or mobile part of TensorFlow, and each part is there for who reads it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
