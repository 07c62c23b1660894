/** Keeps the files in deploy/ such that the program takes what they give it. */
import assert from "node:assert/strict";
import { parse, parseAllDocuments } from "yaml";
import { argumentsProblem, shellWords } from "../testing_commands.ts";

const DEPLOY = new URL("../../../deploy/", import.meta.url);
const ENVIRONMENT = Deno.readTextFileSync(new URL("../docs/environment.md", DEPLOY));

const read = (path: string) => Deno.readTextFileSync(new URL(path, DEPLOY));

interface Container {
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly lifecycle?: { readonly preStop: { readonly sleep: { readonly seconds: number } } };
  readonly [probe: `${string}Probe`]: Readonly<Record<string, { readonly port?: string }>>;
}

interface Pod {
  readonly metadata: {
    readonly labels: Labels;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly terminationGracePeriodSeconds: number;
    readonly containers: readonly Container[];
    readonly volumes: readonly {
      readonly name: string;
      readonly persistentVolumeClaim?: { readonly claimName: string };
    }[];
  };
}

type Labels = Readonly<Record<string, string>>;

interface Resource {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Labels };
  // Each kind has its own; tests read what they know to be there.
  // deno-lint-ignore no-explicit-any
  readonly spec: any;
}

function documents(file: string): Resource[] {
  return parseAllDocuments(read(file)).map((document) => {
    assert.deepEqual(document.errors, [], file);
    return document.toJS();
  });
}

const kustomization = documents("kubernetes/kustomization.yaml")[0] as unknown as {
  readonly resources: readonly string[];
  readonly secretGenerator: readonly { readonly name: string; readonly files: readonly string[] }[];
};
const resources = kustomization.resources.flatMap((file) => documents(`kubernetes/${file}`));
const named = (kind: string) => resources.filter((resource) => resource.kind === kind);
const pods: readonly (readonly [string, Pod])[] = [...named("Deployment"), ...named("StatefulSet")]
  .map(({ metadata, spec }) => [metadata.name, spec.template]);
const containers = pods.flatMap(([name, pod]) =>
  pod.spec.containers.map((container) => [name, pod, container] as const)
);

const SECOND_PARTS: Readonly<Record<string, number>> = { s: 1, m: 60 };

/** Seconds of `--drain` among arguments. */
function drainSeconds(args: readonly string[]): number {
  const match = /^--drain=(\d+)(s|m)$/.exec(args.find((arg) => arg.startsWith("--drain=")) ?? "");
  assert.ok(match, `no --drain in ${args.join(" ")}`);
  return Number(match[1]) * SECOND_PARTS[match[2]!]!;
}

function selects(selector: Labels, labels: Labels): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

Deno.test("every file of deploy/kubernetes is applied", () => {
  const files = [...Deno.readDirSync(new URL("kubernetes", DEPLOY))].map(({ name }) => name)
    .filter((name) => name.endsWith(".yaml") && name !== "kustomization.yaml");
  assert.deepEqual(files.sort(), [...kustomization.resources].sort());
  assert.deepEqual(pods.map(([name]) => name).sort(), [
    "clockwork-controller",
    "clockwork-gateway",
    "clockwork-worker",
  ]);
});

for (const [name, pod, container] of containers) {
  Deno.test(`${name} is started with arguments that Clockwork takes, and has time to end`, async () => {
    assert.equal(await argumentsProblem(container.args), null);
    const pause = container.lifecycle?.preStop.sleep.seconds ?? 0;
    // The second is for what nodes tell their peers at the end.
    const needed = pause + drainSeconds(container.args) + 2;
    assert.ok(pod.spec.terminationGracePeriodSeconds > needed, `it needs ${needed} s`);
    for (const { name } of container.env ?? []) {
      assert.ok(ENVIRONMENT.includes(`\`${name}\``), name);
    }
  });

  Deno.test(`${name}: ports, volumes and files that are named are there`, () => {
    const ports = container.ports.map((port) => port.name);
    for (const [key, probe] of Object.entries(container)) {
      if (!key.endsWith("Probe")) continue;
      const { tcpSocket, httpGet } = probe as Record<string, { port: string }>;
      assert.ok(ports.includes((tcpSocket ?? httpGet)!.port), key);
    }
    const numbers = container.ports.map(({ containerPort }) => `${containerPort}`);
    assert.ok(numbers.includes(pod.metadata.annotations["prometheus.io/port"]!));
    const volumes = pod.spec.volumes.map((volume) => volume.name);
    assert.deepEqual(container.volumeMounts.map((mount) => mount.name).sort(), volumes.sort());
    const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
    const secrets = kustomization.secretGenerator.flatMap(({ files }) => files);
    for (const arg of container.args) {
      const path = /=(\/.*)$/.exec(arg)?.[1];
      if (path === undefined) continue;
      assert.ok(mounts.some((mount) => path === mount || path.startsWith(`${mount}/`)), arg);
      const token = /\/run\/tokens\/(.+)$/.exec(path)?.[1];
      assert.ok(token === undefined || secrets.includes(token), arg);
    }
    for (const { persistentVolumeClaim: claim } of pod.spec.volumes) {
      if (claim === undefined) continue;
      assert.ok(
        named("PersistentVolumeClaim").some((one) => one.metadata.name === claim.claimName),
      );
    }
  });
}

