/** For tests: a gateway in virtual time, and a controller that does what the test says. */
import type { ClusterState } from "../wire/cluster_state.ts";
import type { Header } from "../wire/messages.ts";
import { MS } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { Client } from "../client/client.ts";
import type { Link, LinkHandler } from "../wire/link.ts";
import { type BreakableLink, connectInMemory } from "../wire/memory_link.ts";
import { type AnyMessage, KIND_NUMBERS, type Tensor } from "../wire/messages.ts";
import { tensorBytes } from "../wire/signature.ts";
import { Gateway, type GatewayOptions, type InferenceRecord } from "./gateway.ts";
import { DEFAULT_GATEWAY_LIMITS, type GatewayLimits } from "./options.ts";

type Described = Header<"DescribeModelsResponse">["models"][number];

/** A model with these tensors. */
export function describedModel(
  id: number,
  path: string,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  copies = 1,
): Described {
  const sum = (tensors: readonly Tensor[]) =>
    tensors.reduce((bytes, tensor) => bytes + tensorBytes(tensor), 0);
  return {
    model_id: id,
    no_of_copies: copies,
    model_path: path,
    model_status: "ready",
    input_size: sum(inputs),
    output_size: sum(outputs),
    weights_size: 1000,
    num_weights_pages: 1,
    weights_load_time_ns: 8e6,
    supported_batch_sizes: [1, 2, 4],
    exec_times_ns: [3e6, 4e6, 6e6],
    inputs,
    outputs,
  };
}

/** What an inference is answered with: an output, a status and a message, or nothing at all. */
export type Reply = Uint8Array | readonly [status: number, message: string] | null;

/** A controller of which everything can be said. It answers an inference by its input, after 1 ms. */
export class ScriptedController implements LinkHandler {
  models: Described[] = [];
  state = "serving";
  defaultSloNs = 100 * MS;
  infer: (input: Uint8Array, header: Header<"InferRequest">) => Reply = (input) => input;
  load: (path: string, copies: number) => Described | readonly [number, string] = () => [1, "no"];
  /** What is told of the cluster; null: nothing at all. */
  clusterState: (cursor: number) => ClusterState | null = () => null;
  /** All that has been asked, first to last. */
  readonly asked: AnyMessage[] = [];
  #revision = 1;
  #link: Link | null = null;
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  /** Has the gateway told, when it asks again, that something is not as it was. */
  changed(): void {
    this.#revision++;
  }

  readonly accept = (link: Link): LinkHandler => {
    this.#link = link;
    return this;
  };

  onMessage(message: AnyMessage): void {
    if (message.kind !== "DescribeModelsRequest") this.asked.push(message);
    const { id, payload } = message;
    this.#clock.at(this.#clock.now() + MS, () => this.#answer(id, message, payload));
  }

  onClose(): void {
    this.#link = null;
  }

  #answer(id: number, message: AnyMessage, payload: Uint8Array): void {
    const link = this.#link;
    if (link === null) return;
    const fail = ([status, text]: readonly [number, string]) =>
      link.send("ErrorResponse", id, {
        request_type: KIND_NUMBERS[message.kind] - KIND_NUMBERS.InferRequest,
        status,
        message: text,
      });
    switch (message.kind) {
      case "DescribeModelsRequest": {
        const known = message.header.revision === this.#revision;
        link.send("DescribeModelsResponse", id, {
          revision: this.#revision,
          state: this.state,
          default_slo_ns: this.defaultSloNs,
          models: known ? [] : this.models,
          next_model_id: 0,
        });
        break;
      }
      case "InferRequest": {
        const reply = this.infer(payload, message.header);
        if (reply instanceof Uint8Array) {
          link.send("InferResponse", id, { output_size: reply.length }, [reply]);
        } else if (reply !== null) {
          fail(reply);
        }
        break;
      }
      case "ClusterStateRequest": {
        const state = this.clusterState(message.header.cursor);
        if (state !== null) link.send("ClusterStateResponse", id, state);
        break;
      }
      case "LoadModelRequest": {
        const { model_path, no_of_copies } = message.header;
        const loaded = this.load(model_path, no_of_copies);
        if ("model_id" in loaded) {
          this.models.push(loaded);
          this.changed();
          const { model_id, input_size, output_size } = loaded;
          const sizes = { input_size, output_size, copies_created: no_of_copies };
          link.send("LoadModelResponse", id, { model_id, ...sizes });
        } else {
          fail(loaded);
        }
        break;
      }
      case "UnloadModelRequest": {
        const { model_id } = message.header;
        this.models = this.models.filter((model) => model.model_id !== model_id);
        this.changed();
        link.send("UnloadModelResponse", id, {});
      }
    }
  }
}

