"use strict";
// What the page can do beyond being read. Without this script all of it stands there, sorted best first.

function element(name, attributes, ...children) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
}

const read = (id) => JSON.parse(document.getElementById(id).textContent);

// Tables: a click on a column's head sorts by it, a second click the other way round.
function value(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.v ?? cell.textContent.trim();
  const number = Number(text.replace(/[,%]/g, "").replace("−", "-"));
  return text === "" || Number.isNaN(number) ? text : number;
}

function compare(a, b, sign) {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // what is not a number goes last, either way round
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
}

function sort(head) {
  const body = head.closest("table").tBodies[0];
  const down = head.getAttribute("aria-sort") === "ascending";
  const keyed = [...body.rows].map((row) => [value(row, head.cellIndex), row]);
  keyed.sort((one, other) => compare(one[0], other[0], down ? -1 : 1));
  body.append(...keyed.map(([, row]) => row));
  for (const cell of head.parentElement.cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
}

for (const head of document.querySelectorAll("table.sortable thead th")) {
  const button = element("button", { type: "button", className: "sorter", title: "Sort" });
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(head));
  head.append(button);
}

// Confusion matrices: a click on a cell shows its images.
const lookup = read("lookup");

function shown(model, index, alt) {
  const image = element("img", { src: `data:image/png;base64,${lookup.images[index]}`, alt, width: 56, height: 56 });
  image.className = lookup.ink ? "ink" : "";
  const sure = element("span", { className: "sure" }, `${Math.round(100 * model.sure[index])}% · #${index}`);
  return element("li", {}, image, sure);
}

function find(cell, button, model) {
  const [actual, said] = cell.dataset.cell.split("-").map((index) => model.names[index]);
  const indexes = model.cells[cell.dataset.cell];
  const total = cell.querySelector(".times").textContent.trim();
  const few = indexes.length < Number(total.replace(/,/g, "")) ? `, ${indexes.length} of ${total}` : ` (${total})`;
  const how = actual === said ? "right, the least sure first" : "the most sure first";
  const list = element("ul", { className: "gallery" });
  list.append(...indexes.map((index) => shown(model, index, `test image ${index}, labelled ${actual}, read as ${said}`)));
  const found = cell.closest(".mistakes").querySelector(".found");
  found.replaceChildren(element("p", {}, `${actual} read as ${said}, ${how}${few}:`), list);
  for (const other of cell.closest("table").querySelectorAll("[aria-pressed=true]")) other.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-pressed", "true");
}

for (const cell of document.querySelectorAll("table.lookup [data-cell]")) {
  const model = lookup.models[cell.closest("table").dataset.model];
  const [actual, said] = cell.dataset.cell.split("-").map((index) => model.names[index]);
  const times = cell.querySelector(".times").textContent.trim();
  const button = element("button", { type: "button", className: "cell" });
  button.setAttribute("aria-label", `${times}: ${actual} read as ${said}, show images`);
  button.setAttribute("aria-pressed", "false");
  button.append(...cell.childNodes);
  button.addEventListener("click", () => find(cell, button, model));
  cell.append(button);
}
for (const hint of document.querySelectorAll(".scripted")) hint.hidden = false;

// This machine's figures, which `inkflow report --open` puts into its copy of the page.
const machine = read("machine");

function fill(cell) {
  const figure = machine.models?.[cell.closest("tr").dataset.model]?.[cell.dataset.here];
  cell.textContent = figure === undefined ? "–" : figure >= 100 ? Math.round(figure).toLocaleString("en") : figure.toPrecision(3);
  if (figure !== undefined) cell.dataset.v = figure;
}

if (machine) {
  for (const cell of document.querySelectorAll(".here")) cell.hidden = false;
  document.querySelectorAll("[data-here]").forEach(fill);
  document.getElementById("here").textContent = machine.note;
  document.getElementById("version").textContent = ` · ${machine.version}`;
  const list = document.getElementById("provenance");
  for (const [name, text] of Object.entries(machine.facts)) list.append(element("dt", {}, name), element("dd", {}, text));
}

// A link to a model opens what is closed.
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const closed = target && target.querySelector("details.model");
  if (closed) closed.open = true;
}
addEventListener("hashchange", reveal);
reveal();
