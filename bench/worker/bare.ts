/** This side of `bare_session.ts`. */
import type { DeviceKind } from "../../src/worker/onnx/protocol.ts";
import type { BareInput, BareRequest } from "./bare_session.ts";

/** ONNX Runtime in a thread of its own, with one session at a time. */
export class Bare {
  readonly #worker = new Worker(new URL("./bare_session.ts", import.meta.url), { type: "module" });

  static async open(kind: DeviceKind): Promise<Bare> {
    const bare = new Bare();
    await bare.#ask({ op: "open", kind });
    return bare;
  }

  async prepare(file: Uint8Array, inputs: readonly BareInput[]): Promise<void> {
    await this.#ask({ op: "prepare", file, inputs });
  }

  /** Milliseconds of one run, from the making of its tensors to its outputs on the host. */
  run(): Promise<number> {
    return this.#ask({ op: "run" });
  }

  /** Milliseconds that one upload chunk of weights takes of an idle device. */
  uploadMs(): Promise<number> {
    return this.#ask({ op: "upload" });
  }

  close(): void {
    this.#worker.terminate();
  }

  #ask(request: BareRequest): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }: MessageEvent<number | string>) =>
        typeof data === "string" ? reject(new Error(data)) : resolve(data);
      this.#worker.postMessage(request);
    });
  }
}
