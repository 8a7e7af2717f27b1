// A scatter of cells on a canvas, drawn as they come.

/** Radius of a cell, in pixels of CSS. */
const RADIUS = 1.7;
/** Share of white in a colour on a dark ground, which the darkest would vanish on. */
const LIGHTER = 0.35;

export class Scatter {
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.colours = colours;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.clear(undefined);
    this.dark.addEventListener("change", () => this.redraw());
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  /** Colour of a category on the present ground. */
  colour(code) {
    const colour = this.colours[code % this.colours.length];
    if (!this.dark.matches) return colour;
    const parts = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    return `rgb(${parts.map((part) => Math.round(part + LIGHTER * (255 - part))).join(" ")})`;
  }

  clear(extent) {
    this.extent = extent;
    this.parts = []; // points and codes
    this.n = 0;
    this.redraw();
  }

  add(points, codes) {
    this.parts.push({ points, codes });
    this.n += codes.length;
    this.#draw(this.parts.at(-1));
  }

  /** Draw all anew, in other colours where `recode` gives other codes. */
  redraw(recode) {
    const { canvas } = this, ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.context = canvas.getContext("2d");
    this.context.clearRect(0, 0, width, height);
    this.parts.forEach((part, i) => {
      if (recode) part.codes = recode(i);
      this.#draw(part);
    });
  }

  #draw({ points, codes }) {
    const { canvas, context, extent: [[left, right], [bottom, top]] } = this;
    const size = 2 * RADIUS * (devicePixelRatio || 1);
    context.globalAlpha = 0.75;
    for (let i = 0; i < codes.length; ++i) {
      const x = ((points[2 * i] - left) / (right - left)) * canvas.width;
      const y = (1 - (points[2 * i + 1] - bottom) / (top - bottom)) * canvas.height;
      context.fillStyle = this.colour(codes[i]);
      context.beginPath();
      context.arc(x, y, size / 2, 0, 2 * Math.PI);
      context.fill();
    }
  }
}
