// Means of genes by category, and the genes that tell a category from all others.

export class Means {
  constructor(nCategories, nGenes) {
    this.nCells = new Float64Array(nCategories);
    this.totals = new Float64Array(nCategories); // of values as made
    this.sums = Array.from({ length: nCategories }, () => new Float64Array(nGenes));
    this.all = new Float64Array(nGenes);
  }

  /** Add the cells of a block; `values` are on the scale on which genes are compared. */
  add(block, values, codes) {
    for (let i = 0; i < block.nCells; ++i) {
      const sums = this.sums[codes[i]];
      this.nCells[codes[i]] += 1;
      for (let j = block.indptr[i]; j < block.indptr[i + 1]; ++j) {
        sums[block.indices[j]] += values[j];
        this.all[block.indices[j]] += values[j];
        this.totals[codes[i]] += block.data[j];
      }
    }
  }

  /** Mean of a gene in a category, and in all other cells (NaN where there is none). */
  of(gene, category) {
    const here = this.sums[category][gene], n = this.nCells[category];
    const others = this.nCells.reduce((sum, one) => sum + one, 0) - n;
    return [here / n, others > 0 ? (this.all[gene] - here) / others : NaN];
  }

  /** Genes whose mean in a category exceeds that of the others most. */
  markers(category, n) {
    const difference = this.all.map((_, gene) => {
      const [here, others] = this.of(gene, category);
      return here - (others || 0);
    });
    return Array.from(difference.keys()).sort((a, b) => difference[b] - difference[a]).slice(0, n);
  }
}
