/**
 * The drivers a kernel knows, by name. Refuses duplicates, other ABI versions and wrong shapes before
 * anything is attached.
 */
import { ConfigError } from "../base/errors.ts";
import { type DeviceDeclaration, DRIVER_ABI } from "./device.ts";

/** Device declarations by name. */
export class DeviceRegistry {
  readonly #devices = new Map<string, DeviceDeclaration>();

  /** @param declarations what to register at first */
  constructor(declarations: readonly unknown[] = []) {
    for (const declaration of declarations) this.register(declaration);
  }

  /** Adds a declaration. Throws ConfigError for a wrong shape, ABI or a name already taken. */
  register(candidate: unknown): void {
    const declaration = candidate as DeviceDeclaration;
    const name = declaration?.name;
    if (declaration?.kind !== "device" || typeof name !== "string" || !declaration.state) {
      throw new ConfigError("a driver module must default-export what defineDevice returns");
    }
    if (declaration.abi !== DRIVER_ABI) {
      throw new ConfigError(
        `driver ${name} was made for ABI ${declaration.abi}, this kernel has ${DRIVER_ABI}`,
      );
    }
    if (this.#devices.has(name)) throw new ConfigError(`two drivers are named ${name}`);
    this.#devices.set(name, declaration);
  }

  /** The declaration of a name. Throws ConfigError with the known names when there is none. */
  get(name: string): DeviceDeclaration {
    const declaration = this.#devices.get(name);
    if (declaration === undefined) {
      const known = [...this.#devices.keys()].join(", ");
      throw new ConfigError(`no driver is named ${name}; known: ${known}`);
    }
    return declaration;
  }
}
