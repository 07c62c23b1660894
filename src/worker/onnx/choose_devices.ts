/** Chooses the devices of a worker: all GPUs, those that the user names, or the CPU. */
import type { Clock } from "../../core/clock.ts";
import { GpuSlot, type GpuSlotOptions } from "./gpu_slot.ts";
import { GpuThread } from "./gpu_thread.ts";
import type { DeviceKind, DeviceTarget } from "./protocol.ts";

/** What the user may ask for. */
export const DEVICE_CHOICES = ["auto", "dawn", "deno", "wasm"] as const;
export type DeviceChoice = typeof DEVICE_CHOICES[number];

/** No device could be opened; the message has the reason of each. */
export class NoDeviceError extends Error {
  override readonly name = "NoDeviceError";
}

export interface DeviceWish {
  readonly device: DeviceChoice;
  /** Dawn's adapters, by number or a part of the name. */
  readonly gpus?: readonly string[];
  /** Exactly these, instead. */
  readonly targets?: readonly DeviceTarget[];
}

/**
 * The adapters that a user names, each by its number in `available` or by a part of its name.
 *
 * @throws {NoDeviceError} when there is none of that name.
 */
export function pickAdapters(available: readonly string[], wanted: readonly string[]): string[] {
  const listed = available.map((name, i) => `${i}: ${name}`).join(", ") || "none";
  const picked = wanted.map((text) => {
    const lower = text.toLowerCase();
    const found = /^\d+$/.test(text)
      ? available[Number(text)]
      : available.find((name) => name.toLowerCase().includes(lower));
    if (found === undefined) {
      throw new NoDeviceError(`there is no GPU ${text}; Dawn's adapters are: ${listed}`);
    }
    return found;
  });
  return [...new Set(picked)];
}

async function dawnTargets(
  clock: Clock,
  wanted: readonly string[] | undefined,
  passedOver: string[],
): Promise<DeviceTarget[]> {
  const all = await GpuThread.listAdapters(clock);
  const names = [...new Set(all)];
  if (names.length < all.length) {
    passedOver.push(
      "dawn: several adapters have the same name, by which only the first can be had; start a " +
        "worker for each, in containers that see one GPU each",
    );
  }
  if (wanted !== undefined) {
    return pickAdapters(all, wanted).map((adapter) => ({ kind: "dawn", adapter }));
  }
  if (names.length === 0) return [{ kind: "dawn", adapter: null }];
  return names.map((adapter) => ({ kind: "dawn", adapter }));
}

/**
 * Opens devices into `slots`, and says why better ones were not taken.
 *
 * @param slotOptions makes the options of one; `gpuId` tells its place in `slots` once it is there.
 * @throws {NoDeviceError} when none can be opened.
 */
export async function openSlots(
  clock: Clock,
  wish: DeviceWish,
  slots: GpuSlot[],
  slotOptions: (target: DeviceTarget, gpuId: () => number) => GpuSlotOptions,
): Promise<string[]> {
  const passedOver: string[] = [];
  const openOne = async (target: DeviceTarget, software: boolean): Promise<void> => {
    let slot: GpuSlot | undefined;
    try {
      slot = await GpuSlot.open(clock, slotOptions(target, () => slots.indexOf(slot!)));
    } catch (error) {
      const name = target.adapter === null ? target.kind : `${target.kind}, ${target.adapter}`;
      passedOver.push(`${name}: ${(error as Error).message}`);
      return;
    }
    if (slot.info.software && !software) {
      slot.close("not chosen");
      passedOver.push(
        `${target.kind}: ${slot.info.name} is emulated on the CPU, where wasm is faster; ` +
          `--device ${target.kind} takes it all the same`,
      );
      return;
    }
    slots.push(slot);
  };
  if (wish.targets !== undefined) {
    for (const target of wish.targets) await openOne(target, true);
  } else {
    const named = wish.gpus !== undefined;
    if (named && wish.device !== "auto" && wish.device !== "dawn") {
      throw new NoDeviceError(`--gpu chooses among Dawn's adapters, not with ${wish.device}`);
    }
    const kinds: readonly DeviceKind[] = named
      ? ["dawn"]
      : wish.device === "auto"
      ? ["dawn", "deno", "wasm"]
      : [wish.device];
    for (const kind of kinds) {
      let targets: DeviceTarget[] = [{ kind, adapter: null }];
      if (kind === "dawn") {
        try {
          targets = await dawnTargets(clock, wish.gpus, passedOver);
        } catch (error) {
          if (error instanceof NoDeviceError) throw error;
          passedOver.push(`dawn: ${(error as Error).message}`);
          continue;
        }
      }
      for (const target of targets) await openOne(target, named || wish.device !== "auto");
      if (slots.length > 0) break;
    }
  }
  if (slots.length === 0) throw new NoDeviceError(`no usable device: ${passedOver.join("; ")}`);
  return passedOver;
}
