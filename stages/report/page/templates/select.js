// Selection of one recipe, or two, and the pane of details below; the address keeps both: #m=cnn,cnn_fast&tab=mistakes.

const pane = document.getElementById("details"), versus = document.getElementById("compared");
const articles = new Map([...pane.querySelectorAll("article")].map((article) => [article.dataset.name, article]));
const rows = new Map([...document.querySelectorAll("tr.recipe")].map((row) => [row.dataset.recipe, row]));
const screens = [...document.querySelectorAll(".screen")], skip = document.querySelector(".skip"), tabs = element("div", { className: "tablist" });
tabs.setAttribute("role", "tablist");
tabs.setAttribute("aria-labelledby", "details-title");
const rival = element("select", {}), chooser = element("label", { className: "compare-with" }, "Compare with ", rival);
pane.querySelector("h2").after(chooser, tabs);

for (const [name, article] of articles) article.prepend(element("h3", { className: "visually-hidden" }, name));

// Scripts show one screen at a time, so the headings of each have the levels of the first one.
for (const heading of document.querySelectorAll(".screen:not(#task-0) :is(h2, h3)")) {
  const raised = element(heading.tagName === "H2" ? "h1" : "h2", {}, ...heading.childNodes);
  for (const { name, value } of heading.attributes) raised.setAttribute(name, value);
  heading.replaceWith(raised);
}

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
  const given = location.hash.slice(3).split("&")[0].split(","); // divided before decoding: names have commas
  const decoded = given.map((name) => new URLSearchParams(`m=${name}`).get("m"));
  const names = [...new Set(decoded)].filter((name) => articles.has(name)).slice(0, 2);
  if (!names.length) return null;
  const comparable = names.filter((name) => groupOf(name) === groupOf(names[0]));
  return { names: comparable, tab: address.get("tab") ?? state.tab };
}

function toAddress() {
  const names = state.names.map(encodeURIComponent).join(",");
  history.replaceState(null, "", `#m=${names}&tab=${state.tab}`);
}

// Chooses a recipe, or with `compared` one to compare with; a second choice of the same one ends the comparison.
function choose(name, compared = false) {
  const [first, other] = state.names;
  if (!compared || groupOf(name) !== groupOf(first)) state.names = [name];
  else if (name !== first) state.names = name === other ? [first] : [first, name];
  show();
  toAddress();
}

function panels() {
  return [...(state.names.length > 1 ? versus : articles.get(state.names[0])).querySelectorAll(".tab")];
}

function showTabs() {
  const found = panels(), hadFocus = tabs.contains(document.activeElement);
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
  if (hadFocus) tabs.querySelector("[aria-selected=true]").focus();
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
});

// The choice of a second recipe for fingers and keys.
function showChooser(first, other) {
  const others = [...rows.keys()].filter((name) => name !== first && groupOf(name) === groupOf(first));
  chooser.hidden = !others.length;
  rival.replaceChildren(...["", ...others].map((name) => element("option", { value: name }, name || "none")));
  rival.value = other ?? "";
}

rival.addEventListener("change", () => {
  state.names = [state.names[0], rival.value].filter(Boolean);
  show();
  toAddress();
});

function show() {
  const [first, other] = state.names, group = groupOf(first);
  screens.forEach((screen, number) => (screen.hidden = number !== group));
  skip.hash = `#ranking-${group}`;
  for (const link of document.querySelectorAll(".tasks a")) link.setAttribute("aria-current", link.hash === `#task-${group}`);
  for (const [name, row] of rows) {
    row.classList.toggle("chosen", state.names.includes(name));
    row.classList.toggle("second", name === other);
    const button = row.querySelector(".pick");
    button.setAttribute("aria-pressed", state.names.includes(name));
    if (groupOf(name) === group) button.tabIndex = name === first ? 0 : -1;
  }
  for (const [name, article] of articles) {
    article.hidden = Boolean(other) || name !== first;
    article.querySelector("details.model").open = true;
  }
  versus.hidden = !other;
  if (other) fillComparison(first, other);
  document.getElementById("details-title").textContent = other ? `${first} and ${other}` : `Details of ${first}`;
  showChooser(first, other);
  showTabs();
  pane.querySelector(".curve-note").hidden = state.tab !== "learning";
  for (const part of pane.querySelectorAll(".of-one")) part.hidden = Boolean(other); // colours are the models then
  const panel = panels().find(({ hidden }) => !hidden);
  if (other) for (const figure of panel.querySelectorAll("figure[data-curve]")) drawCurves(figure, [first, other]);
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
    const name = link.getAttribute("href").slice(7); // as it is: `hash` would encode it
    if (link.dataset.tab) state.tab = link.dataset.tab;
    choose(name);
    if (link.dataset.cell) articles.get(name).querySelector(`.lookup [data-cell="${link.dataset.cell}"] button`)?.click();
    pane.scrollIntoView();
  });
}
skip.addEventListener("click", (event) => {
  event.preventDefault(); // the address keeps the selection
  const heading = document.querySelector(skip.hash);
  heading.tabIndex = -1;
  heading.focus();
});
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
