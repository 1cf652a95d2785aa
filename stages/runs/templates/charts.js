// Charts by Vega-Lite, in the colours of the page; drawn again where light and dark change.

let areChartsReady = false;
const waiting = [];
const drawn = new Map();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function config() {
  const ink = colour("--ink"), muted = colour("--muted"), rule = colour("--rule");
  return {
    background: null,
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: { labelColor: muted, titleColor: muted, gridColor: rule, domainColor: rule, tickColor: rule, titleFontWeight: "normal", labelFontSize: 11, titleFontSize: 11 },
    legend: { labelColor: ink, titleColor: muted, labelFontSize: 11 },
    title: { color: ink, fontSize: 12, anchor: "start", fontWeight: 600 },
  };
}

const LARGE_RANGE = 1000; // factor of the values of a loss from which their scale is logarithmic, as in the report

// Returns scale and axis of a loss: where one has diverged, all others would be one flat line on a linear scale.
function lossAxis(values) {
  const low = Math.min(...values), high = Math.max(...values);
  const isLarge = low > 0 && high > LARGE_RANGE * low;
  return { scale: isLarge ? { type: "log" } : { zero: false }, axis: isLarge ? { format: ".3~g", tickCount: 5 } : { format: "~g" } };
}

// Draws `make()`, a specification in the present colours, into `box`; `onView` gets Vega's view.
function chart(box, label, make, onView) {
  drawn.set(box, { label, make, onView });
  if (areChartsReady) draw(box);
  else waiting.push(box);
  return box;
}

async function draw(box) {
  const { label, make, onView } = drawn.get(box);
  const specification = { $schema: "https://vega.github.io/schema/vega-lite/v6.json", description: label, ...make() };
  const { view } = await vegaEmbed(box, specification, { actions: false, renderer: "svg", config: config(), tooltip: { theme: isDark() ? "dark" : "light" } });
  const svg = box.querySelector("svg");
  svg?.setAttribute("role", "img");
  svg?.setAttribute("aria-label", label);
  for (const part of svg?.querySelectorAll("[role], [aria-roledescription]") ?? []) {
    for (const name of ["role", "aria-roledescription", "aria-label"]) part.removeAttribute(name);
  }
  onView?.(view);
}

const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

function startCharts() {
  areChartsReady = true;
  const boxes = waiting.splice(0).filter((box) => box.isConnected);
  Promise.all(boxes.map(draw)).then(() => document.documentElement.setAttribute("data-ready", Math.round(performance.now())));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const box of drawn.keys()) {
    if (box.isConnected) draw(box);
    else drawn.delete(box);
  }
});
