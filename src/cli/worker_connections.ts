/**
 * The controller's TCP connections to its workers: made at the start, re-established when lost, and opened
 * or closed when a list of workers changes.
 */
import { type Clock, every, MS, SECOND, type Timer } from "../core/clock.ts";
import type { Accept, Link } from "../wire/link.ts";
import { type Address, connect, formatAddress } from "../wire/tcp.ts";
import { asPeer, type Credentials } from "./options/access.ts";
import { CliError } from "./exit.ts";
import type { StopSignals } from "./stop_signals.ts";
import type { WorkerSource } from "./worker_list.ts";

/** Pause before a lost worker is tried again: doubled after each failure, up to the second. */
const FIRST_RETRY_NS = 100 * MS;
const LAST_RETRY_NS = SECOND / 2;
/** How often lists and names are read again. */
const REREAD_NS = 2 * SECOND;
/** How long the start waits for workers that need not be there. */
const FIRST_WAIT_NS = 2 * SECOND;

/** Tells whether the controller is to stop. */
type Stop = Pick<StopSignals, "requested" | "stopped">;

/** A worker that there should be. */
interface Member {
  readonly address: Address;
  /** Whether it still should; ends its being tried. */
  wanted: boolean;
  link: Link | null;
}

export class WorkerConnections {
  readonly #clock: Clock;
  readonly #accept: Accept;
  readonly #stop: Stop;
  readonly #credentials: Credentials;
  /** By address. */
  readonly #members = new Map<string, Member>();
  /** Named by the user: no list takes these away. */
  readonly #fixed = new Set<string>();
  /** What each source told when it could last be read. */
  readonly #told = new Map<WorkerSource, readonly Address[]>();
  /** Why a source could not be read, so that it is said once. */
  readonly #problems = new Map<WorkerSource, string>();
  #timer: Timer | null = null;
  #reading = false;
  readonly #onHangUp = (): void => {
    console.log("Reading the lists of workers again");
    this.#reread();
  };

  /** `accept` takes links to workers; `credentials` are what workers may ask for. */
  constructor(
    clock: Clock,
    accept: Accept,
    stop: Stop,
    credentials: Credentials,
  ) {
    this.#clock = clock;
    this.#accept = accept;
    this.#stop = stop;
    this.#credentials = credentials;
  }

  /**
   * Connects to each worker in turn; what is lost later is connected to again by itself.
   * @throws {CliError} naming the worker that cannot be reached.
   */
  async connectAll(addresses: readonly Address[]): Promise<void> {
    for (const address of addresses) {
      if (this.#stop.requested) return;
      console.log(`Connecting to worker ${formatAddress(address)}`);
      const member: Member = { address, wanted: true, link: null };
      this.#members.set(formatAddress(address), member);
      this.#fixed.add(formatAddress(address));
      try {
        await this.#connect(member);
      } catch (error) {
        const { message } = error as Error;
        // Whoever is there need not be started.
        const advice = message.includes("did not take the connection")
          ? ""
          : "; start the worker first";
        throw new CliError(message + advice);
      }
      console.log("Connection established");
    }
  }

  /**
   * Connects to the workers that the sources tell, now and whenever they tell others. Resolves when each
   * of the first has been tried, or has had some time.
   * @throws {CliError} when a source cannot be read at the start.
   */
  async follow(sources: readonly WorkerSource[]): Promise<void> {
    if (sources.length === 0) return;
    for (const source of sources) {
      try {
        this.#told.set(source, await source.read());
      } catch (error) {
        throw new CliError((error as Error).message);
      }
    }
    this.#timer = every(this.#clock, REREAD_NS, () => this.#reread());
    if (Deno.build.os !== "windows") Deno.addSignalListener("SIGHUP", this.#onHangUp);
    const tried = Promise.all(this.#reconcile());
    const patience = new Promise<void>((resolve) =>
      this.#clock.at(this.#clock.now() + FIRST_WAIT_NS, resolve)
    );
    await Promise.race([tried, patience, this.#stop.stopped]);
  }

  /** Follows the sources no more. */
  close(): void {
    if (this.#timer === null) return;
    this.#timer.cancel();
    this.#timer = null;
    if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGHUP", this.#onHangUp);
  }

  async #reread(): Promise<void> {
    // One that takes long, as a name server may, is not asked twice at a time.
    if (this.#reading) return;
    this.#reading = true;
    for (const source of this.#told.keys()) {
      try {
        this.#told.set(source, await source.read());
        if (this.#problems.delete(source)) console.log(`${source.name} can be read again`);
      } catch (error) {
        const { message } = error as Error;
        if (this.#problems.get(source) !== message) {
          console.error(`${message}; its workers stay as they were`);
        }
        this.#problems.set(source, message);
      }
    }
    this.#reading = false;
    if (!this.#stop.requested) this.#reconcile();
  }

  /** Makes the workers those that there should be; returns the first attempts on new ones. */
  #reconcile(): Promise<void>[] {
    const wanted = new Map([...this.#told.values()].flat().map((a) => [formatAddress(a), a]));
    for (const [name, member] of this.#members) {
      if (wanted.has(name) || this.#fixed.has(name)) continue;
      console.log(`Worker ${name} is not listed any more`);
      this.#members.delete(name);
      member.wanted = false;
      member.link?.close("it is not on the controller's list of workers any more");
    }
    const attempts: Promise<void>[] = [];
    for (const [name, address] of wanted) {
      if (this.#members.has(name)) continue;
      console.log(`Connecting to worker ${name}`);
      const member: Member = { address, wanted: true, link: null };
      this.#members.set(name, member);
      attempts.push(
        this.#connect(member).catch((error) => {
          console.log(`${(error as Error).message}; it is tried again until it is there`);
          this.#retryLater(member, FIRST_RETRY_NS);
        }),
      );
    }
    return attempts;
  }

  #connect(member: Member): Promise<void> {
    const accept: Accept = (link) => {
      const handler = this.#accept(link);
      member.link = link;
      // It may have been taken off the list while it was being connected to.
      if (!member.wanted) link.close("it is not on the controller's list of workers any more");
      return {
        onMessage: (message) => handler.onMessage(message),
        onClose: (reason) => {
          member.link = null;
          handler.onClose(reason);
          this.#retryLater(member, FIRST_RETRY_NS);
        },
      };
    };
    const options = { role: "controller", peerRoles: ["worker"] } as const;
    return connect(
      member.address,
      this.#clock,
      { ...options, ...asPeer(this.#credentials) },
      accept,
    );
  }

  #retryLater(member: Member, pauseNs: number): void {
    if (this.#stop.requested || !member.wanted) return;
    this.#clock.at(this.#clock.now() + pauseNs, () => {
      if (this.#stop.requested || !member.wanted) return;
      this.#connect(member).catch(() =>
        this.#retryLater(member, Math.min(2 * pauseNs, LAST_RETRY_NS))
      );
    });
  }
}
