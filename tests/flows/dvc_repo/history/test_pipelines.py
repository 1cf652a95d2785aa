"""The names of the stages that a dvc.yaml has, compared with those that DVC gives them."""

import json

import pytest
from dvc.repo import Repo

from flows.dvc_repo.history.parsing import MAX_COUNTED, leaves, params_of
from flows.dvc_repo.history.pipelines import parse_pipeline, read_params
from tests.conftest import Toy

ITEMS = ["[true, b, 1.5, null, 1e3, 010]", "{true: 1, b: 2, 1.5: 3}", "[{a: 1}, {a: 2}]", "{a: true}"]


@pytest.mark.parametrize("place", ["params.yaml", "dvc.yaml"])
@pytest.mark.parametrize("items", ITEMS)
def test_each_instance_of_a_foreach_is_known(toy: Toy, items: str, place: str) -> None:
    """Each name that DVC gives is one of the file, also those of booleans, which differ by the file that has them."""
    params = f"items: {items}\n" if place == "params.yaml" else "other: 1\n"
    foreach = "${items}" if place == "params.yaml" else items
    stage = f"foreach: {foreach}\n    do: {{cmd: echo}}"
    toy.write({"params.yaml": params, "dvc.yaml": f"stages:\n  t:\n    {stage}\n"})
    with Repo() as repo:
        names = [stage.addressing for stage in repo.index.stages]
    pipeline, values = parse_pipeline(toy.read("dvc.yaml").encode()), read_params(params.encode())
    assert names and all(pipeline.has_stage(name, values) for name in names), json.dumps(names)
    assert not pipeline.has_stage("t@other", values)


def test_thousands_of_parameters() -> None:
    """The page has the first 5,000 values of a file; further parameters are one value, which changes with each."""
    many = {f"k{number}": 0 for number in range(5000)}
    assert params_of(many) == leaves(many) == many
    files = [many | {"a": {"b": 1, "c": 2}}, many | {"a": {"b": 1, "c": 3}}, many | {"a": {"b": 1}}]
    found = [params_of(content) for content in files]
    assert all(list(params)[:5000] == list(many) and len(params) == 5001 for params in found)
    texts = [params["further parameters"] for params in found]
    assert [text.split(" (SHA-256 ")[0] for text in texts] == ["2", "2", "1"] and len(set(texts)) == 3
    assert len(leaves({f"k{number}": 0 for number in range(MAX_COUNTED + 1)}, MAX_COUNTED)) == MAX_COUNTED
