// Charts with tooltips in the place of the drawn ones: learning curves, score against cost, threshold, and errors of values.

const drawn = new Map(); // figures and their views

async function draw(figure, specification, data, width) {
  const datasets = { ...data };
  const spec = { ...structuredClone(specification), datasets };
  const resize = (part) => {
    if (part.width) part.width = width;
    (part.vconcat ?? []).forEach(resize);
  };
  resize(spec);
  spec.autosize = spec.vconcat ? "pad" : { type: "fit-x", contains: "padding" };
  const box = element("div", {});
  const options = { actions: false, renderer: "svg", defaultStyle: false, logLevel: 1, tooltip: { disableDefaultStyle: true } };
  const { view } = await vegaEmbed(box, spec, options);
  drawn.get(figure)?.finalize();
  drawn.set(figure, view);
  const svg = box.querySelector("svg");
  svg.setAttribute("aria-hidden", "true");
  svg.removeAttribute("width");
  svg.removeAttribute("height");
  figure.replaceChildren(box);
  return view;
}

const widthOf = (figure) => Math.max(220, Math.min(540, figure.clientWidth || 400));

// Learning curves of one model, or of two over one another.
function curveRows(name, curve) {
  const rows = [];
  for (const [part, values] of Object.entries(curve.parts))
    values.forEach((value, at) => rows.push({ model: name, part, epoch: at + 1, value, smooth: curve.smooth[part]?.[at] ?? null }));
  return rows;
}

function curveSpec(names, quantity) {
  const curves = names.map((name) => lookup.models[name].curves[quantity]);
  const spec = structuredClone(names.length > 1 ? lookup.specs.compared : lookup.specs.curve);
  spec.title.text = curves[0].title;
  for (const { encoding } of spec.layer) {
    if (encoding.y?.axis && curves[0].shares) encoding.y.axis.format = ".1%";
    if (encoding.y?.scale && curves.some((curve) => curve.log)) encoding.y.scale = { type: "log" };
    if (names.length > 1 && encoding.color) encoding.color.scale.domain = names;
  }
  return spec;
}

function drawCurves(figure, names) {
  const quantity = figure.dataset.curve;
  const rows = names.flatMap((name) => curveRows(name, lookup.models[name].curves[quantity]));
  const { best } = lookup.models[names[0]].curves[quantity];
  if (names.length === 1 && best !== null) Object.assign(rows[0], { best, mark: `best ${best}` });
  return draw(figure, curveSpec(names, quantity), { rows }, widthOf(figure));
}

// Score against cost, by the choice of the cost.
const COSTS = {
  size: ["size of the model", "MB", (row) => row.size],
  parameters: ["parameters", "", (row) => row.parameters],
  epochs: ["epochs", "", (row) => row.epochs],
  fit: ["time of the training", "s", (row) => machine?.models?.[row.model]?.fit_s],
  latency: [`time of one ${lookup.noun}`, "ms", (row) => machine?.models?.[row.model]?.one_ms],
};

function costRows(group, kind) {
  const [, unit, value] = COSTS[kind];
  const rows = lookup.groups[group].costs.map((row) => ({ ...row, cost: value(row) }));
  let least = Infinity;
  const known = rows.filter((row) => row.cost > 0).sort((a, b) => a.cost - b.cost || a.error - b.error);
  for (const row of known) {
    row.pareto = row.error < least;
    least = Math.min(least, row.error);
  }
  return known.map((row) => ({ ...row, "cost text": `${Number(row.cost.toPrecision(3)).toLocaleString("en")} ${unit}` }));
}

// The alternative text of the chart as it is drawn, in the order of the ranking.
function costDescription({ score, costs }, title, rows) {
  const known = new Map(rows.map((row) => [row.model, row["cost text"].trim()]));
  const models = costs.map(({ model, score: own }) => (known.has(model) ? `${model} ${own} at ${known.get(model)}` : `${model} ${own}, not measured`));
  const more = models.length > 8 ? `; ${models.length - 8} more in the table` : "";
  return `${score} by ${title}: ${models.slice(0, 8).join("; ")}${more}`;
}

