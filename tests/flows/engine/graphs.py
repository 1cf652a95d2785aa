"""Graphs of many shapes, each as the files of its project. Each command appends a line to `<name>.runs`.

Stages that can lose their cached outputs at the same time write different contents. Otherwise DVC would find the output
of one stage in its cache for the other.
"""

CHAIN = {
    "dvc.yaml": """
stages:
  a: {cmd: echo >> a.runs; cat in > a, deps: [in], params: [speed], outs: [a]}
  b: {cmd: echo >> b.runs; cat a > b, deps: [a], outs: [b]}
  c: {cmd: echo >> c.runs; cat b > c, deps: [b], outs: [c]}
""",
    "params.yaml": "speed: 1\n",
    "in": "one\n",
}

WRITTEN_BACKWARDS = {
    "dvc.yaml": """
stages:
  last: {cmd: echo >> last.runs; cat left right > last, deps: [left, right], outs: [last]}
  right: {cmd: echo >> right.runs; cat first > right, deps: [first], outs: [right]}
  left: {cmd: echo >> left.runs; sleep 0.2; cat first > left, deps: [first], outs: [left]}
  first: {cmd: echo >> first.runs; cat in > first, deps: [in], params: [speed], outs: [first]}
""",
    "params.yaml": "speed: 1\n",
    "in": "one\n",
}

WIDE = {
    "dvc.yaml": """
stages:
  leaf:
    foreach: [z, y, x, w, v, u, t, s]
    do:
      cmd: echo >> leaf-${item}.runs; echo ${item} | cat in - > ${item}
      deps: [in]
      params: [speed]
      outs: ["${item}"]
  join:
    cmd: echo >> join.runs; cat s t u v w x y z > joined
    deps: [s, t, u, v, w, x, y, z]
    outs: [joined]
""",
    "params.yaml": "speed: 1\n",
    "in": "one\n",
}

MATRIX = {
    "dvc.yaml": """
vars:
  - depth: 2
stages:
  grid:
    matrix:
      size: [small, large]
      kind: ${kinds}
    cmd: echo >> grid-${item.size}-${item.kind}.runs; echo ${depth} ${speed} ${key} | cat in - > ${key}
    deps: [in]
    params: [speed]
    outs: ["${key}"]
  join:
    cmd: echo >> join.runs; cat small-p large-q > joined
    deps: [small-p, large-q]
    outs: [joined]
""",
    "params.yaml": "speed: 1\nkinds: [p, q]\n",
    "in": "one\n",
}

FOREACH_MAPPING = {
    "dvc.yaml": """
stages:
  train:
    foreach: ${models}
    do:
      cmd: >-
        echo >> train-${key}.runs; echo ${item.units} | cat in - > model-${key}; echo '{"x":1}' > score-${key}.json
      deps: [in]
      params: [speed, "models.${key}"]
      outs: ["model-${key}"]
      metrics:
        - score-${key}.json:
            cache: false
""",
    "params.yaml": "speed: 1\nmodels:\n  wide: {units: 9}\n  deep: {units: 3}\n",
    "in": "one\n",
}

SUBFOLDERS = {
    "dvc.yaml": """
stages:
  a: {cmd: echo >> a.runs; cat in > a, deps: [in], params: [speed], outs: [a]}
  z: {cmd: echo >> z.runs; cat sub/b deep/er/c > z, deps: [sub/b, deep/er/c], outs: [z]}
""",
    "sub/dvc.yaml": """
stages:
  b: {cmd: echo >> ../b.runs; cat ../a > b, deps: [../a], outs: [b]}
""",
    "deep/er/dvc.yaml": """
stages:
  c: {cmd: echo >> ../../c.runs; cat ../../sub/b > c, deps: [../../sub/b], params: [pace], outs: [c]}
""",
    "params.yaml": "speed: 1\n",
    "deep/er/params.yaml": "pace: 2\n",
    "in": "one\n",
}

ALWAYS = {
    "dvc.yaml": """
stages:
  a: {cmd: echo >> a.runs; cat in > a, deps: [in], params: [speed], outs: [a], always_changed: true}
  b: {cmd: echo >> b.runs; cat a > b, deps: [a], outs: [b]}
  once: {cmd: echo >> once.runs; echo 1 > made, outs: [made]}
  c: {cmd: echo >> c.runs; cat made > c, deps: [made], outs: [c]}
""",
    "params.yaml": "speed: 1\n",
    "in": "one\n",
}

UNCACHED = {
    "dvc.yaml": """
stages:
  a:
    cmd: >-
      echo >> a.runs; cat in > a; echo '{"x":1}' > m.json; printf 'x,y\\n1,2\\n' > p.csv
    deps: [in]
    params: [speed]
    outs: [a]
    metrics: [{m.json: {cache: false}}]
    plots: [{p.csv: {cache: false, x: x, y: y}}]
  b:
    cmd: echo >> b.runs; cat a m.json > b; echo kept > b2
    deps: [a, m.json]
    outs: [b2, {b: {cache: false}}]
  c: {cmd: echo >> c.runs; cat b p.csv > c, deps: [b, p.csv], outs: [c]}
""",
    "params.yaml": "speed: 1\n",
    "in": "one\n",
}

