/** For tests and the simulator: uploads that are kept in memory. */
import { uploadBytes, type UploadFile } from "../../wire/upload.ts";
import type { PartialUpload, UploadStore } from "./store.ts";

/** Has something done once the disk, if it were one, had done what was before. */
export type Disk = (then: () => void) => void;

const IMMEDIATE: Disk = (then) => then();

export class MemoryUploadStore implements UploadStore {
  /** What is in each file, by path and name. */
  readonly kept = new Map<
    string,
    { files: readonly UploadFile[]; contents: ReadonlyMap<string, Uint8Array> }
  >();
  /** Uploads that have been begun and neither kept nor discarded. */
  partial = 0;
  /** What is wrong with writing; "" when nothing is. */
  problem = "";
  readonly #disk: Disk;

  constructor(disk: Disk = IMMEDIATE) {
    this.#disk = disk;
  }

  get sizes(): ReadonlyMap<string, number> {
    return new Map([...this.kept].map(([path, { files }]) => [path, uploadBytes(files)]));
  }

  refresh(done: () => void): void {
    done();
  }

  filesOf(path: string): readonly UploadFile[] | null {
    return this.kept.get(path)?.files ?? null;
  }

  create(path: string, files: readonly UploadFile[]): PartialUpload {
    this.partial++;
    const contents = new Map(files.map(({ name, size }) => [name, new Uint8Array(size)]));
    const written = new Map<string, number>();
    return {
      write: ({ name }, bytes, done) =>
        this.#disk(() => {
          const at = written.get(name) ?? 0;
          contents.get(name)!.set(bytes, at);
          written.set(name, at + bytes.length);
          done(this.problem);
        }),
      keep: (done) =>
        this.#disk(() => {
          this.partial--;
          this.kept.set(path, { files, contents });
          done("");
        }),
      discard: () => {
        this.partial--;
      },
    };
  }

  remove(path: string, done: (removed: boolean, problem: string) => void): void {
    const { problem } = this;
    const removed = problem === "" && this.kept.delete(path);
    this.#disk(() => done(removed, problem));
  }

  read(
    path: string,
    { name }: UploadFile,
    offset: number,
    length: number,
    done: (bytes: Uint8Array | null, problem: string) => void,
  ): void {
    this.#disk(() => {
      const bytes = this.kept.get(path)?.contents.get(name);
      if (bytes === undefined) done(null, `"${name}" is gone`);
      else done(bytes.slice(offset, offset + length), "");
    });
  }
}
