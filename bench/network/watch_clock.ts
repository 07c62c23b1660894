/**
 * Prints what a controller on this host believes of its worker's clock, four times a second, from its
 * metrics: a line of JSON with the time, the offset of the clocks and the round-trip time.
 *
 *     deno run --allow-net watch_clock.ts METRICS_PORT
 */
const url = `http://127.0.0.1:${Deno.args[0]}/metrics`;

/** The last worker's: one that comes back has a new number. */
function gauge(text: string, name: string): number | null {
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`));
  return lines.length === 0 ? null : Number(lines.at(-1)!.split(" ").at(-1));
}

setInterval(async () => {
  const atMs = Date.now();
  const response = await fetch(url).catch(() => null);
  if (response === null) return;
  const text = await response.text();
  const offsetS = gauge(text, "clockwork_worker_clock_offset_seconds");
  const roundTripS = gauge(text, "clockwork_worker_round_trip_seconds");
  if (offsetS === null || roundTripS === null) return;
  console.log(JSON.stringify({ atMs, offsetMs: 1000 * offsetS, roundTripMs: 1000 * roundTripS }));
}, 250);
