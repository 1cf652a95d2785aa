"use strict";
// The content of the page, the state that the address keeps, and how values are written.

const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;
const byId = new Map(rows.map((row) => [row.id, row]));
const hasModels = rows.some((row) => row.best || Object.values(row.models).some((model) => model.test));
const sweepOf = new Map(data.sweeps.flatMap((sweep) => sweep.members.map((id) => [id, sweep])));
const STATES = { ran: "●", recorded: "○", restored: "◐", failed: "✕", killed: "◆", stopped: "■", running: "…" };
const SHORT_HASH = 7;

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key in node && key !== "list" && !key.startsWith("aria")) node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const hidden = (text) => el("span", { className: "visually-hidden" }, text);
const byKey = (id) => document.getElementById(id);
const tell = (text) => { byKey("told").textContent = text; };

// The state, in the address after #: q, base, tick, open, show, sort, lines, part.
const state = { q: "", base: data.baseline, tick: [], open: [], show: "", sort: "new", lines: null, part: null };

// Returns whether a fragment is that of a view; others name a part of the page, and leave the view as it is.
const isView = (fragment) => fragment.length < 2 || fragment.includes("=");

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const raw = (name) => location.hash.slice(1).split("&").find((part) => part.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
  const list = (name) => raw(name).split(",").filter(Boolean).map((part) => new URLSearchParams(`x=${part}`).get("x")); // divided first: names have commas
  const find = (name) => (rows.find((row) => row.id === name || row.name === name) ?? rows.find((row) => row.id.startsWith(name) && name.length >= SHORT_HASH))?.id;
  state.q = given.get("q") ?? "";
  state.base = (given.get("base") && find(given.get("base"))) || data.baseline;
  state.tick = list("tick").map(find).filter(Boolean).slice(0, 2);
  state.open = list("open").map((name) => (data.sweeps.some((sweep) => sweep.id === name) ? name : find(name))).filter(Boolean);
  const shown = measures.find((measure) => measure.id === given.get("show"));
  state.show = (shown ?? measures[0])?.id ?? "";
  state.sort = ["new", "best", "slow"].includes(given.get("sort")) ? given.get("sort") : "new";
  state.lines = given.has("lines") ? list("lines") : null;
  const part = /^(\d+)-(\d+)$/.exec(given.get("part") ?? "");
  state.part = part ? [Number(part[1]), Number(part[2])] : null;
}

const short = (id) => (/^[0-9a-f]{40,64}$/.test(id) ? id.slice(0, 10) : id);

function writeAddress() {
  const list = (ids) => ids.map((id) => encodeURIComponent(short(id))).join(",");
  const parts = [];
  const add = (key, text) => parts.push(`${key}=${text}`);
  if (state.q) add("q", encodeURIComponent(state.q));
  if (state.base !== data.baseline) add("base", encodeURIComponent(short(state.base)));
  if (state.tick.length) add("tick", list(state.tick));
  if (state.open.length) add("open", list(state.open));
  if (measures.length && state.show !== measures[0].id) add("show", encodeURIComponent(state.show));
  if (state.sort !== "new") add("sort", state.sort);
  if (state.lines) add("lines", list(state.lines));
  if (state.part) add("part", state.part.join("-"));
  history.replaceState(null, "", parts.length ? `#${parts.join("&")}` : location.pathname + location.search);
}

