// The page: a request from the form, cells from a worker, a scatter, tables and files.

import { load } from "./vaexprs.mjs";
import { Means } from "./means.mjs";
import { scaled } from "./projection.mjs";
import { Scatter } from "./scatter.mjs";
import * as files from "./files.mjs";
import { site } from "./site.mjs";

const at = (id) => document.getElementById(id);
const shown = (value) => value.toLocaleString("en");
const short = (value) => (Number.isNaN(value) ? "–" : value.toLocaleString("en", { maximumSignificantDigits: 3 }));
/** Markers of each category in the table, and of all cells where there is one category. */
const N_MARKERS = 3, N_HIGHEST = 10;
/** Milliseconds between two updates of the tables while cells come. */
const PAUSE = 500;
/** What keys with many categories begin with, so that a first run takes seconds. */
const FIRST_NUMBER = 100;

document.title = document.querySelector("h1").textContent = `Generate cells: ${site.title}`;
const scatter = new Scatter(at("scatter"), site.colours);
let model, axes, worker, run, writing = false; // run: what is made by the present request

const make = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const option = (text, value = text) => make("option", { value, textContent: text });

async function open() {
  model = await load(site.model);
  const keys = model.keys.map((key) => `${key.name} (${shown(key.categories.length)})`).join(", ");
  at("about").textContent = `${shown(model.nGenes)} genes, likelihood ${model.likelihood}${keys ? `, conditions: ${keys}` : ""}.`;
  at("version").textContent = `vaexprs ${model.version}`;
  for (const [place, key] of model.keys.entries()) {
    for (const select of [at("counted"), at("by")]) select.append(option(key.name, String(place)));
    const id = `key-${place}`, any = option("any, by training frequencies", "");
    const select = make("select", { id }, any, ...key.categories.map((name, code) => option(name, String(code))));
    at("chosen").append(make("div", { className: "field" }, make("label", { htmlFor: id, textContent: key.name }), select));
  }
  for (const part of model.keys.length ? [] : [at("mode"), at("chosen"), at("coloured")]) part.hidden = true;
  at("counted").parentElement.hidden = model.keys.length < 2;
  listCategories();
  at("controls").disabled = at("generate").disabled = false;
}

/** An input for each category of the key that is counted. */
function listCategories() {
  const key = model.keys[at("counted").value];
  at("by-category").replaceChildren(...(key?.categories ?? []).map((name) => make("label", {}, name,
    make("input", { type: "number", min: 0, step: 1, value: FIRST_NUMBER }))));
  showMode();
}

function showMode() {
  const numbers = new FormData(at("request")).get("mode") === "numbers";
  at("numbers").hidden = !numbers;
  at("frequencies").hidden = at("n-cells").disabled = numbers;
  model.keys.forEach((_, place) =>
    (at(`key-${place}`).parentElement.hidden = numbers && String(place) === at("counted").value));
  at("chosen").hidden = model.keys.length === 0 || (numbers && model.keys.length === 1);
}

/** The plan and the options that the form asks for. */
function request() {
  const conditions = Object.create(null), numbers = !at("numbers").hidden;
  model.keys.forEach((key, place) => {
    const select = at(`key-${place}`);
    if (select.value !== "" && !select.parentElement.hidden) conditions[key.name] = key.categories[select.value];
  });
  const options = { seed: BigInt(at("seed").value) };
  if (!numbers) return [model.plan(conditions), { ...options, nCells: at("n-cells").valueAsNumber }];
  const key = model.keys[at("counted").value];
  const design = Array.from(at("by-category").querySelectorAll("input"), (input, code) =>
    ({ ...conditions, [key.name]: key.categories[code], n_cells: input.valueAsNumber || 0 })).filter((row) => row.n_cells > 0);
  return [model.plan(design), options];
}