Deno.test("deploy/kubernetes-tls gives every pod a certificate, by variables that Clockwork reads", () => {
  const [overlay] = documents("kubernetes-tls/kustomization.yaml") as unknown as [{
    readonly resources: readonly string[];
    readonly secretGenerator: readonly { readonly files: readonly string[] }[];
    readonly patches: readonly { readonly target: { kind: string }; readonly patch: string }[];
  }];
  assert.deepEqual(overlay.resources, ["../kubernetes"]);
  const [{ target, patch }] = overlay.patches as [typeof overlay.patches[number]];
  for (const { kind } of resources.filter(({ spec }) => spec?.template !== undefined)) {
    assert.match(kind, new RegExp(`^(${target.kind})$`));
  }
  const added = new Map<string, unknown>(
    parse(patch).map(({ op, path, value }: { op: string; path: string; value: unknown }) => {
      assert.equal(op, "add");
      return [path.replace("/spec/template/spec/", ""), value];
    }),
  );
  const { mountPath } = added.get("containers/0/volumeMounts/-") as { mountPath: string };
  const env = added.get("containers/0/env") as { name: string; value: string }[];
  const files = overlay.secretGenerator[0]!.files.map((file) => `${mountPath}/${file}`);
  assert.deepEqual(env.map(({ value }) => value), files);
  assert.deepEqual(env.map(({ name }) => name), [
    "CLOCKWORK_TLS_CERT",
    "CLOCKWORK_TLS_KEY",
    "CLOCKWORK_TLS_CA",
  ]);
  assert.ok(added.has("volumes/-"));
  // The patch would replace variables that the pods have already.
  assert.ok(containers.every(([, , container]) => container.env === undefined));
});

Deno.test("services, policies and budgets select pods that are there, by ports that they have", () => {
  const labelled = pods.map(([, pod]) => [pod.metadata.labels, pod.spec.containers[0]!] as const);
  const portsOf = (selector: Labels) =>
    labelled.filter(([labels]) => selects(selector, labels))
      .flatMap(([, container]) => container.ports.map(({ name }) => name));
  for (const { metadata, spec } of named("Service")) {
    for (const { targetPort } of spec.ports) {
      assert.ok(portsOf(spec.selector).includes(targetPort), metadata.name);
    }
  }
  for (const { metadata, spec } of named("NetworkPolicy")) {
    for (const { ports } of spec.ingress) {
      for (const { port } of ports) {
        assert.ok(portsOf(spec.podSelector.matchLabels).includes(port), metadata.name);
      }
    }
  }
  for (const { metadata, spec } of named("PodDisruptionBudget")) {
    assert.notEqual(portsOf(spec.selector.matchLabels).length, 0, metadata.name);
  }
  // Nothing can be reached that no policy is for.
  for (const [labels] of labelled) {
    assert.ok(
      named("NetworkPolicy").some(({ spec }) => selects(spec.podSelector.matchLabels, labels)),
      JSON.stringify(labels),
    );
  }
});

Deno.test("nodes find each other by the names and ports of services", () => {
  const services = new Map(
    named("Service").map(({ metadata, spec }) => [
      metadata.name,
      spec.ports.map(({ port }: { port: number }) => port),
    ]),
  );
  const found = containers.flatMap(([, , { args }]) =>
    args.flatMap((arg) => [...arg.matchAll(/(clockwork-[a-z]+):(\d+)/g)])
  );
  assert.equal(found.length, 2);
  for (const [, name, port] of found) assert.ok(services.get(name!)?.includes(Number(port)), name);
});

for (const { name } of Deno.readDirSync(new URL("systemd", DEPLOY))) {
  Deno.test(`systemd's ${name} is right`, async () => {
    const settings = read(`systemd/${name}`).split("\n").flatMap((line) => {
      const match = /^(\w+)=(.*)$/.exec(line);
      return match === null ? [] : [[match[1]!, match[2]!] as const];
    });
    const values = (key: string) =>
      settings.filter(([one]) => one === key).map(([, value]) => value);
    const variables = new Map(
      values("Environment").map((value) => {
        const [variable, ...rest] = value.split("=");
        return [variable!, rest.join("=")];
      }),
    );
    const [program, ...args] = shellWords(values("ExecStart")[0]!).map((word) =>
      word.replace(/\$\{?(\w+)\}?/g, (_, variable) => {
        assert.ok(variables.has(variable), `${variable} has no default`);
        return variables.get(variable)!;
      })
    );
    assert.equal(program, "/usr/local/bin/clockwork");
    assert.equal(await argumentsProblem(args), null);
    assert.ok(Number(values("TimeoutStopSec")[0]) > drainSeconds(args) + 2);
    const credentials = values("LoadCredential").map((value) => value.split(":")[0]!);
    const used = args.flatMap((arg) => [...arg.matchAll(/%d\/(.+)$/g)].map(([, file]) => file!));
    assert.deepEqual(used.sort(), credentials.sort());
    for (const setting of ["DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict"]) {
      assert.ok(read(`systemd/${name}`).includes(`\n${setting}\n`), setting);
    }
  });
}

Deno.test("the image runs Clockwork, not as root, and is asked for its health", () => {
  const stages = read("Containerfile").split(/^FROM /m).slice(1);
  assert.equal(stages.length, 2);
  const [build, image] = stages as [string, string];
  assert.match(build, /deno task compile --output \/out\/clockwork/);
  assert.match(image, /COPY --from=build \/out\/clockwork \/usr\/local\/bin\/clockwork/);
  assert.match(image, /^USER [1-9]\d*:[1-9]\d*$/m);
  assert.match(image, /^HEALTHCHECK /m);
  assert.match(image, /^ENTRYPOINT \["\/usr\/local\/bin\/clockwork"\]$/m);
  // The version that the project is tested with.
  const { version } = Deno;
  assert.ok(build.includes(`deno:debian-${version.deno}`), `expected ${version.deno}`);
});