// Values.
const number = (value, digits = 4) => (Number.isInteger(value) ? value.toLocaleString("en") : Number(value.toPrecision(digits)).toString()).replace("-", "−");
const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 2 : 1)}%`;
// Two decimals, or as many as a difference needs that is not 0, as in `stages/report/formats.py`.
const points = (value) => {
  const gap = Math.abs(100 * value), digits = [2, 3, 4, 5, 6].find((count) => Number(gap.toFixed(count)));
  return digits === undefined ? "0.00" : `${value > 0 ? "+" : "−"}${gap.toFixed(digits)}`;
};

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

function written(value) {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
  return typeof value === "number" && !Number.isInteger(value) ? number(value, 5) : String(value);
}

const plainKey = (key) => key.replace(/^models\./, "");

function when(row) {
  if (!row.when) return "now";
  const date = new Date(row.when * 1000), pad = (part) => String(part).padStart(2, "0");
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

// The day, short: without the year where all versions are of one.
const years = new Set(rows.filter((row) => row.when).map((row) => when(row).slice(0, 4)));
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function day(row) {
  const whole = when(row);
  if (!row.when) return whole;
  return years.size > 1 ? whole.slice(0, 10) : `${MONTHS[Number(whole.slice(5, 7)) - 1]} ${Number(whole.slice(8, 10))}`;
}

const params = (row) => ({ ...data.constants, ...row.params });

// What the axis shows: scores of the best model, or a metric of a project of another form.
const testScore = (model) => {
  const test = model?.test;
  if (!test) return null;
  if (test.rate !== undefined) return { value: test.rate, low: test.low, high: test.high, text: `${number(test.errors)} (${percent(test.rate)})` };
  return { value: test.mae, text: number(test.mae) };
};
const validationScore = (model) => {
  const value = model?.loss ?? model?.mae;
  return value === undefined ? null : { value, text: number(value) };
};
const lower = (words) => words[0].toLowerCase() + words.slice(1);

// Returns the heading of a score of classifiers, of regressions, or of both.
function scoreWords(models, classes, values) {
  const tested = models.filter((model) => model?.test);
  const isValue = tested.filter((model) => model.test.mae !== undefined).length;
  return !isValue ? classes : isValue === tested.length ? values : `${classes} or MAE`;
}

const testWords = (models) => scoreWords(models, "Test errors", "Test MAE");
const bestModels = rows.flatMap((row) => (row.best ? [row.models[row.best]] : Object.values(row.models))); // all where none is chosen
const isClassifying = testWords(bestModels) === "Test errors";
const measures = hasModels
  ? [
      { id: "test", label: lower(testWords(bestModels)), smaller: true, of: testScore },
      { id: "validation", label: "validation loss", smaller: true, of: validationScore },
      ...data.metrics.map(metric),
    ]
  : data.metrics.map(metric);

function metric({ name, smaller }) {
  const score = (row) => (row.metrics[name] === undefined ? null : { value: row.metrics[name], text: number(row.metrics[name]) });
  return { id: name, label: name, smaller, ofRow: score };
}

const measure = () => measures.find((item) => item.id === state.show) ?? measures[0];

function score(row, which = measure(), model = row.best) {
  if (!which) return null;
  return which.ofRow ? which.ofRow(row) : which.of(row.models[model]);
}

// Returns whether two versions have other data; hashes are compared where both are known.
const hasOtherData = (row, other) => Boolean(row.data && other.data && row.data !== other.data) || row.dataset !== other.dataset;

// Returns whether two versions were tested on other images; a data set may have other training images only.
const hasOtherTest = (row, other) => (row.tested && other.tested ? row.tested !== other.tested : hasOtherData(row, other));

// Returns what the validation scores of a version's model are of: the split of the data, and what the model has to tell.
function validatedOn(row, model) {
  const all = params(row), { split, targets } = data.comparability, groups = `datasets.${row.dataset}.groups.`;
  const has = (values, head) => Object.entries(values).map(([key, value]) => all[head + key] ?? value);
  const grouped = all["prepare.held_out"] === "groups" ? Object.keys(all).filter((key) => key.startsWith(groups)).sort().map((key) => [key, all[key]]) : [];
  return JSON.stringify([has(split, ""), has(targets, `models.${model}.`), grouped]);
}

// Returns whether validation scores of two versions cannot be compared, those of their best models or of `model`.
const hasOtherValidation = (row, other, model) => hasModels && (hasOtherData(row, other) || validatedOn(row, model ?? row.best) !== validatedOn(other, model ?? other.best));

// Returns whether the validation scores of the versions in `list` can be compared.
function areComparable(list, model) {
  const scored = list.filter((row) => row.models[model ?? row.best]);
  return scored.every((row) => !hasOtherValidation(row, scored[0], model));
}

function lossFunction(row, model) {
  const head = `models.${model}.`, all = params(row);
  const keys = Object.keys(all).filter((key) => key.startsWith(head) && data.comparability.loss.includes(key.slice(head.length).split(".")[0])).sort();
  return JSON.stringify(keys.map((key) => [key.slice(head.length), String(all[key]).replace(/^sparse_/, "")]));
}

// What chooses among versions: never a test score.
const chooser = data.metrics.find((item) => item.chooses);

// Returns what chooses among `list`, by their best models or by `model`: `name`, `smaller`, and `of` (null: unknown), the
// lower the better. Losses of different functions cannot be compared: then the accuracy chooses, or the absolute error.
function chooserAmong(list, model) {
  if (!hasModels) {
    const sign = chooser?.smaller ? 1 : -1;
    return { name: chooser?.name ?? "score", smaller: Boolean(chooser?.smaller), of: (row) => (row.metrics[chooser?.name] === undefined ? null : sign * row.metrics[chooser.name]) };
  }
  const scored = list.filter((row) => row.models[model ?? row.best]);
  const has = (key) => scored.filter((row) => row.models[model ?? row.best][key] !== undefined).length;
  const isOneLoss = new Set(scored.map((row) => lossFunction(row, model ?? row.best))).size < 2;
  const keys = isOneLoss ? ["loss", "accuracy", "mae"] : ["accuracy", "mae", "loss"];
  const key = keys.find((name) => has(name) === scored.length) ?? keys.find(has) ?? "loss";
  const of = (row) => row.models[model ?? row.best]?.[key] ?? null;
  return { name: `validation ${key === "mae" ? "MAE" : key}`, smaller: key !== "accuracy", of: (row) => (key === "accuracy" && of(row) !== null ? -of(row) : of(row)) };
}
