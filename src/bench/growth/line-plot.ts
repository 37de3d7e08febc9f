/** One curve; x and y above 0 where their axis is logarithmic. */
export interface PlotSeries {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Plot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly PlotSeries[];
  /** Default true. The y axis is linear and starts at 0. */
  readonly logX?: boolean;
}

const WIDTH = 420;
const HEIGHT = 280;
const MARGIN = { left: 62, right: 16, top: 34, bottom: 46 };
const COLOURS = ["#1b6ca8", "#c44536", "#3a7d44", "#7d5ba6"];

/** Small plots side by side, `columns` in a row, as one SVG document. */
export function plotSvg(plots: readonly Plot[], columns = 2): string {
  const rows = Math.ceil(plots.length / columns);
  const width = columns * WIDTH;
  const height = rows * HEIGHT;
  const cells = plots.map((plot, index) => {
    const [x, y] = [(index % columns) * WIDTH, Math.floor(index / columns) * HEIGHT];
    return `<g transform="translate(${x} ${y})">${onePlot(plot)}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<title>${escaped(plots.map(({ title }) => title).join(", "))}</title>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...cells,
    "</svg>",
    "",
  ].join("\n");
}

function onePlot({ title, xLabel, yLabel, series, logX = true }: Plot): string {
  const points = series.flatMap((each) => each.points);
  const middle = (MARGIN.left + WIDTH - MARGIN.right) / 2;
  const parts = [text(middle, 18, title, "middle", 'font-weight="bold"')];
  if (points.length === 0) return [...parts, text(middle, HEIGHT / 2, "nothing measured", "middle")].join("");

  const xs = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
  const top = niceCeiling(Math.max(...points.map(([, y]) => y)));
  const across = logX ? Math.log : (x: number) => x;
  const [first, last] = [across(xs[0]!), across(xs.at(-1)!)];
  const plotWidth = WIDTH - MARGIN.left - MARGIN.right;
  const plotHeight = HEIGHT - MARGIN.top - MARGIN.bottom;
  // A single point stands in the middle.
  const atX = (x: number) =>
    MARGIN.left + plotWidth * (last === first ? 0.5 : (across(x) - first) / (last - first));
  const atY = (y: number) => MARGIN.top + plotHeight * (1 - y / top);

  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const y = atY(share * top);
    parts.push(
      `<line x1="${MARGIN.left}" y1="${fixed(y)}" x2="${WIDTH - MARGIN.right}" y2="${fixed(y)}" stroke="#ddd"/>`,
      text(MARGIN.left - 6, y + 4, compact(share * top), "end"),
    );
  }
  for (const x of xs) parts.push(text(atX(x), HEIGHT - MARGIN.bottom + 16, compact(x), "middle"));
  parts.push(
    text(middle, HEIGHT - 10, xLabel, "middle"),
    `<g transform="translate(14 ${fixed(MARGIN.top + plotHeight / 2)}) rotate(-90)">${text(0, 0, yLabel, "middle")}</g>`,
  );
  series.forEach(({ name, points: own }, index) => {
    const colour = COLOURS[index % COLOURS.length]!;
    const line = own.map(([x, y]) => `${fixed(atX(x))},${fixed(atY(y))}`).join(" ");
    parts.push(
      `<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...own.map(([x, y]) => `<circle cx="${fixed(atX(x))}" cy="${fixed(atY(y))}" r="3" fill="${colour}"/>`),
    );
    if (series.length > 1)
      parts.push(
        text(WIDTH - MARGIN.right - 4, MARGIN.top + 14 * (index + 1), name, "end", `fill="${colour}"`),
      );
  });
  return parts.join("");
}

/** The next of 1, 2, 2.5, 5 and their tenfolds. */
function niceCeiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 2.5, 5, 10].find((step) => value <= step * power * (1 + 1e-9))!;
}

function compact(value: number): string {
  const units = [
    [1e9, "G"],
    [1e6, "M"],
    [1e4, "k"],
  ] as const;
  const unit = units.find(([least]) => value >= least);
  if (unit === undefined) return String(Number(value.toPrecision(3)));
  const [least, letter] = unit;
  return `${Number((value / (letter === "k" ? 1e3 : least)).toPrecision(3))}${letter}`;
}

function fixed(value: number): string {
  return String(Number(value.toFixed(1)));
}

function text(x: number, y: number, content: string, anchor: "start" | "middle" | "end", more = ""): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}" ${more}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
