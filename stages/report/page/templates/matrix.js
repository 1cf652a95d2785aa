// Confusion matrices: cells open their images, arrow keys move between cells; the picture of many classes tells its cells.

const source = (index) => `data:image/png;base64,${lookup.images[index]}`;

function picture(index, alt) {
  const image = element("img", { src: source(index), alt, width: 56, height: 56 });
  image.className = lookup.grey ? "grey" : "";
  return image;
}

function listItem(model, index, alt) {
  const detail = element("span", { className: "detail" }, `${Math.round(100 * model.probabilities[index])}% · #${index}`);
  return element("li", {}, picture(index, alt), detail);
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
  const output = cell.closest(".panel").querySelector(".cell-images");
  output.replaceChildren(element("p", {}, `${actual} predicted as ${predicted} (${shown}), ${order} probability first:`), list);
  for (const other of cell.closest("table").querySelectorAll("[aria-pressed=true]")) other.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-pressed", "true");
}

// One stop of the tab key for a table of buttons; arrow keys, Home and End move inside.
const STEPS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -Infinity], End: [0, Infinity] };

function step(cell, [down, right]) {
  const rows = cell.closest("tbody").rows;
  if (!Number.isFinite(right)) {
    const buttons = cell.parentElement.querySelectorAll("button.cell");
    return right < 0 ? buttons[0] : buttons[buttons.length - 1];
  }
  let row = cell.parentElement.sectionRowIndex + down, column = cell.cellIndex + right;
  for (; rows[row]?.cells[column]; row += down, column += right) {
    const button = rows[row].cells[column].querySelector("button.cell");
    if (button) return button;
  }
  return null;
}

function rove(table) {
  const buttons = table.querySelectorAll("button.cell");
  buttons.forEach((button, number) => (button.tabIndex = number ? -1 : 0));
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td"), next = STEPS[event.key] && cell && step(cell, STEPS[event.key]);
    if (!STEPS[event.key] || !cell) return;
    event.preventDefault();
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

for (const table of document.querySelectorAll("table.lookup")) {
  const model = lookup.models[table.dataset.model];
  for (const cell of table.querySelectorAll("[data-cell]")) {
    const [actual, predicted] = cell.dataset.cell.split("-").map((index) => model.names[index]);
    const images = cell.querySelector(".images").textContent.trim();
    const button = element("button", { type: "button", className: "cell" });
    button.setAttribute("aria-label", `${images}: ${actual} predicted as ${predicted}, show images`);
    button.setAttribute("aria-pressed", "false");
    button.append(...cell.childNodes);
    button.addEventListener("click", () => showImages(cell, button, model));
    cell.append(button);
  }
  rove(table);
}

// Opens the cell with the most errors, where no cell is open yet.
function openLargest(part) {
  const output = part.querySelector(".cell-images");
  if (!output || output.childElementCount) return;
  const errors = [...part.querySelectorAll("table.lookup td:not(.diagonal) button.cell")];
  const count = (button) => Number(button.querySelector(".images").textContent.replace(/,/g, ""));
  const largest = errors.reduce((best, button) => (best && count(best) >= count(button) ? best : button), null);
  largest?.click();
}

for (const figure of document.querySelectorAll(".heatmap")) {
  const model = lookup.models[figure.dataset.model], order = figure.dataset.order.split(" ").map(Number);
  const image = figure.querySelector("img"), output = figure.querySelector("output");
  image.addEventListener("pointermove", (event) => {
    const at = (offset, size) => order[Math.min(order.length - 1, Math.max(0, Math.floor((order.length * offset) / size)))];
    const actual = at(event.offsetY, image.clientHeight), predicted = at(event.offsetX, image.clientWidth);
    const images = model.counts[`${actual}-${predicted}`] ?? 0;
    output.textContent = `${model.names[actual]} predicted as ${model.names[predicted]}: ${images}`;
  });
}
