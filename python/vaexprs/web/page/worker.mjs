// Makes cells beside the page, which stays responsive and ends this worker to cancel.

import { load } from "./vaexprs.mjs";
import { axesOf, project, scaled } from "./projection.mjs";

/** Values, of 8 bytes with their genes, that a page may hold: half a gigabyte, as tabs can. */
const MOST_VALUES = 60e6;

onmessage = async ({ data: { bytes, wasm, axes, plan, options } }) => {
  try {
    const model = await load(bytes, { wasm });
    axes ??= axesOf(model);
    postMessage({ axes });
    const n = options.nCells ?? plan.nCells, most = Math.floor(MOST_VALUES / axes.valuesPerCell);
    if (n > most)
      throw new Error(`${n} cells do not fit into a page: ask for at most ${most}, or use the command line.`);
    for (const block of model.blocks(plan, options)) {
      const values = scaled(block, axes.scale), points = project(block, values, axes);
      const arrays = [points, values, ...Object.values(block).filter(ArrayBuffer.isView)];
      postMessage({ block, values, points }, [...new Set(arrays.map((array) => array.buffer))]);
    }
    postMessage({ done: true });
  } catch (error) {
    postMessage({ error: error.message });
  }
};
