// Two versions compared: parameters that differ, each model old to new, curves, images, times by stage.

const WORDS = { better: "better", worse: "worse", "cannot tell": "cannot tell", "the same": "the same" };

function verdictMark(verdict) {
  return el("span", { className: `verdict ${verdict.replace(" ", "-")}` }, WORDS[verdict]);
}

function label(row) {
  return row.kind === "experiment" || row.kind === "workspace" ? row.name : row.kind === "run" ? `run of ${when(row)}` : `${row.name} ${row.title}`;
}

function inOrder(one, other) {
  const [a, b] = [byId.get(one), byId.get(other)];
  return rows.indexOf(a) <= rows.indexOf(b) ? [a, b] : [b, a];
}

function drawComparison() {
  const box = byKey("compare");
  box.hidden = state.tick.length < 2;
  if (box.hidden) return box.replaceChildren();
  const [old, fresh] = inOrder(...state.tick);
  const close = el("button", { type: "button", className: "plain", onclick: () => change({ tick: [] }) }, "Close");
  const parts = [
    el("div", { className: "line" }, el("h3", { id: "compare-title" }, label(old), el("span", { className: "arrow" }, " → "), label(fresh)), close),
    differences(old, fresh),
    modelsTable(old, fresh),
    el("div", { className: "columns" }, curvesOf(old, fresh), timesOf(old, fresh)),
    imagesOf(old, fresh),
    commandLine("On the command line", `inkflow compare ${reference(old)} ${reference(fresh)}`),
  ];
  box.replaceChildren(...parts.filter(Boolean));
}

function reference(row) {
  const name = row.kind === "experiment" ? row.name : row.id.slice(0, 10);
  return /^[\w.,=+@/-]+$/.test(name) ? name : `'${name}'`;
}

function differences(old, fresh) {
  const [before, now] = [params(old), params(fresh)];
  const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])].filter((key) => JSON.stringify(before[key]) !== JSON.stringify(now[key]));
  if (!keys.length) return el("p", {}, "No parameter differs", old.data !== fresh.data ? "; the data do." : ".");
  const chips = keys.slice(0, 60).map((key) => chip(key, [before[key], now[key]]));
  return el("div", { className: "chips wrap" }, ...chips, keys.length > 60 ? ` and ${keys.length - 60} more` : null);
}

function modelsTable(old, fresh) {
  const names = Object.keys(fresh.models).filter((name) => old.models[name]);
  if (!names.length) return metricsTable(old, fresh);
  const same = names.filter((name) => areSame(fresh.models[name], old.models[name]));
  const changed = names.filter((name) => !same.includes(name)), isOther = hasOtherTest(fresh, old);
  const tests = changed.map((name) => pairedTest(fresh, name, old, name));
  const corrected = holm(tests.filter(Boolean));
  const lines = changed.map((name, place) => {
    const test = tests[place] && corrected[tests.filter(Boolean).indexOf(tests[place])];
    const [a, b] = [testScore(old.models[name]), testScore(fresh.models[name])];
    return el("tr", {}, el("th", { scope: "row" }, name, name === fresh.best ? el("span", { className: "fine" }, " chosen") : null),
      el("td", { className: "n" }, a?.text ?? "–"), el("td", { className: "n" }, b?.text ?? "–"),
      el("td", { className: "n" }, test ? `${points(test.difference)} points` : isOther ? "–" : gainText(a, b)),
      el("td", { className: "n" }, test ? `${points(test.low)} to ${points(test.high)}` : "–"),
      el("td", { className: "n" }, test ? pText(test.p) : "–"),
      el("td", {}, test ? verdictMark(test.verdict) : el("span", { className: "fine" }, isOther ? "no test: other test images" : whyNoTest(old.models[name], fresh.models[name]))));
  });
  const others = [...new Set([...Object.keys(fresh.models), ...Object.keys(old.models)])].filter((name) => !names.includes(name));
  const notes = [same.length ? `The same predictions: ${same.join(", ")}.` : "", others.length ? `In one version only: ${others.join(", ")}.` : ""].filter(Boolean).join(" ");
  const compared = changed.flatMap((name) => [old.models[name], fresh.models[name]]);
  const heads = ["Model", `${testWords(compared)} before`, "after", scoreWords(compared, "Gain in accuracy", "Gain"), corrected.length > 1 ? "Corrected interval" : "95% interval", "p (Holm)", "Verdict"];
  return el("div", {}, lines.length ? scrolled(el("table", { className: "plain" }, el("thead", {}, el("tr", {}, ...heads.map((text, place) => el("th", { scope: "col", className: place && place < 6 ? "n" : "" }, text)))), el("tbody", {}, ...lines))) : null,
    notes ? el("p", { className: "fine" }, notes) : null);
}

