/** Options of workers for uploads: whether they are accepted, where they are stored, and how much. */
import { Option } from "commander";
import type { Clock } from "../../core/clock.ts";
import { DiskUploadStore } from "../../worker/uploads/disk_store.ts";
import { DEFAULT_UPLOAD_LIMITS, Uploads } from "../../worker/uploads/uploads.ts";
import { CliError } from "../exit.ts";
import { parseInteger } from "./parse.ts";

const MIB = 2 ** 20;

export interface UploadOptions {
  readonly uploadDir?: string;
  /** In MiB. */
  readonly maxUploadSize: number;
  /** In MiB. */
  readonly maxUploadsSize: number;
}

export function uploadOptions(): Option[] {
  const { maxUploadBytes, maxTotalBytes } = DEFAULT_UPLOAD_LIMITS;
  return [
    new Option(
      "--upload-dir <directory>",
      "where uploaded models are kept (default: `uploads` in the first model directory, where one " +
        "is named; otherwise none are taken)",
    ),
    new Option("--max-upload-size <MiB>", "largest upload")
      .argParser(parseInteger(0, 1e9)).default(maxUploadBytes / MIB),
    new Option("--max-uploads-size <MiB>", "disk space for all uploads; 0: no uploads")
      .argParser(parseInteger(0, 1e9)).default(maxTotalBytes / MIB),
  ];
}

/** @throws {CliError} when the directory cannot be used. */
export function openUploads(clock: Clock, directory: string, options: UploadOptions): Uploads {
  try {
    return new Uploads(clock, new DiskUploadStore(directory), {
      ...DEFAULT_UPLOAD_LIMITS,
      maxUploadBytes: options.maxUploadSize * MIB,
      maxTotalBytes: options.maxUploadsSize * MIB,
    });
  } catch (error) {
    throw new CliError(`cannot keep uploads in ${directory}: ${(error as Error).message}`);
  }
}