function start() {
  at("problem").textContent = "";
  let plan, options;
  try {
    [plan, options] = request();
  } catch (error) {
    return fail(error.message);
  }
  const n = options.nCells ?? plan.nCells;
  if (!(n > 0)) return fail("No cell is asked for.");
  const mine = (worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" }));
  worker.onmessage = ({ data }) => mine === worker && receive(data); // none that a cancelled one sent
  worker.onerror = (event) => fail(event.message || "The worker cannot start.");
  run = { n, blocks: [], nCells: 0, started: 0, seed: options.seed, drawn: 0, quarter: 0 };
  scatter.clear(axes?.extent);
  group();
  busy(true);
  say(`Making ${shown(n)} cells.`);
  worker.postMessage({ bytes: model.bytes, wasm: model.wasm, axes, plan, options });
}

function receive({ axes: made, block, values, points, done, error }) {
  if (made !== undefined) {
    axes = made;
    scatter.extent = axes.extent;
    const scale = { counts: "log counts per 10,000", log: "log values", linear: "values" }[axes.scale];
    run.started = performance.now();
    at("scale").textContent = scale;
    at("caption").textContent = `First two principal components of ${scale}, taken from 512 cells by training frequencies: the same axes for every request.`;
  }
  if (block !== undefined) {
    run.blocks.push(block);
    run.nCells += block.nCells;
    const codes = codesOf(block);
    scatter.add(points, codes);
    run.means.add(block, values, codes);
    showProgress();
  }
  if (done) finish(`${shown(run.nCells)} cells were made.`);
  if (error !== undefined) fail(error);
}

/** Codes of the key by which cells are coloured and compared; one group without keys. */
function codesOf(block) {
  const nKeys = model.keys.length, place = Number(at("by").value);
  return nKeys ? block.codes.filter((_, i) => i % nKeys === place) : new Int32Array(block.nCells);
}

const categories = () => model.keys[at("by").value]?.categories ?? ["all cells"];

/** Sum up by the chosen key, from the beginning. */
function group() {
  run.means = new Means(categories().length, model.nGenes);
  run.blocks.forEach((block) => run.means.add(block, scaled(block, axes.scale), codesOf(block)));
  showTables();
}

function showProgress() {
  const share = run.nCells / run.n, now = performance.now();
  at("progress").value = share;
  if (now - run.drawn > PAUSE || share === 1) {
    const speed = run.nCells / ((now - run.started) / 1000);
    at("count").textContent = `${shown(run.nCells)} of ${shown(run.n)} cells, ${shown(Math.round(speed))} a second`;
    showTables();
    run.drawn = performance.now();
  }
  if (Math.floor(4 * share) > run.quarter && share < 1) {
    run.quarter = Math.floor(4 * share);
    say(`${25 * run.quarter} % of the cells are made.`);
  }
}

function showTables() {
  const names = categories(), { means } = run;
  const swatch = (code) => {
    const made = make("span", { className: "swatch" });
    made.style.background = scatter.colour(code);
    return made;
  };
  const cell = (text) => make("td", { textContent: text });
  const present = names.map((_, code) => code).filter((code) => means.nCells[code] > 0);
  at("legend").tBodies[0].replaceChildren(...present.map((code) => make("tr", {},
    make("th", { scope: "row" }, swatch(code), names[code]), cell(shown(means.nCells[code])),
    cell(short(means.totals[code] / means.nCells[code])))));
  const asked = at("genes").value.split(",").map((name) => name.trim()).filter(Boolean);
  const unknown = asked.filter((name) => !model.genes.includes(name));
  at("genes-note").textContent = unknown.length ? `Not in the model: ${unknown.join(", ")}.`
    : "Empty: the genes that tell a category from all others.";
  const known = asked.filter((name) => model.genes.includes(name)).map((name) => model.genes.indexOf(name));
  const most = names.length > 1 ? N_MARKERS : N_HIGHEST;
  at("means").tBodies[0].replaceChildren(...present.flatMap((code) =>
    (known.length ? known : means.markers(code, most)).map((gene) => make("tr", {},
      make("th", { scope: "row", textContent: names[code] }), cell(model.genes[gene]),
      ...means.of(gene, code).map((mean) => cell(short(mean)))))));
}

const say = (text) => (at("status").textContent = text);

/** Let the form wait, or wait for the form; the focus never falls on what is disabled. */
function busy(isBusy) {
  const returns = [at("cancel"), document.body].includes(document.activeElement);
  at("controls").disabled = at("generate").disabled = isBusy || model === undefined;
  at("cancel").disabled = !isBusy;
  for (const id of ["mtx", "npz"]) at(id).disabled = isBusy || !run?.blocks.length;
  if (isBusy) at("cancel").focus({ preventScroll: true });
  else if (returns && run !== undefined) at("generate").focus({ preventScroll: true });
}

function finish(text) {
  worker?.terminate();
  worker = undefined;
  if (run !== undefined) showTables();
  busy(false);
  say(text);
}

function fail(message) {
  at("problem").textContent = message;
  finish("");
}

async function download(kind) {
  if (writing) return;
  writing = true;
  say("Writing the file ...");
  try {
    const { seed, blocks } = run, name = `${site.title}-seed${seed}`;
    const blob = await files[kind](model, blocks, (i) => `${name}_${i}`);
    const href = URL.createObjectURL(blob), suffix = kind === "npz" ? "npz" : "zip";
    make("a", { href, download: `${name}.${suffix}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
    say("The file is written.");
  } catch (error) {
    say("");
    at("problem").textContent = `The file was not written: ${error.message}`;
  }
  writing = false;
}

at("request").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
at("request").addEventListener("change", (event) => {
  if (event.target.name === "mode") showMode();
  if (event.target.id === "counted") listCategories();
});
at("cancel").addEventListener("click", () => finish(`Cancelled: ${shown(run.nCells)} cells were made.`));
at("by").addEventListener("change", () => {
  if (run === undefined) return;
  group();
  scatter.redraw((i) => codesOf(run.blocks[i]));
});
at("genes").addEventListener("change", () => run && showTables());
scatter.dark.addEventListener("change", () => run && showTables());
for (const kind of ["mtx", "npz"]) at(kind).addEventListener("click", () => download(kind));
open().catch((error) => (at("about").textContent = "", fail(error.message)));
