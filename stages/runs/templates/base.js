"use strict";
// The content of the page, the state that the address keeps, and how values are written.

const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;
const byId = new Map(rows.map((row) => [row.id, row]));
const hasModels = rows.some((row) => row.best);
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

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const list = (name) => (given.get(name) ? given.get(name).split(",").map(decodeURIComponent) : []);
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
const points = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(100 * value).toFixed(2)}`;

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
const isClassifying = rows.some((row) => row.models[row.best]?.test?.rate !== undefined);
const measures = hasModels
  ? [
      { id: "test", label: isClassifying ? "test errors" : "test MAE", smaller: true, of: testScore },
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

// What chooses among versions: never a test score.
const chooser = data.metrics.find((item) => item.chooses);

function choosing(row, model = row.best) {
  if (hasModels) {
    const chosen = row.models[model];
    return chosen?.loss ?? (chosen?.accuracy === undefined ? chosen?.mae : 1 - chosen.accuracy) ?? null;
  }
  if (!chooser || row.metrics[chooser.name] === undefined) return null;
  return chooser.smaller ? row.metrics[chooser.name] : -row.metrics[chooser.name];
}
