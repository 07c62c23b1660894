/** Puts the page together: what comes goes into the state, and the state on the page. */
import { makePlots } from "./rates.js";
import { State } from "./state.js";
import { openStream } from "./stream.js";
import { makeTables } from "./tables.js";
import { makeTimeline } from "./timeline.js";

const TOKEN = "clockwork-token";
const token = () => sessionStorage.getItem(TOKEN);
const badge = document.getElementById("state");
const told = document.getElementById("action-told");

const state = new State();
const showPlots = makePlots();
const showTimeline = makeTimeline(state);
const showTables = makeTables((name) => {
  if (confirm(`Unload all copies of ${name}?`)) act("unload", name, {});
});

function show() {
  showPlots(state);
  showTables(state);
  showTimeline();
}

function away(reason) {
  badge.className = "badge away";
  badge.textContent = reason;
  document.body.classList.add("away");
}

const stream = openStream("dashboard/events", token, {
  onEvent(name, data) {
    if (name === "away") return away(data.reason);
    if (name !== "state") return;
    document.getElementById("token-section").hidden = true;
    document.body.classList.remove("away");
    badge.className = `badge ${data.state}`;
    badge.textContent = data.state;
    state.take(data);
    // What nobody sees need not be drawn.
    if (!document.hidden) show();
  },
  onAway: away,
  onToken() {
    away("a token is asked for");
    askForToken(token() === null ? null : "The token is not the right one.");
  },
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && state.latest !== null) show();
});

function askForToken(problem) {
  document.getElementById("token-section").hidden = false;
  if (problem !== null) document.getElementById("token-told").textContent = problem;
}

document.getElementById("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("token");
  sessionStorage.setItem(TOKEN, field.value.trim());
  field.value = "";
  stream.changed();
});

document.getElementById("load-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = document.getElementById("load-name").value.trim();
  const copies = Number(document.getElementById("load-copies").value);
  act("load", name, { parameters: { copies } });
});

/** Asks the gateway to load or unload a model, and says what came of it. */
async function act(what, name, body) {
  told.textContent = `${what}ing ${name} …`;
  const said = token();
  const headers = { "content-type": "application/json" };
  if (said !== null) headers.authorization = `Bearer ${said}`;
  try {
    const path = `v2/repository/models/${encodeURIComponent(name)}/${what}`;
    const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    const { error, copies } = await response.json();
    told.textContent = error ?? `${name} has ${copies} ${copies === 1 ? "copy" : "copies"} now.`;
    if (response.status === 401) askForToken(error);
  } catch (error) {
    told.textContent = `${what}ing ${name} failed: ${error.message}`;
  }
}
