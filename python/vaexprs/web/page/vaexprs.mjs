// Generate single-cell expression from an artifact (.onnx), in browsers, Node.js and bundlers.
//
//     import { load } from "./vaexprs.mjs";
//     const model = await load("model.onnx");
//     const plan = model.plan({ cell_type: { NK: 200, B: 50 } });
//     for (const block of model.blocks(plan, { seed: 1 })) consume(block.data, block.indices);
//
// The cells are those of Python's Generator(..., runtime="portable"), bit for bit: all that is
// read and drawn is read and drawn by the C++ core, in vaexprs.wasm.gz. This file calls the C
// interface (vaexprs.h), whose layouts it knows as cpp/wasm/module.cpp states them.

export class VaexprsError extends Error {
  name = "VaexprsError";
}

const OPTIONS_BYTES = 64, CONDITION_BYTES = 8, ROW_BYTES = 16, BLOCK_BYTES = 48, ERROR_BYTES = 1024;
const END = 1; // VAEXPRS_END
const text = new TextDecoder(), utf8 = new TextEncoder();

/** Open an artifact from its URL (in Node.js also a path), its bytes, a Blob or a Response. */
export async function load(source, { wasm } = {}) {
  const [module, bytes] = await Promise.all([compiled(wasm), bytesOf(source)]);
  return new Model(module, bytes);
}

async function compiled(wasm) {
  if (wasm instanceof WebAssembly.Module) return wasm;
  let bytes = await bytesOf(wasm ?? new URL("./vaexprs.wasm.gz", import.meta.url));
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) { // gzip, unless the server has unpacked it
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    bytes = await new Response(unpacked).arrayBuffer();
  }
  return WebAssembly.compile(bytes);
}

async function bytesOf(source) {
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (ArrayBuffer.isView(source))
    return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (typeof source !== "string" && !(source instanceof URL))
    return new Uint8Array(await source.arrayBuffer());
  if (globalThis.process?.versions?.node && !/^(https?|data|blob):/.test(source)) {
    const files = "node:fs/promises"; // of a name that bundlers for browsers do not look up
    const { readFile } = await import(/* webpackIgnore: true */ /* @vite-ignore */ files);
    return readFile(/^file:/.test(source) ? new URL(source) : source);
  }
  const response = await fetch(source);
  if (!response.ok) throw new VaexprsError(`${source}: the server answers ${response.status}.`);
  return new Uint8Array(await response.arrayBuffer());
}

/** One instance of the module with the artifact open. A failure inside it ends it. */
class Core {
  constructor(module, bytes) {
    const fail = (message) => {
      this.failed = true;
      throw new VaexprsError((this.artifact === undefined ? "artifact: " : "") + this.string(message));
    };
    const wasi_snapshot_preview1 = { fd_close: () => 52 }; // ENOSYS: there are no files
    const instance = new WebAssembly.Instance(module, { host: { fail }, wasi_snapshot_preview1 });
    this.calls = instance.exports;
    this.calls._initialize();
    const at = this.memory(bytes.length), handle = this.memory(4);
    this.bytes.set(bytes, at);
    this.check("open_bytes", at, bytes.length, handle);
    this.artifact = this.view.getUint32(handle, true);
    this.calls.free(at);
    this.calls.free(handle);
  }

  get bytes() { return new Uint8Array(this.calls.memory.buffer); } // anew: memory may have grown
  get view() { return new DataView(this.calls.memory.buffer); }

  memory(n) {
    const at = this.calls.malloc(Math.max(n, 1)) >>> 0;
    if (at === 0) throw new VaexprsError("there is not enough memory.");
    return at;
  }

  string(at) {
    const bytes = this.bytes;
    return text.decode(bytes.slice(at >>> 0, bytes.indexOf(0, at >>> 0)));
  }

  /** Call a function that has an error for its last argument; return its status, 0 or END. */
  check(name, ...args) {
    const error = this.memory(ERROR_BYTES);
    let status;
    try {
      status = this.calls[`vaexprs_${name}`](...args, error);
    } catch (failure) {
      if (failure instanceof VaexprsError) throw failure;
      this.failed = true; // a trap
      throw new VaexprsError("the generator stopped, or there is not enough memory.", { cause: failure });
    }
    const message = status > END ? this.string(error) : "";
    this.calls.free(error);
    if (message) throw new VaexprsError(message);
    return status;
  }

  of(name, ...args) { return this.calls[`vaexprs_${name}`](this.artifact, ...args); }
  name(name, ...args) { return this.string(this.of(name, ...args)); }
}

