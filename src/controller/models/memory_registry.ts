/** For tests and the simulator: a registry's file in memory. */
import type { RegistryFile } from "./registry.ts";

export class MemoryRegistryFile implements RegistryFile {
  readonly name = "in memory";
  contents: string | null = null;
  /** Damaged contents. */
  aside: string | null = null;
  writes = 0;
  /** What is wrong with writing; "" when nothing is. */
  problem = "";

  read(): string | null {
    return this.contents;
  }

  write(contents: string, done: (problem: string) => void): void {
    this.writes++;
    if (this.problem === "") this.contents = contents;
    done(this.problem);
  }

  setAside(): string {
    this.aside = this.contents;
    this.contents = null;
    return "a copy in memory";
  }
}
