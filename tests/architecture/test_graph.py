"""dvc.yaml belongs to the code and to params.yaml: what a stage declares is what its program needs."""

import pytest
from ruamel.yaml import YAML

from stages.params.schema import Params
from tests.architecture.modules import (
    code_dependencies,
    declared_modules,
    dvc_stages,
    has_code,
    import_graph,
    needed_modules,
    program_of,
)
from tests.support.root import ROOT

STAGES = ("validate", "download", "prepare", "train", "evaluate", "report")
PROGRAMS = tuple("stages.params" if stage == "validate" else f"stages.{stage}" for stage in STAGES)
CODE_LINES = 6  # of a stage's deps
VALID = "data/params_valid.txt"


def watched(stage: str) -> set[str]:
    """What the stage watches of params.yaml; the file's name where it watches all of it."""
    return {name if isinstance(name, str) else next(iter(name)) for name in dvc_stages()[stage].get("params", [])}


def test_graph_has_the_six_programs() -> None:
    """dvc.yaml runs each stage's program by its module, and train and evaluate once for each model."""
    stages = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert tuple(stages) == STAGES
    assert tuple(program_of(stage) for stage in STAGES) == PROGRAMS
    assert {name for name in stages if stages[name].get("foreach") == "${models}"} == {"train", "evaluate"}


def test_schema_params_and_graph_name_the_same_sections() -> None:
    """Every section of the schema stands in params.yaml and is watched by a stage but `more_models`, `predict`."""
    sections = set(Params.model_fields)
    assert set(YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))) == sections
    names = {name.split(".")[0] for stage in STAGES if stage != "validate" for name in watched(stage)}
    assert names == sections - {"more_models", "predict"}  # read where images are classified, after all stages


def test_stages_watch_whole_sections() -> None:
    """A stage watches a section, a model or a data set as a whole: a forgotten single key would go stale."""
    allowed = {*Params.model_fields, "datasets.${dataset}", "models.${key}"}
    single = {"validate": {"params.yaml"}, "download": {"prepare.held_out"}}  # the only key of `prepare` that it reads
    for stage in STAGES:
        assert watched(stage) <= allowed | single.get(stage, set()), stage


def test_each_model_is_an_artifact_and_has_a_curve() -> None:
    """The plot of all learning curves and the artifacts have exactly the models of params.yaml."""
    document = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    models = set(YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"])
    (curves,) = document["plots"]
    assert set(curves["Learning curves"]["y"]) == {f"models/{name}/history.csv" for name in models}
    assert set(document["artifacts"]) == models


def test_all_stages_wait_for_the_validation() -> None:
    """A mistake anywhere in params.yaml stops every stage."""
    assert dvc_stages()["validate"]["outs"] == [VALID]
    assert watched("validate") == {"params.yaml"}
    assert [stage for stage in STAGES[1:] if VALID not in dvc_stages()[stage]["deps"]] == []


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_rooms_that_the_program_needs(stage: str) -> None:
    """All that the program imports lies in a declared folder; no folder is declared for nothing; few lines do."""
    needed = needed_modules(stage)
    assert sorted(needed - declared_modules(stage)) == [], f"dvc.yaml, stage {stage}: missing from deps"
    folders = code_dependencies(stage)
    assert all((ROOT / folder).is_dir() for folder in folders)
    assert [str(f) for f in folders if not any(m.startswith(".".join(f.parts) + ".") for m in needed)] == []
    assert len(folders) <= CODE_LINES


def test_a_training_declares_what_it_imports() -> None:
    """Nothing under stages/ that a training does not import makes one rerun."""
    assert declared_modules("train") == needed_modules("train")


def test_flows_reruns_nothing() -> None:
    """No stage depends on orchestration."""
    assert all(path.parts[0] == "stages" for stage in STAGES for path in code_dependencies(stage))
    assert any(has_code(module) for module in import_graph().modules if module.startswith("flows."))
