/** Hosts of a made-up network: namespaces of Linux, joined by a thread that delays and loses packets. */
import { cutIndex, type WiresOptions, WiresState } from "./wires.ts";

/** Addresses exist within the namespaces only. */
const SUBNET = "10.77.0";
/** Bytes of a packet, as on an Ethernet. */
const MTU = 1500;

export interface NetworkOptions {
  readonly delayNs: number;
  readonly loss: number;
}

export class Network implements AsyncDisposable {
  readonly #names: readonly string[];
  readonly #wires: Worker;
  readonly #state: Int32Array;
  readonly #closed = Promise.withResolvers<void>();

  private constructor(names: readonly string[], wires: Worker, state: Int32Array) {
    this.#names = names;
    this.#wires = wires;
    this.#state = state;
    wires.addEventListener("message", ({ data }) => {
      if (data === "closed") this.#closed.resolve();
    });
  }

  /** Makes a host for each name. Fails where namespaces or TUN devices cannot be made. */
  static async make(names: readonly string[], options: NetworkOptions): Promise<Network> {
    const shared = new SharedArrayBuffer(4 * (WiresState.cuts + names.length ** 2));
    const wires = new Worker(new URL("wires.ts", import.meta.url), { type: "module" });
    const network = new Network(names.map(namespace), wires, new Int32Array(shared));
    try {
      const devices = names.map((_, i) => `clockwork${Deno.pid}.${i}`.slice(-15));
      const ready = Promise.withResolvers<void>();
      wires.addEventListener("message", () => ready.resolve(), { once: true });
      wires.addEventListener("error", (event) => {
        event.preventDefault();
        network.#closed.resolve();
        ready.reject(new Error(event.message));
      });
      wires.postMessage({ devices, ...options, shared } satisfies WiresOptions);
      await ready.promise;
      for (const [i, device] of devices.entries()) await network.#addHost(i, device);
      return network;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  address(host: number): string {
    return `${SUBNET}.${host + 1}`;
  }

  /** What runs a program on a host, before the program and its arguments. */
  on(host: number): readonly string[] {
    return ["ip", "netns", "exec", this.#names[host]!];
  }

  /** Cuts two hosts off from each other, or joins them again: all packets between them are lost. */
  cut(a: number, b: number, cut: boolean): void {
    const hosts = this.#names.length;
    Atomics.store(this.#state, cutIndex(a, b, hosts), cut ? 1 : 0);
    Atomics.store(this.#state, cutIndex(b, a, hosts), cut ? 1 : 0);
  }

  /** Packets that have arrived and that have been lost. */
  get packets(): { readonly carried: number; readonly lost: number } {
    return {
      carried: Atomics.load(this.#state, WiresState.carried),
      lost: Atomics.load(this.#state, WiresState.lost),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    Atomics.store(this.#state, WiresState.stop, 1);
    await this.#closed.promise;
    this.#wires.terminate();
    // Those that were made: the others are no news.
    for (const name of this.#names) await ip("netns", "del", name).catch(() => {});
  }

  async #addHost(host: number, device: string): Promise<void> {
    const name = this.#names[host]!;
    await ip("netns", "add", name);
    await ip("link", "set", device, "netns", name);
    await ip("-n", name, "link", "set", "lo", "up");
    await ip("-n", name, "addr", "add", `${this.address(host)}/24`, "dev", device);
    await ip("-n", name, "link", "set", device, "mtu", `${MTU}`, "up");
  }
}

/** Of this process: several may run at a time. */
function namespace(name: string): string {
  return `clockwork-${Deno.pid}-${name}`;
}

async function ip(...args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("ip", { args: [...args] }).output();
  if (!success) {
    throw new Error(`ip ${args.join(" ")} failed: ${new TextDecoder().decode(stderr).trim()}`);
  }
}
