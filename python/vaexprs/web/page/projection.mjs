// Principal components of generated cells, and cells seen along them.

/** Cells of which the components are taken: enough for two of them, made in a blink. */
const N_CELLS = 512;
/** Genes of the largest variance that they are taken from. */
const N_GENES = 500;
/** Steps of the power method: what is left of other components falls with each. */
const N_STEPS = 30;
/** Counts per cell after normalisation. */
const PER_CELL = 1e4;
/** Most counts are below this: of each, the logarithm is taken once in a cell. */
const SMALL = 16;

/** Values on the scale that is drawn: log1p of counts per 10,000, or of values >= 0, or as made. */
export function scaled({ nCells, data, indptr }, scale) {
  if (scale === "linear") return data;
  const made = new Float32Array(data.length), known = new Float32Array(SMALL);
  for (let i = 0; i < nCells; ++i) {
    let total = 0;
    for (let j = indptr[i]; j < indptr[i + 1]; ++j) total += data[j];
    const factor = scale === "counts" && total > 0 ? PER_CELL / total : 1;
    for (let count = 1; count < SMALL; ++count) known[count] = Math.log1p(factor * count);
    for (let j = indptr[i]; j < indptr[i + 1]; ++j) {
      const value = data[j], isKnown = value < SMALL && Number.isInteger(value);
      made[j] = isKnown ? known[value] : Math.log1p(factor * value);
    }
  }
  return made;
}

/** Two components of cells made at the training frequencies, the same for every request. */
export function axesOf(model) {
  const blocks = [...model.blocks(model.plan(), { nCells: N_CELLS })];
  const nValues = blocks.reduce((sum, block) => sum + block.data.length, 0);
  const negative = blocks.some((block) => block.data.some((value) => value < 0));
  const scale = negative ? "linear" : blocks[0].library === null ? "log" : "counts";
  const values = blocks.map((block) => scaled(block, scale));
  const [sums, squares] = [new Float64Array(model.nGenes), new Float64Array(model.nGenes)];
  each(blocks, values, (_, gene, value) => {
    sums[gene] += value;
    squares[gene] += value * value;
  });
  const variance = squares.map((square, gene) => square / N_CELLS - (sums[gene] / N_CELLS) ** 2);
  const genes = Array.from(variance.keys()).sort((a, b) => variance[b] - variance[a]).slice(0, N_GENES);
  const slots = new Float64Array(model.nGenes).fill(-1);
  genes.forEach((gene, slot) => (slots[gene] = slot));
  const n = genes.length, matrix = new Float64Array(N_CELLS * n);
  for (let i = 0; i < matrix.length; ++i) matrix[i] = -sums[genes[i % n]] / N_CELLS;
  each(blocks, values, (cell, gene, value) => {
    if (slots[gene] >= 0) matrix[cell * n + slots[gene]] += value;
  });
  const weights = components(matrix, n).map((loading) =>
    slots.map((slot) => (slot < 0 ? 0 : loading[slot])));
  const offsets = weights.map((one) => -dot(one, sums) / N_CELLS);
  const axes = { scale, weights, offsets, valuesPerCell: nValues / N_CELLS };
  const points = blocks.map((block, i) => project(block, values[i], axes));
  axes.extent = [0, 1].map((side) => {
    const along = points.flatMap((part) => Array.from(part).filter((_, i) => i % 2 === side));
    const [low, high] = [Math.min(...along), Math.max(...along)];
    const margin = 0.08 * (high - low || 1); // cells of rare kinds lie farther out
    return [low - margin, high + margin];
  });
  return axes;
}

/** Return x and y of each cell of a block, in turn. */
export function project({ nCells, indices, indptr }, values, { weights: [along, across], offsets }) {
  const points = new Float32Array(2 * nCells);
  for (let i = 0; i < nCells; ++i) {
    let x = offsets[0], y = offsets[1];
    for (let j = indptr[i]; j < indptr[i + 1]; ++j) {
      x += along[indices[j]] * values[j];
      y += across[indices[j]] * values[j];
    }
    points[2 * i] = x;
    points[2 * i + 1] = y;
  }
  return points;
}

function each(blocks, values, visit) {
  let first = 0;
  blocks.forEach((block, at) => {
    for (let i = 0; i < block.nCells; ++i)
      for (let j = block.indptr[i]; j < block.indptr[i + 1]; ++j)
        visit(first + i, block.indices[j], values[at][j]);
    first += block.nCells;
  });
}

/** Two leading right singular vectors by the power method; each begins where nothing is drawn. */
function components(matrix, n) {
  const made = [];
  for (const start of [(i) => 1 + (i % 7), (i) => Math.cos(i)]) {
    let vector = Float64Array.from({ length: n }, (_, i) => start(i));
    for (let step = 0; step < N_STEPS; ++step) {
      for (const other of made) {
        const along = dot(vector, other);
        vector.forEach((value, i) => (vector[i] = value - along * other[i]));
      }
      const next = new Float64Array(n);
      for (let row = 0; row < matrix.length; row += n) {
        const cell = matrix.subarray(row, row + n), along = dot(cell, vector);
        for (let i = 0; i < n; ++i) next[i] += along * cell[i];
      }
      const length = Math.sqrt(dot(next, next)) || 1;
      vector = next.map((value) => value / length);
    }
    made.push(vector);
  }
  return made;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; ++i) sum += a[i] * b[i];
  return sum;
}
