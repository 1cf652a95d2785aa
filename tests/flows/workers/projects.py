"""Defines a small project whose trainings run in a pool."""

from tests.conftest import Toy

STAGES = """
vars: [run.yaml]
stages:
  source:
    cmd: mkdir -p data; cp in data/a; date +%s.%N > data/b
    deps: [in]
    outs: [data]
  train:
    foreach: [p, q, r]
    do:
      cmd: ${before} sh train.sh ${item}; basename "$HOME" > where-${item}
      deps: [data, train.sh]
      params: ["${item}"]
      outs: ["${item}.model", "where-${item}"]
  join:
    cmd: cat p.model q.model r.model > joined
    deps: [p.model, q.model, r.model]
    outs: [joined]
"""
TRAIN = """
echo epoch 1 of 1
cat data/a data/b > $1.model
grep "^$1:" params.yaml >> $1.model
"""


def write_project(toy: Toy, before: str = "sleep 1;") -> Toy:
    """Write the project source → train@p, train@q, train@r → join; each training runs the command `before` first."""
    toy.write(
        {
            "dvc.yaml": STAGES,
            "train.sh": TRAIN,
            "in": "one\n",
            "params.yaml": "p: 1\nq: 1\nr: 1\n",
            "run.yaml": f"before: '{before}'\n",
            ".gitignore": "/data\n/*.model\n/where-*\n/joined\n/.inkflow\n/ignored*\n",
        }
    )
    return toy
