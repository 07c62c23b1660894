/** Figures, tables and events. All text that comes from outside is set as text, never as HTML. */

const GPU_COLUMNS = ["GPU", "inferences", "loads", "in flight", "models", "pages", "name"];
const MODEL_COLUMNS = [
  "model",
  "requests",
  "in time",
  "median",
  "p99",
  "cold starts",
  "copies",
  "",
];

const ms = (ns) => ns > 0 ? `${number(ns / 1e6)} ms` : "–";
const percent = (part) => part === null ? "–" : `${(100 * part).toFixed(0)} %`;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className !== undefined) made.className = className;
  return made;
}

function headRow(id, columns) {
  const row = element("tr");
  row.append(...columns.map((text) => element("th", text)));
  document.getElementById(id).replaceChildren(row);
}

/** Makes the tables' heads; returns what shows a state. `onUnload` is given the name of a model. */
export function makeTables(onUnload) {
  headRow("gpus-head", GPU_COLUMNS);
  headRow("models-head", MODEL_COLUMNS);
  const filter = document.getElementById("models-filter");
  let last = null;
  filter.addEventListener("input", () => last !== null && models(last, filter.value, onUnload));
  return (state) => {
    last = state;
    figures(state);
    gpus(state);
    models(state, filter.value, onUnload);
    events(state);
  };
}

function figures(state) {
  const { latest } = state;
  const seconds = 5;
  const sum = state.sum(seconds);
  const missed = sum.late + sum.refused;
  const answered = sum.in_time + missed;
  const minute = state.sum(60);
  const shown = [
    ["goodput", `${number(sum.in_time / seconds)} r/s`],
    ["in time", answered === 0 ? "–" : `${number(100 * sum.in_time / answered, 4)} %`],
    ["median", ms(sum.p50_ns)],
    ["p99", ms(sum.p99_ns)],
    ["missed", `${number(missed / seconds)} r/s`],
    ["cold starts", `${minute.cold_starts} / min`],
    ["waiting", `${latest.unanswered}`],
    ["models", `${latest.no_of_models}`],
  ];
  const list = document.getElementById("figures");
  list.replaceChildren(...shown.map(([label, value]) => {
    const pair = element("div");
    pair.append(element("dt", label), element("dd", value));
    return pair;
  }));
  document.getElementById("cluster").textContent = `${latest.no_of_gpus} GPU${
    latest.no_of_gpus === 1 ? "" : "s"
  } on ${latest.no_of_workers} worker${latest.no_of_workers === 1 ? "" : "s"}`;
}

function gpus(state) {
  const { gpus, no_of_gpus } = state.latest;
  const shown = gpus.slice(0, 100);
  document.getElementById("gpus").replaceChildren(...shown.map((gpu) => {
    const use = state.utilization(gpu);
    const meter = element("meter");
    [meter.min, meter.max, meter.value] = [0, Math.max(1, gpu.pages), gpu.used_pages];
    const pages = element("td");
    pages.append(meter, ` ${gpu.used_pages} / ${gpu.pages}`);
    const row = element("tr");
    row.append(
      element("td", `W${gpu.worker_id}-GPU${gpu.gpu_id}`),
      element("td", percent(use && use.infer)),
      element("td", percent(use && use.load)),
      element("td", `${gpu.in_flight}`),
      element("td", `${gpu.loaded_models}`),
      pages,
      element("td", gpu.name, "name"),
    );
    return row;
  }));
  document.getElementById("gpus-note").textContent = no_of_gpus > shown.length
    ? `${no_of_gpus - shown.length} more GPUs are not listed.`
    : "";
}

function models(state, filter, onUnload) {
  const { model_figures, no_of_models } = state.latest;
  const body = document.getElementById("models");
  // A button that is about to be pressed must not go.
  if (body.querySelector("button:active") !== null) return;
  const focused = document.activeElement?.dataset?.path;
  const wanted = filter.toLowerCase();
  const shown = model_figures.filter(({ model_path }) => model_path.toLowerCase().includes(wanted));
  body.replaceChildren(...shown.map((model) => {
    const missed = model.answered - model.in_time;
    const share = model.answered === 0
      ? "–"
      : `${number(100 * model.in_time / model.answered, 4)} %`;
    const unload = element("button", "unload");
    unload.dataset.path = model.model_path;
    unload.addEventListener("click", () => onUnload(model.name));
    const action = element("td");
    if (model.name !== null && model.no_of_copies > 0) action.append(unload);
    const name = element("td", model.name ?? model.model_path, "name");
    name.title = model.model_path;
    const row = element("tr");
    row.append(
      name,
      element("td", `${model.answered}`),
      element("td", share, missed > 0 ? "bad" : ""),
      element("td", ms(model.p50_ns)),
      element("td", ms(model.p99_ns)),
      element("td", `${model.cold_starts}`),
      element("td", `${model.no_of_copies}`),
      action,
    );
    return row;
  }));
  if (focused !== undefined) {
    [...body.querySelectorAll("button")].find(({ dataset }) => dataset.path === focused)?.focus();
  }
  const listed = model_figures.reduce((sum, { no_of_copies }) => sum + no_of_copies, 0);
  document.getElementById("models-note").textContent = no_of_models > listed
    ? `${no_of_models - listed} more models are not listed.`
    : "";
}

function events(state) {
  const list = document.getElementById("events");
  list.replaceChildren(...state.events.map((event) => {
    const item = element("li");
    const ago = Math.max(0, Math.round((state.nowNs - event.at_ns) / 1e9));
    const times = event.count > 1 ? ` ×${event.count}` : "";
    item.append(element("time", `${ago} s ago${times}`), ` ${event.message}`);
    return item;
  }));
  if (state.events.length === 0) list.append(element("li", "none"));
}
