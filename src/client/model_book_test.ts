import assert from "node:assert/strict";
import { type Load, ModelBook } from "./model_book.ts";

const SIZES = { input_size: 12, output_size: 8 };

function load(path: string): Load {
  return { key: path, path, copies: 1, workers: [], handles: [] };
}

Deno.test("a model that gets the id of one that was being unloaded stays when that one has left", () => {
  const book = new ModelBook();
  const staying = load("a");
  const [a] = book.loaded(staying, { model_id: 0, copies_created: 1, ...SIZES });
  const [b] = book.loaded(load("b"), { model_id: 1, copies_created: 1, ...SIZES });
  book.leaving(b!);
  book.lost();
  // A controller that began anew loads the first as its number 1, and knows nothing of the other.
  book.loaded(staying, { model_id: 1, copies_created: 1, ...SIZES });
  const listing = [{ model_id: 1, model_path: "a", ...SIZES }];
  assert.deepEqual(book.check(listing), []);
  assert.deepEqual([book.standing(a!), book.standing(b!)], ["current", "gone"]);
  book.left(b!, true);
  assert.deepEqual([book.standing(a!), book.standing(b!)], ["current", "gone"]);
});
