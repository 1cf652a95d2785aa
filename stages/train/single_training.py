"""One training of a model, with one seed: fit, export and checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from stages.base.sinks import running_sinks
from stages.model.config import Model
from stages.samples.prepared import TrainingData
from stages.train import fingerprint, fit, networks, outputs, training_model
from stages.train.checkpoints import CheckpointFile, checkpoint_key
from stages.train.device import Device, Precision
from stages.train.doubt.measurement import measure_doubt
from stages.train.live_history import OUTPUTS
from stages.train.network_trial import check_network
from stages.train.progress import Epoch


class Trained(NamedTuple):
    """A finished training, whose outputs are written."""

    summary: dict[str, Any]  # the content of training.json
    fit_s: float
    checkpoint_file: CheckpointFile  # to be removed once the outputs are in their place


@dataclass(frozen=True)
class Trainings:
    """The trainings of the model called `name` on one device and on the same data, for any of its seeds."""

    name: str
    data: TrainingData
    digests: dict[str, str]  # of the files of the data
    device: Device
    precision: Precision
    policy: str  # Keras's name of the precision
    checkpoints: Path
    observers: Sequence[Callable[[Sequence[Epoch]], None]] = ()  # get the history after each epoch

    def key(self, model: Model) -> str:
        """Returns the fingerprint of everything that decides the result of the training of `model`."""
        inputs = fingerprint.training_inputs(self.name, model, self.digests, self.device, self.precision)
        return checkpoint_key(inputs)

    def train(self, model: Model, out: Path, label: str = "", key: str = "") -> Trained:
        """Trains `model` with its `seed`, and writes the files of the model to the folder `out`, all or none.

        It resumes from its checkpoint, if there is one. Messages name the training `label`, by default the model.

        Raises:
            InvalidInput: the loss is not finite.
            InkflowError: the exported model differs from the trained one.
            OutputError: the folder is full, read-only, or not a folder.
        """
        label, data = label or self.name, self.data
        print(f"{label}: training on {self.device} in {self.precision}", flush=True)
        prepared = data.prepared
        if model.network == "custom":
            check_network(self.name, networks.build(model, prepared.shape, prepared.classes), model, data)
        network = networks.build(model, prepared.shape, prepared.classes, self.policy, prepared.vocabulary)
        trained = training_model.build_training_model(network, model)  # with the same weights as `network`
        fit.compile_network(trained, model, len(data.train.labels))
        key = key or self.key(model)
        checkpoint_file = CheckpointFile(self.checkpoints, self.name, key)
        with running_sinks() as sinks:
            sinks.send(
                name=label,
                key=key,
                is_resumed=checkpoint_file.path.exists(),
                parameters=model.model_dump(mode="json"),
                tags={"inkflow.data_sha256": checkpoint_key(self.digests), "inkflow.device": str(self.device)},
                columns=outputs.history_columns(model),
            )
            observers = [*self.observers, sinks.send_rows]
            if model.callbacks:
                print(f"{label}: does not resume after a kill: no checkpoint has the callbacks' state", flush=True)
            resumable = None if model.callbacks else checkpoint_file
            history, fit_s = fit.fit(trained, data, label, model, resumable, observers)
            print(f"{label}: fitted in {fit_s:.1f} s", flush=True)
            exported = outputs.inference_network(network, model, data, self.precision)
            doubt = measure_doubt(exported, model, data)
            facts = (self.device, self.precision, history, doubt)
            summary = outputs.training_summary(exported, self.name, model, data, *facts)
            summary |= outputs.layer_table(network)
            outputs.write_outputs(exported, model, data, history, summary, out, doubt)
            sinks.close("FINISHED", [str(out / file) for file in OUTPUTS])
        return Trained(summary, fit_s, checkpoint_file)
