/**
 * For gateway_bench.ts: loaded into a controller's process before it starts (`deno run --preload`), prints
 * every second how late the event loop was: calls due every 5 ms, all of them, in milliseconds.
 */
const PERIOD_MS = 5;

let late: number[] = [];
let dueMs = performance.now() + PERIOD_MS;

function probe(): void {
  const nowMs = performance.now();
  late.push(nowMs - dueMs);
  dueMs = Math.max(dueMs + PERIOD_MS, nowMs);
  Deno.unrefTimer(setTimeout(probe, dueMs - nowMs));
}

Deno.unrefTimer(setTimeout(probe, PERIOD_MS));
Deno.unrefTimer(setInterval(() => {
  console.log(`loop-probe ${JSON.stringify(late.map((ms) => Math.round(1000 * ms) / 1000))}`);
  late = [];
}, 1000));
