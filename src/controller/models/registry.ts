/**
 * The registry of a controller's models, in a file that survives it, so that a restarted controller has the
 * same models under the same ids.
 */
import type { Log } from "../../core/log.ts";
import { formatRegistry, parseRegistry, type RegistryContents } from "./registry_format.ts";

/** The file, wherever it is. */
export interface RegistryFile {
  /** For people. */
  readonly name: string;
  /** Null when there is none yet. May throw. */
  read(): string | null;
  /**
   * Replaces the contents so that whatever happens the old ones or the new ones are there afterwards.
   * `done` is called once, now or later: with "" when they are there for good, or with what went wrong.
   */
  write(contents: string, done: (problem: string) => void): void;
  /** Keeps damaged contents elsewhere; returns where. May throw. */
  setAside(): string;
}

export class Registry {
  readonly #file: RegistryFile;
  readonly #log: Log;
  readonly #contents: () => RegistryContents;
  #changed = false;
  #writing = false;
  /** Those who wait for what is being written, and for what will be next. */
  #waiting: (() => void)[] = [];
  #waitingForNext: (() => void)[] = [];
  /** Why the last write failed; "" when it did not. */
  #problem = "";

  /** @param contents what is to be kept, asked for whenever it has changed. */
  constructor(file: RegistryFile, log: Log, contents: () => RegistryContents) {
    this.#file = file;
    this.#log = log;
    this.#contents = contents;
  }

  get #name(): string {
    return `The registry ${this.#file.name}`;
  }

  /** What was kept; null when there is nothing that can be read. Damaged contents are kept elsewhere. */
  read(): RegistryContents | null {
    try {
      const text = this.#file.read();
      return text === null ? null : parseRegistry(text);
    } catch (error) {
      this.#log(`${this.#name} cannot be read: ${(error as Error).message}`);
    }
    try {
      this.#log(`It is kept as ${this.#file.setAside()}`);
    } catch (error) {
      this.#log(`It could not be kept elsewhere: ${(error as Error).message}`);
    }
    return null;
  }

  /** What is to be kept is not what it was. */
  change(): void {
    this.#changed = true;
  }

  /**
   * Calls `done` when all changes are in the file, or have been found not to get there: what was done is
   * done all the same, and the next change tries again.
   */
  flush(done: () => void): void {
    if (this.#changed) this.#waitingForNext.push(done);
    else if (this.#writing) this.#waiting.push(done);
    else return done();
    if (!this.#writing) this.#write();
  }

  #write(): void {
    this.#changed = false;
    this.#writing = true;
    // Changes that come while one is being written are written together.
    this.#waiting = this.#waitingForNext;
    this.#waitingForNext = [];
    this.#file.write(formatRegistry(this.#contents()), (problem) => {
      this.#writing = false;
      if (problem !== "") this.#changed = true;
      this.#tell(problem);
      const told = this.#waiting;
      this.#waiting = [];
      for (const done of told) done();
      if (this.#waitingForNext.length > 0 && !this.#writing) this.#write();
    });
  }

  #tell(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    if (problem === "") this.#log(`${this.#name} can be written again`);
    else this.#log(`${this.#name} cannot be written: ${problem}`);
  }
}
