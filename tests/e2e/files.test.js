// @ts-check
/** Files of every kind: the same captions in Node, Chromium and Firefox, or the same reason. */
import assert from 'node:assert/strict';
import { access, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import puppeteer from 'puppeteer-core';
import { serve } from './server.js';
import { PACKAGE, PATIENCE, PHOTOS, SITE, launch, photo, upload } from './support.js';

const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

/** @type {Awaited<ReturnType<typeof serve>>} */ let server;
/** @type {Awaited<ReturnType<typeof launch>>} */ let browser;

/** @typedef {{ text?: string, confidence?: number, code?: string, reason?: string, format?: string }} Outcome */

/** The files, by name. @type {Record<string, number[]>} */ const files = {};
/** What became of them in Node. @type {Record<string, Outcome>} */ let inNode;

/** Captions files with the package at an address; runs in Node and in browsers. @param {{ address: string, files: Record<string, number[]> }} task */
async function captionAll({ address, files }) {
  const { BitMar } = await import(address);
  const bitmar = await BitMar.load();
  /** @type {Record<string, any>} */ const outcomes = {};
  for (const [name, bytes] of Object.entries(files)) {
    const job = bitmar.caption(new Uint8Array(bytes), { recall: false, remember: false });
    const pick = (/** @type {any} */ { text, confidence }) => ({ text, confidence });
    outcomes[name] = await job.then(pick, (/** @type {any} */ { code, reason, format }) => ({ code, reason, format }));
  }
  bitmar.close();
  return outcomes;
}

/** PNG files that a browser writes: odd sizes, and a photo that fades out. @param {number[]} photo */
async function drawn(photo) {
  const bitmap = await createImageBitmap(new Blob([new Uint8Array(photo)]));
  /** @type {Record<string, number[]>} */ const files = {};
  const draw = async (/** @type {string} */ name, /** @type {number} */ width, /** @type {number} */ height, fade = false) => {
    const canvas = new OffscreenCanvas(width, height);
    const context = /** @type {any} */ (canvas.getContext('2d'));
    context.drawImage(bitmap, 0, 0, width, height);
    if (fade) {
      const gradient = context.createLinearGradient(0, 0, width, 0);
      gradient.addColorStop(0, 'rgba(0, 0, 0, 0)');
      gradient.addColorStop(1, '#000');
      Object.assign(context, { globalCompositeOperation: 'destination-in', fillStyle: gradient });
      context.fillRect(0, 0, width, height);
    }
    files[name] = [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
  };
  await draw('1 x 1', 1, 1);
  await draw('1 x 300', 1, 300);
  await draw('40000 x 2', 40000, 2);
  await draw('fading', 200, 133, true);
  return files;
}

/** Inserts EXIF with an orientation behind the start marker. @param {number[]} jpeg @param {number} orientation */
function turned(jpeg, orientation) {
  const exif = [...Buffer.from('Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0', 'latin1'), orientation, 0, 0, 0, 0, 0, 0, 0];
  return [...jpeg.slice(0, 2), 0xff, 0xe1, 0, exif.length + 2, ...exif, ...jpeg.slice(2)];
}

before(async () => {
  server = await serve(SITE);
  browser = await launch();
  const stored = async (/** @type {string} */ name) => [...(await readFile(`${PHOTOS}/cases/${name}`))];
  const plain = await stored('plain.jpg');
  const progressive = await stored('progressive.jpg');
  const [cat, coffee] = (await Promise.all(['cat', 'coffee'].map((name) => readFile(photo(name))))).map((bytes) => [...bytes]);
  const page = await browser.newPage();
  await page.goto(server.url);
  Object.assign(files, {
    plain,
    'no end marker': await stored('jpg-no-end-marker.jpg'),
    'no end marker, other data': await stored('jpg-no-end-marker-trailer.jpg'),
    'no end marker, another JPEG': [...plain.slice(0, -2), ...progressive],
    'progressive, no end marker': progressive.slice(0, -2),
    'orientation 6': turned(coffee, 6),
    'orientation 6 in WebP': await stored('webp-exif-orientation-6.webp'),
    ...(await page.evaluate(drawn, coffee)),
    'cut JPEG': cat.slice(0, cat.length / 2),
    'cut progressive JPEG': progressive.slice(0, 900),
    '12-bit': await stored('jpg-12bit-header.jpg'),
    HEIC: [...Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'latin1')],
    'JPEG 2000': [...Buffer.from('\xff\x4f\xff\x51\0\x2f', 'latin1')],
    text: [...Buffer.from('not a photo')],
    empty: [],
  });
  files['cut PNG'] = files.fading.slice(0, files.fading.length / 2);
  await page.close();
  inNode = await captionAll({ address: pathToFileURL(join(PACKAGE, 'index.js')).href, files });
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/** Compares with Node, but for the last bits of JPEGs, whose decoders round differently. @param {Record<string, Outcome>} found */
function compare(found) {
  for (const [name, { confidence = 0, ...outcome }] of Object.entries(inNode)) {
    const { confidence: other = 0, ...rest } = found[name];
    assert.deepEqual(JSON.parse(JSON.stringify(rest)), JSON.parse(JSON.stringify(outcome)), name);
    assert.ok(Math.abs(confidence - other) < 0.02, `${name}: ${confidence}, ${other}`);
  }
}

test('files are captioned, or refused with a reason, in Node', () => {
  const reasons = Object.fromEntries(Object.entries(inNode).filter(([, { code }]) => code).map(([name, { code, reason, format }]) => {
    assert.equal(code, 'photo', name);
    return [name, format ?? reason];
  }));
  assert.deepEqual(reasons, {
    'cut JPEG': 'truncated',
    'cut progressive JPEG': 'truncated',
    'cut PNG': 'truncated',
    '12-bit': '12-bit JPEG',
    HEIC: 'HEIC',
    'JPEG 2000': 'JPEG 2000',
    text: 'not-a-photo',
    empty: 'empty',
  });
  for (const name of ['no end marker', 'no end marker, other data', 'no end marker, another JPEG']) {
    assert.deepEqual(inNode[name], inNode.plain, name);
  }
});

/** What a browser makes of the files. @param {any} page of Playwright or Puppeteer */
async function inBrowser(page) {
  // Not the page itself, which would load a model of its own.
  await page.goto(`${server.url}pkg/index.d.ts`);
  return page.evaluate(captionAll, { address: '/pkg/index.js', files });
}

test('Chromium gives the same', async (t) => {
  const page = await browser.newPage();
  t.after(() => page.close());
  compare(await inBrowser(page));
});

const isThere = await access(FIREFOX).then(() => true, () => false);

test('Firefox gives the same', { skip: !isThere && `no ${FIREFOX}` }, async (t) => {
  const firefox = await puppeteer.launch({ browser: 'firefox', executablePath: FIREFOX, timeout: PATIENCE, protocolTimeout: 2 * PATIENCE });
  t.after(() => firefox.close());
  compare(await inBrowser(await firefox.newPage()));
});

test('the page says why a file cannot be read', async (t) => {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(server.url);
  /** @type {Record<string, RegExp>} */
  const sentences = {
    HEIC: /^HEIC is not supported\./,
    '12-bit': /^12-bit JPEG is not supported\./,
    'cut JPEG': /^The photo is cut off/,
    text: /^This is not a photo/,
    empty: /^The file is empty/,
  };
  const paths = await Promise.all(Object.keys(sentences).map(async (name) => {
    const path = join(tmpdir(), `bitmar-${name.replace(' ', '-')}.jpg`);
    await writeFile(path, Buffer.from(files[name]));
    return path;
  }));
  await upload(page, ...paths);
  for (const [index, sentence] of Object.values(sentences).entries()) {
    const error = page.getByTestId('photo').nth(index).getByTestId('error');
    await error.filter({ hasText: sentence }).waitFor({ timeout: PATIENCE });
  }
});
