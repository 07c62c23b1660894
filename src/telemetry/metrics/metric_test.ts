import assert from "node:assert/strict";
import fc from "fast-check";
import { SECOND } from "../../core/clock.ts";
import { VirtualClock } from "../../core/virtual_clock.ts";
import { Exposition } from "./exposition.ts";
import { counter, gauge, Histogram, histogram, Limited, only, OTHER } from "./metric.ts";
import { networkMetrics } from "./network_metrics.ts";
import { processMetrics } from "./process_metrics.ts";
import { parseExposition, scrape } from "./testing.ts";

Deno.test("a histogram counts each value at the first bound that it does not exceed", () => {
  fc.assert(fc.property(
    fc.uniqueArray(fc.double({ min: -10, max: 10, noNaN: true }), { minLength: 1, maxLength: 20 }),
    fc.array(fc.double({ min: -20, max: 20, noNaN: true })),
    (unordered, values) => {
      const bounds = unordered.sort((a, b) => a - b);
      const histogram = new Histogram(bounds);
      for (const value of [...values, ...bounds]) histogram.observe(value);
      [...bounds, Infinity].forEach((bound, i) => {
        const above = bounds[i - 1] ?? -Infinity;
        const expected = [...values, ...bounds].filter((v) => v > above && v <= bound).length;
        assert.equal(histogram.counts[i], expected);
      });
    },
  ));
});

Deno.test("names beyond the limit share one value, and keep it", () => {
  const limited = new Limited(2, () => ({ count: 0 }));
  for (const name of ["a", "b", "c", "a", "d", OTHER, "b", "c"]) limited.of(name).count++;
  assert.deepEqual(Array.from(limited, ([name, { count }]) => [name, count]), [
    ["a", 2],
    ["b", 2],
    [OTHER, 4],
  ]);
  assert.equal(limited.labelOf("e"), OTHER);
  assert.equal(limited.labelOf("a"), "a");
  // Something of that very name must not make a second series of the same labels.
  const named = new Limited(2, () => ({ count: 0 }));
  for (const name of [OTHER, "a", "b", "c"]) named.of(name).count++;
  assert.deepEqual(Array.from(named, ([name, { count }]) => [name, count]), [
    ["a", 1],
    ["b", 1],
    [OTHER, 2],
  ]);
});

Deno.test("the text has help, types and values, and histograms are cumulative", async () => {
  const latency = new Histogram([0.1, 1]);
  for (const value of [0.05, 0.1, 0.5, 3]) latency.observe(value);
  const text = await new Exposition([
    counter("x_total", "How many", ["a", "b"], () => [[["1", "2"], 3], [["1", ""], 4]]),
    gauge("y", "A value", [], () => only(1.5)),
    histogram("z_seconds", "How long", ["m"], () => [[["q"], latency]]),
  ]).read();
  assert.equal(
    text.replaceAll("\n\n", "\n"),
    `# HELP x_total How many
# TYPE x_total counter
x_total{a="1",b="2"} 3
x_total{a="1",b=""} 4
# HELP y A value
# TYPE y gauge
y 1.5
# HELP z_seconds How long
# TYPE z_seconds histogram
z_seconds_bucket{m="q",le="0.1"} 2
z_seconds_bucket{m="q",le="1"} 3
z_seconds_bucket{m="q",le="+Inf"} 4
z_seconds_sum{m="q"} 3.65
z_seconds_count{m="q"} 4
`,
  );
});

Deno.test("whatever is in a label stays in it", async () => {
  await fc.assert(fc.asyncProperty(fc.string({ unit: "binary" }), async (label) => {
    const metric = gauge("y", "A value", ["a"], () => [[[label], 1]]);
    const families = parseExposition(await new Exposition([metric]).read());
    const [series] = [...families.get("y")!.samples.keys()];
    const told = series!.slice('y{a="'.length, -'"}'.length);
    const read = told.replaceAll(/\\(.)/g, (_, c) => c === "n" ? "\n" : c);
    assert.equal(read, label);
  }));
});

Deno.test("two metrics of one name are refused", () => {
  const metric = () => gauge("y", "A value", [], () => only(1));
  assert.throws(() => new Exposition([metric(), metric()]), /y/);
});

Deno.test("the event loop's delay is how late calls are made", async () => {
  const clock = new VirtualClock();
  /** Makes each call as late as is told. */
  let lateNs = 0;
  const late = {
    now: () => clock.now(),
    at: (ns: number, fn: () => void) => clock.at(ns + lateNs, fn),
  };
  const facts = { residentBytes: 1, heapBytes: 2, cpuSeconds: 3, startSeconds: 4 };
  const metrics = processMetrics(late, "1.2.3", "worker", () => facts, {
    total: { collector: 5, work: 6, machine: 7 },
  });
  clock.advance(1 * SECOND);
  const before = await scrape(metrics);
  assert.equal(before.get("clockwork_event_loop_delay_seconds_count"), 20);
  assert.equal(before.get("clockwork_event_loop_delay_seconds_sum"), 0);
  lateNs = 0.2 * SECOND;
  clock.advance(1 * SECOND);
  const after = await scrape(metrics);
  const late50 = after.get('clockwork_event_loop_delay_seconds_bucket{le="0.05"}')!;
  assert.ok(after.get("clockwork_event_loop_delay_seconds_count")! - late50 >= 3);
  assert.equal(after.get('clockwork_info{version="1.2.3",role="worker"}'), 1);
  assert.equal(after.get('clockwork_event_loop_pauses_total{cause="machine"}'), 7);
  assert.equal(after.get("process_resident_memory_bytes"), 1);
  assert.equal(after.get("clockwork_heap_bytes"), 2);
  assert.equal(after.get("process_cpu_seconds_total"), 3);
  assert.equal(after.get("process_start_time_seconds"), 4);
});

Deno.test("connections and traffic are told for each kind of peer", async () => {
  const traffic = { sentBytes: 10, sentMessages: 2, receivedBytes: 30, receivedMessages: 4 };
  const found = await scrape(
    networkMetrics(() => [{ role: "client", connections: 5, ...traffic }], () => 6),
  );
  assert.deepEqual(Object.fromEntries(found), {
    'clockwork_connections{peer="client"}': 5,
    'clockwork_network_bytes_total{peer="client",direction="sent"}': 10,
    'clockwork_network_bytes_total{peer="client",direction="received"}': 30,
    'clockwork_network_messages_total{peer="client",direction="sent"}': 2,
    'clockwork_network_messages_total{peer="client",direction="received"}': 4,
    "clockwork_refused_peers_total": 6,
  });
});
