"use strict";
// Sorting of tables, images behind the cells of confusion matrices, and figures of this machine.
// The page is complete without this script.

function element(name, attributes, ...children) {
  const node = Object.assign(document.createElement(name), attributes);
  node.append(...children);
  return node;
}

const read = (id) => JSON.parse(document.getElementById(id).textContent);

// Tables: a click on a column heading sorts by the column, a second click reverses the order.
function sortKey(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.v ?? cell.textContent.trim();
  const number = Number(text.replace(/[,%]/g, "").replace("−", "-"));
  return text === "" || Number.isNaN(number) ? text : number;
}

function compare(a, b, sign) {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // cells without a number are last in both orders
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
}

function sort(heading) {
  const body = heading.closest("table").tBodies[0];
  const descending = heading.getAttribute("aria-sort") === "ascending";
  const keyed = [...body.rows].map((row) => [sortKey(row, heading.cellIndex), row]);
  keyed.sort((one, other) => compare(one[0], other[0], descending ? -1 : 1));
  body.append(...keyed.map(([, row]) => row));
  for (const cell of heading.parentElement.cells) cell.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const heading of document.querySelectorAll("table.sortable thead th")) {
  const button = element("button", { type: "button", className: "sorter", title: "Sort" });
  button.append(...heading.childNodes);
  button.addEventListener("click", () => sort(heading));
  heading.append(button);
}

// Confusion matrices: a click on a cell shows its images.
const lookup = read("lookup");

function listItem(model, index, alt) {
  const image = element("img", { src: `data:image/png;base64,${lookup.images[index]}`, alt, width: 56, height: 56 });
  image.className = lookup.grey ? "grey" : "";
  const detail = element("span", { className: "detail" }, `${Math.round(100 * model.probabilities[index])}% · #${index}`);
  return element("li", {}, image, detail);
}

function showImages(cell, button, model) {
  const [actual, predicted] = cell.dataset.cell.split("-").map((index) => model.names[index]);
  const indexes = model.cells[cell.dataset.cell];
  const total = cell.querySelector(".images").textContent.trim();
  const shown = indexes.length < Number(total.replace(/,/g, "")) ? `${indexes.length} of ${total}` : total;
  const order = actual === predicted ? "lowest" : "highest";
  const list = element("ul", { className: "gallery" });
  const alt = (index) => `test image ${index}, labelled ${actual}, predicted as ${predicted}`;
  list.append(...indexes.map((index) => listItem(model, index, alt(index))));
  const output = cell.closest(".errors").querySelector(".cell-images");
  output.replaceChildren(element("p", {}, `${actual} predicted as ${predicted} (${shown}), ${order} probability first:`), list);
  for (const other of cell.closest("table").querySelectorAll("[aria-pressed=true]")) other.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-pressed", "true");
}

for (const cell of document.querySelectorAll("table.lookup [data-cell]")) {
  const model = lookup.models[cell.closest("table").dataset.model];
  const [actual, predicted] = cell.dataset.cell.split("-").map((index) => model.names[index]);
  const images = cell.querySelector(".images").textContent.trim();
  const button = element("button", { type: "button", className: "cell" });
  button.setAttribute("aria-label", `${images}: ${actual} predicted as ${predicted}, show images`);
  button.setAttribute("aria-pressed", "false");
  button.append(...cell.childNodes);
  button.addEventListener("click", () => showImages(cell, button, model));
  cell.append(button);
}
for (const hint of document.querySelectorAll(".scripted")) hint.hidden = false;

// Figures of this machine, which `inkflow report` writes into its copy of the page.
const machine = read("machine");

function fill(cell) {
  const figure = machine.models?.[cell.closest("tr").dataset.model]?.[cell.dataset.machine];
  cell.textContent = figure === undefined ? "–" : figure >= 100 ? Math.round(figure).toLocaleString("en") : figure.toPrecision(3);
  if (figure !== undefined) cell.dataset.v = figure;
}

if (machine) {
  for (const cell of document.querySelectorAll(".machine")) cell.hidden = false;
  document.querySelectorAll("[data-machine]").forEach(fill);
  document.getElementById("machine-note").textContent = machine.note;
  document.getElementById("version").textContent = ` · ${machine.version}`;
  const list = document.getElementById("facts");
  for (const [name, text] of Object.entries(machine.facts)) list.append(element("dt", {}, name), element("dd", {}, text));
}

// A link to a model opens its details.
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target && target.querySelector("details.model");
  if (details) details.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();
