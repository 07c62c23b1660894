import assert from "node:assert/strict";
import { DEFAULT_USER_LIMITS } from "../../controller/admission.ts";
import { parseUsers, readUsers } from "./users_file.ts";

Deno.test("users have what the file says, then what it says of all, then the defaults", () => {
  const { others, named } = parseUsers(
    "[default]\nrate = 100\n[users.7]\nweight = 2.5\nburst = 9\n[users.8]\nrate = 5\n",
  );
  assert.deepEqual(others, { ...DEFAULT_USER_LIMITS, ratePerSecond: 100 });
  assert.deepEqual(named.get(7), { ...others, weight: 2.5, burst: 9 });
  assert.equal(named.get(8)!.ratePerSecond, 5);
  assert.deepEqual(parseUsers("").others, DEFAULT_USER_LIMITS);
});

Deno.test("what is wrong with the file is said", () => {
  const cases: [string, RegExp][] = [
    ["[users.bob]\nrate = 1", /bob/],
    ["[users.1]\nrate = 0", /^users\.1\.rate: /],
    ["[default]\nspeed = 1", /default: .*speed/],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => parseUsers(text), { message });
  }
  assert.throws(() => readUsers("/no/such/file"), /cannot read users from \/no\/such\/file: /);
});
