/** Options of plugins, read from text with clear refusals. */

type Options = Readonly<Record<string, string>>;

/** An option that makes no sense. */
export class ConfigOptionError extends Error {
  override name = "ConfigError";

  constructor(option: string, expected: string) {
    super(`the option "${option}" takes ${expected}`);
  }
}

/** A whole number, if given. Throws ConfigOptionError. */
export function wholeOption(options: Options, name: string): number | undefined {
  const text = options[name];
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(number)) return number;
  throw new ConfigOptionError(name, `a whole number, not "${text}"`);
}

/** An option that has to be given. Throws ConfigOptionError. */
export function neededOption(options: Options, name: string, what: string): string {
  const text = options[name];
  if (text === undefined || text === "") throw new ConfigOptionError(name, what);
  return text;
}
