/** What the page knows of the cluster, put together from what comes. Telling it something twice does nothing. */

/** Actions are kept for so long after they have ended, and drawn no longer. */
const KEEP_NS = 12e9;
const KEEP_SECONDS = 300;
const KEEP_EVENTS = 100;
/** A GPU's utilization is that of so long a time. */
const UTILIZATION_NS = 3e9;

export class State {
  /** The last answer's, by the controller's clock, and when it came by ours. */
  nowNs = 0;
  receivedMs = 0;
  latest = null;
  /** By second of the controller's clock. */
  seconds = new Map();
  /** By id: those that have ended, and those that are under way. */
  ended = new Map();
  planned = new Map();
  events = [];
  /** Names of models by id. */
  names = new Map();
  #times = new Map();

  /** `update.fresh`: what was before is of another controller, or told again with this. */
  take(update) {
    if (update.fresh) {
      this.seconds.clear();
      this.ended.clear();
      this.names.clear();
      this.#times.clear();
      this.events = [];
    }
    this.latest = update;
    this.nowNs = update.now_ns;
    this.receivedMs = performance.now();
    for (const [id, name] of update.names) this.names.set(id, name);
    for (const second of update.seconds) this.seconds.set(second.second, second);
    for (const action of rows(update.actions)) this.ended.set(action.action_id, action);
    this.planned = new Map(
      rows(update.planned_actions).map((action) => [action.action_id, action]),
    );
    for (const event of update.events) {
      const known = this.events.findIndex((other) =>
        other.at_ns === event.at_ns && other.message === event.message
      );
      if (known >= 0) this.events.splice(known, 1);
      this.events.unshift(event);
    }
    this.events.sort((a, b) => b.at_ns - a.at_ns);
    this.events.length = Math.min(this.events.length, KEEP_EVENTS);
    this.#forget();
    for (const gpu of update.gpus) this.#note(gpu);
  }

  #forget() {
    const oldest = Math.floor(this.nowNs / 1e9) - KEEP_SECONDS;
    for (const second of this.seconds.keys()) if (second < oldest) this.seconds.delete(second);
    for (const [id, action] of this.ended) {
      if (endOf(action) < this.nowNs - KEEP_NS) this.ended.delete(id);
    }
  }

  #note({ worker_id, gpu_id, infer_ns, load_ns }) {
    const key = `${worker_id}/${gpu_id}`;
    const times = this.#times.get(key) ?? [];
    // It counts from when somebody began to watch: anew after a pause.
    if (times.length > 0 && infer_ns < times.at(-1).infer_ns) times.length = 0;
    times.push({ nowNs: this.nowNs, infer_ns, load_ns });
    while (times.length > 2 && times[1].nowNs <= this.nowNs - UTILIZATION_NS) times.shift();
    this.#times.set(key, times);
  }

  /** The parts of the last seconds that a GPU spent on inferences and on loads; null at first. */
  utilization({ worker_id, gpu_id }) {
    const times = this.#times.get(`${worker_id}/${gpu_id}`);
    if (times === undefined || times.length < 2) return null;
    const [first, last] = [times[0], times.at(-1)];
    const ns = Math.max(1, last.nowNs - first.nowNs);
    return {
      infer: Math.min(1, (last.infer_ns - first.infer_ns) / ns),
      load: Math.min(1, (last.load_ns - first.load_ns) / ns),
    };
  }

  /** What the seconds before the present one add up to, and their number. */
  sum(count) {
    const end = Math.floor(this.nowNs / 1e9);
    const sum = { in_time: 0, late: 0, refused: 0, cold_starts: 0, p50: [], p99_ns: 0 };
    for (let second = end - count; second < end; second++) {
      const row = this.seconds.get(second);
      if (row === undefined) continue;
      for (const key of ["in_time", "late", "refused", "cold_starts"]) sum[key] += row[key];
      if (row.p50_ns > 0) sum.p50.push(row.p50_ns);
      sum.p99_ns = Math.max(sum.p99_ns, row.p99_ns);
    }
    sum.p50.sort((a, b) => a - b);
    return { ...sum, p50_ns: sum.p50[sum.p50.length >> 1] ?? 0 };
  }
}

/** When an action ended, or should have. */
export function endOf(action) {
  return action.end_ns > 0 ? action.end_ns : action.planned_end_ns;
}

/** Rows of a table that came column by column. */
function rows(columns) {
  const names = Object.keys(columns);
  return columns.action_id.map((_, i) =>
    Object.fromEntries(names.map((name) => [name, columns[name][i]]))
  );
}
