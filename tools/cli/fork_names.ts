/** Names that are tried for VMs that are made from others (issue 5, section 6). */

/** Most numbers that are tried, for each VM. */
const NUMBERS_FOR_EACH = 100;

/** Names of forks: `name` is one fork's own, and what several ones' begin with. */
export function* forkNames(
  parent: string,
  count: number,
  name: string | undefined,
): Generator<string, void, undefined> {
  if (name !== undefined && count === 1) return yield name;
  const last = count * NUMBERS_FOR_EACH;
  for (let number = 1; number <= last; number++) yield `${name ?? parent}-${number}`;
}

/** Names of a restored VM: its own, or one with a number where that means something else already. */
export function* restoredNames(
  own: string,
  name: string | undefined,
  isGuest: boolean,
): Generator<string, void, undefined> {
  if (name !== undefined) return yield name;
  if (!isGuest) yield own;
  for (let number = isGuest ? 1 : 2; number <= NUMBERS_FOR_EACH; number++) yield `${own}-${number}`;
}
