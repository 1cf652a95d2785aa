"""Own Keras code of the folder `custom`: networks, losses, metrics, optimizers, callbacks, and their files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from ruamel.yaml import YAML

from stages.base.errors import InvalidInput
from stages.train.custom.code import code_digests
from stages.train.training import main
from tests.support.learning import Folders, make_model, settings, write_params
from tests.support.own_code import DENSE, SHAPE, learn, own_model, write_code
from tests.support.root import ROOT

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import networks, training_model  # noqa: E402  (import Keras)
from stages.train.doubt.measurement import measure_doubt  # noqa: E402
from stages.train.export import model_files  # noqa: E402
from stages.train.network_trial import check_network  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("project"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


@pytest.mark.farm
def test_the_page_of_the_documentation_runs(folders: Folders, project: Path) -> None:
    """The model of docs/custom-models.md trains with the project's own example; its ONNX file needs no own code."""
    page = (ROOT / "docs/custom-models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    model = YAML(typ="safe").load(blocks[0])["models"]["mine"]
    (project / "custom").symlink_to(ROOT / "custom")
    params = write_params(project / "params.yaml", mine=model | {"epochs": 2})
    arguments = f"--model mine --data {folders.prepared} --out out --checkpoints checkpoints --params {params}"
    assert main(arguments.split()) == 0
    assert (project / "out/history.csv").read_text().startswith("epoch,loss,accuracy,val_loss,val_accuracy,confidence,")
    summary = json.loads((project / "out/training.json").read_text())
    assert summary["network"] == "custom"
    assert summary["layers"][-1]["kind"] == "Dense"
    predict = (
        "import onnxruntime, numpy, sys; session = onnxruntime.InferenceSession('out/model.onnx');"
        "print(session.run(None, {'pixels': numpy.zeros((1, 12, 14), 'float32')})[0].shape)"
        "; assert 'keras' not in sys.modules and 'custom' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-I", "-c", predict], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "(1, 4)"


OWN_LAYERS = """
@keras.saving.register_keras_serializable()
class Twice(layers.Layer):
    def call(self, values):
        return 2 * values

def build(shape, classes, model):
    parts = [layers.Flatten(), Twice(), layers.Dense(classes, activation=model.output, dtype="float32")]
    return keras.Sequential(parts)

class Net(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.last = layers.Dense(classes)

    def call(self, images):
        return self.last(ops.reshape(images, (-1, 12 * 14)))

class Thrice(layers.Layer):
    def call(self, values):
        return 3 * values

def subclass(shape, classes):
    return Net(classes)

def unregistered(shape, classes):
    return keras.Sequential([layers.Flatten(), Thrice(), layers.Dense(classes)])
"""


@pytest.mark.farm
def test_own_layers_and_subclasses(folders: Folders, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A registered layer of one's own is loaded again from model.keras; others warn or are refused."""
    write_code(project, OWN_LAYERS)
    params = write_params(
        project / "params.yaml",
        mine={k: v for k, v in settings().items() if k != "units"}
        | {"network": "custom", "build": "custom.own:build", "precision": "bfloat16", "epochs": 1},
    )
    arguments = f"--model mine --data {folders.prepared} --out out --checkpoints checkpoints --params {params}"
    assert main(arguments.split()) == 0
    assert "warning" not in capsys.readouterr().err
    network = keras.saving.load_model("out/model.keras")
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    session = onnxruntime.InferenceSession("out/model.onnx")
    image = np.full((1, 12, 14), 100, np.float32)
    (probabilities,) = session.run(["probabilities"], {"pixels": image})
    assert np.allclose(probabilities, np.asarray(network(image[..., None] / 255)), atol=1e-5)
    model = own_model(build="custom.own:subclass", output="logits")
    with pytest.raises(InvalidInput, match=r"that Keras cannot save .* give it get_config"):
        check_network("mine", networks.build(model, SHAPE, 4), model, folders.data)
    model = own_model(build="custom.own:unregistered", output="logits")
    check_network("mine", networks.build(model, SHAPE, 4), model, folders.data)
    assert "warning: models.mine: model.keras cannot be loaded again" in capsys.readouterr().err


def test_callbacks_are_called_and_stop_the_training(folders: Folders, project: Path) -> None:
    """Callbacks see the beginnings and ends of training and epochs, with model and logs, and can stop the training."""
    write_code(
        project,
        DENSE
        + """
class Watch(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        with open("calls", "a") as file:
            file.write(f"train {self.params['epochs']} {self.params['steps']} ")

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 0.5 / (epoch + 1)

    def on_epoch_end(self, epoch, logs=None):
        rate = float(self.model.optimizer.learning_rate.numpy())
        with open("calls", "a") as file:
            file.write(f"{epoch} {rate} {sorted(logs)} ")
        self.model.stop_training = epoch == 1

    def on_train_end(self, logs=None):
        with open("calls", "a") as file:
            file.write("end")
""",
    )
    assert len(learn(folders, own_model(epochs=5, callbacks=["custom.own:Watch"]))) == 2
    columns = "['accuracy', 'loss', 'val_accuracy', 'val_loss']"
    assert (project / "calls").read_text() == f"train 5 12 0 0.5 {columns} 1 0.25 {columns} end"


def test_a_callback_that_stops_before_the_first_epoch(folders: Folders, project: Path) -> None:
    """The training ends after one epoch, as in Keras."""
    write_code(
        project,
        DENSE
        + """
class Stop(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.model.stop_training = True
""",
    )
    assert len(learn(folders, own_model(epochs=3, callbacks=["custom.own:Stop"]))) == 1


@pytest.mark.farm
def test_own_loss_gets_the_targets_of_the_task(folders: Folders, project: Path) -> None:
    """An own loss that computes what Keras's does gives the same history; so do an own metric and optimizer."""
    write_code(
        project,
        """
        def loss(targets, outputs):
            return keras.losses.categorical_crossentropy(targets, outputs)

        def precise(targets, outputs):
            return keras.metrics.categorical_accuracy(targets, outputs)

        class Recall(keras.metrics.Recall):
            pass

        def optimizer(learning_rate, clipnorm):
            return keras.optimizers.Adam(learning_rate, clipnorm=clipnorm)
        """,
    )
    options = {"learning_rate": 0.01, "clipnorm": 1.0}
    known = make_model(loss="categorical_crossentropy", metrics=["recall"], optimizer={"name": "adam"} | options)
    metrics = ["custom.own:Recall", "custom.own:precise"]
    own = make_model(loss="custom.own:loss", metrics=metrics, optimizer={"name": "custom.own:optimizer"} | options)
    expected, got = (np.array(learn(folders, model)) for model in (known, own))
    assert np.allclose(got[:, [0, 1, 2, 3, 4, 5, 7]], expected, atol=1e-6)
    assert np.allclose(got[:, [6, 8]], expected[:, [2, 4]], atol=1e-6)


def test_checkpoints_depend_on_own_code(project: Path) -> None:
    """A changed file in `custom`, of any kind, changes the key of a training that uses own code, and of no other."""
    write_code(project, DENSE)
    (project / "weights").mkdir()
    (project / "weights/first.npz").write_bytes(b"1")
    (project / "custom/linked").symlink_to(project / "weights")
    seen = [code_digests(own_model())]
    for name in ("helper.py", "weights.npz", "words/stop.txt", "linked/first.npz"):
        (project / "custom" / name).parent.mkdir(exist_ok=True)
        (project / "custom" / name).write_text("2")
        seen.append(code_digests(own_model()))
        assert seen[-1] != seen[-2], name
    for name in ("__pycache__/own.pyc", ".own.py.swp", ".git/index"):
        (project / "custom" / name).parent.mkdir(exist_ok=True)
        (project / "custom" / name).write_text("2")
    assert code_digests(own_model()) == seen[-1]
    assert code_digests(make_model()) == {}


SHARED = """
def build(shape, classes):
    images, relu = keras.Input(shape), layers.Activation("relu")
    maps = relu(layers.Conv2D(4, 3)(images))
    pooled = layers.Flatten()(layers.MaxPooling2D()(maps))
    hidden = relu(layers.Dense(8)(layers.Concatenate()([pooled, ops.mean(maps, (1, 2))])))
    return keras.Model(images, layers.Dense(classes, activation="softmax")(hidden))

def two_heads(shape, outputs):
    images = keras.Input(shape)
    flat = layers.Flatten()(images)
    return keras.Model(images, ops.sigmoid(layers.Dense(outputs)(flat) + layers.Dense(outputs)(flat)))
"""


def test_network_that_shares_layers_trains_as_it_is(folders: Folders, project: Path) -> None:
    """The fused kernels, which change layers in the training, are not used for an own network."""
    write_code(project, SHARED)
    model = own_model()
    network = networks.build(model, SHAPE, 4)
    assert training_model.build_training_model(network, model) is network


def test_network_that_ends_in_an_operation_is_exported_as_it_is(folders: Folders, project: Path) -> None:
    """The exported model gives the network's own probabilities, at most with a temperature, not those of one head."""
    write_code(project, SHARED)
    model = own_model(build="custom.own:two_heads", task="two_class", positive=[1, 2])
    network = networks.build(model, SHAPE, 4)
    doubt = measure_doubt(network, model, folders.data)
    assert doubt is not None and doubt.unlikeness is None
    model_files.save_onnx(network, folders.data.prepared, model, project / "model.onnx", doubt)
    image = np.full((1, 12, 14), 100, np.float32)
    session = onnxruntime.InferenceSession((project / "model.onnx").read_bytes())
    (exported,) = session.run(["probabilities"], {"pixels": image})
    assert exported[0, 1] == pytest.approx(float(np.asarray(network(image[..., None] / 255))[0, 0]), abs=1e-5)
