// @ts-check
/** The package's files on a bad connection and on a second visit: a server of its own breaks and counts. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { PACKAGE, launch, photoBytes } from './support.js';

const MODEL = '/model/model.safetensors';
const TYPES = /** @type {Record<string, string>} */ ({ '.js': 'text/javascript', '.wasm': 'application/wasm' });

/** What the model's server does: with each request, and what it was asked. */
const model = {
  /** How many answers break off half way. */ breaks: 0,
  /** Whether it knows ranges. */ ranges: true,
  /** Whether the file changes between the answers. */ changes: false,
  /** @type {{ range?: string, status: number }[]} */ asked: [],
};

/** @type {import('node:http').Server} */ let server;
/** @type {import('playwright-core').Browser} */ let browser;
/** @type {import('playwright-core').Page} */ let page;
let url = '';

/** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
async function answer({ url: path = '/', headers }, response) {
  if (path === '/') return response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>x</title>');
  const file = await readFile(join(PACKAGE, path)).catch(() => null);
  if (!file) return response.writeHead(404).end();
  const type = { 'Content-Type': TYPES[extname(path)] ?? 'application/octet-stream', 'Cache-Control': 'no-store' };
  if (path !== MODEL) return response.writeHead(200, type).end(file);
  const version = model.changes ? model.asked.length : 0;
  const tag = `"${createHash('sha256').update(file).digest('hex').slice(0, 8)}-${version}"`;
  const { range, 'if-range': expected } = headers;
  const isRest = model.ranges && range !== undefined && (expected === undefined || expected === tag);
  const from = isRest ? Number(/\d+/.exec(range)?.[0]) : 0;
  const status = isRest ? 206 : 200;
  model.asked.push({ range, status });
  const rest = isRest ? { 'Content-Range': `bytes ${from}-${file.length - 1}/${file.length}` } : {};
  response.writeHead(status, { ...type, ...rest, ETag: tag, 'Content-Length': file.length - from });
  if (model.breaks-- <= 0) return response.end(file.subarray(from));
  response.write(file.subarray(from, (from + file.length) >> 1), () => setTimeout(() => response.destroy(), 50));
}

before(async () => {
  server = createServer((request, response) => void answer(request, response));
  await new Promise((started) => server.listen(0, '127.0.0.1', () => started(null)));
  url = `http://localhost:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}/`;
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server.closeAllConnections();
  server.close();
});
beforeEach(async () => {
  // Another context has a storage of its own.
  page = await (await browser.newContext()).newPage();
  await page.goto(url);
  Object.assign(model, { breaks: 0, ranges: true, changes: false, asked: [] });
});

/** Loads, captions the cat and closes; what the progress came to. @param {object} [options] */
const visit = (options = {}) =>
  photoBytes('cat').then((bytes) =>
    page.evaluate(
      async ([bytes, options]) => {
        const { BitMar } = await import(/** @type {any} */ ('/index.js'));
        let last = /** @type {any} */ (null);
        const onProgress = (/** @type {any} */ event) => event.phase === 'download' && (last = event);
        const bitmar = await BitMar.load({ ...options, onProgress });
        const { text } = await bitmar.caption(new Blob([new Uint8Array(bytes)]));
        bitmar.close();
        return { text, progress: last };
      },
      /** @type {[number[], object]} */ ([bytes, options]),
    ),
  );

const call = (/** @type {'availability' | 'clearCache'} */ name) =>
  page.evaluate(async (name) => (await import(/** @type {any} */ ('/index.js'))).BitMar[name](), name);

test('a download that breaks goes on where it was', async () => {
  const { text: expected } = await visit({ cache: false });
  Object.assign(model, { breaks: 2, asked: [] });
  const { text, progress } = await visit({ cache: false });
  assert.equal(text, expected);
  assert.equal(progress.loaded, progress.total, 'no byte is counted twice');
  const [first, second, third, ...more] = model.asked;
  assert.deepEqual([first.status, second.status, third.status, more.length], [200, 206, 206, 0]);
  const starts = [second, third].map(({ range }) => Number(/\d+/.exec(range ?? '')?.[0]));
  assert.ok(0 < starts[0] && starts[0] < starts[1], `goes on at ${starts}`);
});

test('a server without ranges, or with another file by now, is asked for all of it', async () => {
  for (const trouble of [{ ranges: false }, { changes: true }]) {
    Object.assign(model, { breaks: 1, ranges: true, changes: false, asked: [] }, trouble);
    const { text, progress } = await visit({ cache: false });
    assert.ok(text.length > 3);
    assert.equal(progress.loaded, progress.total);
    assert.deepEqual(model.asked.map(({ status }) => status), [200, 200]);
  }
});

test('a server that always breaks is given up with the code network', async () => {
  model.breaks = 100;
  model.ranges = false;
  const code = await visit().then(() => null, ({ message }) => /cannot download .*model\.safetensors/.test(message));
  assert.equal(code, true);
  assert.ok(model.asked.length <= 4, `${model.asked.length} tries`);
});

test('the second visit needs no network for the model, until the cache is cleared', async () => {
  assert.equal(await call('availability'), 'downloadable');
  const { text } = await visit();
  await page.waitForFunction(async () => (await import(/** @type {any} */ ('/index.js'))).BitMar.availability().then((/** @type {string} */ a) => a === 'available'));
  model.asked = [];
  const again = await visit();
  assert.deepEqual([again.text, again.progress.loaded], [text, again.progress.total]);
  assert.deepEqual(model.asked, [], 'the model came from the cache');
  assert.equal(await call('clearCache'), true);
  assert.equal(await call('availability'), 'downloadable');
  await visit();
  assert.equal(model.asked.length, 1);
});

test('a stored file that is damaged is downloaded again', async () => {
  const { text } = await visit();
  const damage = () =>
    page.evaluate(async () => {
      const cache = await caches.open('bitmar files');
      const keys = await cache.keys();
      for (const key of keys) await cache.put(key, new Response(new Uint8Array(1000)));
      return keys.length;
    });
  // Storing goes on after the load.
  for (let tries = 0; (await damage()) < 2; tries++) {
    assert.ok(tries < 50, 'nothing is stored');
    await page.waitForTimeout(100);
  }
  model.asked = [];
  assert.equal((await visit()).text, text);
  assert.equal(model.asked.length, 1);
});

test('where storage is denied the model is downloaded every time', async () => {
  await page.addInitScript(() => {
    Object.defineProperty(CacheStorage.prototype, 'open', { value: () => Promise.reject(new DOMException('denied', 'SecurityError')) });
  });
  await page.goto(url);
  // The worker has a CacheStorage that the page's script does not reach: this thread is the one that is denied.
  const { text } = await visit({ worker: false });
  assert.equal((await visit({ worker: false })).text, text);
  assert.equal(model.asked.length, 2);
});
