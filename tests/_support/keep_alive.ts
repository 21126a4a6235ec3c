/**
 * Loaded before the tests of each file (`deno task test`): keeps the event loop going while a test runs. Deno
 * counts an operation that was let go of (`unref`) as one that nobody waits for. Where that comes in the instant
 * in which the operation ends, as it does with workers on a loaded machine, it counts another one out that
 * somebody does wait for, and takes a test for stuck that waits for just that one.
 */
const define = Deno.test;

type Body = (context: Deno.TestContext) => void | Promise<void>;

function alive(body: Body): Body {
  const whole: Body = async (context) => {
    const timer = setInterval(() => {}, 1_000);
    try {
      await body(context);
    } finally {
      clearInterval(timer);
    }
  };
  return Object.defineProperty(whole, "name", { value: body.name });
}

/** The same arguments of `Deno.test`, with a body that keeps its event loop going. */
function withAlive(argument: unknown): unknown {
  if (typeof argument === "function") return alive(argument as Body);
  if (typeof argument !== "object" || argument === null || !("fn" in argument)) return argument;
  return { ...argument, fn: alive(argument.fn as Body) };
}

const test = Object.assign(
  (...given: unknown[]) => (define as (...given: unknown[]) => void)(...given.map(withAlive)),
  define,
);
Object.defineProperty(Deno, "test", { value: test });
