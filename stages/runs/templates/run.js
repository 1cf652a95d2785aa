// One version opened: the graph from left to right, its times by worker, causes of failures, commands.

const STAGE_STATES = { ran: "ran", unchanged: "unchanged", restored: "restored", recorded: "recorded", failed: "failed", killed: "killed", stopped: "stopped", running: "running", "not run": "not run" };
const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function openedRun(row) {
  const parts = [];
  if (row.title && row.kind !== "run") parts.push(el("p", {}, row.title, row.author ? el("span", { className: "fine" }, ` by ${row.author}, ${when(row)}`) : null));
  if (row.refs.length > 1) parts.push(el("p", { className: "fine" }, `Marked by ${row.refs.map((ref) => `${ref.kind} ${ref.name}`).join(", ")}`));
  if (row.problems.length) parts.push(el("p", { className: "bad" }, `Not readable: ${row.problems.join("; ")}`));
  const outdated = row.stages.filter((stage) => stage.outdated).map((stage) => `${stage.name} ${stage.outdated}`);
  if (outdated.length) parts.push(el("p", {}, `Results that are not of this version, and are left out: ${outdated.join("; ")}.`));
  parts.push(...failures(row));
  if (row.stages.length) parts.push(graphOf(row), reasonsOf(row));
  parts.push(gantt(row), scoresOf(row));
  if (row.gates?.checks.length) parts.push(el("p", { className: "bad" }, `Failed gates: ${row.gates.checks.map((check) => `${check.model} ${check.gate}: ${check.sentence}`).join("; ")}`));
  if (row.gates?.note) parts.push(el("p", { className: "fine" }, row.gates.note));
  parts.push(...commandsOf(row), ownParameters(row));
  return el("div", { className: "opened" }, ...parts.filter(Boolean));
}

function failures(row) {
  return row.stages.filter((stage) => ["failed", "killed"].includes(stage.state)).map((stage) => el("div", { className: "failure" },
    el("p", {}, el("strong", {}, stage.error ?? `${stage.name} was killed`)),
    stage.lines?.length ? el("pre", { tabIndex: 0, "aria-label": `last lines of ${stage.name}` }, stage.lines.join("\n")) : null,
    stage.log ? el("p", { className: "fine" }, "Log: ", el("code", {}, stage.log)) : null,
    commandLine("Again", `inkflow run ${/^[\w@./:-]+$/.test(stage.name) ? stage.name : `'${stage.name}'`}`)));
}

function depths(stages) {
  const known = new Map(stages.map((stage) => [stage.name, stage]));
  const found = new Map();
  const depth = (name, seen) => {
    if (found.has(name)) return found.get(name);
    if (seen.has(name)) return 0;
    seen.add(name);
    const above = known.get(name).upstream.filter((other) => known.has(other));
    const value = above.length ? 1 + Math.max(...above.map((other) => depth(other, seen))) : 0;
    found.set(name, value);
    return value;
  };
  for (const stage of stages) depth(stage.name, new Set());
  return found;
}

const NODE = { width: 158, height: 30, gapX: 46, gapY: 10 };