class Model {
  #module;
  #bytes;
  #core;

  constructor(module, bytes) {
    this.#module = module;
    this.#bytes = bytes;
    const core = this.#opened();
    const names = (n, name) => Object.freeze(Array.from({ length: n }, (_, i) => name(i)));
    this.version = core.string(core.calls.vaexprs_version());
    this.likelihood = core.name("likelihood");
    this.nLatent = core.of("n_latent");
    this.genes = names(core.of("n_genes"), (i) => core.name("gene", i));
    this.keys = names(core.of("n_keys"), (key) => Object.freeze({
      name: core.name("key", key),
      categories: names(core.of("n_categories", key), (i) => core.name("category", key, i)),
    }));
    Object.freeze(this);
  }

  get nGenes() { return this.genes.length; }
  /** For a worker, which opens the same model by `load(bytes, { wasm })` without fetching. */
  get bytes() { return this.#bytes; }
  get wasm() { return this.#module; }

  #opened() {
    if (this.#core === undefined || this.#core.failed) this.#core = new Core(this.#module, this.#bytes);
    return this.#core;
  }

  plan(conditions = {}) {
    const table = Array.isArray(conditions);
    const rows = table ? conditions : [conditions];
    const made = rows.map((row, i) => this.#choice(row, table ? `row ${i + 1} of the design` : ""));
    if (table) {
      const design = made.map(({ chosen, n }) => ({ conditions: chosen, nCells: n }));
      return frozenPlan([], design);
    }
    const { chosen, numbers } = made[0];
    if (numbers === undefined) return frozenPlan(chosen, undefined);
    const [key, byCategory] = numbers;
    return frozenPlan([], Object.entries(byCategory).map(([category, n]) => ({
      conditions: [...chosen, [key, category]],
      nCells: wholeNumber(`the number of cells of ${category}`, n, Number.MAX_SAFE_INTEGER),
    })));
  }

  /** Return pairs of key and category, and the numbers that stand beside them. */
  #choice(row, what) {
    const chosen = [];
    let numbers, n;
    if (row === null || typeof row !== "object" || Array.isArray(row))
      throw new VaexprsError(`${what || "conditions"} must be an object, such as { ${this.keys[0]?.name ?? "cell_type"}: "..." }, not ${row}.`);
    for (const [name, wanted] of Object.entries(row)) {
      if (what && name === "n_cells") {
        n = wholeNumber(`n_cells of ${what}`, wanted, Number.MAX_SAFE_INTEGER);
        continue;
      }
      const key = this.keys.find((one) => one.name === name);
      if (key === undefined) throw unknown("condition key", name, this.keys.map((one) => one.name));
      const isObject = typeof wanted === "object" && wanted !== null;
      const isNumbers = isObject && !Array.isArray(wanted) && !(wanted instanceof Set);
      if (isNumbers && (what || numbers !== undefined))
        throw new VaexprsError(`${name}: numbers of cells are given for one key alone; a design table crosses several.`);
      const categories = isNumbers ? Object.keys(wanted) : isObject ? [...wanted] : [wanted];
      if (categories.length === 0) throw new VaexprsError(`${name}: no category is chosen.`);
      for (const category of categories.map(String))
        if (!key.categories.includes(category)) throw unknown(`category of ${name}`, category, key.categories);
      if (isNumbers) numbers = [name, wanted];
      else chosen.push(...categories.map((category) => [name, String(category)]));
    }
    if (what && n === undefined) throw new VaexprsError(`${what} has no n_cells.`);
    return { chosen, numbers, n };
  }

  blocks(plan = this.plan(), { nCells, seed = 0, firstCell = 0, library = 0 } = {}) {
    const most = 2n ** 63n - 1n;
    const first = wholeNumber("firstCell", firstCell, most);
    if (!Array.isArray(plan?.conditions))
      throw new VaexprsError("blocks takes a plan: pass model.plan(conditions).");
    if (nCells === undefined && plan.nCells === undefined)
      throw new VaexprsError("nCells is missing: give it, or a plan of numbers of cells.");
    const n = nCells === undefined ? BigInt(plan.nCells) - BigInt(first) : wholeNumber("nCells", nCells, most);
    const wantedSeed = wholeNumber("seed", seed, 2n ** 64n - 1n);
    if (!(library >= 0 && library < Infinity)) throw new VaexprsError(`library must be a positive number, not ${library}.`);
    if (BigInt(n) <= 0n) return [].values();
    const core = this.#opened();
    return new Blocks(core, start(core, plan, { n, wantedSeed, first, library }), this);
  }
}

const frozenPlan = (conditions, design) => Object.freeze({
  conditions,
  design,
  nCells: design?.reduce((sum, row) => sum + Number(row.nCells), 0),
});

function unknown(what, name, known) {
  const shown = known.slice(0, 20).join(", ") + (known.length > 20 ? ", ..." : "");
  return new VaexprsError(`unknown ${what} "${name}": there ${known.length === 1 ? "is" : "are"} ${shown || "none"}.`);
}

function wholeNumber(what, value, most) {
  const whole = typeof value === "bigint" || Number.isSafeInteger(value);
  if (!whole || value < 0 || value > most)
    throw new VaexprsError(`${what} must be a whole number from 0 to ${most}, not ${value}.`);
  return value;
}

/** Lay a request out in the memory of the module and start it; return the handle of the run. */
function start(core, plan, { n, wantedSeed, first, library }) {
  const held = [];
  const hold = (bytes) => (held.push(core.memory(bytes)), held.at(-1));
  const hang = (name) => {
    const bytes = utf8.encode(name + "\0"), at = hold(bytes.length);
    core.bytes.set(bytes, at);
    return at;
  };
  const pairs = (conditions) => {
    const at = hold(conditions.length * CONDITION_BYTES);
    conditions.forEach((pair, i) => {
      const [key, category] = pair.map(hang);
      core.view.setUint32(at + i * CONDITION_BYTES, key, true);
      core.view.setUint32(at + i * CONDITION_BYTES + 4, category, true);
    });
    return at;
  };
  const options = hold(OPTIONS_BYTES), handle = hold(4), design = plan.design ?? [];
  core.calls.vaexprs_default_options(options);
  const conditions = pairs(plan.conditions), rows = hold(design.length * ROW_BYTES);
  design.forEach((row, i) => {
    const at = rows + i * ROW_BYTES, listed = pairs(row.conditions);
    core.view.setUint32(at, listed, true);
    core.view.setUint32(at + 4, row.conditions.length, true);
    core.view.setBigUint64(at + 8, BigInt(row.nCells), true);
  });
  const view = core.view;
  view.setBigUint64(options + 8, BigInt(wantedSeed), true);
  view.setBigUint64(options + 16, BigInt(first), true);
  view.setBigUint64(options + 24, BigInt(n), true);
  [conditions, plan.conditions.length, rows, design.length].forEach((value, i) =>
    view.setUint32(options + 32 + 4 * i, value, true));
  view.setFloat32(options + 48, library, true);
  core.check("start", core.artifact, options, handle);
  const run = core.view.getUint32(handle, true);
  held.forEach((at) => core.calls.free(at));
  return run;
}

/** Iterates over the blocks of a run. Arrays are copies, free to keep and to send elsewhere. */
class Blocks {
  #core;
  #run;
  #model;
  #at;

  constructor(core, run, model) {
    this.#core = core;
    this.#run = run;
    this.#model = model;
    this.#at = core.memory(BLOCK_BYTES);
  }

  [Symbol.iterator]() { return this; }

  next() {
    if (this.#run === 0) return { done: true, value: undefined };
    if (this.#core.check("next", this.#run, this.#at) === END) return this.return();
    return { done: false, value: this.#block() };
  }

  return(value) {
    if (this.#run !== 0) {
      this.#core.calls.vaexprs_stop(this.#run);
      this.#core.calls.free(this.#at);
      this.#run = 0;
    }
    return { done: true, value };
  }

  #block() {
    const { buffer } = this.#core.calls.memory, view = this.#core.view, at = this.#at;
    const [nCells, nValues, data, indices, indptr, codes, unseen, z, library] =
      Array.from({ length: 9 }, (_, i) => view.getUint32(at + 8 + 4 * i, true));
    const copy = (Kind, from, length) => new Kind(buffer, from, length).slice();
    return {
      firstCell: Number(view.getBigUint64(at, true)),
      nCells,
      data: copy(Float32Array, data, nValues),
      indices: copy(Int32Array, indices, nValues),
      // Of 64 bits in memory; a block has fewer than 2^31 values.
      indptr: new Int32Array(buffer, indptr, 2 * (nCells + 1)).filter((_, i) => i % 2 === 0),
      codes: copy(Int32Array, codes, nCells * this.#model.keys.length),
      unseen: copy(Uint8Array, unseen, nCells),
      z: copy(Float32Array, z, nCells * this.#model.nLatent),
      library: library === 0 ? null : copy(Float32Array, library, nCells),
    };
  }
}
