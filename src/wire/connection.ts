import { type Clock, SECOND, type Timer } from "../core/clock.ts";
import { printable } from "../core/log.ts";
import { LOCAL_ONLY, tokenRefusal } from "./access.ts";
import { ClockSync } from "./clock_sync.ts";
import {
  type ConnectionOptions,
  DEFAULT_HELLO_NS,
  DEFAULT_MAX_QUEUED_BYTES,
  DEFAULT_MESSAGE_NS,
} from "./connection_options.ts";
import { DEFAULT_FRAME_LIMITS, FrameParser, ProtocolError } from "./frame.ts";
import type { Link, LinkHandler, Traffic } from "./link.ts";
import { type Header, type Kind, PROTOCOL_VERSION } from "./messages.ts";
import { Pulse } from "./pulse.ts";
import { refuseBeforeHello, refuseKind, type Role } from "./roles.ts";
import { SendQueue } from "./send_queue.ts";

/** What a connection needs from the network, provided by TCP, or by a pair of pipes in tests. */
export interface ByteStream {
  /** Reads some bytes into `into`; resolves to how many, or null at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some of the bytes; resolves to how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Tells the peer that nothing more will be written; reading goes on. */
  closeWrite(): Promise<void>;
  /** Ends both directions; reads and writes under way fail or end. May be called more than once. */
  close(): void;
  /** Why the peer is not to be served, where the stream knows who it is. Asked once it has said Hello. */
  readonly refusal?: string | null;
}

/** As {@link Accept}, where peers of several roles may come. */
export type AcceptPeer = (link: Link, peerRole: Role) => LinkHandler;

/** Why a link ends whose peer hangs up without a Goodbye. */
export const CLOSED_BY_PEER = "closed by the peer";

/** After `close`, the link ends when the peer has taken nothing for this long, or in any case … */
const CLOSE_STALL_NS = 1 * SECOND;
/** … this long after it. */
const CLOSE_LIMIT_NS = 20 * SECOND;

/**
 * A link over a stream of bytes.
 *
 * Its life: `start` says Hello; the peer's Hello makes it a link; `close`, an error or the peer ends it.
 * After `close` it still writes what is queued and a Goodbye, then waits for the peer to hang up, as
 * closing a socket on unread data would take the Goodbye back from the peer.
 */
export class Connection implements Link {
  readonly sync = new ClockSync();
  readonly traffic: Traffic = {
    sentBytes: 0,
    sentMessages: 0,
    receivedBytes: 0,
    receivedMessages: 0,
  };
  readonly peer: string;

  readonly #stream: ByteStream;
  readonly #clock: Clock;
  readonly #options: ConnectionOptions;
  readonly #parser: FrameParser;
  readonly #accept: AcceptPeer;
  readonly #onRefused: (reason: string) => void;
  readonly #maxQueuedBytes: number;
  #handler: LinkHandler | undefined;

  readonly #queue = new SendQueue();
  #writing = false;
  #flushScheduled = false;

  /** Why the link is closing or closed; undefined while it is open. */
  #closeReason: string | undefined;
  #ended = false;
  /** From our Hello on. */
  #pulse: Pulse | undefined;
  /** When the message that is coming began; Infinity: none is. */
  #begunNs = Infinity;
  /** When a message last came or went that was not a ping. */
  #busyNs = 0;
  #peerRole: Role | undefined;
  /** Until the peer has said Hello: gives it up. While closing: ends the link. */
  #patience: Timer | undefined;

  /**
   * `accept` is asked for a handler once the peer has said that it is one we talk to; `onRefused` is
   * told when the link ends before it has a handler.
   */
  constructor(
    stream: ByteStream,
    clock: Clock,
    options: ConnectionOptions,
    accept: AcceptPeer,
    onRefused: (reason: string) => void,
  ) {
    this.#stream = stream;
    this.#clock = clock;
    this.#options = options;
    this.#accept = accept;
    this.#onRefused = onRefused;
    this.#parser = new FrameParser(options.limits ?? DEFAULT_FRAME_LIMITS);
    this.#parser.refusal = refuseBeforeHello;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? DEFAULT_MAX_QUEUED_BYTES;
    this.peer = options.address;
  }

  /** Says hello and starts to read. */
  start(): void {
    if (!this.#options.helloLast) this.#sayHello();
    const helloNs = this.#options.helloNs ?? DEFAULT_HELLO_NS;
    this.#patience = this.#clock.at(
      this.#clock.now() + helloNs,
      () => this.close(`no Hello within ${helloNs / SECOND} s`),
    );
    this.#readLoop();
  }