function graphOf(row) {
  const columns = [];
  const depth = depths(row.stages), place = new Map();
  for (const stage of row.stages) (columns[depth.get(stage.name)] ??= []).push(stage);
  const tallest = Math.max(...columns.map((column) => column.length));
  const height = tallest * (NODE.height + NODE.gapY) + 8;
  columns.forEach((column, x) => column.forEach((stage, y) => {
    const top = (height - column.length * (NODE.height + NODE.gapY)) / 2 + y * (NODE.height + NODE.gapY) + NODE.gapY / 2;
    place.set(stage.name, { x: 4 + x * (NODE.width + NODE.gapX), y: top });
  }));
  const width = columns.length * (NODE.width + NODE.gapX) - NODE.gapX + 8;
  const edges = row.stages.flatMap((stage) => stage.upstream.filter((name) => place.has(name) && depth.get(stage.name) - depth.get(name) === 1).map((name) => edge(place.get(name), place.get(stage.name))));
  const nodes = row.stages.map((stage) => node(stage, place.get(stage.name)));
  const summary = row.stages.map((stage) => `${stage.name} ${stage.state}`).join(", ");
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Stages: ${summary}` }, ...edges, ...nodes);
  return scrollable(drawing, "graph of the stages");
}

function scrollable(content, name) {
  const box = el("div", { className: "scroll", role: "group", "aria-label": name }, content);
  requestAnimationFrame(() => { if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; });
  return box;
}

function edge(from, to) {
  const [x1, y1, x2, y2] = [from.x + NODE.width, from.y + NODE.height / 2, to.x, to.y + NODE.height / 2];
  const middle = (x1 + x2) / 2;
  return svg("path", { class: "edge", d: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}` });
}

function node(stage, { x, y }) {
  const { width: w, height: h } = NODE;
  const shapes = {
    failed: `M${x + 10} ${y}H${x + w - 10}L${x + w} ${y + h / 2}L${x + w - 10} ${y + h}H${x + 10}L${x} ${y + h / 2}Z`,
    killed: `M${x + 10} ${y}H${x + w - 10}L${x + w} ${y + h / 2}L${x + w - 10} ${y + h}H${x + 10}L${x} ${y + h / 2}Z`,
  };
  const shape = shapes[stage.state] ? svg("path", { d: shapes[stage.state] }) : svg("rect", { x, y, width: w, height: h, rx: ["ran", "recorded", "running"].includes(stage.state) ? 4 : 15 });
  const name = stage.name.length > 15 ? `${stage.name.slice(0, 7)}…${stage.name.slice(-7)}` : stage.name;
  const title = svg("title");
  title.textContent = [stage.name, `${STAGE_STATES[stage.state] ?? stage.state}${stage.seconds === null ? "" : `, ${seconds(stage.seconds)}`}`, ...stage.reasons].join("\n");
  const text = svg("text", { x: x + 12, y: y + h / 2 + 4 }), time = svg("text", { x: x + w - 12, y: y + h / 2 + 4, "text-anchor": "end", class: "time" });
  text.textContent = name;
  time.textContent = stage.seconds === null ? "" : seconds(stage.seconds);
  return svg("g", { class: `node ${stage.state.replace(" ", "-")}` }, title, shape, text, time);
}

function reasonsOf(row) {
  const stages = row.stages.filter((stage) => stage.reasons.length && !stage.cached);
  const counts = new Map();
  for (const stage of row.stages) counts.set(stage.state, (counts.get(stage.state) ?? 0) + 1);
  const summary = [...counts].map(([name, count]) => `${count} ${name}`).join(", ");
  const items = stages.map((stage) => el("li", {}, el("strong", {}, stage.name), ` ${stage.reasons.slice(0, 6).join(", ")}${stage.reasons.length > 6 ? ` and ${stage.reasons.length - 6} more` : ""}`));
  return el("details", {}, el("summary", {}, `Stages: ${summary}${stages.length ? "; why they ran" : ""}`), stages.length ? el("ul", { className: "reasons" }, ...items) : el("p", { className: "fine" }, "No reasons are known: the version before has the same entries, or there is none."));
}

// Returns the stages with their lanes: stages of one place that overlap lie in lanes of their own.
function lanes(stages) {
  const ends = new Map();
  return [...stages].sort((a, b) => a.start - b.start).map((stage) => {
    const place = stage.location || "this machine", free = ends.get(place) ?? [];
    let lane = free.findIndex((end) => end <= stage.start + 0.001);
    if (lane < 0) lane = free.length;
    free[lane] = stage.start + stage.seconds;
    ends.set(place, free);
    return { name: stage.name, start: stage.start, end: stage.start + stage.seconds, state: stage.state, lane: lane ? `${place} ${lane + 1}` : place, text: seconds(stage.seconds) };
  });
}

