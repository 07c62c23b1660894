/**
 * The connection to the controller: reconnects forever, knows which models there are, and polls for
 * changes.
 */
import type { Catalogue, ControllerState } from "../client/catalogue.ts";
import type { Client } from "../client/client.ts";
import type { Result } from "../client/result.ts";
import { type Clock, MS, SECOND, type Timer } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { HttpError } from "./http_error.ts";
import { ModelIndex, type NamedModel } from "./models.ts";

/** Connects to the controller. `onLost` is called once, when the connection that was made has ended. */
export type Connect = (onLost: (reason: string) => void) => Promise<Client>;

/** Pause before it is tried again: doubled after each failure, up to the second. */
const FIRST_RETRY_NS = 100 * MS;
const LAST_RETRY_NS = 2 * SECOND;
/** How often it is asked whether models have come or gone. */
const REFRESH_NS = 500 * MS;

export class Upstream {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #connect: Connect;
  #client: Client | null = null;
  #state: ControllerState | "away" = "away";
  #awayBecause = "not connected yet";
  #models = new ModelIndex([]);
  #revision: number | null = null;
  #defaultSloNs = 0;
  /** Of the next try to connect, or the next question. */
  #timer: Timer | null = null;
  #refreshing: Promise<void> | null = null;
  /** The question after that. */
  #again: Promise<void> | null = null;
  #closed = false;

  constructor(clock: Clock, log: Log, connect: Connect) {
    this.#clock = clock;
    this.#log = log;
    this.#connect = connect;
  }

  get state(): ControllerState | "away" {
    return this.#state;
  }

  /** What requests have that say nothing of their deadline; 0 while that is not known. */
  get defaultSloNs(): number {
    return this.#defaultSloNs;
  }

  /** Resolves when the first try to connect has succeeded or failed, for which nobody has to wait. */
  start(): Promise<void> {
    return this.#tryToConnect(FIRST_RETRY_NS, true);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#client?.close();
  }

  /** What the controller has told of its models. Throws 503 without it: nothing is known then. */
  get models(): ModelIndex {
    if (this.#client === null) throw this.#away();
    return this.#models;
  }

  /** The connection to the controller. Throws 503 when there is none. */
  get client(): Client {
    if (this.#client === null) throw this.#away();
    return this.#client;
  }

  #away(): HttpError {
    const message = `the controller is away: ${this.#awayBecause}`;
    return new HttpError(503, message, { "retry-after": "1" });
  }

  /**
   * Finds a model by its name; asks the controller once more before it says that there is none.
   * @throws {HttpError} 404, or 503
   */
  async find(name: string): Promise<NamedModel> {
    const known = this.models.get(name);
    if (known !== undefined) return known;
    await this.refresh();
    const found = this.models.get(name);
    if (found !== undefined) return found;
    if (this.#state === "initializing") {
      throw new HttpError(503, "the controller is initializing", { "retry-after": "1" });
    }
    throw new HttpError(
      404,
      `unknown model "${name.slice(0, 256)}": load it first, or list the models`,
    );
  }

  /**
   * Asks the controller what there is now, and resolves when it has answered or is gone. Any number of
   * callers cost one question at a time.
   */
  refresh(): Promise<void> {
    // What is being answered may be older than what the caller knows of: then one more question follows.
    if (this.#refreshing === null) return this.#question();
    return this.#again ??= this.#refreshing.then(() => {
      this.#again = null;
      return this.#question();
    });
  }

  #question(): Promise<void> {
    const asked = this.#ask().finally(() => {
      if (this.#refreshing === asked) this.#refreshing = null;
    });
    return this.#refreshing = asked;
  }

  async #ask(): Promise<void> {
    const client = this.#client;
    if (client === null) return;
    const result = await describeModels(client, this.#revision);
    if (client !== this.#client || !result.ok || result.value === null) return;
    const { revision, state, defaultSloNs, models } = result.value;
    this.#models = new ModelIndex(models);
    this.#revision = revision;
    this.#defaultSloNs = defaultSloNs;
    this.#state = state;
  }

  async #tryToConnect(pauseNs: number, first: boolean): Promise<void> {
    try {
      let lost: string | null = null;
      let client: Client | null = null;
      client = await this.#connect((reason) => {
        lost = reason;
        if (client !== null && this.#client === client) this.#onLost(reason);
      });
      if (this.#closed) return client.close();
      if (lost !== null) throw new Error(lost);
      this.#client = client;
      this.#log(`Connected to the controller ${client.peer}`);
      await this.#keepRefreshing();
    } catch (error) {
      this.#awayBecause = (error as Error).message;
      if (first) this.#log(`${this.#awayBecause}; it is tried again until the controller is there`);
      this.#retry(pauseNs);
    }
  }

  #retry(pauseNs: number): void {
    if (this.#closed) return;
    this.#timer = this.#clock.at(this.#clock.now() + pauseNs, () => {
      this.#tryToConnect(Math.min(2 * pauseNs, LAST_RETRY_NS), false);
    });
  }

  #onLost(reason: string): void {
    this.#client = null;
    this.#state = "away";
    this.#awayBecause = reason;
    // Another controller may count its revisions from the same number.
    this.#revision = null;
    this.#models = new ModelIndex([]);
    this.#timer?.cancel();
    if (this.#closed) return;
    this.#log(`The controller is gone: ${reason}`);
    this.#retry(FIRST_RETRY_NS);
  }

  async #keepRefreshing(): Promise<void> {
    const client = this.#client;
    await this.refresh();
    if (this.#closed || client === null || client !== this.#client) return;
    this.#timer = this.#clock.at(this.#clock.now() + REFRESH_NS, () => this.#keepRefreshing());
  }
}

function describeModels(client: Client, revision: number | null) {
  return new Promise<Result<Catalogue | null>>((resolve) =>
    client.describeModels(revision, resolve)
  );
}