async function drawCost(figure, kind) {
  const spec = structuredClone(lookup.groups[figure.dataset.group].cost), rows = costRows(figure.dataset.group, kind);
  const costs = rows.map((row) => row.cost), [title, unit] = COSTS[kind];
  const missing = lookup.groups[figure.dataset.group].costs.map((row) => row.model).filter((name) => !rows.some((row) => row.model === name));
  figure.nextElementSibling.textContent = missing.length ? `Not measured on this machine: ${missing.join(", ")}` : "";
  figure.setAttribute("aria-label", costDescription(lookup.groups[figure.dataset.group], title, rows));
  spec.encoding.x.title = unit ? `${title}, ${unit}` : title;
  const scale = Math.max(...costs) > 5 * Math.min(...costs) ? { type: "log" } : { type: "linear", zero: false };
  spec.encoding.x.scale = { ...scale, padding: 26, nice: false };
  const view = await draw(figure, spec, { rows }, widthOf(figure));
  view.addEventListener("click", (event, item) => item?.datum?.model && choose(item.datum.model, event.shiftKey));
}

for (const figure of document.querySelectorAll("figure.cost")) {
  const differing = (kind) => new Set(costRows(figure.dataset.group, kind).map((row) => row.cost)).size > 1;
  const known = Object.keys(COSTS).filter((kind) => kind === "size" || differing(kind));
  const select = element("select", {}, ...known.map((kind) => element("option", { value: kind }, COSTS[kind][0])));
  select.setAttribute("aria-label", "Cost");
  select.addEventListener("change", () => drawCost(figure, select.value));
  figure.parentElement.querySelector(".cost-head").append(select);
  if (known.includes("fit") && costRows(figure.dataset.group, "fit").length === lookup.groups[figure.dataset.group].costs.length) select.value = "fit";
  drawCost(figure, select.value);
}

// The threshold of two classes.
function wilson(hits, samples) {
  const z = 1.959963984540054, share = hits / samples, square = (z * z) / samples;
  const centre = (share + square / 2) / (1 + square);
  const half = (z / (1 + square)) * Math.sqrt((share * (1 - share)) / samples + square / (4 * samples));
  return [hits ? centre - half : 0, hits < samples ? centre + half : 1];
}

function percent(share) {
  const text = `${(100 * share).toFixed(2)}%`;
  return text === "100.00%" && share < 1 ? "99.99%" : text;
}

function setThreshold(box, at) {
  const { positives, negatives, true: found, false: alarms } = lookup.models[box.dataset.model].thresholds;
  const counts = { tp: found[at], fn: positives - found[at], fp: alarms[at], tn: negatives - alarms[at] };
  for (const cell of box.querySelectorAll("[data-count]")) cell.textContent = counts[cell.dataset.count].toLocaleString("en");
  const rates = [[counts.tp, counts.tp + counts.fp], [counts.tp, positives], [counts.tn, negatives]];
  box.querySelectorAll("[data-rate]").forEach((cell, number) => {
    const [hits, samples] = rates[number];
    cell.textContent = samples ? percent(hits / samples) : "not known";
    cell.nextElementSibling.textContent = samples ? wilson(hits, samples).map(percent).join(" to ") : "not known";
  });
  box.querySelector("output").textContent = (at / 100).toFixed(2);
  return { roc: [{ x: counts.fp / Math.max(1, negatives), y: counts.tp / Math.max(1, positives) }],
    pr: [{ x: counts.tp / Math.max(1, positives), y: counts.tp / Math.max(1, counts.tp + counts.fp) }] };
}

for (const box of document.querySelectorAll(".thresholds")) {
  const input = element("input", { type: "range", min: 0, max: 100, value: 50 });
  input.setAttribute("aria-label", "Threshold in hundredths");
  input.addEventListener("input", () => {
    const now = setThreshold(box, Number(input.value));
    for (const figure of box.querySelectorAll("[data-chart]")) drawn.get(figure)?.data("now", now[figure.dataset.chart]).run();
  });
  box.querySelector(".slider").insertBefore(input, box.querySelector(".slider output"));
}

// Draws the charts of a visible part again, with tooltips.
function enliven(part, name) {
  const model = lookup.models[name];
  for (const figure of part.querySelectorAll("figure[data-curve]")) if (!drawn.has(figure)) drawCurves(figure, [name]);
  for (const figure of part.querySelectorAll("figure[data-chart]")) {
    if (drawn.has(figure)) continue;
    const kind = figure.dataset.chart, { thresholds } = model;
    if (kind === "reliability") draw(figure, model.reliability.spec, { rows: model.reliability.rows }, widthOf(figure) - 60);
    else if (kind === "residuals") draw(figure, model.residuals.spec, { rows: model.residuals.rows, bias: model.residuals.bias }, widthOf(figure));
    else {
      const box = figure.closest(".thresholds"), now = setThreshold(box, Number(box.querySelector("input").value));
      draw(figure, thresholds.specs[kind], { rows: thresholds.rows[kind], now: now[kind] }, Math.min(320, widthOf(figure)));
    }
  }
}