function scrolled(table) {
  return el("div", { className: "scroll" }, table);
}

// Returns the gain from one test score to another, positive where it became better: points of accuracy, or a lower error.
function gainText(before, after) {
  if (!before || !after) return "–";
  return after.low === undefined ? signed(before.value - after.value) : `${points(before.value - after.value)} points`;
}

function whyNoTest(old, fresh) {
  const has = (model) => data.predictions[model?.predictions];
  if (fresh?.test?.mae !== undefined) return "a regression: `inkflow compare` tests it";
  if ([old, fresh].some((model) => !model?.test && !model?.predictions)) return "no test: not evaluated";
  if (!has(old) || !has(fresh)) return "no test: predictions are not in the page: DVC's cache has none, or they are too many";
  return "no test: other test images";
}

function metricsTable(old, fresh) {
  const names = [...new Set([...Object.keys(old.metrics), ...Object.keys(fresh.metrics)])];
  if (!names.length) return el("p", { className: "fine" }, "No scores in both versions.");
  const lines = names.map((name) => {
    const [a, b] = [old.metrics[name], fresh.metrics[name]];
    const isSmaller = data.metrics.find((item) => item.name === name)?.smaller;
    const difference = a === undefined || b === undefined ? "–" : signed(isSmaller ? a - b : b - a);
    return el("tr", {}, el("th", { scope: "row" }, name), el("td", { className: "n" }, a === undefined ? "–" : number(a)), el("td", { className: "n" }, b === undefined ? "–" : number(b)), el("td", { className: "n" }, difference));
  });
  return scrolled(el("table", { className: "plain" }, el("thead", {}, el("tr", {}, ...["Metric", "before", "after", "Gain"].map((text, place) => el("th", { scope: "col", className: place ? "n" : "" }, text)))), el("tbody", {}, ...lines)));
}

const CURVE = ["val_loss", "loss"];

function curvesOf(old, fresh) {
  const names = Object.keys(fresh.models).filter((name) => old.models[name] && fresh.models[name].history !== old.models[name].history);
  const points = names.flatMap((name) => [[old, "before"], [fresh, "after"]].flatMap(([row, version]) => curvePoints(data.histories[row.models[name].history], { model: name, version })));
  if (!points.length) return null;
  const box = el("div", { className: "chart" });
  chart(box, `Validation loss by epoch of ${names.join(", ")}: before dashed, after solid`, () => ({
    data: { values: points },
    title: "Validation loss by epoch",
    width: "container", height: 170,
    mark: { type: "line", interpolate: "linear", strokeWidth: 1.8 },
    encoding: {
      x: { field: "epoch", type: "quantitative", title: "epoch", axis: { tickMinStep: 1, grid: false } },
      y: { field: "value", type: "quantitative", title: null, ...lossAxis(points.map((point) => point.value)) },
      color: { field: "model", type: "nominal", title: null, scale: { range: palette() } },
      strokeDash: { field: "version", type: "nominal", title: null, sort: ["before", "after"], scale: { domain: ["before", "after"], range: [[4, 3], [1, 0]] } },
    },
  }));
  return box;
}

