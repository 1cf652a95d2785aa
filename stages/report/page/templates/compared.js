// Two recipes: curves over one another, the difference of the matrices, parameters that differ, and the images.

function bits(model) {
  const bytes = atob(model.right);
  return (index) => (bytes.charCodeAt(index >> 3) >> (7 - (index & 7))) & 1;
}

function panelOf(name, title, ...content) {
  const panel = element("div", { className: "tab", id: `compared-${name}` }, element("h3", { className: "visually-hidden" }, title), ...content);
  panel.dataset.tab = name;
  panel.dataset.title = title;
  return panel;
}

const named = (name, letter) => element("b", { className: letter }, name);

function curvePanel(first, second) {
  const [one, other] = [first, second].map((name) => lookup.models[name].curves);
  const figures = Object.keys(one).filter((quantity) => quantity in other).map((quantity) => {
    const figure = element("figure", {});
    figure.dataset.curve = quantity;
    figure.setAttribute("role", "img");
    figure.setAttribute("aria-label", `${one[quantity].title} of ${first} and ${second} by epoch; the values are in the details of each model`);
    return figure;
  });
  const key = element("p", { className: "keys two-curves" }, named(first, "a"), " ", named(second, "b"), " · lines: validation, dashed: training");
  return panelOf("learning", "Learning", element("div", { className: "curves" }, key, ...figures));
}

function cellOf(first, second, actual, predicted, strongest) {
  const by = ((second.counts[`${actual}-${predicted}`] ?? 0) - (first.counts[`${actual}-${predicted}`] ?? 0));
  const cell = element("td", {}, by ? (by > 0 ? `+${by}` : `−${-by}`) : "");
  if (actual === predicted) cell.className = "diagonal";
  else if (by) {
    cell.className = by > 0 ? "up" : "down";
    cell.style.setProperty("--heat", Math.sqrt(Math.abs(by) / strongest).toFixed(2));
  }
  return cell;
}

function differenceTable(first, second, names) {
  const codes = names.every((name) => name.length <= 3) ? names : names.map((_, number) => String.fromCharCode(65 + number));
  const off = [...new Set([...Object.keys(first.counts), ...Object.keys(second.counts)])].filter((cell) => new Set(cell.split("-")).size > 1);
  const strongest = Math.max(1, ...off.map((cell) => Math.abs((second.counts[cell] ?? 0) - (first.counts[cell] ?? 0))));
  const head = (number, scope) => {
    const cell = element("th", { scope });
    cell.append(codes[number] === names[number] ? names[number] : element("abbr", { title: names[number] }, codes[number]));
    return cell;
  };
  const table = element("table", { className: `confusion difference${names.length <= 12 ? " small" : ""}` });
  table.append(element("caption", {}, `Counts of ${second.label} less those of ${first.label}. Rows: actual. Columns: predicted.`));
  table.createTHead().append(element("tr", {}, element("td", {}), ...names.map((_, number) => head(number, "col"))));
  const body = table.createTBody();
  names.forEach((_, actual) => body.append(element("tr", {}, head(actual, "row"), ...names.map((_, predicted) => cellOf(first, second, actual, predicted, strongest)))));
  const box = element("div", { className: "scroll" }, table);
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "Difference of the confusion matrices");
  scrolling.observe(box);
  const parts = [box];
  if (codes !== names) parts.push(element("p", { className: "fine codes" }, ...names.flatMap((name, number) => [element("span", {}, element("b", {}, codes[number]), ` ${name}`), " "])));
  return parts;
}

function largestDifferences(first, second, names) {
  const cells = [...new Set([...Object.keys(first.counts), ...Object.keys(second.counts)])].filter((cell) => new Set(cell.split("-")).size > 1);
  const all = cells.map((cell) => [cell, (second.counts[cell] ?? 0) - (first.counts[cell] ?? 0)]).filter(([, by]) => by);
  if (!all.length) return [element("p", { className: "lead" }, "Largest differences of the confusions: none.")];
  const changed = all.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const lines = changed.slice(0, 15).map(([cell, by]) => {
    const [actual, predicted] = cell.split("-");
    return element("tr", {}, element("td", {}, names[actual]), element("td", {}, names[predicted]), element("td", { className: "n" }, by > 0 ? `+${by}` : `−${-by}`));
  });
  const head = element("tr", {}, ...["Actual", "Predicted", "Difference"].map((text, number) => element("th", { scope: "col", className: number > 1 ? "n" : "" }, text)));
  const caption = element("caption", {}, `Largest differences of the confusions: counts of ${second.label} less those of ${first.label}.`);
  return [element("table", { className: "plain" }, caption, element("thead", {}, head), element("tbody", {}, ...lines))];
}

