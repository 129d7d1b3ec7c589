// @ts-check
/** Photos that do not arrive: the jobs behind them go on, and their own end with a code. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, beforeEach, test } from 'node:test';
import { openTab } from './tabs.js';
import { photoBytes, site } from './support.js';

const here = site();
/** @type {import('node:http').Server} */ let server;
/** What the server was asked for and has not answered. @type {string[]} */ let open;
let most = 0;
let slow = '';
/** @type {import('playwright-core').Page} */ let page;

before(async () => {
  const cat = Buffer.from(await photoBytes('cat'));
  server = createServer(async ({ url = '' }, response) => {
    open.push(url);
    most = Math.max(most, open.length);
    response.on('close', () => (open = open.filter((other) => other !== url)));
    if (url.startsWith('/never')) return;
    if (url.startsWith('/soon')) await new Promise((resolve) => setTimeout(resolve, 400));
    response.writeHead(200, { 'Access-Control-Allow-Origin': '*', 'Content-Type': 'image/jpeg', 'Content-Length': cat.length });
    if (url.startsWith('/half')) response.write(cat.subarray(0, 1000));
    else response.end(cat);
  }).listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', () => listening(undefined)));
  slow = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(async () => {
  open = [];
  most = 0;
  page = await openTab(await here.browser.newContext(), here.url);
  await page.evaluate(async (slow) => {
    const { BitMarError } = await import(/** @type {any} */ ('/pkg/index.js'));
    const bitmar = await BitMar.load();
    /** @type {string[]} */ const order = [];
    const ends = (/** @type {string} */ name, /** @type {Promise<any>} */ job) =>
      job.then(() => order.push(name), (error) => order.push(`${name}: ${BitMarError.prototype.isPrototypeOf(error) ? error.code : error.name}`));
    const caption = (/** @type {string} */ name, /** @type {any} */ photo, options = {}) =>
      ends(name, bitmar.caption(photo, { remember: false, beams: 1, length: 'short', ...options }));
    Object.assign(window, { bitmar, slow, order, ends, caption });
  }, slow);
});

/** What the page's code below finds on `window`. @type {any} */
const { BitMar, bitmar, photos, order, ends, caption } = /** @type {any} */ ({});

test('photos that do not arrive hold up neither captions nor the memory, and end with abort and close', async () => {
  const result = await page.evaluate(async () => {
    const stop = new AbortController();
    const stalled = [...Array(5).keys()].map((at) => caption(`never ${at}`, `${slow}/never${at}`));
    const aborted = caption('half', `${slow}/half`, { signal: stop.signal });
    const lost = ends('correct', bitmar.correct(`${slow}/never5`, 'Rex'));
    const since = performance.now();
    await ends('list', bitmar.memory.list());
    const list = performance.now() - since;
    await caption('photo', photos[0]);
    stop.abort();
    await aborted;
    bitmar.close();
    await Promise.all([...stalled, lost]);
    return { order, list };
  });
  const never = [...Array(5).keys()].map((at) => `never ${at}: closed`);
  assert.deepEqual(result.order.slice(0, 3), ['list', 'photo', 'half: AbortError']);
  assert.deepEqual(result.order.slice(3).sort(), ['correct: closed', ...never]);
  assert.ok(result.list < 2000, `${result.list} ms`);
  for (let tries = 0; open.length > 0 && tries < 100; tries++) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(open, [], 'no download goes on');
});

test('jobs end in the order of their calls, whatever their photos are, and two photos are fetched ahead', async () => {
  const ended = await page.evaluate(async () => {
    const bitmap = await createImageBitmap(photos[0]);
    const canvas = new OffscreenCanvas(8, 8);
    canvas.getContext('2d');
    const own = await Promise.all([
      caption('blob', photos[0]), caption('canvas', canvas), caption('url', `${slow}/cat`), caption('bitmap', bitmap),
      caption('bytes', new Uint8Array(await photos[1].arrayBuffer())), ends('taught', bitmar.correct(photos[1], 'Mia')),
      ends('list', bitmar.memory.list()), caption('urgent', photos[0], { urgent: true }),
    ]);
    const mine = order.splice(0, own.length);
    await Promise.all([...Array(6).keys()].map((at) => caption(`soon ${at}`, `${slow}/soon${at}`)));
    return { mine, soon: order };
  });
  assert.deepEqual(ended.mine, ['blob', 'taught', 'list', 'urgent', 'canvas', 'url', 'bitmap', 'bytes']);
  assert.deepEqual(ended.soon.sort(), [0, 1, 2, 3, 4, 5].map((at) => `soon ${at}`));
  assert.equal(most, 2);
});

test('lazy images out of view and out of the document are loaded, and one that cannot be is refused', async () => {
  const result = await page.evaluate(async () => {
    const url = URL.createObjectURL(photos[0]);
    const lazy = (/** @type {string} */ src) => Object.assign(new Image(), { loading: 'lazy', src });
    document.body.innerHTML = '<p style="height: 100000px">';
    const [below, outside] = [lazy(url), lazy(url)];
    document.body.append(below);
    const jobs = [caption('below', below), caption('outside', outside), caption('missing', lazy('/nowhere.jpg')), caption('none', new Image())];
    await Promise.all(jobs);
    return { order: order.sort(), loading: [below.loading, outside.loading] };
  });
  assert.deepEqual(result, { order: ['below', 'missing: photo', 'none: photo', 'outside'], loading: ['lazy', 'lazy'] });
});

test('a photo of which nothing arrives for 30 seconds is given up: a download, a drive, an element', async () => {
  await page.clock.install();
  await page.evaluate(async () => {
    const drive = new File(['x'], 'on a drive.jpg');
    drive.slice = () => Object.assign(new Blob(), { arrayBuffer: () => new Promise(() => {}) });
    const image = Object.assign(new Image(), { src: `${slow}/never` });
    Object.assign(window, { all: [caption('half', `${slow}/half`), caption('drive', drive), caption('image', image)] });
  });
  for (const [milliseconds, expected] of /** @type {const} */ ([
    [29_000, []],
    [2_000, ['drive: photo', 'half: network', 'image: network']],
  ])) {
    await page.clock.runFor(milliseconds);
    assert.deepEqual(await page.evaluate(() => order.sort()), expected);
  }
});
