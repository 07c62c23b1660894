/** Checks of timers and of the loopback network. */
import { loopbackRoundTripsNs } from "../../bench/loopback.ts";
import { timerLatenessNs } from "../../bench/timers.ts";
import { type Clock, MS, US } from "../../core/clock.ts";
import { type Latency, summarize } from "../../worker/check_model.ts";
import { type Check, checksOf } from "./check.ts";

const TIMERS = 200;
const ROUND_TRIPS = 500;
/** Later, and actions miss their windows on an otherwise good day. */
const LATE_TIMER_NS = MS;
const SLOW_ROUND_TRIP_NS = MS;

const check = checksOf("Timing");
const BUSY = "end what else runs here: on an idle machine this is well below a millisecond";

export async function timingChecks(clock: Clock): Promise<Check[]> {
  const late = summarize(await timerLatenessNs(clock, TIMERS));
  const trip = summarize(await loopbackRoundTripsNs(clock, ROUND_TRIPS));
  return [
    check("Timers", judged(late, LATE_TIMER_NS), `late by ${describe(late)}`, BUSY, late),
    check(
      "Loopback",
      judged(trip, SLOW_ROUND_TRIP_NS),
      `there and back in ${describe(trip)}`,
      BUSY,
      trip,
    ),
  ];
}

function judged({ medianNs }: Latency, limitNs: number): "ok" | "warning" {
  return medianNs > limitNs ? "warning" : "ok";
}

function describe({ medianNs, p99Ns, maxNs }: Latency): string {
  const us = (ns: number) => `${Math.round(ns / US)} µs`;
  return `${us(medianNs)} (median), ${us(p99Ns)} (p99), ${us(maxNs)} (at most)`;
}
