// A sweep opened: one parameter as dots with intervals, two as a heat map, more as parallel coordinates.

function swept(sweep) {
  const models = new Set(sweep.keys.map((key) => /^models\.([^.]+)\./.exec(key)?.[1]));
  const model = models.size === 1 ? [...models][0] : undefined;
  const members = sweep.members.map((id) => byId.get(id)).filter((row) => row.kind === "experiment");
  const by = chooserAmong(members, model);
  const values = members.map((row) => {
    const name = model ?? row.best, own = row.models[name];
    return { row, name: row.name, score: by.of(row), model: own, low: own?.low, high: own?.high, error: own?.accuracy === undefined ? undefined : 1 - own.accuracy, test: testScore(own), all: params(row) };
  }).filter((item) => item.score !== null && item.score !== undefined);
  values.sort((a, b) => a.score - b.score);
  return { model, values, by: { ...by, ranks: areComparable(members, model), shown: (value) => (by.smaller ? value : -value), tested: lower(testWords(values.map((item) => item.model))) } };
}

function openedSweep(sweep) {
  const { model, values, by } = swept(sweep);
  if (!values.length) return el("div", { className: "opened" }, el("p", { className: "fine" }, "None of its experiments has a score to choose by."));
  const best = values[0];
  const box = el("div", { className: "chart" });
  const keys = sweep.keys;
  const draw = keys.length === 1 ? dots : keys.length === 2 ? heatMap : parallel;
  const base = byId.get(sweep.base), on = base ? el("span", { className: "fine" }, ` All ${values.length} are on ${label(base)}.`) : null;
  if (!by.ranks) {
    const why = el("p", {}, `The ${by.name} of these versions is of different validation samples or targets and cannot be compared, so none is named the best.`, on);
    return el("div", { className: "opened" }, why, keys.length === 1 ? dots(box, keys, values, by) : null);
  }
  const test = best.test ? `, on the test images ${best.test.text} ${best.test.low === undefined ? "mean absolute error" : "errors"}` : "";
  const sentence = el("p", {}, el("strong", {}, best.name), ` has the ${by.smaller ? "lowest" : "highest"} ${by.name}, ${number(by.shown(best.score))}${model ? ` of ${model}` : ""}${test}.`, on);
  return el("div", { className: "opened" }, sentence, commandLine("Apply it", `dvc exp apply ${reference(best.row)}`), draw(box, keys, values, by));
}

function isNumeric(values, key) {
  return values.every((item) => typeof item.all[key] === "number");
}

function scaleOf(values, key) {
  const numbers = values.map((item) => item.all[key]);
  const smallest = Math.min(...numbers), largest = Math.max(...numbers);
  return smallest > 0 && largest / smallest > 30 ? "log" : "linear";
}

const text = (value) => (typeof value === "number" && !Number.isInteger(value) ? number(value, 3) : written(value));

function dots(box, [key], values, by) {
  const numeric = isNumeric(values, key);
  const points = values.map((item, place) => ({ name: item.name, x: numeric ? item.all[key] : text(item.all[key]), loss: by.shown(item.score), error: item.error, low: item.low, high: item.high, best: by.ranks && place === 0, test: item.test?.text ?? "" }));
  const x = { field: "x", type: numeric ? "quantitative" : "ordinal", title: plainKey(key), scale: numeric ? { type: scaleOf(values, key), nice: false, padding: 14, ...(scaleOf(values, key) === "log" ? {} : { zero: false }) } : {}, axis: { grid: false, labelAngle: 0, ...(numeric ? { tickCount: 6, format: "~g" } : {}) } };
  const tooltip = [{ field: "name" }, { field: "x", title: plainKey(key) }, { field: "loss", title: by.name, format: ".4g" }, { field: "test", title: by.tested }];
  const fill = () => ({ condition: { test: "datum.best", value: colour("--validation") }, value: colour("--training") });
  const linear = (format) => ({ scale: { zero: false }, axis: { format } });
  const part = (field, title, form) => ({
    title, width: 420, height: 180,
    layer: [
      ...(field === "error" ? [{ mark: { type: "rule", strokeWidth: 2, opacity: 0.45 }, encoding: { x, y: { field: "low", type: "quantitative", title: null }, y2: { field: "high" }, color: fill() } }] : []),
      { mark: { type: "point", filled: true, size: 60, opacity: 1 }, encoding: { x, y: { field, type: "quantitative", title: null, ...form }, color: fill(), tooltip } },
    ],
  });
  const hasErrors = points.some((point) => point.error !== undefined && point.low !== undefined);
  return chart(box, `${by.name} by ${plainKey(key)}: ${points.map((point) => `${point.x}: ${number(point.loss)}`).join(", ")}`, () => ({
    data: { values: points },
    columns: innerWidth < 700 ? 1 : 2, spacing: 30,
    concat: [part("loss", by.ranks ? `${by.name}, which chooses` : by.name, by.smaller ? lossAxis(points.map((point) => point.loss)) : linear("~g")), ...(hasErrors ? [part("error", "validation errors, 95% interval", linear(".1%"))] : [])].map((item) => ({ ...item, width: innerWidth < 700 ? innerWidth - 110 : 420 })),
  }));
}

