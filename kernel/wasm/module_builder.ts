/**
 * Puts generated functions together into a WebAssembly module.
 * Implements the module part of the WebAssembly Core Specification 2.0 (binary format) and the
 * `metadata.code.branch_hint` custom section (branch hinting proposal).
 *
 * Invariant: the same calls in the same order give the same bytes; nothing depends on host state.
 */
import { assert } from "../base/assert.ts";
import { ByteSink } from "./byte_sink.ts";
import {
  type FinishedFunction,
  FunctionBuilder,
  type FunctionReference,
} from "./function_builder.ts";
import { SECTION, VALUE_TYPE, type WasmType } from "./opcodes.ts";

/** The memory that a module imports as `env.memory`. */
export interface MemoryImport {
  /** Smallest size in 64 KiB pages. */
  readonly minimum: number;
  /** Largest size in 64 KiB pages. */
  readonly maximum: number;
  /** Whether it is shared between threads. */
  readonly shared: boolean;
}

interface Defined {
  readonly finish: () => FinishedFunction;
  readonly typeIndex: number;
  readonly exported: boolean;
}

/** Builds one module. All imports come before the first function. */
export class ModuleBuilder {
  readonly #types: string[] = [];
  readonly #imports: { name: string; typeIndex: number }[] = [];
  readonly #functions: (Defined | undefined)[] = [];
  readonly #declared: { reference: FunctionReference; typeIndex: number }[] = [];
  readonly #exported = new Set<number>();
  readonly #elements: { slot: number; index: number }[] = [];
  readonly #data: { address: number; bytes: Uint8Array }[] = [];

  /**
   * @param memory the memory all functions use
   * @param importsTable whether the module imports `env.table` (funcref)
   */
  constructor(readonly memory: MemoryImport, readonly importsTable = false) {}

  /** Whether the module carries the names of its functions, for profiles and stack traces. */
  named = false;

  /** Index of a function type, made when it is new. */
  typeIndex(parameters: readonly WasmType[], result: WasmType | undefined): number {
    const key = `${parameters.join(",")}>${result ?? ""}`;
    const known = this.#types.indexOf(key);
    return known >= 0 ? known : this.#types.push(key) - 1;
  }

