// @ts-check
/**
 * Draws pictures that are no photos, for `bitmar-train eval-memory --drawn DIR` and for the
 * picture-kind classifier: `./build.sh draw --seed N --count M --out DIR` writes PNG files and
 * `drawn.jsonl`, a line `{ image, kind, seed }` a picture. One picture in three shares its layout
 * with the others of its kind, as the invoices of one company do.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chart } from './charts.js';
import { drawing, logo, map } from './drawings.js';
import { Random } from './random.js';
import { screen } from './screens.js';
import { table, text } from './texts.js';

// The end-to-end tests have it installed.
const { chromium } = createRequire(new URL('../e2e/', import.meta.url))('playwright-core');

/** @typedef {import('./page.js').Page} Page */

/** By kind. @type {Record<string, (template: Random, random: Random) => Page>} */
const DRAW = { text, table, chart, screen, map, drawing, logo };

const { values } = parseArgs({
  options: { seed: { type: 'string' }, count: { type: 'string' }, out: { type: 'string' } },
});
const [seed, count, out] = [Number(values.seed), Number(values.count), values.out ?? ''];
if (!Number.isInteger(seed) || !(count > 0) || !out) {
  console.error('usage: draw.js --seed N --count M --out DIR');
  process.exit(2);
}

/** The layout that a picture shares with the others of its kind. @param {string} kind */
const shared = (kind) => new Random(seed * 1000 + 7 * kind.length + kind.charCodeAt(0));

/** @param {number} own the picture's seed @param {string} kind */
function draw(own, kind) {
  const random = new Random(own);
  const template = random.chance(1 / 3) ? shared(kind) : new Random(own + 500_000_000);
  return DRAW[kind](template, random);
}

const RESET = `* { box-sizing: border-box; margin-block: 0.4em; } svg { display: block; margin: 0; }
  html, body { margin: 0; overflow: hidden; height: 100%; }`;

await mkdir(out, { recursive: true });
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
const page = await browser.newPage({ deviceScaleFactor: 1 });
const kinds = Object.keys(DRAW);
const lines = [];
for (let index = 0; index < count; index++) {
  const [kind, own] = [kinds[index % kinds.length], seed * 100_000 + index];
  const { html, width, height, css = '' } = draw(own, kind);
  await page.setViewportSize({ width, height });
  await page.setContent(`<!doctype html><meta charset="utf-8"><style>${RESET} body { ${css} }</style>${html}`);
  const image = `${kind}-${own}.png`;
  await writeFile(join(out, image), await page.screenshot());
  lines.push(JSON.stringify({ image, kind, seed: own }));
}
await browser.close();
await writeFile(join(out, 'drawn.jsonl'), `${lines.join('\n')}\n`);
