// Files of cells: the layout of 10x and SciPy's .npz, each in a zip.

const utf8 = new TextEncoder();

async function packed(parts, format) {
  const { readable, writable } = new CompressionStream(format), writer = writable.getWriter();
  const made = new Response(readable).arrayBuffer();
  for await (const part of parts) await writer.write(typeof part === "string" ? utf8.encode(part) : part);
  await writer.close();
  return new Uint8Array(await made);
}

/** Lets the page answer between two blocks. */
const pause = () => new Promise((resolve) => setTimeout(resolve));

const field = (text) => String(text).split(/\s+/).join(" ").trim();
const number = (value) => (Number.isInteger(value) ? value : Number(value.toPrecision(9)));

/** matrix.mtx.gz, barcodes.tsv.gz and features.tsv.gz of 10x, with obs.tsv.gz beside them. */
export async function mtx(model, blocks, cellName) {
  const keys = model.keys.map((key) => field(key.name));
  const free = (name) => (keys.includes(name) ? free(`vaexprs_${name}`) : name);
  const texts = {
    "matrix.mtx": entries(model, blocks),
    "barcodes.tsv": rows(model, blocks, cellName, (name) => name),
    "features.tsv": model.genes.map((gene) => `${field(gene)}\t${field(gene)}\tGene Expression\n`),
    "obs.tsv": rows(model, blocks, cellName, (name, labels, library) => [name, ...labels, library].join("\t"),
      [free("cell"), ...keys, free("library")].join("\t")),
  };
  const made = [];
  for (const [name, parts] of Object.entries(texts)) made.push([`${name}.gz`, await packed(parts, "gzip"), false]);
  return zip(made);
}

/** The text of a matrix of genes x cells, block by block. */
async function* entries(model, blocks) {
  const nCells = blocks.reduce((sum, block) => sum + block.nCells, 0);
  const nValues = blocks.reduce((sum, block) => sum + block.data.length, 0);
  const whole = blocks.every((block) => block.data.every(Number.isInteger));
  yield `%%MatrixMarket matrix coordinate ${whole ? "integer" : "real"} general\n`;
  yield `${model.nGenes} ${nCells} ${nValues}\n`;
  let cell = 0;
  for (const { nCells: n, data, indices, indptr } of blocks) {
    const lines = [];
    for (let i = 0; i < n; ++i) {
      cell += 1;
      for (let j = indptr[i]; j < indptr[i + 1]; ++j) lines.push(`${indices[j] + 1} ${cell} ${number(data[j])}\n`);
    }
    yield lines.join("");
    await pause();
  }
}

/** A line for each cell, block by block. */
async function* rows(model, blocks, cellName, line, head) {
  if (head !== undefined) yield head + "\n";
  let cell = 0;
  for (const { nCells, codes, library } of blocks) {
    const lines = [];
    for (let i = 0; i < nCells; ++i) {
      const labels = model.keys.map((key, k) => field(key.categories[codes[i * model.keys.length + k]]));
      lines.push(line(cellName(cell++), labels, library === null ? "" : number(library[i])) + "\n");
    }
    yield lines.join("");
    await pause();
  }
}

/** What scipy.sparse.load_npz reads, with the names and columns that vaexprs puts beside it. */
export async function npz(model, blocks, cellName) {
  const nCells = blocks.reduce((sum, block) => sum + block.nCells, 0);
  const indptr = new BigInt64Array(nCells + 1);
  let [cell, values] = [0, 0n];
  for (const block of blocks) {
    for (let i = 1; i <= block.nCells; ++i) indptr[cell + i] = values + BigInt(block.indptr[i]);
    cell += block.nCells;
    values = indptr[cell];
  }
  const parts = (name) => blocks.map((block) => block[name]), n = Number(values);
  const arrays = {
    format: ["|S3", [], [utf8.encode("csr")]],
    shape: ["<i8", [2], [new BigInt64Array([BigInt(nCells), BigInt(model.nGenes)])]],
    indptr: ["<i8", [nCells + 1], [indptr]],
    indices: ["<i4", [n], parts("indices")],
    data: ["<f4", [n], parts("data")],
    var_names: texts(model.genes),
    obs_names: texts(Array.from({ length: nCells }, (_, i) => cellName(i))),
    z: ["<f4", [nCells, model.nLatent], parts("z")],
  };
  model.keys.forEach((key, k) => {
    const codes = (block) => block.codes.filter((_, i) => i % model.keys.length === k);
    arrays[`obs/${key.name}`] = ["<i4", [nCells], blocks.map(codes)];
    arrays[`categories/${key.name}`] = texts(key.categories);
  });
  if (blocks.every((block) => block.library !== null)) arrays["obs/library"] = ["<f4", [nCells], parts("library")];
  return zip(Object.entries(arrays).map(([name, array]) => [`${name}.npy`, npy(...array), true]));
}

function texts(names) {
  const points = names.map((name) => Array.from(name, (letter) => letter.codePointAt(0)));
  const width = Math.max(1, ...points.map((one) => one.length)), made = new Uint32Array(width * names.length);
  points.forEach((one, i) => made.set(one, i * width));
  return [`<U${width}`, [names.length], [made]];
}

function npy(kind, shape, parts) {
  const dims = shape.map((length) => `${length},`).join(" ");
  const head = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${dims}), }`;
  const length = Math.ceil((head.length + 11) / 64) * 64 - 10; // with 10 bytes before it, a multiple of 64
  const start = new Uint8Array([0x93, ...utf8.encode("NUMPY"), 1, 0, length & 255, length >> 8]);
  return joined([start, utf8.encode(head.padEnd(length - 1) + "\n"), ...parts]);
}

function joined(parts) {
  const bytes = parts.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  const made = new Uint8Array(bytes.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of bytes) {
    made.set(part, at);
    at += part.length;
  }
  return made;
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; ++bit) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

function crc32(bytes) {
  let sum = ~0;
  for (let i = 0; i < bytes.length; ++i) sum = CRC[(sum ^ bytes[i]) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}

/** A zip (APPNOTE 6.3) of names, bytes, and whether to compress them; below 4 GB. */
async function zip(entries) {
  const parts = [], directory = [];
  let at = 0;
  const numbers = (...pairs) => {
    const view = new DataView(new ArrayBuffer(pairs.reduce((sum, [size]) => sum + size, 0)));
    let place = 0;
    for (const [size, value] of pairs) {
      if (size === 2) view.setUint16(place, value, true);
      else view.setUint32(place, value, true);
      place += size;
    }
    return view;
  };
  for (const [name, bytes, compress] of entries) {
    const stored = compress ? await packed([bytes], "deflate-raw") : bytes, file = utf8.encode(name);
    // Version 2.0, names in UTF-8, deflated or stored, 1 January 1980, so that files can be compared.
    const common = [[2, 20], [2, 0x800], [2, compress ? 8 : 0], [2, 0], [2, 0x21], [4, crc32(bytes)],
      [4, stored.length], [4, bytes.length], [2, file.length], [2, 0]];
    directory.push(numbers([4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]), file);
    parts.push(numbers([4, 0x04034b50], ...common), file, stored);
    at += 30 + file.length + stored.length;
  }
  const size = directory.reduce((sum, part) => sum + part.byteLength, 0), n = entries.length;
  const end = numbers([4, 0x06054b50], [2, 0], [2, 0], [2, n], [2, n], [4, size], [4, at], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
