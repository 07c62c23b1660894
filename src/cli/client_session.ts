/** One run of `clockwork client`: connects, carries out the plan, prints, and returns how it ended. */
import { type Clock, every, SECOND } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { Random } from "../core/random.ts";
import { type Address, formatAddress } from "../wire/tcp.ts";
import { connectClient } from "../client/connect.ts";
import { noInputs, seededInputs } from "../client/inputs.ts";
import type { ClockworkClient } from "../client/promises.ts";
import type { ModelDir } from "../client/model_dir.ts";
import { WorkloadRun } from "../client/workload_run.ts";
import type { Plan } from "../client/workloads/workload.ts";
import { intervalJson, intervalLine, summaryJson, summaryLines } from "./client_output.ts";
import { asPeer, type Credentials } from "./options/access.ts";
import { CliError } from "./exit.ts";
import type { StopSignals } from "./stop_signals.ts";

export interface SessionOptions {
  readonly address: Address;
  /** What the controller may ask for. */
  readonly credentials: Credentials;
  readonly plan: Plan;
  readonly modelDir: ModelDir;
  /** From the first request on; Infinity: until a signal. */
  readonly durationNs: number;
  readonly intervalNs: number;
  /** How long to try to connect. */
  readonly waitNs: number;
  /** How long to try to connect again when the connection is lost; 0: not at all. */
  readonly reconnectNs: number;
  readonly seed: number;
  /** Whose requests these are, for the controller's limits and logs. */
  readonly userId: number;
  /** Requests that may wait for answers at a time. */
  readonly maxOutstanding: number;
  /** Time allowed for requests whose workload says nothing of it; undefined: the controller decides. */
  readonly sloNs: number | undefined;
  readonly sendInputs: boolean;
  readonly json: boolean;
  /** Gets measurements. */
  readonly print: Log;
  /** Gets everything else. */
  readonly say: Log;
}

const RECONNECT_NS = SECOND / 4;
const MIN_ANSWER_NS = 5 * SECOND;

/**
 * Connects, and runs the plan until its end, the duration or a signal.
 *
 * @throws {CliError} when it could not be run, the connection was lost, or no request succeeded.
 */
export async function runSession(
  options: SessionOptions,
  clock: Clock,
  stop: StopSignals,
): Promise<void> {
  const { modelDir, say } = options;
  for (const note of options.plan.notes ?? []) say(note);
  say(`Connecting to clockwork @ ${formatAddress(options.address)}`);
  let lostBecause: string | null = null;
  let run: WorkloadRun | null = null;
  const clockwork = await open(options, clock, stop, (reason) => {
    lostBecause = reason;
    run?.stop();
  });
  if (clockwork === null) return;
  say("Connection established");
  say(`Found ${modelDir.names.length} models in ${modelDir.path}`);

  const random = new Random(options.seed);
  const inputs = options.sendInputs ? seededInputs(random.fork()) : noInputs;
  const ended = Promise.withResolvers<string | null>();
  run = new WorkloadRun(
    {
      client: clockwork.callbacks,
      clock,
      inputs,
      random: random.fork(),
      pathOf: (model) => modelDir.pathOf(model),
      ...(options.sloNs === undefined ? {} : { sloNs: options.sloNs }),
    },
    options.plan,
    { onStart: () => onStart(), onEnd: (error) => ended.resolve(error) },
  );
  const printInterval = () => {
    const interval = run.statistics.takeInterval(clock.now());
    options.print(options.json ? intervalJson(interval) : intervalLine(interval));
    return interval;
  };
  let started = false;
  const onStart = () => {
    started = true;
    every(clock, options.intervalNs, printInterval);
    const endNs = clock.now() + options.durationNs;
    if (endNs < Infinity) clock.at(endNs, () => run.stop());
  };
  stop.stopped.then(() => run.stop());
  run.start();
  const error = await ended.promise;
  const summary = run.statistics.summary(clock.now());
  if (started) {
    // Only what the last line did not have: none is due right at the end of an interval.
    const rest = run.statistics.takeInterval(clock.now());
    if (
      rest.succeeded + rest.failed + rest.dropped > 0 && rest.durationNs >= options.intervalNs / 100
    ) {
      options.print(options.json ? intervalJson(rest) : intervalLine(rest));
    }
    if (options.json) options.print(summaryJson(summary, clockwork.callbacks));
    else for (const line of summaryLines(summary)) options.print(line);
  }
  await clockwork.close();
  if (lostBecause !== null) throw new CliError(`the controller is gone: ${lostBecause}`);
  if (error !== null) throw new CliError(error);
  if (summary.requests > 0 && summary.succeeded === 0) {
    throw new CliError("no request succeeded");
  }
}

/** Null when a signal came first. */
async function open(
  options: SessionOptions,
  clock: Clock,
  stop: StopSignals,
  onLost: (reason: string) => void,
): Promise<ClockworkClient | null> {
  const { say } = options;
  let lastRetry: string | null = null;
  // The retries come twice a second; one line tells a person enough.
  const onRetry = (message: string) => {
    if (message !== lastRetry) say(`Clockwork initializing, retrying ${message}`);
    lastRetry = message;
  };
  // A workload sends one buffer a model, however many requests wait: they cost no memory.
  const { maxOutstanding } = options;
  const clientOptions = {
    onRetry,
    onLost,
    onReconnecting: (reason: string) =>
      say(`Connection to ${formatAddress(options.address)} lost: ${reason}; reconnecting`),
    onReconnected: (afterNs: number) => {
      lastRetry = null;
      say(`Reconnected after ${(afterNs / SECOND).toFixed(2)} s`);
    },
    reconnectNs: options.reconnectNs,
    maxOutstanding,
    maxQueuedBytes: Infinity,
    userId: options.userId,
    ...asPeer(options.credentials),
  };
  const giveUpNs = clock.now() + options.waitNs;
  for (let tries = 0; !stop.requested; tries++) {
    try {
      const connected = connectClient(options.address, clock, clientOptions);
      const client = await Promise.race([connected, answerLimit(options, clock), stop.stopped]);
      if (client !== undefined) return client;
    } catch (error) {
      const { message } = error as Error;
      const leftNs = giveUpNs - clock.now();
      if (leftNs <= 0) throw new CliError(message);
      if (tries === 0) say(`${message}; retrying for ${Math.ceil(leftNs / SECOND)} s`);
      await Promise.race([sleep(clock, RECONNECT_NS), stop.stopped]);
    }
  }
  return null;
}

/** Rejects when a peer has had long enough to accept the connection and to say who it is. */
async function answerLimit({ address, waitNs }: SessionOptions, clock: Clock): Promise<never> {
  await sleep(clock, Math.max(waitNs, MIN_ANSWER_NS));
  throw new Error(`${formatAddress(address)} does not answer as a controller does`);
}

function sleep(clock: Clock, ns: number): Promise<void> {
  return new Promise((resolve) => clock.at(clock.now() + ns, resolve));
}