function curvePoints(history, facts) {
  const column = CURVE.find((name) => history?.[name]);
  return column ? history[column].map((value, place) => ({ ...facts, value, epoch: history.epoch?.[place] ?? place + 1 })).filter((point) => point.value !== null) : [];
}

const palette = () => [2, 3, 4, 5, 1, 0].map((place) => colour(`--s${place}`));

function timesOf(old, fresh) {
  const find = (row) => new Map(row.stages.map((stage) => [stage.name, stage]));
  const [before, now] = [find(old), find(fresh)];
  const names = [...new Set([...before.keys(), ...now.keys()])].filter((name) => [before, now].some((side) => side.get(name)?.seconds));
  if (!names.length) return null;
  const cell = (stage) => el("td", { className: "n" }, seconds(stage?.seconds), stage?.cached && stage.seconds !== null ? el("span", { className: "fine" }, " cached") : null);
  const lines = names.map((name) => el("tr", {}, el("th", { scope: "row" }, name), cell(before.get(name)), cell(now.get(name))));
  return scrolled(el("table", { className: "plain" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Time by stage"), el("th", { scope: "col", className: "n" }, "before"), el("th", { scope: "col", className: "n" }, "after"))), el("tbody", {}, ...lines)));
}

const MAX_SHOWN = 24;

function imagesOf(old, fresh) {
  const [a, b] = [old.models[old.best], fresh.models[fresh.best]];
  const test = pairedTest(fresh, fresh.best, old, old.best), sheet = test && data.images[test.labels];
  if (!sheet || hasOtherTest(fresh, byId.get(sheet.of))) return null;
  const groups = [["Newly wrong", test.newlyWrong, b], ["Newly right", test.newlyRight, a]];
  return el("div", { className: "columns" }, ...groups.map(([title, indexes, model]) => imageGroup(`${title}: ${indexes.length}`, indexes, test.labels, wrong(model.predictions))));
}

function imageGroup(title, indexes, labels, answers) {
  const sheet = data.images[labels], truth = data.labels[labels] ? bytes(data.labels[labels]) : null;
  const named = (label) => sheet.names?.[label] ?? label;
  const known = indexes.filter((index) => sheet.indexes.includes(index)).slice(0, MAX_SHOWN);
  const items = known.map((index) => {
    const place = sheet.indexes.indexOf(index), size = 40 / sheet.height;
    const picture = el("span", { className: `tile${sheet.grey ? " grey" : ""}`, role: "img", "aria-label": truth ? `test image ${index}, labelled ${named(truth[index])}, taken for ${named(answers.get(index))}` : `test image ${index}` });
    picture.style.cssText = `width:${sheet.width * size}px;height:40px;background-image:url(data:image/png;base64,${sheet.png});background-size:${sheet.columns * sheet.width * size}px ${sheet.rows * 40}px;background-position:-${(place % sheet.columns) * sheet.width * size}px -${Math.floor(place / sheet.columns) * 40}px`;
    return el("li", {}, picture, el("span", { className: "detail" }, truth ? `${named(truth[index])} as ${named(answers.get(index))}` : `#${index}`));
  });
  const rest = indexes.length - known.length;
  return el("div", {}, el("h4", {}, title), items.length ? el("ul", { className: "gallery" }, ...items) : el("p", { className: "fine" }, indexes.length ? "Their pictures are not in the page." : "None."), rest && items.length ? el("p", { className: "fine" }, `and ${rest} more`) : null);
}

function commandLine(title, command) {
  const button = el("button", { type: "button", className: "plain", onclick: () => copy(command) }, "Copy");
  return el("p", { className: "command" }, `${title}: `, el("code", {}, command), " ", button);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell(`Copied: ${text}`);
  } catch {
    tell("The browser does not allow to copy; select the command instead");
  }
}
