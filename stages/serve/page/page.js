"use strict";
const canvas = document.getElementById("canvas"), pen = canvas.getContext("2d", { willReadFrequently: true });
const answer = document.getElementById("answer"), note = document.getElementById("note");
const PEN_WIDTH = 22, WAIT_MS = 150; // after the last stroke, before the picture is sent
let last = null, timer = 0, sent = 0;

// A server with a token: it stays in this tab. `#token=...` in the address hands it over.
if (location.hash.startsWith("#token=")) {
  sessionStorage.setItem("token", decodeURIComponent(location.hash.slice(7)));
  history.replaceState(null, "", location.pathname);
}

function request(path, options = {}) {
  const token = sessionStorage.getItem("token");
  return fetch(path, { ...options, headers: token ? { Authorization: `Bearer ${token}` } : {} });
}

function clear() {
  clearTimeout(timer);
  sent += 1;
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  answer.className = "";
  answer.textContent = "Draw with mouse, finger or pen.";
  note.textContent = "";
  document.getElementById("seen").hidden = true;
  showBars([]);
}

// Without rows, as those of a value, the table and its caption are hidden.
function showBars(rows) {
  const bars = document.getElementById("bars");
  bars.tBodies[0].replaceChildren(...rows);
  bars.hidden = !rows.length;
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
}

function stroke(to) {
  pen.strokeStyle = "#000";
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = PEN_WIDTH;
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...to);
  pen.stroke();
  last = to;
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  clearTimeout(timer);
  last = place(event);
  stroke(last);
});
canvas.addEventListener("pointermove", (event) => {
  if (last) for (const part of event.getCoalescedEvents?.() ?? [event]) stroke(place(part));
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => {
  if (!last) return;
  last = null;
  timer = setTimeout(() => canvas.toBlob(send, "image/png"), WAIT_MS);
});

async function send(picture) {
  const number = ++sent;
  try {
    const response = await request("/predict?seen=true", { method: "POST", body: picture });
    const content = await response.json();
    if (number !== sent) return; // a newer drawing is on its way
    if (response.ok) show(content); else refuse(response.status, content.error);
  } catch {
    if (number === sent) refuse(0, "the server does not answer");
  }
}

function refuse(status, reason) {
  if (status === 401) document.getElementById("login").hidden = false;
  answer.className = "";
  answer.textContent = `No answer: ${reason}.`;
  note.textContent = "";
  document.getElementById("seen").hidden = true;
  showBars([]);
}

function show(content) {
  answer.className = content.unsure ? "result unsure" : "result";
  const is_value = content.value !== undefined;
  answer.textContent = content.unsure ? "unsure" : is_value ? String(Number(content.value.toPrecision(6))) : content.label;
  const parts = content.unsure ? [`perhaps ${content.label}: ${content.reason}`] : [];
  if (content.stand_in_for) parts.push(`trained on a stand-in for ${content.stand_in_for}`);
  note.textContent = parts.join("; ");
  const rows = Object.entries(content.probabilities ?? {}).map(([label, probability]) => {
    const row = document.createElement("tr"), head = document.createElement("th");
    const bar = document.createElement("meter"), middle = document.createElement("td"), end = document.createElement("td");
    head.scope = "row";
    head.textContent = head.title = label;
    bar.value = probability;
    bar.setAttribute("aria-label", `probability of ${label}`);
    bar.textContent = end.textContent = `${(100 * probability).toFixed(1)} %`;
    middle.append(bar);
    row.append(head, middle, end);
    if (label === content.label) row.className = "first";
    return row;
  });
  showBars(rows);
  const seen = document.getElementById("seen");
  seen.querySelector("img").src = content.seen;
  seen.hidden = false;
}

async function loadCard() {
  const response = await request("/card");
  if (!response.ok) return refuse(response.status, (await response.json()).error);
  const card = await response.json(), version = card.model_version;
  const name = version === "workspace" ? `${card.name}, from the workspace` : `${card.name} ${version}`;
  document.getElementById("model").textContent = `${name}; ${card.classes.length ? `${card.classes.length} classes` : "answers with a value"}`;
  const training = Object.entries(card.training).map(([key, value]) => [key, typeof value === "object" ? JSON.stringify(value) : value]);
  const facts = [["version", version], ["SHA-256", card.model_sha256], ["commit", card.model_commit ?? "not registered"],
    ["input", card.shape.join(" x ")], ["classes", card.classes.join(", ")], ...training];
  const rows = facts.map(([key, value]) => {
    const row = document.createElement("tr"), head = document.createElement("th"), cell = document.createElement("td");
    head.scope = "row";
    head.textContent = key;
    cell.textContent = value;
    row.append(head, cell);
    return row;
  });
  document.querySelector("#card tbody").replaceChildren(...rows);
}

document.getElementById("clear").addEventListener("click", clear);
document.getElementById("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) { clear(); send(file); }
});
document.getElementById("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", document.getElementById("token").value);
  location.reload();
});
clear();
loadCard();
