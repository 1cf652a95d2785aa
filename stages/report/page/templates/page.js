"use strict";
// What all parts of the page use, sorting of tables, and figures of this machine. The page is complete without scripts.

function element(name, attributes, ...children) {
  const node = Object.assign(document.createElement(name), attributes);
  node.append(...children);
  return node;
}

const read = (id) => JSON.parse(document.getElementById(id).textContent);

// What the address names after its #; an address that is no text names nothing.
function addressed() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

const lookup = read("lookup");
const machine = read("machine");
document.documentElement.classList.add("scripting");
for (const hint of document.querySelectorAll(".scripted")) hint.hidden = false;

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

// Figures of this machine, which `inkflow report` writes into its copy of the page.
function fill(cell) {
  const row = cell.closest("tr");
  const figure = machine.models?.[row.dataset.model ?? row.dataset.recipe]?.[cell.dataset.machine];
  cell.textContent = figure === undefined ? "–" : figure >= 100 ? Math.round(figure).toLocaleString("en") : figure.toPrecision(3);
  if (figure !== undefined) cell.dataset.v = figure;
}

if (machine) {
  for (const cell of document.querySelectorAll(".machine")) cell.hidden = false;
  document.querySelectorAll("[data-machine]").forEach(fill);
  document.getElementById("machine-note").textContent = machine.note;
  document.getElementById("version").textContent = ` · ${[machine.version, machine.date].filter(Boolean).join(" · ")}`;
  const list = document.getElementById("facts");
  for (const [name, text] of Object.entries(machine.facts)) list.append(element("dt", {}, name), element("dd", {}, text));
}

// A link into something closed opens it.
function openTarget() {
  const target = document.getElementById(addressed());
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();

// Regions take the focus only where they scroll.
const scrolling = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const region of document.querySelectorAll(".scroll")) scrolling.observe(region);
