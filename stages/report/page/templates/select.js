// Selection of one recipe, or two, and the pane of details below; the address keeps both: #m=cnn,cnn_fast&tab=mistakes.

const pane = document.getElementById("details"), versus = document.getElementById("compared");
const articles = new Map([...pane.querySelectorAll("article")].map((article) => [article.dataset.name, article]));
const rows = new Map([...document.querySelectorAll("tr.recipe")].map((row) => [row.dataset.recipe, row]));
const screens = [...document.querySelectorAll(".screen")], tabs = element("div", { className: "tablist" });
tabs.setAttribute("role", "tablist");
tabs.setAttribute("aria-labelledby", "details-title");
pane.querySelector("h2").after(tabs);

for (const [name, article] of articles) article.prepend(element("h3", { className: "visually-hidden" }, name));

const groupOf = (name) => lookup.models[name].group;
const leader = (group) => lookup.groups[group].costs[0].model;
let state = { names: [leader(0)], tab: "learning" };

function fromAddress() {
  const hash = addressed();
  const task = /^task-(\d+)$/.exec(hash);
  if (task && lookup.groups[task[1]]) return { names: [leader(task[1])], tab: state.tab };
  if (hash.startsWith("model-") && articles.has(hash.slice(6))) return { names: [hash.slice(6)], tab: state.tab };
  if (!location.hash.startsWith("#m=")) return null;
  const address = new URLSearchParams(location.hash.slice(1));
  const names = [...new Set(address.get("m").split(","))].filter((name) => articles.has(name)).slice(0, 2);
  if (!names.length) return null;
  const comparable = names.filter((name) => groupOf(name) === groupOf(names[0]));
  return { names: comparable, tab: address.get("tab") ?? state.tab };
}

function toAddress() {
  const names = state.names.map(encodeURIComponent).join(",");
  history.replaceState(null, "", `#m=${names}&tab=${state.tab}`);
}

// Chooses a recipe, or with `second` one to compare with; a second choice of the same one ends the comparison.
function choose(name, second = false) {
  const [first, other] = state.names;
  if (!second || groupOf(name) !== groupOf(first)) state.names = [name];
  else if (name !== first) state.names = name === other ? [first] : [first, name];
  show();
  toAddress();
}

function panels() {
  return [...(state.names.length > 1 ? versus : articles.get(state.names[0])).querySelectorAll(".tab")];
}

function showTabs() {
  const found = panels();
  if (!found.some((panel) => panel.dataset.tab === state.tab)) state.tab = found[0].dataset.tab;
  tabs.replaceChildren(...found.map((panel) => {
    const { tab, title } = panel.dataset, chosen = tab === state.tab;
    const button = element("button", { type: "button", id: `tab-${tab}`, tabIndex: chosen ? 0 : -1 }, title);
    button.setAttribute("role", "tab");
    button.setAttribute("aria-selected", chosen);
    button.setAttribute("aria-controls", panel.id);
    button.addEventListener("click", () => chooseTab(tab));
    panel.hidden = !chosen;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    return button;
  }));
}

function chooseTab(tab) {
  state.tab = tab;
  show();
  toAddress();
}

tabs.addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key], buttons = [...tabs.children];
  if (!by) return;
  event.preventDefault();
  const at = buttons.indexOf(document.activeElement);
  chooseTab(panels()[(at + by + buttons.length) % buttons.length].dataset.tab);
  tabs.querySelector("[aria-selected=true]").focus();
});

function show() {
  const [first, second] = state.names, group = groupOf(first);
  screens.forEach((screen, number) => (screen.hidden = number !== group));
  for (const link of document.querySelectorAll(".tasks a")) link.setAttribute("aria-current", link.hash === `#task-${group}`);
  for (const [name, row] of rows) {
    row.classList.toggle("chosen", state.names.includes(name));
    row.classList.toggle("second", name === second);
    const button = row.querySelector(".pick");
    button.setAttribute("aria-pressed", state.names.includes(name));
    if (groupOf(name) === group) button.tabIndex = name === first ? 0 : -1;
  }
  for (const [name, article] of articles) {
    article.hidden = Boolean(second) || name !== first;
    article.querySelector("details.model").open = true;
  }
  versus.hidden = !second;
  if (second) fillComparison(first, second);
  document.getElementById("details-title").textContent = second ? `${first} and ${second}` : `Details of ${first}`;
  showTabs();
  pane.querySelector(".curve-note").hidden = state.tab !== "learning";
  const panel = panels().find(({ hidden }) => !hidden);
  if (second) for (const figure of panel.querySelectorAll("figure[data-curve]")) drawCurves(figure, [first, second]);
  else {
    enliven(panel, first);
    openLargest(panel);
  }
}

// The ranking: each name is a button, one stop of the tab key, with arrow keys between the rows.
for (const [name, row] of rows) {
  const link = row.querySelector("a");
  const button = element("button", { type: "button", className: "pick", title: name }, name);
  link.replaceWith(button);
  row.dataset.chosen = "";
  row.addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault()); // selects no text
  row.addEventListener("click", (event) => choose(name, event.shiftKey));
  button.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const names = [...rows.keys()].filter((other) => groupOf(other) === groupOf(name));
    const next = names[names.indexOf(name) + by];
    if (!next) return;
    choose(next, event.shiftKey);
    rows.get(next).querySelector("button").focus();
  });
}

for (const link of document.querySelectorAll("a[href^='#model-']")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    if (link.dataset.tab) state.tab = link.dataset.tab;
    choose(decodeURIComponent(link.hash.slice(7)));
    pane.scrollIntoView();
  });
}
for (const link of document.querySelectorAll(".tasks a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    choose(leader(link.hash.slice(6)));
    scrollTo(0, 0);
  });
}

function follow() {
  const found = fromAddress();
  if (!found) return;
  state = found;
  show();
}
addEventListener("hashchange", follow);
state = fromAddress() ?? state;
show();
if (location.hash.startsWith("#model-")) pane.scrollIntoView();