function onlyRight(name, letter, right, wrong, total) {
  const [one, other] = [bits(lookup.models[right]), bits(lookup.models[wrong])], model = lookup.models[wrong];
  const text = (value) => (model.names ? model.names[value] : value);
  let images = 0;
  for (let index = 0; index < total; index += 1) images += one(index) && !other(index);
  const known = Object.keys(model.answers).map(Number).filter((index) => index < total && one(index) && !other(index));
  const items = known.slice(0, 24).map((index) => {
    const [label, predicted] = model.answers[index].map(text);
    const alt = `test image ${index}, labelled ${label}, predicted by ${wrong} as ${predicted}`;
    const caption = element("span", {}, element("b", {}, label), " → ", element("b", { className: "bad" }, predicted));
    return element("li", {}, picture(index, alt), caption, element("span", { className: "detail" }, `#${index}`));
  });
  const more = items.length && items.length < images ? `, ${items.length} of them here` : "";
  const title = element("h4", {}, "Only ", named(right, letter), ` ${model.names ? "is right" : "rounds to the right value"}: ${images.toLocaleString("en")} ${lookup.noun}${images === 1 ? "" : "s"}${more}`);
  return element("div", {}, title, element("ul", { className: "gallery" }, ...items));
}

function mistakesPanel(first, second) {
  const [one, other] = [first, second].map((label) => ({ ...lookup.models[label], label })), parts = [];
  if (one.names) parts.push(...(one.names.length <= 20 ? differenceTable(one, other, one.names) : largestDifferences(one, other, one.names)));
  const galleries = [onlyRight(first, "a", first, second, lookup.samples), onlyRight(second, "b", second, first, lookup.samples)];
  return panelOf("mistakes", "Mistakes", ...parts, element("div", { className: "thirds" }, ...galleries));
}

function copiesPanel(tab, first, second) {
  const sides = [first, second].map((name, number) => {
    const figures = [...articles.get(name).querySelectorAll(`[data-tab=${tab}] figure`)].map((figure) => figure.cloneNode(true));
    for (const figure of figures) delete figure.dataset.chart;
    return element("div", {}, element("h4", {}, named(name, "ab"[number])), ...figures);
  });
  const { title } = articles.get(first).querySelector(`[data-tab=${tab}]`).dataset;
  return panelOf(tab, title, element("div", { className: "thirds" }, ...sides));
}

function differingRows(first, second) {
  return [...new Set([...Object.keys(first), ...Object.keys(second)])].filter((key) => first[key] !== second[key])
    .map((key) => element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, first[key] ?? "–"), element("td", {}, second[key] ?? "–")));
}

function parametersPanel(first, second) {
  const [one, other] = [lookup.models[first], lookup.models[second]];
  const head = element("tr", {}, ...["", first, second].map((text, number) => (text ? element("th", { scope: "col" }, named(text, " ab"[number])) : element("td", {}))));
  const table = (title, lines) => element("table", { className: "plain" }, element("caption", {}, title), element("thead", {}, head.cloneNode(true)), element("tbody", {}, ...lines));
  const lines = differingRows(one.params, other.params), same = Object.keys(one.params).length - lines.length;
  const note = lines.length ? `Parameters that differ; ${Math.max(0, same)} are equal` : "All parameters are equal";
  return panelOf("parameters", "Parameters", table(note, lines), table("Figures that differ", differingRows(one.figures, other.figures)));
}

function fillComparison(first, second) {
  const key = `${first} ${second}`; // names have commas, but no spaces
  if (versus.dataset.pair === key) return;
  versus.dataset.pair = key;
  const pair = lookup.groups[groupOf(first)].pairs.find(([a, b]) => (a === first && b === second) || (a === second && b === first));
  const text = pair ? ` ${pair[2]}. Difference of ${pair[0]} from ${pair[1]}: ${pair[3]}.` : "";
  const verdict = element("p", { className: "lead versus" }, named(first, "a"), " against ", named(second, "b"), ":", text);
  const own = [...articles.get(first).querySelectorAll(".tab")].map((panel) => panel.dataset.tab).filter((tab) => ["calibration", "threshold", "residuals"].includes(tab));
  versus.replaceChildren(verdict, curvePanel(first, second), mistakesPanel(first, second), ...own.map((tab) => copiesPanel(tab, first, second)), parametersPanel(first, second));
}
