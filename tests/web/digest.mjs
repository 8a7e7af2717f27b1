// A hash of cells, as tests/web/conftest.py computes it from Python's; runs in Node.js and in a page.
export default async ({ module, model, conditions, options }) => {
  const { load } = await import(module);
  const opened = await load(Array.isArray(model) ? new Uint8Array(model) : model);
  const names = ["codes", "unseen", "z", "library", "lengths", "indices", "data"];
  const parts = Object.fromEntries(names.map((name) => [name, []]));
  for (const block of opened.blocks(opened.plan(conditions), options)) {
    const lengths = block.indptr.slice(1).map((end, i) => end - block.indptr[i]);
    for (const name of names) parts[name].push({ ...block, lengths }[name] ?? new Uint8Array());
  }
  const bytes = await new Blob(names.flatMap((name) => parts[name])).arrayBuffer();
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
