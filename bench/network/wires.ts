/// <reference lib="deno.worker" />
/**
 * The network of `deno task bench:network`, in a thread of its own: carries the packets of the hosts'
 * TUN devices from one to the other, each after the same delay, except those that it loses by chance or
 * because two hosts are cut off from each other. The hosts' own TCP has to cope.
 */
import { Random } from "../../src/core/random.ts";
import { TunDevices } from "./tun.ts";

export interface WiresOptions {
  /** Names of the devices. The host of device i has an IPv4 address that ends with i + 1. */
  readonly devices: readonly string[];
  /** From one host to another, in nanoseconds. */
  readonly delayNs: number;
  /** The share of packets that is lost. */
  readonly loss: number;
  /** See {@link WiresState}. */
  readonly shared: SharedArrayBuffer;
}

/** What both threads see, by index into an Int32Array. */
export const WiresState = {
  /** Not 0 when all is to end. */
  stop: 0,
  /** Packets carried and lost so far. */
  carried: 1,
  lost: 2,
  /** From here on: not 0 where packets from one host to another are swallowed, by {@link cutIndex}. */
  cuts: 3,
} as const;

export function cutIndex(from: number, to: number, hosts: number): number {
  return WiresState.cuts + from * hosts + to;
}

/** The longest that the thread waits without a look at what is shared. */
const LOOK_NS = 10e6;
const MAX_PACKET_BYTES = 65_536;
/** Where an IPv4 packet has the last byte of its destination. */
const DESTINATION = 19;

interface Flying {
  readonly to: number;
  readonly arrivesNs: number;
  readonly packet: Uint8Array<ArrayBuffer>;
}

function carry({ devices, delayNs, loss, shared }: WiresOptions): void {
  const hosts = devices.length;
  const state = new Int32Array(shared);
  const tun = new TunDevices(devices);
  postMessage("ready");
  const random = new Random(1);
  const buffer = new Uint8Array(MAX_PACKET_BYTES);
  // As all take equally long, they arrive in the order in which they left.
  const flying: Flying[] = [];
  let first = 0;
  const nowNs = () => performance.now() * 1e6;
  while (Atomics.load(state, WiresState.stop) === 0) {
    const nextNs = first < flying.length ? flying[first]!.arrivesNs - nowNs() : LOOK_NS;
    tun.wait(Math.max(0, Math.min(nextNs, LOOK_NS)));
    for (let from = 0; from < hosts; from++) {
      for (let n = tun.read(from, buffer); n > 0; n = tun.read(from, buffer)) {
        const to = buffer[DESTINATION]! - 1;
        // Not of IPv4, or for nobody: the system asks around by itself.
        if (buffer[0]! >> 4 !== 4 || to < 0 || to >= hosts) continue;
        const cut = Atomics.load(state, cutIndex(from, to, hosts)) !== 0;
        if (cut || random.float() < loss) {
          Atomics.add(state, WiresState.lost, 1);
        } else {
          flying.push({ to, arrivesNs: nowNs() + delayNs, packet: buffer.slice(0, n) });
        }
      }
    }
    while (first < flying.length && flying[first]!.arrivesNs <= nowNs()) {
      const { to, packet } = flying[first++]!;
      tun.write(to, packet);
      Atomics.add(state, WiresState.carried, 1);
    }
    if (first === flying.length) {
      flying.length = 0;
      first = 0;
    } else if (first > 10_000) {
      flying.splice(0, first);
      first = 0;
    }
  }
  tun.close();
  postMessage("closed");
}

if (typeof DedicatedWorkerGlobalScope !== "undefined") {
  self.onmessage = ({ data }: MessageEvent<WiresOptions>) => carry(data);
}