PERSIST = {
    "dvc.yaml": """
stages:
  a:
    cmd: echo >> a.runs; mkdir -p kept; cat in > kept/x
    deps: [in]
    params: [speed]
    outs: [{kept: {persist: true}}]
  b: {cmd: echo >> b.runs; cat kept/x > b, deps: [kept], outs: [b]}
""",
    "params.yaml": "speed: 1\n",
    "in": "one\n",
}

FOLDERS = {
    "dvc.yaml": """
stages:
  pack:
    cmd: echo >> pack.runs; mkdir -p tree/in; cat in > tree/in/x; echo y > tree/y
    deps: [in]
    params: [speed]
    outs: [tree]
  inner: {cmd: echo >> inner.runs; cat tree/in/x > inner, deps: [tree/in/x], outs: [inner]}
  whole: {cmd: echo >> whole.runs; ls -R tree > whole, deps: [tree], outs: [whole]}
  part: {cmd: echo >> part.runs; ls tree/in > part, deps: [tree/in], outs: [part]}
""",
    "params.yaml": "speed: 1\n",
    "in": "one\n",
}

SHARED_FOLDER = {
    "dvc.yaml": """
stages:
  give:
    foreach: [3, 1, 2]
    do:
      cmd: echo >> give-${item}.runs; mkdir -p shop; sleep 0.${item}; echo ${item} | cat in - > shop/${item}
      deps: [in]
      params: [speed]
      outs: ["shop/${item}"]
  count: {cmd: echo >> count.runs; cat shop/* > counted, deps: [shop], outs: [counted]}
  after: {cmd: echo >> after.runs; cat counted > after, deps: [counted], outs: [after]}
""",
    "shop/own": "by hand\n",
    "params.yaml": "speed: 1\n",
    "in": "one\n",
}

PARAMETERS = {
    "dvc.yaml": """
stages:
  a:
    cmd: echo >> a.runs; cat in > a
    deps: [in]
    params: [speed, {other.yaml: [speed, deep.er]}, {more.json: null}, {last.toml: [table]}]
    outs: [a]
  b: {cmd: echo >> b.runs; cat a > b, deps: [a], params: [{other.yaml: null}], outs: [b]}
""",
    "params.yaml": "speed: 1\nunseen: 0\n",
    "other.yaml": "speed: 5\ndeep: {er: [1, 2]}\n",
    "more.json": '{"all": {"of": "it"}}',
    "last.toml": "[table]\nkey = 'value'\n",
    "in": "one\n",
}

MADE_PARAMETERS = {
    "dvc.yaml": """
stages:
  gen:
    cmd: 'echo >> gen.runs; echo "{lr: $(wc -c < in), deep: {er: [1]}}" > gen.yaml'
    deps: [in]
    params: [speed]
    outs: [gen.yaml]
  use: {cmd: echo >> use.runs; (echo use; cat gen.yaml) > use, params: [{gen.yaml: [lr]}], outs: [use]}
  whole: {cmd: echo >> whole.runs; cat gen.yaml use > whole, deps: [use], params: [{gen.yaml: null}], outs: [whole]}
  both:
    cmd: echo >> both.runs; (echo both; cat gen.yaml) > both
    deps: [gen.yaml]
    params: [{gen.yaml: [deep.er]}]
    outs: [both]
  after: {cmd: echo >> after.runs; cat both use > after, deps: [both, use], outs: [after]}
""",
    "params.yaml": "speed: 1\n",
    "in": "one\n",
}

COMMANDS = {
    "dvc.yaml": """
stages:
  list:
    cmd: [echo >> list.runs, cat in > half, cat half half > whole]
    deps: [in]
    params: [speed]
    outs: [half, whole]
  lines:
    cmd: |
      echo >> lines.runs
      cat whole > lines
    deps: [whole]
    outs: [lines]
  elsewhere:
    wdir: sub
    cmd: echo >> ../elsewhere.runs; cat ../lines > here
    deps: [../lines]
    outs: [here]
""",
    "sub/.keep": "",
    "params.yaml": "speed: 1\n",
    "in": "one\n",
}

GRAPHS = {
    "chain": CHAIN,
    "written backwards": WRITTEN_BACKWARDS,
    "wide": WIDE,
    "matrix": MATRIX,
    "foreach over a mapping": FOREACH_MAPPING,
    "subfolders": SUBFOLDERS,
    "always changed": ALWAYS,
    "uncached": UNCACHED,
    "persist": PERSIST,
    "folders": FOLDERS,
    "shared folder": SHARED_FOLDER,
    "parameters": PARAMETERS,
    "made parameters": MADE_PARAMETERS,
    "commands": COMMANDS,
}