  #sayHello(): void {
    const { role, token = "" } = this.#options;
    this.send("Hello", 0, { version: PROTOCOL_VERSION, role, token });
    this.#startPulse();
  }

  /** Instead of `start`: tells the peer why it cannot be served, and closes. */
  refuse(reason: string): void {
    this.close(reason);
    this.#readLoop();
  }

  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  send<K extends Kind>(
    kind: K,
    id: number,
    header: Header<K>,
    payload: readonly Uint8Array[] = NO_PAYLOAD,
    onSent?: () => void,
  ): void {
    if (this.#closeReason !== undefined) return;
    this.#send(kind, id, header, payload, onSent);
    if (this.#queue.bytes > this.#maxQueuedBytes) {
      this.#end(`the peer does not read: ${this.#queue.bytes} bytes are waiting to be sent`);
    }
  }

  close(reason: string): void {
    this.#close(reason, reason);
  }

  /** Ends it at once: the peer is not told. */
  abort(reason: string): void {
    this.#end(reason);
  }

  /** Closes for one reason, and tells the peer perhaps another. */
  #close(reason: string, toldPeer: string): void {
    if (this.#closeReason !== undefined) return;
    this.#closeReason = reason;
    this.#pulse?.stop();
    this.#send("Goodbye", 0, { message: toldPeer.slice(0, 4096) }, NO_PAYLOAD, () => {
      this.#stream.closeWrite().catch((error) => this.#end(`write failed: ${messageOf(error)}`));
    });
    // The Goodbye may have exceeded the budget that all peers share, which ends this link.
    if (this.#ended) return;
    this.#patience?.cancel();
    this.#endWhenStalled(this.#clock.now() + CLOSE_LIMIT_NS);
  }

  /** A peer that reads nothing must not keep a closed link open, nor one that reads too slowly. */
  #endWhenStalled(limitNs: number): void {
    const sentBefore = this.#queue.sentTotal;
    const dueNs = Math.min(this.#clock.now() + CLOSE_STALL_NS, limitNs);
    this.#patience = this.#clock.at(dueNs, () => {
      const moving = this.#queue.sentTotal > sentBefore && this.#clock.now() < limitNs;
      if (moving) this.#endWhenStalled(limitNs);
      else this.#end("closed");
    });
  }

  #send(
    kind: Kind,
    id: number,
    header: object,
    payload: readonly Uint8Array[],
    onSent: (() => void) | undefined,
  ): void {
    let payloadBytes = 0;
    for (let i = 0; i < payload.length; i++) payloadBytes += payload[i]!.length;
    const nowNs = this.#clock.now();
    if (kind !== "Ping") this.#busy(nowNs);
    const frameBytes = this.#queue.push(
      kind,
      id,
      header,
      payload,
      payloadBytes,
      nowNs,
      this.sync.deltaNs,
      onSent,
    );
    this.traffic.sentBytes += frameBytes;
    this.traffic.sentMessages++;
    this.#options.sendBudget?.queued(this, frameBytes);
    if (!this.#writing && !this.#flushScheduled) {
      this.#flushScheduled = true;
      queueMicrotask(this.#flushScheduledNow);
    }
  }

  readonly #flushScheduledNow = (): void => {
    if (this.#flushScheduled) this.#flush();
  };

  /** Writes all that is queued, including what is queued meanwhile. */
  async #flush(): Promise<void> {
    this.#flushScheduled = false;
    this.#writing = true;
    try {
      for (let piece = this.#queue.next(); piece !== null; piece = this.#queue.next()) {
        const n = await this.#stream.write(piece);
        if (this.#ended) return;
        const told = this.#queue.sent(n);
        this.#options.sendBudget?.settled(this, n);
        for (let i = 0; i < told.length && !this.#ended; i++) this.#call(told[i]!);
      }
    } catch (error) {
      this.#end(`write failed: ${messageOf(error)}`);
    } finally {
      this.#writing = false;
    }
  }

  async #readLoop(): Promise<void> {
    const parser = this.#parser;
    try {
      while (this.#closeReason === undefined) {
        const n = await this.#stream.read(parser.target());
        if (this.#ended) return;
        if (n === null) {
          this.#end(parser.idle ? CLOSED_BY_PEER : `${CLOSED_BY_PEER} within a message`);
          return;
        }
        this.#pulse?.heard();
        this.traffic.receivedBytes += n;
        parser.advance(n);
        this.#deliver();
        // What the handler sent goes out before the next read is asked for.
        if (this.#flushScheduled) this.#flush();
      }
      await this.#discard();
    } catch (error) {
      this.#end(`read failed: ${messageOf(error)}`);
    }
  }

  /** While closing, nobody is interested in what still comes, except in its end. */
  async #discard(): Promise<void> {
    const bytes = new Uint8Array(16 * 1024);
    while (!this.#ended) {
      if (await this.#stream.read(bytes) === null) this.#end("closed");
    }
  }

  /** Hands on the messages that have come. */
  #deliver(): void {
    const nowNs = this.#clock.now();
    try {
      while (this.#closeReason === undefined) {
        const frame = this.#parser.next();
        if (frame === null) {
          if (this.#parser.idle) this.#begunNs = Infinity;
          else this.#begunNs = Math.min(this.#begunNs, nowNs);
          return;
        }
        this.#begunNs = Infinity;
        const { message } = frame;
        this.traffic.receivedMessages++;
        this.sync.observe(frame.sentNs, nowNs, frame.peerDeltaNs);
        switch (message.kind) {
          case "Ping":
            break;
          case "Goodbye":
            this.#end(`the peer closed: ${message.header.message}`);
            break;
          case "Hello":
            this.#greet(message.header);
            break;
          default:
            this.#busy(nowNs);
            this.#call(() => this.#handler!.onMessage(message));
        }
      }
    } catch (error) {
      if (error instanceof ProtocolError) this.close(`protocol error: ${error.message}`);
      else throw error;
    }
  }

  #greet({ version, role, token }: Header<"Hello">): void {
    const { peerRoles, role: ours, access = LOCAL_ONLY } = this.#options;
    if (version !== PROTOCOL_VERSION) {
      throw new ProtocolError(
        `protocol version ${version} met version ${PROTOCOL_VERSION}: run the same Clockwork on both`,
      );
    }
    const peerRole = peerRoles.find((allowed) => allowed === role);
    if (peerRole === undefined) {
      throw new ProtocolError(
        `this is a ${ours}, which talks to a ${peerRoles.join(" or ")}, not to a ${role}`,
      );
    }
    const refused = this.#stream.refusal ?? tokenRefusal(access, token ?? "");
    if (refused !== null) return this.close(refused);
    this.#patience?.cancel();
    this.#peerRole = peerRole;
    if (this.#options.helloLast) this.#sayHello();
    this.#parser.refusal = (kind) => refuseKind(kind, peerRole, ours);
    this.#parser.limits = this.#options.limitsOf?.(peerRole) ?? this.#parser.limits;
    this.#call(() => this.#handler = this.#accept(this, peerRole));
  }

  /**
   * Calls our own side's code. An error in it is not the peer's fault, and must not stop the whole
   * process, which serves others: this link closes, its owner is told, and the error is reported.
   */
  #call(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.#report(error);
      this.#close(`internal error: ${messageOf(error)}`, "internal error");
    }
  }

  #report(error: unknown): void {
    const { onFault } = this.#options;
    if (onFault !== undefined) onFault(error);
    else console.error(`error while serving ${this.peer}:`, error);
  }

  /** Something other than a ping comes or goes. */
  #busy(nowNs: number): void {
    this.#busyNs = nowNs;
    this.#pulse?.busy(nowNs);
  }

  #startPulse(): void {
    const { role, pingPeriodNs, silenceNs } = this.#options;
    const options = {
      withClient: () => role === "client" || this.#peerRole === "client",
      ...(pingPeriodNs === undefined ? {} : { pingPeriodNs }),
      ...(silenceNs === undefined ? {} : { silenceNs }),
    };
    this.#pulse = new Pulse(
      this.#clock,
      options,
      () => {
        const late = this.#lateness();
        if (late !== null) return this.close(late);
        this.send("Ping", 0, {});
      },
      (reason) => this.#end(reason),
    );
  }

  /** Why a peer is given up that sends something from time to time; null: it is not. */
  #lateness(): string | null {
    const { messageNs = DEFAULT_MESSAGE_NS, idleNs = Infinity } = this.#options;
    const nowNs = this.#clock.now();
    if (nowNs - this.#begunNs > messageNs) {
      return `a message was not complete after ${messageNs / SECOND} s`;
    }
    const idle = this.#peerRole === "client" && nowNs - this.#busyNs > idleNs;
    return idle ? `no requests for ${idleNs / SECOND} s: connect again when there are some` : null;
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#closeReason ??= reason;
    this.#pulse?.stop();
    this.#patience?.cancel();
    const waiting = this.#queue.bytes;
    this.#queue.clear();
    this.#options.sendBudget?.settled(this, waiting);
    this.#stream.close();
    // The peer may have written part of it.
    const told = printable(this.#closeReason);
    queueMicrotask(() => {
      try {
        if (this.#handler !== undefined) this.#handler.onClose(told);
        else this.#onRefused(told);
      } catch (error) {
        this.#report(error);
      }
    });
  }
}

const NO_PAYLOAD: readonly Uint8Array[] = [];

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
