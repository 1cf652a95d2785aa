// Draws the page, and follows the controls and the address.

function whyNoAnswer() {
  if (hasModels && rows.some((row) => row.best)) return "No version with the data and the validation samples of the baseline has a validation score, so none is named the best.";
  if (hasModels) return "No version has a validation score to choose by, so none is named the best.";
  if (data.metrics.length) return chooser ? "" : "The metrics are those of a test, which choose nothing, so no version is named the best.";
  return "No version has scores: their metrics are neither in Git nor in DVC's cache.";
}

function drawAnswer() {
  const base = byId.get(state.base);
  const onData = rows.filter((row) => row.kind !== "run" && (!base || !hasOtherData(row, base)) && chooserAmong([row]).of(row) !== null);
  const reference = base ?? onData.at(-1), scored = onData.filter((row) => !hasOtherValidation(row, reference));
  if (!scored.length) {
    byKey("answer").textContent = whyNoAnswer();
    return;
  }
  const { of } = chooserAmong(scored), value = (row) => of(row) ?? Infinity;
  const best = scored.reduce((a, b) => (value(b) < value(a) ? b : a), scored.includes(base) ? base : scored[0]);
  const name = label(best), own = score(best, measures[0]);
  const test = best === base ? null : againstBaseline(best);
  const range = own?.low === undefined ? "" : `, ${percent(own.low)} to ${percent(own.high)} with 95% confidence`;
  const where = base?.dataset ? ` on ${base.dataset}` : "";
  const figure = !own ? "" : hasModels ? `: ${best.best}, on the test images ${own.text} ${hasClasses(best) ? "errors" : "mean absolute error"}${range}` : `: ${own.text} ${measures[0].label}`;
  const against = best === base ? " It is the baseline." : !test ? "" : test.verdict === "the same" ? " It has the predictions of the baseline." : test.verdict === "cannot tell" ? " The test images cannot tell it from the baseline." : ` It is ${test.verdict} than the baseline.`;
  const others = onData.length - scored.length;
  const left = !others ? "" : others === 1 ? " One version has other validation samples or targets, and is not ranked with it." : ` ${number(others)} versions have other validation samples or targets, and are not ranked with it.`;
  byKey("answer").replaceChildren(`Best${where}${hasModels ? " by validation" : ""}: `, el("strong", {}, name), `${figure}.${against}${left}`);
}

function drawPills() {
  const count = (test) => rows.filter(test).length;
  const pills = [
    [count((row) => row.gates?.failed), "with failed gates", "gate:failed", "bad"],
    [count((row) => row.state === "failed"), "failed", "state:failed", "bad"],
    [count((row) => row.state === "killed"), "killed", "state:killed", "bad"],
    [count((row) => row.problems.length), "not readable", null, "bad"],
  ].filter(([many]) => many);
  byKey("pills").replaceChildren(...pills.map(([many, words, filter, kind]) => (filter
    ? el("button", { type: "button", className: `pill ${kind}`, onclick: () => { byKey("query").value = filter; change({ q: filter }); byKey("rows").scrollIntoView(); } }, `${many} ${words}`)
    : el("span", { className: `pill ${kind}` }, `${many} ${words}`))));
}

function drawConstants() {
  const keys = Object.keys(data.constants).sort();
  const box = byKey("constants");
  box.hidden = !keys.length;
  box.querySelector("summary").textContent = `${keys.length} parameters are the same in all versions`;
  box.addEventListener("toggle", () => {
    if (box.open && box.children.length === 1) box.append(el("dl", {}, ...keys.flatMap((key) => [el("dt", {}, key), el("dd", {}, written(data.constants[key]))])));
  });
}

function drawControls() {
  byKey("query").value = state.q;
  byKey("sort").value = state.sort;
  byKey("metric").replaceChildren(...measures.map((item) => el("option", { value: item.id, selected: item.id === state.show }, item.label)));
  byKey("metric").closest("label").hidden = measures.length < 2;
}

// The controls are hidden in the page, since without scripts they would do nothing.
for (const part of document.querySelectorAll(".scripted")) part.hidden = false;

function start() {
  readAddress();
  drawControls();
  drawPills();
  drawConstants();
  drawAnswer();
  drawAll();
  drawLineChoices();
  drawTrend();
}

let typing = 0;
byKey("query").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => change({ q: event.target.value.trim() }), 120);
});
byKey("sort").addEventListener("change", (event) => change({ sort: event.target.value }));
byKey("metric").addEventListener("change", (event) => {
  change({ show: event.target.value });
  drawLineChoices();
  drawTrend();
});
byKey("rows").addEventListener("keydown", onKey);
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    event.preventDefault();
    byKey("query").focus();
  }
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address keeps the view
  byKey("rows").focus();
});
addEventListener("hashchange", () => (isView(location.hash) ? start() : writeAddress()));
start();
document.documentElement.setAttribute("data-table", Math.round(performance.now())); // ms, as benchmarks/runs_page.py reads
