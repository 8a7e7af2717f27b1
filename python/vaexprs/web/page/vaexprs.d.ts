/** What cannot be read, or a request that cannot be served, in a sentence. */
export class VaexprsError extends Error {}

/** A URL (in Node.js also a path), or what holds the bytes. */
export type Source = string | URL | ArrayBuffer | ArrayBufferView | Blob | Response;

/** Open an artifact (.onnx). `wasm` is the module, by default `vaexprs.wasm.gz` beside this file. */
export function load(source: Source, options?: { wasm?: Source | WebAssembly.Module }): Promise<Model>;

export interface Key {
  readonly name: string;
  readonly categories: readonly string[];
}

export interface Model {
  readonly version: string;
  readonly likelihood: string;
  readonly nLatent: number;
  readonly nGenes: number;
  readonly genes: readonly string[];
  readonly keys: readonly Key[];
  /** The artifact and the module, for `load` in a worker. */
  readonly bytes: Uint8Array;
  readonly wasm: WebAssembly.Module;
  /** Which cells to make; without conditions by the training frequencies. */
  plan(conditions?: Conditions | readonly DesignRow[]): Plan;
  /** Make the cells of a plan, block by block. The same seed gives the same cells. */
  blocks(plan?: Plan, options?: BlockOptions): IterableIterator<Block>;
}

export type Category = string | number | boolean;

/**
 * By key: a category; several, of which training frequencies choose; or numbers of cells by
 * category (of one key). Keys left out follow the training frequencies, given the others.
 */
export interface Conditions {
  [key: string]: Category | readonly Category[] | ReadonlySet<Category> | { [category: string]: number };
}

/** So many cells of the categories that stand beside `n_cells`. */
export interface DesignRow {
  n_cells: number;
  [key: string]: Category | readonly Category[];
}

/** Plain data, which `postMessage` may send. */
export interface Plan {
  readonly conditions: readonly (readonly [key: string, category: string])[];
  readonly design?: readonly { readonly conditions: Plan["conditions"]; readonly nCells: number }[];
  /** Cells in all, where the plan says so. */
  readonly nCells?: number;
}

export interface BlockOptions {
  /** Number of cells; needed where the plan does not say. */
  nCells?: number | bigint;
  /** A whole number below 2^64; 0 by default. */
  seed?: number | bigint;
  /** Index of the first cell, for runs that are cut into parts; 0 by default. */
  firstCell?: number | bigint;
  /** Total counts of every cell in place of drawn ones (count likelihoods). */
  library?: number;
}

/** Consecutive cells: values as rows of a sparse matrix (CSR), and what they were made from. */
export interface Block {
  firstCell: number;
  nCells: number;
  data: Float32Array;
  /** Genes of the values, rising in a row. */
  indices: Int32Array;
  /** Where each row begins, and the last ends: nCells + 1. */
  indptr: Int32Array;
  /** Places of the categories: nCells x keys. */
  codes: Int32Array;
  /** 1 where training had no cell of these categories: nCells. */
  unseen: Uint8Array;
  /** Latent variables: nCells x nLatent. */
  z: Float32Array;
  /** Total counts that the decoder was given: nCells, or null where the likelihood has none. */
  library: Float32Array | null;
}
