/**
 * The `clockwork` command: finds the subcommand, loads only its module, and turns what it throws into a
 * message and an exit code.
 */
import { Command, CommanderError } from "commander";
import config from "../../deno.json" with { type: "json" };
import { CliError } from "./exit.ts";

interface Subcommand {
  readonly name: string;
  readonly summary: string;
  /** Permissions of Deno's that it may need: it gives up all others before it begins. */
  readonly needs: readonly Deno.PermissionName[];
  /** Imports the command's module: `client -h` should not have to load ONNX Runtime. */
  readonly load: () => Promise<Command>;
}

const ALL = ["net", "read", "write", "env", "sys", "ffi", "run"] as const;
/** What runs models: Dawn is native code, and asks about the machine. */
const DEVICE = ["net", "read", "write", "env", "sys", "ffi"] as const;

const subcommands: readonly Subcommand[] = [
  {
    name: "worker",
    summary: "run models on this machine's GPUs",
    needs: DEVICE,
    load: async () => (await import("./worker.ts")).workerCommand(),
  },
  {
    name: "worker-dummy",
    summary: "emulate a worker: any number of GPUs, times from the models' profiles",
    needs: ["net", "read", "write", "env"],
    load: async () => (await import("./worker_dummy.ts")).workerDummyCommand(),
  },
  {
    name: "controller",
    summary: "take clients' requests and schedule them on workers",
    needs: ["net", "read", "write", "env"],
    load: async () => (await import("./controller.ts")).controllerCommand(),
  },
  {
    name: "gateway",
    summary: "serve a controller's models over HTTP",
    needs: ["net", "read", "env"],
    load: async () => (await import("./gateway.ts")).gatewayCommand(),
  },
  {
    name: "infer",
    summary: "run one inference, and show the output",
    needs: ["net", "read", "env"],
    load: async () => (await import("./infer.ts")).inferCommand(),
  },
  {
    name: "client",
    summary: "run a workload against a controller",
    needs: ["net", "read", "env"],
    load: async () => (await import("./client.ts")).clientCommand(),
  },
  {
    name: "models",
    summary: "list, upload, load, unload and remove a controller's models",
    needs: ["net", "read", "env"],
    load: async () => (await import("./models.ts")).modelsCommand(),
  },
  {
    name: "report",
    summary: "summarize a controller's logs, as tables or a page with plots",
    needs: ["read", "write", "env"],
    load: async () => (await import("./report.ts")).reportCommand(),
  },
  {
    name: "simulate",
    summary: "run a whole cluster in virtual time",
    needs: ["read", "write", "env"],
    load: async () => (await import("./simulate.ts")).simulateCommand(),
  },
  {
    name: "profile",
    summary: "check whether this machine is suitable, and how fast it is",
    needs: ALL,
    load: async () => (await import("./profile.ts")).profileCommand(),
  },
  {
    name: "check-model",
    summary: "run one model and show its sizes and times",
    needs: DEVICE,
    load: async () => (await import("./check_model.ts")).checkModelCommand(),
  },
];

/** Runs the command line and returns the exit code. */
export async function run(args: readonly string[]): Promise<number> {
  try {
    const program = await makeProgram(args);
    await program.parseAsync([...args], { from: "user" });
    return Number(Deno.exitCode);
  } catch (error) {
    return exitCodeOf(error);
  }
}

/** Commander's definition of the program, with the subcommand that the arguments name. */
export async function makeProgram(args: readonly string[]): Promise<Command> {
  const program = new Command("clockwork")
    .description("Predictable serving of many DNN models on few GPUs.")
    .version(config.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .showHelpAfterError("(clockwork -h lists the commands and options)")
    .configureHelp({ showGlobalOptions: false });
  endByThrowing(program);
  // Both `clockwork NAME …` and `clockwork help NAME` name the one whose options are needed.
  const operands = args.filter((arg) => !arg.startsWith("-"));
  const wanted = operands[0] === "help" ? operands[1] : operands[0];
  for (const { name, summary, needs, load } of subcommands) {
    if (name !== wanted) {
      program.command(name).description(summary);
      continue;
    }
    giveUpAllBut(needs);
    const command = await load();
    command.name(name).description(command.description() || summary);
    finish(command, `clockwork ${name}`);
    program.addCommand(command);
  }
  return program;
}

/** So that a fault in one subcommand cannot do what only another needs. */
function giveUpAllBut(needs: readonly Deno.PermissionName[]): void {
  for (const name of ALL) if (!needs.includes(name)) Deno.permissions.revokeSync({ name });
}

/** What a command and those below it have in common. `called` is what they are called by. */
function finish(command: Command, called: string): void {
  command.helpOption("-h, --help", "print this help")
    .showHelpAfterError(`(${called} -h shows what it takes)`);
  endByThrowing(command);
  if (command.commands.length === 0) return;
  command.helpCommand("help [command]", "print the help of a command");
  for (const sub of command.commands) finish(sub, `${called} ${sub.name()}`);
}

/**
 * Lets `run` decide how the process ends. What Commander prints goes the way of all else: by Node's
 * streams, a reader that has left (`-h | head`) is an uncaught error, which it is not for `console`.
 */
function endByThrowing(command: Command): void {
  command.exitOverride().configureOutput({ writeOut: (text) => console.log(text.trimEnd()) });
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has printed it. Only help and version that were asked for are not errors.
    return error.exitCode === 0 ? 0 : 2;
  }
  if (error instanceof CliError) {
    console.error(`error: ${error.message}`);
    return error.exitCode;
  }
  if (error instanceof Deno.errors.NotCapable) {
    console.error(`error: ${error.message}; \`deno task clockwork\` grants what Clockwork needs`);
    return 1;
  }
  console.error(`error: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
  return 1;
}