  /** Imports `env.<name>`. Throws `Broken` after a function was declared. */
  import<const P extends readonly WasmType[], R extends WasmType | undefined>(
    name: string,
    parameters: P,
    result: R,
  ): FunctionReference<P, R> {
    assert(this.#declared.length === 0, `import ${name} after a function`);
    const index = this.#imports.length;
    this.#imports.push({ name, typeIndex: this.typeIndex(parameters, result) });
    return { index, name, parameters, result };
  }

  /** Names a function that is defined later, so that others can call it. */
  declare<const P extends readonly WasmType[], R extends WasmType | undefined>(
    name: string,
    parameters: P,
    result: R,
  ): FunctionReference<P, R> {
    const index = this.#imports.length + this.#declared.length;
    const reference = { index, name, parameters, result };
    this.#declared.push({ reference, typeIndex: this.typeIndex(parameters, result) });
    this.#functions.push(undefined);
    return reference;
  }

  /** Gives a declared function its body. `exported` makes it callable from outside under its name. */
  define<P extends readonly WasmType[], R extends WasmType | undefined>(
    reference: FunctionReference<P, R>,
    body: (builder: FunctionBuilder<P>) => void,
    exported = false,
  ): void {
    const builder = new FunctionBuilder<P>(reference);
    body(builder);
    this.#define(reference, () => builder.finish(), exported);
  }

  /** Gives a declared function a body that was written for a module with the same types and imports. */
  defineFinished(reference: FunctionReference, finished: FinishedFunction): void {
    this.#define(reference, () => finished, false);
  }

  #define(
    reference: Pick<FunctionReference, "index" | "name">,
    finish: () => FinishedFunction,
    exported: boolean,
  ): void {
    const position = reference.index - this.#imports.length;
    assert(this.#functions[position] === undefined, `${reference.name} is defined twice`);
    const { typeIndex } = this.#declared[position]!;
    this.#functions[position] = { finish, typeIndex, exported };
  }

  /** Declares and defines a function in one step. */
  function<const P extends readonly WasmType[], R extends WasmType | undefined>(
    name: string,
    parameters: P,
    result: R,
    body: (builder: FunctionBuilder<P>) => void,
    exported = false,
  ): FunctionReference<P, R> {
    const reference = this.declare(name, parameters, result);
    this.define(reference, body, exported);
    return reference;
  }

  /** Makes a function callable from outside under its name. */
  export(reference: FunctionReference): void {
    this.#exported.add(reference.index);
  }

  /** Puts a function into the imported table at instantiation. */
  element(slot: number, target: FunctionReference): void {
    assert(this.importsTable, "an element needs the imported table");
    this.#elements.push({ slot, index: target.index });
  }

  /** Puts bytes at a place in memory at instantiation. */
  data(address: number, bytes: Uint8Array): void {
    this.#data.push({ address, bytes });
  }

  /** The module's bytes. Throws `Broken` when a declared function has no body. */
  build(): Uint8Array<ArrayBuffer> {
    return this.buildWithPlaces().bytes;
  }

  /** The module's bytes, and where in them the body of each function starts. */
  buildWithPlaces(): { readonly bytes: Uint8Array<ArrayBuffer>; readonly bodies: number[] } {
    const out = new ByteSink(65536);
    out.append([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const functions = this.#functions.map((defined, i) => {
      assert(defined !== undefined, `${this.#declared[i]!.reference.name} has no body`);
      return { ...defined, ...defined.finish() };
    });
    out.section(SECTION.type, this.#typeSection());
    out.section(SECTION.import, this.#importSection());
    const types = new ByteSink();
    types.unsigned(functions.length);
    for (const f of functions) types.unsigned(f.typeIndex);
    out.section(SECTION.function, types);
    out.section(SECTION.export, this.#exportSection());
    if (this.#elements.length > 0) out.section(SECTION.element, this.#elementSection());
    const hints = this.#hintSection(functions.map((f) => f.hints));
    if (hints !== undefined) out.section(SECTION.custom, hints);
    const code = new ByteSink(65536);
    code.unsigned(functions.length);
    const inSection = functions.map(({ body }) => {
      code.unsigned(body.length);
      const at = code.length;
      code.append(body);
      return at;
    });
    out.section(SECTION.code, code);
    const sectionAt = out.length - code.length;
    if (this.#data.length > 0) out.section(SECTION.data, this.#dataSection());
    if (this.named) out.section(SECTION.custom, this.#nameSection());
    return { bytes: out.bytes().slice(), bodies: inSection.map((at) => sectionAt + at) };
  }

  #typeSection(): ByteSink {
    const types = new ByteSink();
    types.unsigned(this.#types.length);
    for (const key of this.#types) {
      const [parameters, result] = key.split(">") as [string, string];
      const list = parameters === "" ? [] : parameters.split(",");
      types.byte(0x60);
      types.unsigned(list.length);
      for (const type of list) types.byte(VALUE_TYPE[type as WasmType]);
      types.unsigned(result === "" ? 0 : 1);
      if (result !== "") types.byte(VALUE_TYPE[result as WasmType]);
    }
    return types;
  }

  #importSection(): ByteSink {
    const imports = new ByteSink();
    imports.unsigned(this.#imports.length + 1 + (this.importsTable ? 1 : 0));
    for (const { name, typeIndex } of this.#imports) {
      imports.name("env");
      imports.name(name);
      imports.byte(0);
      imports.unsigned(typeIndex);
    }
    imports.name("env");
    imports.name("memory");
    imports.byte(2);
    imports.byte(this.memory.shared ? 3 : 1);
    imports.unsigned(this.memory.minimum);
    imports.unsigned(this.memory.maximum);
    if (this.importsTable) {
      imports.name("env");
      imports.name("table");
      imports.append([1, 0x70, 0, 0]);
    }
    return imports;
  }

  #exportSection(): ByteSink {
    const exported = this.#declared.filter(({ reference }, i) =>
      this.#functions[i]!.exported || this.#exported.has(reference.index)
    );
    const exports = new ByteSink();
    exports.unsigned(exported.length);
    for (const { reference } of exported) {
      exports.name(reference.name);
      exports.byte(0);
      exports.unsigned(reference.index);
    }
    return exports;
  }

  #elementSection(): ByteSink {
    const elements = new ByteSink();
    elements.unsigned(this.#elements.length);
    for (const { slot, index } of this.#elements) {
      elements.append([0, 0x41]);
      elements.signed32(slot);
      elements.byte(0x0b);
      elements.unsigned(1);
      elements.unsigned(index);
    }
    return elements;
  }

  #dataSection(): ByteSink {
    const segments = new ByteSink();
    segments.unsigned(this.#data.length);
    for (const { address, bytes } of this.#data) {
      segments.append([0, 0x41]);
      segments.signed32(address);
      segments.byte(0x0b);
      segments.unsigned(bytes.length);
      segments.append(bytes);
    }
    return segments;
  }

  /** The "name" section (WebAssembly appendix, "Name Section"): functions only. */
  #nameSection(): ByteSink {
    const names = new ByteSink();
    names.unsigned(this.#declared.length);
    for (const { reference } of this.#declared) {
      names.unsigned(reference.index);
      names.name(reference.name);
    }
    const section = new ByteSink();
    section.name("name");
    section.byte(1);
    section.unsigned(names.length);
    section.append(names.bytes());
    return section;
  }

  #hintSection(all: FinishedFunction["hints"][]): ByteSink | undefined {
    const hinted = all.map((hints, i) => ({ hints, index: this.#imports.length + i }))
      .filter(({ hints }) => hints.length > 0);
    if (hinted.length === 0) return undefined;
    const section = new ByteSink();
    section.name("metadata.code.branch_hint");
    section.unsigned(hinted.length);
    for (const { hints, index } of hinted) {
      section.unsigned(index);
      section.unsigned(hints.length);
      for (const { at, likely } of hints) {
        section.unsigned(at);
        section.append([1, likely ? 1 : 0]);
      }
    }
    return section;
  }
}