function heatMap(box, [one, two], values, by) {
  const cells = values.map((item, place) => ({ name: item.name, x: text(item.all[one]), y: text(item.all[two]), a: item.all[one], b: item.all[two], score: by.shown(item.score), best: place === 0, test: item.test?.text ?? "" }));
  const few = new Map();
  for (const cell of cells) if (!few.has(`${cell.x}|${cell.y}`)) few.set(`${cell.x}|${cell.y}`, cell); // sorted: the best of equal places
  const points = [...few.values()];
  const order = (key) => [...points].sort((p, q) => (typeof p[key] === "number" && typeof q[key] === "number" ? p[key] - q[key] : String(p[key]).localeCompare(String(q[key]), "en", { numeric: true })));
  const xs = [...new Set(order("a").map((cell) => cell.x))], ys = [...new Set(order("b").map((cell) => cell.y))].reverse();
  if (points.length < 0.3 * xs.length * ys.length) return parallel(box, [one, two], values, by);
  points.forEach((cell, place) => { cell.rank = 1 - place / Math.max(1, points.length - 1); }); // the best is 1
  const x = { field: "x", type: "ordinal", sort: xs, title: plainKey(one), axis: { labelAngle: 0, orient: "bottom" } };
  const y = { field: "y", type: "ordinal", sort: ys, title: plainKey(two) };
  return chart(box, `${by.name} by ${plainKey(one)} and ${plainKey(two)}`, () => ({
    data: { values: points },
    title: `${by.name}: the stronger the colour, the better`,
    width: Math.min(innerWidth - 120, Math.max(220, 84 * xs.length)), height: Math.max(90, 32 * ys.length),
    encoding: { x, y },
    layer: [
      { mark: { type: "rect", stroke: colour("--tint"), strokeWidth: 2 }, encoding: { color: { field: "rank", type: "quantitative", legend: null, scale: { domain: [0, 1], range: [colour("--paper"), colour("--training")], interpolate: "rgb" } }, tooltip: [{ field: "name" }, { field: "score", title: by.name, format: ".4g" }, { field: "test", title: by.tested }] } },
      { transform: [{ filter: "datum.best" }], mark: { type: "rect", filled: false, strokeWidth: 3, stroke: colour("--validation") } },
      { mark: { type: "text", fontSize: 11 }, encoding: { text: { field: "score", type: "quantitative", format: ".3g" }, color: { condition: { test: "datum.rank > 0.55", value: colour("--paper") }, value: colour("--ink") } } },
    ],
  }));
}

