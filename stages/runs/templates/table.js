// The table: a line for each version, sweeps as groups, one tab stop with arrow keys inside.

const MAX_CHIPS = 4;
const GROUPS = ["download", "prepare", "train", "evaluate", "report"];
let query = parseQuery("");
let current = null; // the line that has the tab stop
let axis = null;

function change(changes) {
  Object.assign(state, changes);
  writeAddress();
  drawAll();
}

const toggled = (list, id) => (list.includes(id) ? list.filter((other) => other !== id) : [...list, id]);

function tick(id) {
  const ticked = state.tick.includes(id) ? state.tick.filter((other) => other !== id) : [...state.tick, id].slice(-2);
  change({ tick: ticked });
  tell(ticked.length === 2 ? "Two versions ticked; their comparison is above the table" : `${ticked.length} ticked`);
}

function pin(id) {
  change({ base: id });
  tell(`${label(byId.get(id))} is the baseline`);
}

function chip(key, [old, value], model, isSingle) {
  const [before, now] = [written(old), written(value)];
  const whole = `${key} ${before} → ${now}`;
  const cut = (part) => (part.length > 24 ? `${part.slice(0, 22)}…` : part);
  return el("span", { className: "chip", title: whole }, `${shortest(model ? key.replace(`models.${model}.`, "") : key)} `, ...(isSingle ? [] : [el("span", { className: "old" }, cut(before)), " → "]), cut(now));
}

const shortest = (key) => {
  const plain = plainKey(key);
  return plain.length > 34 ? `…${plain.slice(-33)}` : plain;
};

function axisFor(list) {
  const scores = list.map((row) => score(row, measure(), sweptModel(row))).filter(Boolean);
  if (!scores.length) return null;
  const low = Math.min(...scores.map((item) => item.low ?? item.value)), high = Math.max(...scores.map((item) => item.high ?? item.value));
  const log = low > 0 && high / low > 5;
  const map = log ? Math.log : (value) => value;
  const width = map(high) - map(low) || 1;
  const place = (value) => 3 + (94 * (map(value) - map(low))) / width;
  return { place, ticks: low === high ? [low] : [low, high] };
}

const tickText = (value) => (measure().id === "test" && hasModels && value <= 1 && isClassifying ? `${number(100 * value, 2)}%` : number(value, 2));

function dot(row, model) {
  const own = score(row, measure(), model);
  if (!own || !axis) return el("span", { className: "none" }, "–");
  const at = axis.place(own.value);
  const range = own.low === undefined ? null : el("i", { className: "range", style: `left:${axis.place(own.low)}%;width:${Math.max(0.5, axis.place(own.high) - axis.place(own.low))}%` });
  const base = byId.get(state.base), reference = base && base !== row ? score(base, measure(), model) : null;
  const mark = reference && el("i", { className: "base", style: `left:${axis.place(reference.value)}%` });
  const interval = own.low === undefined ? "" : `95% interval ${percent(own.low)} to ${percent(own.high)}`;
  const spoken = interval ? { role: "img", "aria-label": interval } : { "aria-hidden": "true" }; // the score has a column
  return el("span", { className: "axis", title: [own.text, interval].filter(Boolean).join(", "), ...spoken }, mark, range, el("i", { className: "dot", style: `left:${at}%` }));
}

function bar(row, longest) {
  const timed = row.stages.filter((stage) => stage.seconds);
  if (!timed.length) return el("span", { className: "none" }, seconds(row.seconds));
  const parts = timed.map((stage) => {
    const group = stage.name.split("@")[0].split(":").at(-1), place = GROUPS.indexOf(group);
    const part = el("i", { className: `part${stage.cached ? " cached" : ""}`, title: `${stage.name} ${seconds(stage.seconds)}${stage.cached ? ", cached" : ""}` });
    part.style.cssText = `width:${(100 * stage.seconds) / longest}%;--part:var(--s${(place < 0 ? group.length : place) % 6})`;
    return part;
  });
  return el("span", { className: "bar" }, el("span", { className: "parts" }, ...parts), el("span", { className: "time" }, seconds(row.seconds)));
}

const total = (row) => row.stages.reduce((sum, stage) => sum + (stage.seconds ?? 0), 0);

function verdictCell(row, model) {
  if (row.id === state.base) return el("span", { className: "pin" }, "baseline");
  const gain = gainOf(row, model);
  if (!model || gain.className === "none") return gain;
  return el("span", { className: "gain", title: `${model} here and in the baseline` }, el("span", { className: "fine" }, `${model}:`), " ", gain);
}

