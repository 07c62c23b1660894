import assert from "node:assert/strict";
import {
  ConfigError,
  DEFAULT_WORKER_CONFIG,
  parseWorkerConfig,
  readWorkerConfig,
} from "./config.ts";

function message(text: string): string {
  try {
    parseWorkerConfig(text, "my.cfg");
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.message;
  }
  throw new Error("accepted");
}

Deno.test("the default configuration file says what the defaults are, all of them", () => {
  const path = new URL("../../config/default.cfg", import.meta.url).pathname;
  const { config, given } = readWorkerConfig(path);
  assert.deepEqual(config, DEFAULT_WORKER_CONFIG);
  // "auto" is the one that says that nothing is given.
  const keys = Object.keys(DEFAULT_WORKER_CONFIG).filter((key) => key !== "weights_cache_size");
  assert.deepEqual([...given].sort(), keys.sort());
});

Deno.test("keys that are left out have their defaults", () => {
  const { config, given } = parseWorkerConfig("weights_cache_size = 1_073_741_824", "my.cfg");
  assert.deepEqual(config, { ...DEFAULT_WORKER_CONFIG, weights_cache_size: 2 ** 30 });
  assert.deepEqual([...given], ["weights_cache_size"]);
});

Deno.test("what is wrong is named, with key, value and what was expected", () => {
  assert.match(
    message('io_pool_size = "big"'),
    /^my\.cfg: io_pool_size = "big"; expected a whole number of bytes, at least 1$/,
  );
  assert.match(message("max_models = 0"), /max_models = 0; expected a whole number from 1 to/);
  assert.match(message("weights_cache_page_size = 1.5"), /weights_cache_page_size = 1.5; expected/);
  assert.match(message("weights_cache_size = -1"), /weights_cache_size = -1; expected/);
  assert.match(message("allow_zero_size_inputs = 1"), /allow_zero_size_inputs = 1; expected true/);
  assert.match(message('weights_cache_size = "all"'), /= "all"; expected .* or "auto"/);
  assert.match(message("load_timeout_s = 0"), /load_timeout_s = 0; expected seconds, from 0.1/);
  assert.match(message("wieghts = 1"), /unknown key wieghts = 1; expected one of weights_cache_/);
  assert.match(message("max_models = 1\nio_pool_size = ["), /^my\.cfg:\d+:\d+: not valid TOML/);
  assert.match(message("weights_cache_size = 5"), /weights_cache_size = 5 makes 0 pages of/);
  assert.match(message("weights_cache_page_size = 1"), /makes 23085449216 pages of/);
});

Deno.test("a configuration that cannot be read is an error that names it", () => {
  assert.throws(() => readWorkerConfig("/no/such/file"), /cannot read .*\/no\/such\/file/);
});