function parallel(box, keys, values, by) {
  const axes = [...keys, ""], lines = values.map((item, place) => ({ item, top: place < Math.max(1, Math.ceil(values.length / 10)), place }));
  const ranges = new Map(keys.map((key) => [key, axisOf(values, key)]));
  const scores = values.map((item) => item.score), low = scores[0], high = scores.at(-1);
  const sorted = new Map(scores.map((value, place) => [value, place]));
  const position = (item, key) => (key === "" ? 1 - (sorted.get(item.score) / Math.max(1, scores.length - 1)) : ranges.get(key).place(item.all[key]));
  const points = lines.flatMap(({ item, top, place }) => axes.map((key, at) => ({ line: place, at, y: position(item, key), top, name: item.name, score: by.shown(item.score), test: item.test?.text ?? "" })));
  const labels = axes.flatMap((key, at) => (key === "" ? [[1, text(by.shown(low))], [0, text(by.shown(high))]] : ranges.get(key).ticks).map(([y, label]) => ({ at, y, label })));
  const heads = axes.map((key, at) => ({ at, label: key === "" ? by.name : plainKey(key) }));
  return chart(box, `Parallel coordinates of ${keys.map(plainKey).join(", ")} and ${by.name}; the best tenth is coloured`, () => ({
    width: innerWidth < 700 ? Math.max(innerWidth - 130, 190 * axes.length - 60) : Math.min(1080, 200 * axes.length), height: 220,
    title: "The best tenth is coloured; the right axis is by rank",
    layer: [
      { data: { values: axes.map((_, at) => ({ at })) }, mark: { type: "rule", color: colour("--rule"), strokeWidth: 1 }, encoding: { x: { field: "at", type: "quantitative", axis: null, scale: { domain: [-0.12, axes.length - 0.75] } } } },
      { data: { values: points.filter((point) => !point.top) }, mark: { type: "line", strokeWidth: 1, opacity: 0.35, color: colour("--muted") }, encoding: { x: { field: "at", type: "quantitative" }, y: { field: "y", type: "quantitative", axis: null, scale: { domain: [0, 1] } }, detail: { field: "line" } } },
      { data: { values: points.filter((point) => point.top) }, mark: { type: "line", strokeWidth: 2, color: colour("--validation"), point: { size: 22, color: colour("--validation") } }, encoding: { x: { field: "at", type: "quantitative" }, y: { field: "y", type: "quantitative" }, detail: { field: "line" }, tooltip: [{ field: "name" }, { field: "score", title: by.name, format: ".4g" }, { field: "test", title: by.tested }] } },
      { data: { values: labels }, mark: { type: "text", align: "left", dx: 5, fontSize: 10.5, color: colour("--muted"), stroke: colour("--paper"), strokeWidth: 3, strokeJoin: "round" }, encoding: { x: { field: "at", type: "quantitative" }, y: { field: "y", type: "quantitative" }, text: { field: "label" } } },
      { data: { values: labels }, mark: { type: "text", align: "left", dx: 5, fontSize: 10.5, color: colour("--muted") }, encoding: { x: { field: "at", type: "quantitative" }, y: { field: "y", type: "quantitative" }, text: { field: "label" } } },
      { data: { values: heads }, mark: { type: "text", align: "left", baseline: "bottom", dy: -10, y: 0, fontSize: 11, fontWeight: 600, color: colour("--ink"), limit: 190 }, encoding: { x: { field: "at", type: "quantitative" }, text: { field: "label" } } },
    ],
  }));
}

// Returns where a value lies on the axis of a parameter, from 0 to 1, and the marks at the axis.
function axisOf(values, key) {
  if (isNumeric(values, key)) {
    const numbers = values.map((item) => item.all[key]), log = scaleOf(values, key) === "log";
    const map = log ? Math.log : (value) => value;
    const low = Math.min(...numbers), high = Math.max(...numbers), width = map(high) - map(low) || 1;
    const middle = log ? Math.sqrt(low * high) : (low + high) / 2;
    const ticks = low === high ? [[0, text(low)]] : [[0, text(low)], [0.5, text(middle)], [1, text(high)]];
    return { place: (value) => (map(value) - map(low)) / width, ticks };
  }
  const names = [...new Set(values.map((item) => text(item.all[key])))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const place = (name) => (names.length > 1 ? names.indexOf(name) / (names.length - 1) : 0.5);
  return { place: (value) => place(text(value)), ticks: names.map((name) => [place(name), name]) };
}