export interface RigOptions extends Partial<Pick<GatewayOptions, "token" | "anyHost" | "cors">> {
  readonly limits?: Partial<GatewayLimits>;
}

/** A gateway and its controller. */
export class GatewayRig {
  readonly clock = new VirtualClock();
  readonly controller = new ScriptedController(this.clock);
  readonly gateway: Gateway;
  readonly lines: string[] = [];
  readonly records: InferenceRecord[] = [];
  /** Whether the controller can be connected to. */
  reachable = true;
  link!: BreakableLink;

  constructor({ token = null, anyHost = true, cors = null, limits = {} }: RigOptions = {}) {
    this.gateway = new Gateway({
      clock: this.clock,
      log: (line) => this.lines.push(line),
      epochMs: () => 1.7e12 + this.clock.now() / MS,
      connect: (onLost) => this.#connect(onLost),
      token,
      anyHost,
      cors,
      limits: { ...DEFAULT_GATEWAY_LIMITS, ...limits },
      version: "1.2.3",
      onInference: (record) => this.records.push(record),
    });
  }

  #connect(onLost: (reason: string) => void): Promise<Client> {
    if (!this.reachable) return Promise.reject(new Error("cannot connect to controller:12346"));
    let client!: Client;
    const [, link] = connectInMemory(
      { name: "controller", clock: this.clock, accept: this.controller.accept },
      {
        name: "client",
        clock: this.clock,
        accept: (link) => client = new Client(link, this.clock, { onLost }),
      },
    );
    this.link = link;
    return Promise.resolve(client);
  }

  /** Starts the gateway, and waits until it knows of the controller's models. */
  async start(): Promise<this> {
    await this.until(this.gateway.start());
    return this;
  }

  /** Lets virtual time pass until a promise has settled. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    promise.then(() => settled = true, () => settled = true);
    for (let turns = 0; !settled; turns++) {
      if (turns > 100_000) throw new Error("nothing comes of it");
      this.clock.advance(0.5 * MS);
      // Streams and promises go on in turns of the event loop, which takes no virtual time.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    return await promise;
  }

  /** Lets this much virtual time pass. */
  async pass(ns: number): Promise<void> {
    const untilNs = this.clock.now() + ns;
    while (this.clock.now() < untilNs) {
      this.clock.advance(Math.min(20 * MS, untilNs - this.clock.now()));
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  ask(path: string, init: RequestInit = {}): Promise<Response> {
    const request = new Request(`http://gateway${path}`, init);
    // A server has it; a Request that is made here has not.
    if (init.body instanceof Uint8Array && !request.headers.has("content-length")) {
      request.headers.set("content-length", String(init.body.length));
    }
    return this.until(this.gateway.fetch(request));
  }

  post(path: string, json: unknown, headers: Record<string, string> = {}): Promise<Response> {
    return this.ask(path, {
      method: "POST",
      body: typeof json === "string" ? json : JSON.stringify(json),
      headers: { "content-type": "application/json", ...headers },
    });
  }

  /** The status and the error of an answer that failed. */
  async failure(answer: Promise<Response>): Promise<string> {
    const response = await answer;
    return `${response.status} ${(await response.json()).error}`;
  }
}
