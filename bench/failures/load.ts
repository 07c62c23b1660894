/**
 * A client of `deno task bench:failures` and `bench:network`, as a process of its own: sends inferences at
 * a fixed rate, whatever becomes of them, and keeps its own books on every single one. Prints a line of
 * JSON for each tenth of a second, by when requests were due, once all of them have settled. On SIGTERM it
 * prints the rest, with what has not settled, and ends.
 *
 *     deno run … load.ts ADDRESS COPIES REQUESTS_PER_SECOND DEADLINE_MS
 */
import { every, MS, SECOND } from "../../src/core/clock.ts";
import { connectClient } from "../../src/client/connect.ts";
import { UNDECIDED } from "../../src/client/result.ts";
import { NO_INPUT } from "../../src/client/model.ts";
import { SystemClock } from "../../src/core/system_clock.ts";
import { parseAddress } from "../../src/wire/tcp.ts";
import { type Bucket, BUCKET_MS, newBucket } from "./timeline.ts";

const [address = "", copies = "", rate = "", deadline = ""] = Deno.args;
const deadlineNs = Number(deadline) * MS;
const token = Deno.env.get("CLOCKWORK_TOKEN");
const clock = new SystemClock();
const clockwork = await connectClient(parseAddress(address, 12346), clock, {
  ...(token ? { token } : {}),
  reconnectNs: Infinity,
  onReconnecting: (reason) => console.error(`connection lost: ${reason}`),
  onReconnected: (ns) => console.error(`connected again after ${(ns / SECOND).toFixed(2)} s`),
});
const models = await clockwork.loadModel("resnet50_v2", Number(copies));
await clockwork.ready();

const startNs = clock.now();
const startMs = Date.now();
const gapNs = SECOND / Number(rate);
/** Tenths of a second that have requests which have not settled, or may yet get some. */
const open = new Map<number, Bucket>();
/** How often each request has settled. */
const settled: number[] = [];
let sent = 0;
let stopping = false;

function send(): void {
  const dueNs = startNs + sent * gapNs;
  const index = Math.floor((dueNs - startNs) / MS / BUCKET_MS);
  const bucket = open.get(index) ?? newBucket(startMs + index * BUCKET_MS);
  open.set(index, bucket);
  const request = sent++;
  settled.push(0);
  bucket.sent++;
  const model = models[request % models.length]!;
  clockwork.callbacks.infer(model, NO_INPUT, { deadlineNs }, (result) => {
    if (++settled[request]! > 1) return void bucket.twice++;
    bucket.waiting--;
    if (result.ok) {
      bucket[result.latencyNs <= deadlineNs ? "good" : "late"]++;
      bucket.latenciesMs.push(Math.round(result.latencyNs / MS * 10) / 10);
    } else if (result.from === "controller") bucket.refused++;
    else bucket[result.status === UNDECIDED ? "undecided" : "unsent"]++;
  });
  bucket.waiting++;
}

function pump(): void {
  const dueNow = Math.floor((clock.now() - startNs) / gapNs);
  while (!stopping && sent <= dueNow) send();
  if (!stopping) clock.at(startNs + sent * gapNs, pump);
}

/** Prints what is complete; at the end, everything. */
function print(all: boolean): void {
  const present = Math.floor((sent * gapNs) / MS / BUCKET_MS);
  for (const [index, bucket] of open) {
    if (!all && (index >= present || bucket.waiting > 0)) continue;
    open.delete(index);
    const { strayAnswers, reconnects } = clockwork.callbacks;
    console.log(JSON.stringify({ ...bucket, strayAnswers, reconnects }));
  }
}

pump();
every(clock, BUCKET_MS * MS, () => print(false));
const stopped = Promise.withResolvers<void>();
Deno.addSignalListener("SIGTERM", () => stopped.resolve());
await stopped.promise;
stopping = true;
// The controller answers at the deadline at the latest.
await new Promise<void>((resolve) => clock.at(clock.now() + 2 * deadlineNs, resolve));
print(true);
await clockwork.close();
clock.close();
Deno.exit(0);
