/** For tests and the simulator: uploads that are kept in memory. */
import { uploadBytes, type UploadFile } from "../../wire/upload.ts";
import type { PartialUpload, UploadStore } from "./store.ts";

export class MemoryUploadStore implements UploadStore {
  /** What is in each file, by path and name. */
  readonly kept = new Map<
    string,
    { files: readonly UploadFile[]; contents: Map<string, Uint8Array> }
  >();
  /** Uploads that have been begun and neither kept nor discarded. */
  partial = 0;
  /** What is wrong with writing; "" when nothing is. */
  problem = "";

  get usedBytes(): number {
    return [...this.kept.values()].reduce((sum, { files }) => sum + uploadBytes(files), 0);
  }

  filesOf(path: string): readonly UploadFile[] | null {
    return this.kept.get(path)?.files ?? null;
  }

  create(path: string, files: readonly UploadFile[]): PartialUpload {
    this.partial++;
    const pieces = new Map<string, number[]>();
    return {
      write: ({ name }, bytes, done) => {
        const written = pieces.get(name) ?? [];
        pieces.set(name, written);
        written.push(...bytes);
        done(this.problem);
      },
      keep: (done) => {
        this.partial--;
        const contents = new Map(
          [...pieces].map(([name, bytes]) => [name, Uint8Array.from(bytes)]),
        );
        this.kept.set(path, { files, contents });
        done("");
      },
      discard: () => {
        this.partial--;
      },
    };
  }

  read(
    path: string,
    { name }: UploadFile,
    offset: number,
    length: number,
    done: (bytes: Uint8Array | null, problem: string) => void,
  ): void {
    done(this.kept.get(path)!.contents.get(name)!.slice(offset, offset + length), "");
  }
}
