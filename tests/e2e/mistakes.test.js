// @ts-check
/** A caller's mistakes cost an error with a code, and neither the worker nor the memory. */
import assert from 'node:assert/strict';
import { appendFile, copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { PACKAGE, photo, site } from './support.js';
import { openTab } from './tabs.js';

const here = site();

/** @type {any} */ let BitMar;
/** @type {any} */ let BitMarError;
/** @type {any} */ let bitmar;
/** @type {any} */ let caption;
/** @type {any} */ let entry;
const cat = await readFile(photo('cat'));

before(async () => {
  ({ BitMar, BitMarError } = await import(pathToFileURL(`${PACKAGE}/index.js`).href));
  bitmar = await BitMar.load();
  await bitmar.correct(cat, 'Chelsea');
  caption = await bitmar.caption(cat, { remember: false });
  [entry] = await bitmar.memory.list();
});
after(() => bitmar?.close());

const detachedBytes = () => {
  const bytes = new Uint8Array(8);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
};
const detached = () => detachedBytes().buffer;
const all = async (/** @type {AsyncIterable<any>} */ items) => {
  for await (const item of items) if (item.error) throw item.error;
};
const NOT_PHOTOS = [undefined, null, 5, true, {}, [], () => {}, Symbol('a'), detached(), detachedBytes(), 'cat.jpg', new Date(),
  { [Symbol.toStringTag]: 'Blob' }, new Response('x'), Promise.resolve(new Blob(['x']))];
const NOT_TEXTS = [undefined, null, 5, {}, ['a'], new String('a'), () => {}];
const NOT_SLOTS = [undefined, null, '0', 0.5, -1, NaN, Infinity, 2 ** 32, 0n, {}, { slot: 0 }, { slot: 0.5, writtenAt: 0 }, { slot: 0, writtenAt: '1' }];
const NOT_OPTIONS = [null, 5, 'short', [], () => {}, new AbortController().signal, new Map(), { lenght: 'short' }, { toString() {} }];
const NOT_FLAGS = [null, 0, 1, 'true', {}];
const WRONG = {
  caption: {
    length: [null, 'endless', 5, ['short']], hint: [null, 5, {}, () => {}, 'a'.repeat(10_001)], beams: [null, 0, 9, 2.5, '3', NaN, 3n], recall: NOT_FLAGS,
    remember: NOT_FLAGS, countRecalls: NOT_FLAGS, attention: NOT_FLAGS, urgent: NOT_FLAGS, signal: [null, {}, new AbortController()],
    onToken: [null, 'log', {}],
  },
  load: {
    baseUrl: [null, 5, 'relative', {}], wasm: [null, 5, {}, new ArrayBuffer(8)], model: [null, 5, 'relative', {}, detachedBytes()],
    tokenizer: [null, 5, {}, []], memory: [null, true, 'mine', {}, { name: '' }, { name: 5 }, { name: 'a', mode: 'b' }], signal: [null, {}], onProgress: [null, 5],
    onNotice: [null, 5], worker: NOT_FLAGS, cache: NOT_FLAGS, createWorker: [null, 5, {}],
  },
};
/** @param {Record<string, any[]>} wrong */
const options = (wrong) =>
  [...NOT_OPTIONS, ...Object.entries(wrong).flatMap(([name, values]) => values.map((value) => ({ [name]: value })))];

/** The calls of each function, each with one wrong value. @type {Record<string, [string, (value: any) => Promise<any>, any[]]>} */
const CALLS = {
  load: ['option', (value) => BitMar.load(value), options(WRONG.load)],
  'a worker': ['option', (value) => BitMar.load({ createWorker: () => value }), [undefined, {}, Promise.resolve()]],
  'new BitMar': ['option', async (value) => new BitMar(value), [undefined, {}]],
  'a photo': ['photo', (value) => bitmar.caption(value), NOT_PHOTOS],
  'caption options': ['option', (value) => bitmar.caption(cat, value), options(WRONG.caption)],
  'a photo of a stream': ['photo', (value) => all(bitmar.captionStream(value)), NOT_PHOTOS],
  'stream options': ['option', (value) => all(bitmar.captionStream(cat, value)), options(WRONG.caption)],
  photos: ['option', (value) => all(bitmar.captionMany(value)), [undefined, null, 5, 'cat.jpg', {}, cat, new Blob(['x']), cat.buffer]],
  'one of the photos': ['photo', (value) => all(bitmar.captionMany([value])), NOT_PHOTOS],
  'options of many': ['option', (value) => all(bitmar.captionMany([cat], value)), options(WRONG.caption)],
  'a target': ['photo', (value) => bitmar.correct(value, 'Rex'), [...NOT_PHOTOS.filter((value) => value !== 5), { id: 'a' }, { id: 1.5 }]],
  'an id': ['option', (value) => bitmar.correct(value, 'Rex'), [1.5, -1, NaN, Infinity]],
  'a correction': ['option', (value) => bitmar.correct(caption, value), NOT_TEXTS],
  'an entry to correct': ['option', (value) => bitmar.memory.correct(value, 'Rex'), NOT_SLOTS],
  'text of an entry': ['option', (value) => bitmar.memory.correct(entry, value), NOT_TEXTS],
  'an entry to delete': ['option', (value) => bitmar.memory.delete(value), NOT_SLOTS],
  'a snapshot': ['option', (value) => bitmar.memory.import(value), [undefined, null, 5, 'a', {}, [1, 2], new Blob(['x']), detached(), new Uint16Array(4)]],
  'import options': ['option', async (value) => bitmar.memory.import(await bitmar.memory.export(), value),
    [...NOT_OPTIONS, 'merge', { mode: 'mrege' }, { mode: null }, { Mode: 'merge' }]],
  'a name to export': ['option', (value) => bitmar.memory.exportAside(value), NOT_TEXTS],
  'a name to delete': ['option', (value) => bitmar.memory.deleteAside(value), NOT_TEXTS],
};

for (const [name, [code, call, values]] of Object.entries(CALLS)) {
  test(`a wrong value is refused: ${name}`, async () => {
    const before = await bitmar.memory.export();
    for (const value of values) {
      const error = await call(value).then(() => null, (error) => error);
      assert.ok(error instanceof BitMarError && error.code === code, `${inspect(value)}: ${error?.code} ${error?.message}`);
    }
    assert.deepEqual(await bitmar.memory.export(), before);
    // A new instance of the module would not know this caption.
    await bitmar.correct(caption, 'Chelsea');
    await bitmar.memory.undo();
  });
}

test('the message names the function, the argument, what was found and what was expected', async () => {
  const messages = await Promise.all([
    bitmar.caption(cat, { beams: 2.5 }), bitmar.caption(), bitmar.memory.import(cat, { mode: 'mrege' }), bitmar.caption(cat, { lenght: 'short' }),
  ].map((job) => job.catch((/** @type {Error} */ { message }) => message)));
  assert.deepEqual(messages, [
    'caption: beams is 2.5, expected a whole number from 1 to 8',
    'caption: photo is missing, expected a file, bytes, a URL, pixels or an element, neither closed nor transferred',
    'memory.import: mode is "mrege", expected "replace" or "merge"',
    'caption: an option is "lenght", expected one of length, hint, beams, recall, remember, countRecalls, attention, urgent, signal, onToken',
  ]);
});

test("a caller's function that throws fails its own job with what it threw", async () => {
  const mine = new Error('mine');
  const fail = () => { throw mine; };
  await assert.rejects(bitmar.caption(cat, { onToken: fail }), mine);
  await assert.rejects(all(bitmar.captionStream(cat, { onToken: fail })), mine);
  await assert.rejects(BitMar.load({ onProgress: fail }), mine);
  assert.equal((await bitmar.caption(cat, { remember: false })).text, 'Chelsea');
});

/** What `openTab` and the tests below put on `window`. @type {any} */
const { photos, codeOf } = /** @type {any} */ ({});

/** @type {import('playwright-core').Page | undefined} */ let tab;

/** The one page of the tests below. */
async function opened() {
  if (tab) return tab;
  tab = await openTab(await here.browser.newContext(), here.url);
  await tab.evaluate(() => {
    const codeOf = (/** @type {Promise<any>} */ job) => job.then(() => 'fine', ({ name, code }) => `${name} ${code}`);
    Object.assign(window, { codeOf });
  });
  return tab;
}

for (const worker of [true, false]) {
  test(`values of an iframe are taken ${worker ? 'with' : 'without'} a worker`, async () => {
    const page = await opened();
    const { texts, listed, aborted } = await page.evaluate(async (worker) => {
      const frame = document.body.appendChild(document.createElement('iframe'));
      const realm = /** @type {any} */ (frame.contentWindow);
      const bytes = new realm.Uint8Array(await photos[0].arrayBuffer());
      const options = (/** @type {object} */ given) => Object.assign(new realm.Object(), given);
      const bitmar = await BitMar.load(options({ worker }));
      const url = URL.createObjectURL(photos[0]);
      const canvas = realm.document.createElement('canvas');
      const bitmap = await realm.createImageBitmap(photos[0]);
      [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
      canvas.getContext('2d').drawImage(bitmap, 0, 0);
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const sources = [
        new realm.Blob([bytes]), new realm.File([bytes], 'a.jpg'), bytes, bytes.buffer, new realm.DataView(bytes.buffer), new realm.URL(url),
        Object.assign(new realm.Image(), { src: url }), canvas, bitmap, bitmap, pixels, new realm.VideoFrame(canvas, { timestamp: 0 }),
      ];
      const texts = [];
      for (const source of sources) texts.push((await bitmar.caption(source, options({ remember: false }))).text);
      await bitmar.correct(new realm.Blob([bytes]), 'Chelsea');
      const snapshot = new realm.Uint8Array(await bitmar.memory.export());
      await bitmar.memory.clear();
      await bitmar.memory.import(snapshot, options({ mode: 'merge' }));
      const [{ text: listed }] = await bitmar.memory.list();
      const stop = new realm.AbortController();
      const job = codeOf(bitmar.caption(bytes, { signal: stop.signal }));
      stop.abort();
      return { texts, listed, aborted: await job };
    }, worker);
    assert.equal(new Set(texts).size, 1, texts.join(' | '));
    assert.ok(texts.length === 12 && texts[0].length > 10);
    assert.deepEqual([listed, aborted], ['Chelsea', 'AbortError 20']);
  });

  test(`photos that were closed, tainted or given away are refused ${worker ? 'with' : 'without'} a worker`, async () => {
    const page = await opened();
    const foreign = `${here.url.replace('localhost', '127.0.0.1')}icons/icon-192.png`;
    const { codes, known } = await page.evaluate(async ({ worker, foreign }) => {
      const bitmar = await BitMar.load({ worker });
      await bitmar.correct(photos[0], 'Chelsea');
      const bitmap = () => createImageBitmap(photos[0]);
      const closed = await bitmap();
      closed.close();
      const sent = await bitmap();
      const canvas = () => Object.assign(document.createElement('canvas'), { width: 9, height: 9 });
      const offscreen = canvas().transferControlToOffscreen();
      const frame = new VideoFrame(await bitmap(), { timestamp: 0 });
      frame.close();
      const pixels = new ImageData(9, 9);
      const bytes = new Uint8Array(9);
      structuredClone(null, { transfer: [sent, offscreen, pixels.data.buffer, bytes.buffer] });
      const tainted = Object.assign(new Image(), { src: foreign });
      await tainted.decode();
      const drawn = canvas();
      drawn.getContext('2d')?.drawImage(tainted, 0, 0);
      const later = await bitmap();
      const sources = { closed, sent, offscreen, frame, pixels, bytes, tainted, drawn, empty: Object.assign(canvas(), { width: 0 }),
        video: document.createElement('video'), later };
      const jobs = Object.entries(sources).map(async ([name, source]) => `${name} ${await codeOf(bitmar.caption(source))}`);
      later.close();
      return { codes: await Promise.all(jobs), known: (await bitmar.caption(photos[0])).text };
    }, { worker, foreign });
    assert.deepEqual(codes.map((code) => code.replace(/^\w+ /, '')), Array(11).fill('BitMarError photo'), codes.join(', '));
    assert.equal(known, 'Chelsea');
  });
}

test('a file that was changed or deleted after it was picked is refused, and the next photo is captioned', async (t) => {
  const page = await opened();
  const folder = await mkdtemp(join(tmpdir(), 'bitmar-picked-'));
  t.after(() => rm(folder, { recursive: true }));
  const files = ['changed.jpg', 'deleted.jpg', 'kept.jpg'].map((name) => join(folder, name));
  for (const file of files) await copyFile(photo('cat'), file);
  await page.evaluate(() => (document.body.innerHTML = '<input type="file" multiple>'));
  await page.locator('input').setInputFiles(files);
  await appendFile(files[0], 'more');
  await rm(files[1]);
  const codes = await page.evaluate(async () => {
    const bitmar = await BitMar.load();
    const jobs = [...(document.querySelector('input')?.files ?? [])].map((file) => codeOf(bitmar.caption(file)));
    return Promise.all(jobs);
  });
  assert.deepEqual(codes, ['BitMarError photo', 'BitMarError photo', 'fine']);
});