function gantt(row) {
  const timed = row.stages.filter((stage) => stage.start !== null && stage.start !== undefined && stage.seconds > 0 && !stage.cached);
  if (timed.length < 2) return null;
  const values = lanes(timed), first = Math.min(...values.map((value) => value.start));
  for (const value of values) { value.start -= first; value.end -= first; }
  const box = el("div", { className: "chart" });
  const order = [...new Set(values.map((value) => value.lane))];
  const span = Math.max(...values.map((value) => value.end));
  const scale = { field: "name", type: "nominal", legend: null, scale: { range: palette() } };
  return chart(box, `Times by worker: ${values.map((value) => `${value.name} ${value.text}`).join(", ")}`, () => ({
    data: { values },
    title: "Times by worker",
    width: "container", height: 26 * order.length,
    encoding: { y: { field: "lane", type: "nominal", title: null, sort: order, axis: { labelLimit: 130 } } },
    layer: [
      { mark: { type: "bar", height: 20, cornerRadius: 2, opacity: 0.55 }, encoding: { x: { field: "start", type: "quantitative", title: "seconds", axis: { grid: false } }, x2: { field: "end" }, color: scale, tooltip: [{ field: "name", title: "stage" }, { field: "text", title: "time" }, { field: "state" }] } },
      { transform: [{ filter: `datum.end - datum.start > ${span / 7}` }], mark: { type: "text", align: "left", dx: 4, fontSize: 11, color: colour("--ink"), clip: true, limit: 110 }, encoding: { x: { field: "start", type: "quantitative" }, text: { field: "name" } } },
    ],
  }));
}

function scoresOf(row) {
  const names = Object.keys(row.models);
  if (!names.length) {
    const entries = Object.entries(row.metrics);
    return entries.length ? el("p", {}, ...entries.flatMap(([name, value], place) => [place ? ", " : "", `${name} `, el("strong", {}, number(value))])) : null;
  }
  const lines = names.map((name) => {
    const model = row.models[name];
    return { name, loss: model.loss, score: model.accuracy === undefined ? model.mae === undefined ? "–" : number(model.mae) : percent(model.accuracy), test: testScore(model) };
  }).sort((a, b) => (a.loss ?? Infinity) - (b.loss ?? Infinity)).map((item) => el("tr", {}, el("th", { scope: "row" }, item.name, item.name === row.best ? el("span", { className: "fine" }, " chosen") : null),
    el("td", { className: "n" }, item.loss === undefined ? "–" : number(item.loss)), el("td", { className: "n" }, item.score),
    el("td", { className: "n" }, item.test?.text ?? "–"), el("td", { className: "n" }, item.test?.low === undefined ? "–" : `${percent(item.test.low)} to ${percent(item.test.high)}`)));
  const models = Object.values(row.models);
  const heads = ["Model", "Validation loss", scoreWords(models, "Validation accuracy", "Validation MAE"), testWords(models), "95% interval"];
  return scrolled(el("table", { className: "plain" }, el("thead", {}, el("tr", {}, ...heads.map((text, place) => el("th", { scope: "col", className: place ? "n" : "" }, text)))), el("tbody", {}, ...lines)));
}

function commandsOf(row) {
  if (row.kind === "experiment") return [commandLine("Apply it", `dvc exp apply ${reference(row)}`)];
  if (row.kind === "commit" && !row.head) return [commandLine("See it", `git checkout ${row.id.slice(0, 10)} && dvc checkout`)];
  return [];
}

function ownParameters(row) {
  const keys = Object.keys(row.params).filter((key) => data.constants[key] === undefined).sort();
  if (!keys.length) return null;
  return el("details", {}, el("summary", {}, `${keys.length} parameters that differ between versions`), el("dl", {}, ...keys.flatMap((key) => [el("dt", {}, plainKey(key)), el("dd", {}, written(row.params[key]))])));
}