function gainOf(row, model) {
  const base = byId.get(state.base), test = againstBaseline(row, model);
  if (test?.verdict === "the same") return el("span", { className: "fine", title: "the same predictions as the baseline's" }, "the same");
  if (test) return el("span", { title: `positive is better; p ${pText(test.p)}, corrected by Holm over all tests` }, `${test.unit === "value" ? signed(test.difference) : points(test.difference)} `, verdictMark(test.verdict), hidden(`, p ${pText(test.p)}`));
  const [own, other] = [score(row, measure(), model), base && score(base, measure(), model)];
  if (!own || !other) return el("span", { className: "none" }, "–");
  if (measure().id === "test" && hasModels ? hasOtherTest(row, base) : hasOtherData(row, base)) return el("span", { className: "fine" }, "other data");
  const [fresh, old] = [model ?? row.best, model ?? base.best];
  if (measure().id === "validation" && hasOtherValidation(row, base, model)) return el("span", { className: "fine", title: "other validation samples or targets" }, "not comparable");
  if (measure().id === "validation" && hasModels && lossFunction(row, fresh) !== lossFunction(base, old)) return el("span", { className: "fine" }, "other loss");
  const gain = measure().smaller ? other.value - own.value : own.value - other.value;
  const why = hasModels ? whyNoTest(base.models[old], row.models[fresh]) : "no test of single metrics";
  return el("span", { className: "fine", title: `positive is better; ${why}` }, own.low === undefined ? signed(gain) : points(gain));
}

const signed = (value) => `${value > 0 ? "+" : ""}${number(value)}`;
const hasClasses = (row) => row.models[row.best]?.test?.rate !== undefined;

function gatesCell(row) {
  const { gates } = row;
  if (!gates) return el("span", { className: "none" }, "–");
  if (gates.failed) return el("span", { className: "bad", title: gates.checks.map((check) => `${check.model} ${check.gate} ${check.sentence}`).join("\n") }, `${gates.failed} failed`);
  const others = gates.not_judged ? `, ${gates.not_judged} not judged` : "";
  return gates.passed ? el("span", {}, `${gates.passed} passed${others}`) : el("span", { className: "fine" }, "not judged");
}

