/** What each GPU did in the last seconds, drawn anew with each frame while it is in view. */
import { endOf } from "./state.js";

const ROW_PX = 34;
const AXIS_PX = 22;
const LABEL_PX = 74;
/** More could not be told apart, and are not drawn. */
const MAX_ROWS = 32;
/** What is drawn is so old: by then it is known how most of it ended. */
const DELAY_NS = 1.2e9;
const INFER = 2;
const LOAD = 1;
const names = { 1: "LoadWeights", 2: "Infer", 3: "EvictWeights" };

export function makeTimeline(state) {
  const canvas = document.getElementById("timeline");
  const told = document.getElementById("timeline-told");
  const note = document.getElementById("timeline-note");
  const span = document.getElementById("timeline-span");
  const pause = document.getElementById("timeline-pause");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  /** The right end of what is drawn, by the controller's clock, while it is paused; else null. */
  let pausedAtNs = null;
  let visible = true;
  let drawnNs = 0;
  let pointer = null;
  new IntersectionObserver(([entry]) => visible = entry.isIntersecting).observe(canvas);

  const gpuKey = ({ worker_id, gpu_id }) => `${worker_id}/${gpu_id}`;
  const gpus = () => (state.latest?.gpus ?? []).slice(0, MAX_ROWS);

  function endNs() {
    if (pausedAtNs !== null) return pausedAtNs;
    const sinceMs = still.matches ? 0 : performance.now() - state.receivedMs;
    return state.nowNs + sinceMs * 1e6 - DELAY_NS;
  }

  pause.addEventListener("click", () => {
    pausedAtNs = pausedAtNs === null ? endNs() : null;
    pause.setAttribute("aria-pressed", String(pausedAtNs !== null));
    pause.textContent = pausedAtNs === null ? "pause" : "go on";
  });
  canvas.addEventListener("pointermove", (event) => {
    pointer = { x: event.offsetX, y: event.offsetY };
    tell();
  });
  canvas.addEventListener("pointerleave", () => pointer = null);

  /** Where actions are drawn, by the present size of the canvas. */
  function place() {
    const spanNs = Number(span.value) * 1e9;
    const toNs = endNs();
    const fromNs = toNs - spanNs;
    const width = canvas.clientWidth - LABEL_PX;
    const rowOf = new Map(gpus().map((gpu, i) => [gpuKey(gpu), i]));
    return {
      fromNs,
      toNs,
      spanNs,
      width,
      rowOf,
      x: (ns) => LABEL_PX + (ns - fromNs) / spanNs * width,
      lane: (row, type) =>
        type === INFER
          ? [row * ROW_PX + 3, ROW_PX * 0.56]
          : [row * ROW_PX + ROW_PX * 0.68, ROW_PX * 0.22],
    };
  }

  function* shown({ fromNs, toNs, rowOf }) {
    for (const actions of [state.ended.values(), state.planned.values()]) {
      for (const action of actions) {
        const row = rowOf.get(gpuKey(action));
        if (row === undefined) continue;
        const from = Math.min(action.planned_begin_ns, action.begin_ns || Infinity);
        const to = Math.max(action.planned_end_ns, endOf(action));
        if (to >= fromNs && from <= toNs) yield { action, row };
      }
    }
  }

  function draw() {
    const rows = gpus();
    const height = Math.max(1, rows.length) * ROW_PX + AXIS_PX;
    const ratio = devicePixelRatio;
    const [w, h] = [Math.round(canvas.clientWidth * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) {
      canvas.style.height = `${height}px`;
      [canvas.width, canvas.height] = [w, h];
    }
    const ctx = canvas.getContext("2d");
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, canvas.clientWidth, height);
    const at = place();
    const colours = Object.fromEntries(
      ["--ink", "--faint", "--grid", "--bad", "--load"].map((name) => [name, colour(name)]),
    );
    grid(ctx, at, rows, height, colours);
    ctx.save();
    ctx.beginPath();
    ctx.rect(LABEL_PX, 0, at.width, height);
    ctx.clip();
    for (const { action, row } of shown(at)) drawAction(ctx, action, at, row, colours);
    ctx.restore();
    drawnNs = state.nowNs;
  }

  function grid(ctx, at, rows, height, colours) {
    ctx.font = "12px system-ui, sans-serif";
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    rows.forEach((gpu, i) => {
      ctx.fillStyle = colours["--grid"];
      ctx.fillRect(0, (i + 1) * ROW_PX - 1, LABEL_PX + at.width, 1);
      ctx.fillStyle = colours["--faint"];
      ctx.fillText(`W${gpu.worker_id}-GPU${gpu.gpu_id}`, 0, (i + 0.5) * ROW_PX);
    });
    const steps = at.width > 400 ? 4 : 2;
    for (let i = 0; i <= steps; i++) {
      const x = LABEL_PX + at.width * i / steps;
      ctx.fillStyle = colours["--grid"];
      ctx.fillRect(Math.min(x, LABEL_PX + at.width - 1), 0, 1, height - AXIS_PX);
      ctx.fillStyle = colours["--faint"];
      ctx.textAlign = i === 0 ? "left" : i === steps ? "right" : "center";
      const ago = at.spanNs / 1e9 * (1 - i / steps) + DELAY_NS / 1e9;
      ctx.fillText(`−${+ago.toFixed(2)} s`, x, height - AXIS_PX / 2);
    }
  }

  function drawAction(ctx, action, at, row, colours) {
    const [y, h] = at.lane(row, action.action_type);
    const failed = action.status !== 0;
    const fillWith = failed
      ? colours["--bad"]
      : action.action_type === INFER
      ? `hsl(${90 + action.model_id * 137.508 % 240} 60% 44%)`
      : action.action_type === LOAD
      ? colours["--load"]
      : colours["--faint"];
    const px = at.x(action.planned_begin_ns);
    const pw = Math.max(1, at.x(action.planned_end_ns) - px);
    if (action.end_ns > 0) {
      const x = at.x(action.begin_ns);
      const w = Math.max(1, at.x(action.end_ns) - x - 0.5);
      ctx.fillStyle = fillWith;
      ctx.fillRect(x, y, w, h);
      if (action.action_type === INFER && w > 24) {
        ctx.fillStyle = "#fff";
        ctx.font = "11px system-ui, sans-serif";
        ctx.textAlign = "left";
        ctx.fillText(`×${action.batch_size}`, x + 4, y + h / 2 + 0.5);
      }
    } else if (failed) {
      ctx.fillStyle = fillWith;
      ctx.fillRect(px, y, Math.max(2, Math.min(pw, 3)), h);
    }
    // Thin plans would hide what they are plans of.
    if (pw < 4 && action.end_ns > 0) return;
    ctx.strokeStyle = failed ? colours["--bad"] : colours["--ink"];
    ctx.globalAlpha = action.end_ns > 0 ? 0.45 : 0.8;
    ctx.lineWidth = 1;
    ctx.strokeRect(px + 0.5, y - 1.5, Math.max(1, pw - 1), h + 3);
    ctx.globalAlpha = 1;
  }

  /** Says which action the pointer is at. */
  function tell() {
    if (pointer === null) return;
    const at = place();
    const row = Math.floor(pointer.y / ROW_PX);
    const upper = pointer.y - row * ROW_PX < ROW_PX * 0.64;
    let found = null;
    for (const { action, row: of } of shown(at)) {
      if (of !== row || (action.action_type === INFER) !== upper) continue;
      const begin = action.begin_ns > 0 ? action.begin_ns : action.planned_begin_ns;
      if (pointer.x >= at.x(begin) - 3 && pointer.x <= at.x(endOf(action)) + 3) found = action;
    }
    told.textContent = found === null ? "" : describe(found);
  }

  function describe(action) {
    const ms = (ns) => `${(ns / 1e6).toFixed(2)} ms`;
    const name = state.names.get(action.model_id);
    const model = `model ${action.model_id}${name ? ` (${name})` : ""}`;
    const batch = action.action_type === INFER ? `, batch ${action.batch_size}` : "";
    const planned = ms(action.planned_end_ns - action.planned_begin_ns);
    const what = `${names[action.action_type]} A${action.action_id} of ${model}${batch}`;
    if (action.end_ns > 0) {
      const off = action.end_ns - action.planned_end_ns;
      const end = `ended ${ms(Math.abs(off))} ${off >= 0 ? "later" : "earlier"} than planned`;
      return `${what}: took ${ms(action.end_ns - action.begin_ns)}, planned ${planned}; ${end}`;
    }
    if (action.status !== 0) return `${what}: failed with status ${action.status}`;
    return `${what}: under way, planned ${planned}`;
  }

  (function frame() {
    requestAnimationFrame(frame);
    if (!visible || state.latest === null) return;
    if ((still.matches || pausedAtNs !== null) && drawnNs === state.nowNs) return;
    draw();
  })();
  return () => {
    // So that its place is there before it comes into view.
    draw();
    const hidden = (state.latest?.no_of_gpus ?? 0) - gpus().length;
    note.textContent = hidden > 0 ? `${hidden} more GPUs are not drawn.` : "";
  };
}
