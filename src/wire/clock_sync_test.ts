import assert from "node:assert/strict";
import fc from "fast-check";
import { MS, SECOND } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { ClockSync, WINDOW, WINDOW_NS } from "./clock_sync.ts";

Deno.test("the smallest delta is that of a sliding window over messages and time", () => {
  const step = fc.record({
    gapNs: fc.oneof(fc.nat(1000), fc.nat(WINDOW_NS / 20), fc.constant(WINDOW_NS + 1)),
    delta: fc.integer({ min: -50, max: 50 }),
    repeat: fc.oneof({ weight: 9, arbitrary: fc.constant(1) }, fc.nat(WINDOW)),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const sync = new ClockSync();
      assert.ok(Number.isNaN(sync.deltaNs));
      const seen: { delta: number; receivedNs: number }[] = [];
      let nowNs = 0;
      for (const { gapNs, delta, repeat } of steps) {
        nowNs += gapNs;
        for (let i = 0; i < repeat; i++) {
          // Descending and then constant values make the window's inner queue long and short.
          const value = delta + (i % 7);
          nowNs++;
          sync.observe(nowNs - value, nowNs, NaN);
          seen.push({ delta: value, receivedNs: nowNs });
        }
        const window = seen.slice(-WINDOW).filter(({ receivedNs }) =>
          receivedNs >= nowNs - WINDOW_NS
        );
        if (window.length > 0) {
          assert.equal(sync.deltaNs, Math.min(...window.map(({ delta }) => delta)));
        }
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("a delta counts for exactly as many messages as the window holds", () => {
  const sync = new ClockSync();
  sync.observe(0, 5, NaN);
  for (let i = 1; i < WINDOW; i++) {
    sync.observe(i, i + 100 + i, NaN);
    assert.equal(sync.deltaNs, 5);
  }
  sync.observe(WINDOW, WINDOW + 5000, NaN);
  assert.equal(sync.deltaNs, 101);
});

/** Two sides that send to each other over delays, whose clocks differ by `offsetNs`. */
function exchange(
  offsetNs: number,
  messages: number,
  delayThere: () => number,
  delayBack: () => number,
): [ClockSync, ClockSync] {
  const a = new ClockSync(), b = new ClockSync();
  // b's clock shows a's time plus the offset.
  for (let i = 0, nowNs = 0; i < messages; i++, nowNs += MS) {
    const there = nowNs + delayThere();
    b.observe(nowNs, there + offsetNs, a.deltaNs);
    const back = there + delayBack();
    a.observe(there + offsetNs, back, b.deltaNs);
  }
  return [a, b];
}

Deno.test("offset and round trip are exact when the fastest messages take equally long", () => {
  fc.assert(fc.property(
    fc.integer({ min: -1e15, max: 1e15 }),
    fc.integer({ min: 0, max: 10 * MS }),
    fc.integer(),
    (offsetNs, latencyNs, seed) => {
      const random = new Random(seed);
      let turn = 0;
      // Every seventh message, so some of each way, is not delayed further.
      const delay = () => latencyNs + (turn++ % 7 === 0 ? 0 : random.below(5 * MS));
      const [a, b] = exchange(offsetNs, 60, delay, delay);
      assert.ok(a.known && b.known);
      assert.equal(b.offsetNs, offsetNs);
      assert.equal(a.offsetNs, 0 - offsetNs);
      assert.equal(a.rttNs, 2 * latencyNs);
      assert.equal(b.rttNs, 2 * latencyNs);
      assert.equal(b.toLocal(123), 123 + offsetNs);
      assert.equal(a.toLocal(123 + offsetNs), 123);
    },
  ));
});

Deno.test("unequal ways shift the offset by half their difference, and no more", () => {
  const [a, b] = exchange(1000, 20, () => 300, () => 100);
  assert.equal(b.offsetNs, 1000 + 100);
  assert.equal(a.offsetNs, -1000 - 100);
  assert.equal(a.rttNs, 400);
});

Deno.test("until both directions are known, times are taken as they are", () => {
  const sync = new ClockSync();
  assert.ok(!sync.known);
  assert.equal(sync.toLocal(5), 5);
  sync.observe(0, 100, NaN);
  assert.ok(!sync.known);
  assert.equal(sync.deltaNs, 100);
  assert.equal(sync.rttNs, 0);
  sync.observe(1000, 1100, -80);
  assert.ok(sync.known);
  assert.equal(sync.offsetNs, 90);
  assert.equal(sync.rttNs, 20);
  // A message from before the peer knew its own delta changes nothing of that.
  sync.observe(2000, 2100, NaN);
  assert.equal(sync.offsetNs, 90);
});

Deno.test("clocks that drift apart stay within half a millisecond on an idle link", () => {
  // 50 ppm, a ping each way every 250 ms: what crystals without NTP do.
  const a = new ClockSync(), b = new ClockSync();
  const atB = (ns: number) => ns * 1.00005;
  let nowNs = 0;
  for (; nowNs < 600 * SECOND; nowNs += 250 * MS) {
    b.observe(nowNs, atB(nowNs + 50_000), a.deltaNs);
    a.observe(atB(nowNs), nowNs + 50_000, b.deltaNs);
  }
  const trueOffsetNs = atB(nowNs) - nowNs;
  assert.ok(trueOffsetNs > 29 * MS);
  assert.ok(Math.abs(b.offsetNs - trueOffsetNs) < 0.5 * MS);
  assert.ok(Math.abs(a.offsetNs + trueOffsetNs) < 0.5 * MS);
});
