// The trend: errors of the best by commit with intervals, thin lines of chosen models, marks where data, gates or code
// changed. Dragging over it filters the table.

const commits = rows.filter((row) => row.kind === "commit" || row.kind === "workspace");
const MAX_LINES = 8;

function lineNames() {
  const counts = new Map();
  for (const row of commits) for (const name of Object.keys(row.models)) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([name]) => name).slice(0, MAX_LINES);
}

// Returns whether the line breaks between two versions, whose scores cannot be compared.
const breaks = (row, before) => hasOtherData(row, before) || (measure().id === "validation" && hasOtherValidation(row, before));

function trendPoints() {
  let part = 0, before = null;
  return commits.map((row) => {
    const own = score(row);
    if (before && breaks(row, before)) part += 1;
    before = row;
    return own && { at: row.number, value: own.value, low: own.low, high: own.high, part, name: `${row.name} ${row.title}`.trim(), best: row.best || measure().label, text: own.text, when: when(row), dataset: row.dataset };
  }).filter(Boolean);
}

function modelPoints(chosen) {
  const which = measure();
  if (!which?.of) return [];
  let part = 0, before = null;
  return commits.flatMap((row) => {
    if (before && breaks(row, before)) part += 1;
    before = row;
    return chosen.map((name) => ({ name, own: which.of(row.models[name]) })).filter(({ own }) => own).map(({ name, own }) => ({ at: row.number, value: own.value, model: name, line: `${name} ${part}` }));
  });
}

function drawTrend() {
  const box = byKey("trend"), points = trendPoints(), which = measure();
  byKey("trend-section").hidden = commits.length < 2 || !points.length;
  if (byKey("trend-section").hidden) return;
  const chosen = state.lines ?? [];
  const marks = commits.flatMap((row) => row.marks.map((mark) => ({ at: row.number, mark, name: `${row.name} ${row.title}` })));
  const values = [...points.map((point) => point.low ?? point.value), ...points.map((point) => point.high ?? point.value)];
  const low = Math.min(...values), high = Math.max(...values), log = low > 0 && high / low > 5;
  const isShare = which.id === "test" && hasModels && points.some((point) => point.low !== undefined);
  const part = state.part, ranges = points.filter((point) => point.low !== undefined);
  chart(box, `${which.label} of the best model by commit: ${points.slice(-12).map((point) => `${point.name.slice(0, 30)} ${point.text}`).join(", ")}`, () => ({
    width: "container", height: 140, autosize: { type: "fit-x", contains: "padding" },
    layer: [
      ...(chosen.length ? [{ data: { values: modelPoints(chosen) }, mark: { type: "line", strokeWidth: 1, opacity: 0.9 }, encoding: { x: xOf(), y: yOf(log, isShare), detail: { field: "line" }, color: { field: "model", type: "nominal", title: null, scale: { domain: chosen, range: palette() }, legend: null } } }] : []),
      ...(ranges.length ? [{ data: { values: ranges }, mark: { type: "rule", strokeWidth: 2, opacity: 0.35, color: colour("--training") }, encoding: { x: xOf(), y: { ...yOf(log, isShare), field: "low" }, y2: { field: "high" } } }] : []),
      { data: { values: points }, mark: { type: "line", strokeWidth: 1.5, color: colour("--training") }, encoding: { x: xOf(), y: yOf(log, isShare), detail: { field: "part" } } },
      { params: [{ name: "brush", select: { type: "interval", encodings: ["x"] }, ...(part ? { value: { x: [part[0] - 0.5, part[1] + 0.5] } } : {}) }], data: { values: points }, mark: { type: "point", filled: true, size: 45, opacity: 1, color: colour("--training") }, encoding: { x: xOf(), y: yOf(log, isShare), tooltip: [{ field: "name", title: "version" }, { field: "best", title: "chosen" }, { field: "text", title: which.label }, { field: "when" }, { field: "dataset" }] } },
      ...(marks.length ? [{ data: { values: marks }, mark: { type: "text", baseline: "bottom", y: 139, fontSize: 12 }, encoding: { x: xOf(), text: { field: "sign" }, color: { value: colour("--validation") }, tooltip: [{ field: "mark", title: "changed" }, { field: "name" }] }, transform: [{ calculate: "datum.mark == 'data' ? '▲' : datum.mark == 'gates' ? '■' : '·'", as: "sign" }] }] : []),
      { data: { values: marks.filter(({ mark }) => mark === "data") }, mark: { type: "rule", strokeDash: [3, 3], color: colour("--validation"), opacity: 0.6 }, encoding: { x: { ...xOf(), field: "edge" } }, transform: [{ calculate: "datum.at - 0.5", as: "edge" }] },
    ],
  }), followBrush);
  byKey("trend-note").textContent = `Commits in order; the model that the validation scores choose, ${points.some((point) => point.low !== undefined) ? "with 95% interval" : "without interval"}. ${marks.length ? "▲ other data (the line breaks), ■ other gates, · other code. " : ""}Drag over the chart to filter the table.`;
}

const xOf = () => ({ field: "at", type: "quantitative", title: null, scale: { domain: [0.5, commits.length + 0.5], nice: false }, axis: { grid: false, tickMinStep: 1, format: "d", values: tickNumbers(), labelExpr: "''", ticks: false } });
const yOf = (log, isShare) => ({ field: "value", type: "quantitative", title: null, scale: log ? { type: "log", nice: true } : { zero: false, nice: true }, axis: { tickCount: 4, format: isShare ? "~%" : "~g" } });

function tickNumbers() {
  const step = Math.ceil(commits.length / 12);
  return commits.filter((_, place) => place % step === 0).map((row) => row.number);
}

function followBrush(view) {
  let timer = 0;
  view.addSignalListener("brush", (_, value) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const range = value.at;
      const part = range ? [Math.max(1, Math.ceil(range[0])), Math.min(commits.length, Math.floor(range[1]))] : null;
      if (part && part[0] > part[1]) return;
      if (JSON.stringify(part) !== JSON.stringify(state.part)) change({ part });
    }, 120);
  });
}

function drawLineChoices() {
  const names = measure()?.of ? lineNames() : [];
  byKey("lines").replaceChildren(...(names.length > 1 ? [el("span", { className: "fine" }, "Lines:"), ...names.map((name) => el("label", { className: "choice" }, el("input", { type: "checkbox", value: name, onchange: () => chooseLine(name) }), name))] : []));
  markLineChoices();
}

// Shows which lines are chosen, and their colours; the boxes stay, and one of them may have the focus.
function markLineChoices() {
  const range = palette(), chosen = state.lines ?? [];
  for (const box of byKey("lines").querySelectorAll("input")) {
    const place = chosen.indexOf(box.value);
    box.checked = place >= 0;
    box.parentElement.style.setProperty("--line", place >= 0 ? range[place % range.length] : "transparent");
  }
}

function chooseLine(name) {
  state.lines = toggled(state.lines ?? [], name);
  writeAddress();
  markLineChoices();
  drawTrend();
}