function refs(row) {
  const names = row.refs.map((ref) => ref.name.replace(/#\d+$/, ""));
  const marks = row.refs.slice(0, 1).map((ref) => el("span", { className: `ref ${ref.kind}`, title: ref.kind }, names[0]));
  if (names.length > 1) marks.push(el("span", { className: "ref", title: names.slice(1).join("\n") }, `+${names.length - 1}`));
  const changed = row.marks.map((mark) => el("span", { className: "mark", title: `other ${mark} than in the version before` }, mark));
  return [...(row.head ? [el("span", { className: "ref head" }, "HEAD")] : []), ...marks, ...changed];
}

function nameCell(row) {
  const button = el("button", { type: "button", className: "name", tabIndex: -1, "aria-expanded": String(state.open.includes(row.id)), title: [row.title, row.author].filter(Boolean).join("\n"), onclick: () => open(row.id) });
  if (row.kind === "commit") button.append(el("code", {}, row.name), " ", row.title);
  else if (row.kind === "run") button.append(row.experiment ? `${row.name}: ` : "", row.title);
  else button.append(row.name);
  const problems = row.problems.length ? el("span", { className: "bad", title: row.problems.join("\n") }, " not readable") : null;
  return el("div", { className: "what" }, button, ...refs(row), problems);
}

function bestCell(row, model) {
  const name = hasModels ? model ?? row.best : "";
  return el("td", { className: "best" }, el("span", { className: `model${name ? "" : " none"}` }, hasModels ? name || "–" : ""), dot(row, model));
}

const scoreCell = (own) => el("td", { className: "n score" }, own?.text ?? el("span", { className: "none" }, "–"));

function open(id) {
  change({ open: toggled(state.open, id) });
}

function line(row, longest, isMember) {
  const changes = Object.entries(row.changed);
  const model = sweptModel(row);
  const chips = changes.slice(0, MAX_CHIPS).map(([key, values]) => chip(key, values, model));
  const more = changes.length > MAX_CHIPS ? el("span", { className: "fine", title: changes.slice(MAX_CHIPS).map(([key, [a, b]]) => `${key} ${written(a)} → ${written(b)}`).slice(0, 40).join("\n") }, `+${changes.length - MAX_CHIPS}`) : null;
  const own = score(row, measure(), model);
  const name = label(row);
  const box = el("input", { type: "checkbox", tabIndex: -1, checked: state.tick.includes(row.id), "aria-label": `compare ${name}`, onchange: () => tick(row.id), disabled: row.kind === "run" });
  const pinned = el("button", { type: "button", className: "pin-button", tabIndex: -1, title: "pin as baseline", "aria-label": `pin ${name} as baseline`, "aria-pressed": String(row.id === state.base), onclick: () => pin(row.id) }, row.id === state.base ? "◉" : "◎");
  return el("tr", { className: `line ${row.kind}${isMember ? " member" : ""}${state.tick.includes(row.id) ? " ticked" : ""}`, "data-id": row.id },
    el("td", { className: "tick" }, box),
    el("td", { className: `state ${row.state}` }, el("span", { title: row.state, "aria-hidden": "true" }, STATES[row.state] ?? "○"), hidden(row.state)),
    el("th", { scope: "row" }, nameCell(row)),
    el("td", { className: "when", title: when(row) }, day(row)),
    el("td", { className: "seconds" }, bar(row, longest)),
    el("td", { className: "changes" }, el("div", { className: "chips" }, ...chips, more)),
    bestCell(row, model),
    scoreCell(own),
    el("td", { className: "verdicts" }, row.kind === "run" ? null : pinned, verdictCell(row, model)),
    el("td", { className: "gates" }, gatesCell(row)));
}

const isTimed = rows.some((row) => row.seconds !== null);
const COLUMNS = isTimed ? 10 : 9;

function openedLine(content) {
  return el("tr", { className: "detail-line" }, el("td", { colSpan: COLUMNS }, content));
}

function sweepLine(sweep, members, longest) {
  const isOpen = state.open.includes(sweep.id), model = modelOf(sweep);
  const best = areComparable(members, model) ? bestFirst(members, model)[0] : null, own = best && score(best, measure(), model);
  const [before, chips] = !best ? ["no best: other validation samples or targets", []] : [Object.keys(best.changed).length ? "best: " : "best: as its commit", Object.entries(best.changed)];
  const failed = members.filter((row) => ["failed", "killed", "stopped"].includes(row.state)).length;
  const button = el("button", { type: "button", className: "name", tabIndex: -1, "aria-expanded": String(isOpen), onclick: () => open(sweep.id) }, el("strong", {}, `${members.length} ×`), ` ${model ? `${model}: ` : ""}${sweep.keys.map((key) => plainKey(model ? key.replace(`models.${model}.`, "") : key)).join(", ")}`);
  return el("tr", { className: "line sweep", "data-id": sweep.id },
    el("td", { className: "tick" }), el("td", { className: "state" }, el("span", { "aria-hidden": "true" }, "▤"), hidden("sweep")),
    el("th", { scope: "row" }, el("div", { className: "what" }, button)),
    el("td", { className: "when" }, day(members.reduce((a, b) => (a.when > b.when ? a : b)))),
    el("td", { className: "seconds" }, el("span", { className: "bar" }, el("span", { className: "parts" }), el("span", { className: "time" }, sumSeconds(members)))),
    el("td", { className: "changes" }, el("div", { className: "chips" }, el("span", { className: "fine" }, before), ...chips.slice(0, 3).map(([key, values]) => chip(key, values, modelOf(sweep), true)))),
    best ? bestCell(best, model) : el("td", { className: "best" }), scoreCell(own), el("td", { className: "verdicts" }, best ? verdictCell(best, model) : null),
    el("td", { className: "gates" }, failed ? el("span", { className: "bad" }, `${failed} failed`) : best ? gatesCell(best) : null));
}

function sumSeconds(members) {
  const known = members.map((row) => row.seconds).filter((value) => value !== null);
  return known.length ? seconds(known.reduce((a, b) => a + b, 0)) : "–";
}

function linesOf({ sweep, members }, longest) {
  if (!sweep || members.length === 1) return members.flatMap((row) => rowLines(row, longest, false));
  const head = sweepLine(sweep, members, longest);
  if (!state.open.includes(sweep.id)) return [head];
  return [head, openedLine(openedSweep({ ...sweep, members: members.map((row) => row.id) })), ...bestFirst(members, modelOf(sweep)).flatMap((row) => rowLines(row, longest, true))];
}

function rowLines(row, longest, isMember) {
  const own = line(row, longest, isMember);
  return state.open.includes(row.id) ? [own, openedLine(openedRun(row))] : [own];
}

function heading() {
  const which = measure();
  const scale = el("span", { className: "axis ticks", "aria-hidden": "true" }, ...(axis?.ticks ?? []).map((value) => el("i", { style: `left:${axis.place(value)}%` }, tickText(value))));
  const heads = [["tick", hidden("compare")], ["state", hidden("state")], ["", "Version"], ["when", "When"], ["seconds", "Time"], ["changes", "Changed"], ["best", el("span", { className: "model" }, hasModels ? "Chosen" : ""), scale], ["n score", which?.label ?? "Score"], ["verdicts", "To the baseline"], ["gates", "Gates"]];
  return el("thead", {}, el("tr", {}, ...heads.map(([name, ...content]) => el("th", { scope: "col", className: name, title: name === "verdicts" && "positive is better; p-values corrected by Holm over all tests" }, ...content))));
}

function drawTable() {
  query = parseQuery(state.q);
  const shown = rows.filter((row) => isShown(row, query));
  axis = axisFor(shown);
  const longest = Math.max(1, ...shown.map(total));
  const focused = document.activeElement?.closest?.("tr.line")?.dataset.id;
  const body = el("tbody", {}, ...grouped(shown).flatMap((group) => linesOf(group, longest)));
  const table = el("table", { className: `versions${isTimed ? "" : " untimed"}${years.size > 1 ? " years" : ""}` }, el("caption", { className: "visually-hidden" }, "Versions of the project"), heading(), body);
  byKey("rows").replaceChildren(table);
  const lines = [...body.querySelectorAll("tr.line")];
  current = lines.find((item) => item.dataset.id === (focused ?? current)) ?? lines[0];
  if (current) current.querySelector(".name").tabIndex = 0;
  if (focused && current) current.querySelector(".name").focus({ preventScroll: true });
  current = current?.dataset.id ?? null;
  drawCounts(shown);
}

function drawCounts(shown) {
  const words = [`${shown.length === rows.length ? "All" : `${shown.length} of`} ${rows.length} versions`];
  if (state.part) words.push(`commits ${state.part[0]} to ${state.part[1]} of the trend`);
  words.push(...query.problems);
  const clear = state.part || state.q ? el("button", { type: "button", className: "plain", onclick: () => { byKey("query").value = ""; change({ q: "", part: null }); drawTrend(); } }, "Show all") : null;
  byKey("shown").replaceChildren(words.join("; "), " ", clear ?? "");
}

function drawTray() {
  const tray = byKey("tray");
  tray.hidden = !state.tick.length;
  const names = state.tick.map((id) => label(byId.get(id)));
  const show = el("button", { type: "button", className: "strong", onclick: () => { byKey("compare").scrollIntoView({ block: "start" }); byKey("compare").focus({ preventScroll: true }); } }, "Comparison");
  const clear = el("button", { type: "button", className: "plain", onclick: () => change({ tick: [] }) }, "Clear");
  tray.replaceChildren(el("span", { className: "ticked-names" }, names.length === 2 ? names.join(" and ") : `${names.join("")}: tick a second version to compare`), names.length === 2 ? show : "", clear);
}

function drawAll() {
  const focused = document.activeElement;
  drawTable();
  drawComparison();
  drawTray();
  const isLost = focused !== document.body && document.activeElement === document.body; // it was drawn anew, or closed
  if (isLost) (document.querySelector("tr.line .name[tabindex='0']") ?? byKey("rows")).focus({ preventScroll: true });
}

function moveTo(id) {
  const line = [...document.querySelectorAll("tr.line")].find((item) => item.dataset.id === id);
  for (const other of document.querySelectorAll("tr.line .name[tabindex='0']")) other.tabIndex = -1;
  const button = line.querySelector(".name");
  button.tabIndex = 0;
  button.focus();
  current = id;
}

function onKey(event) {
  const line = event.target.closest("tr.line");
  if (!line || event.ctrlKey || event.metaKey || event.altKey) return;
  const lines = [...document.querySelectorAll("tr.line")], place = lines.indexOf(line);
  const moves = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: lines.length - 1 };
  const row = byId.get(line.dataset.id);
  if (event.key in moves) {
    const target = lines[Math.min(lines.length - 1, Math.max(0, moves[event.key]))];
    moveTo(target.dataset.id);
  } else if (event.key === " " && event.target.matches(".name")) {
    if (row && row.kind !== "run") tick(row.id);
  } else if (event.key.toLowerCase() === "p" && row && row.kind !== "run") pin(row.id);
  else return;
  event.preventDefault();
}
