import type { Clock } from "../core/clock.ts";
import type { PendingRequest } from "../controller/serving.ts";
import { Direct } from "../scheduler/direct.ts";
import { Echo } from "../scheduler/echo.ts";
import { Infer4 } from "../scheduler/infer4/infer4.ts";
import type { Infer4Options } from "../scheduler/infer4/options.ts";
import type { Scheduler, SchedulerHost } from "../scheduler/scheduler.ts";
import { Stress } from "../scheduler/stress.ts";

/** A scheduler that the controller can be started with. */
export interface SchedulerType {
  /** What the user calls it. */
  readonly name: string;
  /** What the controller prints at its start. */
  readonly longName: string;
  /** For the help. */
  readonly summary: string;
  /** Whether it serves clients. One that does not has its model loaded by the controller itself. */
  readonly clients: boolean;
  readonly make: (
    clock: Clock,
    host: SchedulerHost<PendingRequest>,
    infer4: Infer4Options,
  ) => Scheduler<PendingRequest>;
}

export const schedulers: readonly SchedulerType[] = [
  {
    name: "INFER4",
    longName: "ConcurrentInferAndLoadScheduler",
    summary: "plans every action so that requests meet their deadlines",
    clients: true,
    make: (clock, host, options) => new Infer4(clock, host, options),
  },
  {
    name: "DIRECT",
    longName: "DirectScheduler",
    summary: "forwards each request at once to its model's GPU, and plans nothing",
    clients: true,
    make: (clock, host) => new Direct(clock, host),
  },
  {
    name: "ECHO",
    longName: "EchoScheduler",
    summary: "answers with zeros, without a GPU: what clients and network can do",
    clients: true,
    make: (_, host) => new Echo(host),
  },
  {
    name: "STRESS",
    longName: "StressScheduler",
    summary: "drives workers as hard as it can, without clients (see --model)",
    clients: false,
    make: (clock, host) => new Stress(clock, host),
  },
];
