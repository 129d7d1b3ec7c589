// @ts-check
/** The packed package in Node: the import, the same interface without a worker, and the command. */
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { installed, run } from './packed.js';
import { launch, photo } from './support.js';
import { serve } from './server.js';

/** @type {Awaited<ReturnType<typeof installed>>} */ let its;
/** @type {typeof import('../../pkg/index.js').BitMar} */ let BitMar;
/** @type {import('../../pkg/index.js').BitMar} */ let bitmar;
/** What Chromium says of the same photo's pixels. */ let inBrowser = '';

const failure = (/** @type {Promise<any>} */ job) => job.then(() => assert.fail('it did not fail'), (error) => error);

before(async () => {
  its = await installed();
  ({ BitMar } = await import(pathToFileURL(join(its.folder, 'node_modules/bitmar/index.js')).href));
  bitmar = await BitMar.load();
  inBrowser = await captionInBrowser(await readFile(photo('cat')));
});
after(async () => {
  bitmar?.close();
  await its?.remove();
});

/** @param {Buffer} bytes */
async function captionInBrowser(bytes) {
  await writeFile(join(its.folder, 'blank.html'), '<!doctype html><title>blank</title>');
  const server = await serve(its.folder);
  const browser = await launch();
  try {
    const page = await browser.newPage();
    await page.goto(`${server.url}blank.html`);
    return await page.evaluate(async (bytes) => {
      const { BitMar } = await import(/** @type {any} */ ('/node_modules/bitmar/index.js'));
      return (await (await BitMar.load()).caption(new Uint8Array(bytes))).text;
    }, [...bytes]);
  } finally {
    await browser.close();
    await server.close();
  }
}

/** Runs a module in a process of its own. @param {string} code */
async function runModule(code) {
  await writeFile(join(its.folder, 'main.mjs'), code);
  return (await run(process.execPath, ['main.mjs'], { cwd: its.folder })).stdout.trim();
}

test('importing it does nothing: no global is added, nothing is loaded, the process ends', async () => {
  const found = await runModule(`
    const before = Reflect.ownKeys(globalThis).length;
    const { BitMar, BitMarError } = await import('bitmar');
    const handles = process.getActiveResourcesInfo().filter((name) => /MessagePort|Timeout|Immediate|Worker/.test(name));
    console.log(JSON.stringify([typeof BitMar.load, typeof BitMarError, Reflect.ownKeys(globalThis).length - before, handles,
      process.memoryUsage().external < 4e6, await BitMar.availability(), BitMar.build() !== null]));`);
  assert.deepEqual(JSON.parse(found), ['function', 'function', 0, [], true, 'available', true]);
});

test('a program that captions ends by itself, even without close', async () => {
  const text = await runModule(`
    import { BitMar } from 'bitmar';
    const bitmar = await BitMar.load();
    console.log((await bitmar.caption(${JSON.stringify(pathToFileURL(photo('cat')).href)})).text);`);
  assert.equal(text, inBrowser);
});

test('a photo may be bytes, a Blob, a file: or an http address, and reads as in Chromium', async (t) => {
  const server = createServer((_, response) => createReadStream(photo('cat')).pipe(response)).listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  t.after(() => server.close());
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const bytes = await readFile(photo('cat'));
  const sources = [bytes, new Uint8Array(bytes).buffer, new Blob([bytes]), pathToFileURL(photo('cat')),
    pathToFileURL(photo('cat')).href, `http://127.0.0.1:${port}/cat.jpg`];
  for (const source of sources) assert.equal((await bitmar.caption(source, { remember: false })).text, inBrowser);
});

test('without a worker, an abort ends a caption at the next token, a waiting one and a load at once', async () => {
  const bytes = await readFile(photo('cat'));
  const [running, waiting, loading] = [new AbortController(), new AbortController(), new AbortController()];
  let tokens = 0;
  const onToken = () => ++tokens === 2 && setTimeout(() => running.abort());
  const first = failure(bitmar.caption(bytes, { signal: running.signal, onToken }));
  const second = failure(bitmar.caption(bytes, { signal: waiting.signal }));
  const third = bitmar.caption(bytes, { remember: false });
  waiting.abort();
  const load = failure(BitMar.load({ signal: loading.signal, onProgress: () => loading.abort() }));
  assert.deepEqual((await Promise.all([first, second, load])).map(({ name }) => name), Array(3).fill('AbortError'));
  assert.ok(tokens < 5, 'no token long after the abort');
  assert.equal((await third).text, inBrowser, 'the queue goes on');
});

test('errors carry their codes, and one photo that fails does not end a batch', async () => {
  const results = [];
  for await (const { caption, error } of bitmar.captionMany([new Blob(['x']), pathToFileURL(photo('cat'))], { remember: false })) {
    results.push(caption?.text ?? /** @type {any} */ (error).code);
  }
  assert.deepEqual(results, ['photo', inBrowser]);
  assert.equal((await failure(bitmar.caption(pathToFileURL('/nowhere.jpg')))).code, 'network');
  assert.equal((await failure(BitMar.load({ worker: true }))).code, 'unsupported');
  assert.equal((await failure(BitMar.load({ model: new Uint8Array(3) }))).code, 'model');
});

test('the memory lasts until close, and is carried on by export and import', async () => {
  /** @type {string[]} */ const notices = [];
  const one = await BitMar.load({ memory: { name: 'mine' }, onNotice: ({ code }) => notices.push(code) });
  assert.deepEqual(notices, ['storage-denied']);
  await one.correct(await one.caption(pathToFileURL(photo('cat'))), 'Chelsea the cat');
  const snapshot = await one.memory.export();
  one.close();
  assert.equal((await failure(one.memory.list())).code, 'closed');
  const two = await BitMar.load();
  assert.equal((await two.memory.list()).length, 0);
  await two.memory.import(snapshot);
  assert.equal((await two.memory.list())[0].text, 'Chelsea the cat');
  two.close();
});

test('close in the middle of a caption fails it and what waits', async () => {
  const own = await BitMar.load();
  const bytes = await readFile(photo('cat'));
  const first = failure(own.caption(bytes, { onToken: () => own.close() }));
  const second = failure(own.caption(bytes));
  assert.deepEqual([(await first).code, (await second).code], ['closed', 'closed']);
  assert.equal((await bitmar.caption(bytes, { remember: false })).text, inBrowser, 'another captioner goes on');
});

/** @param {string[]} args */
const command = (...args) =>
  run('npx', ['--no-install', 'bitmar', ...args], { cwd: its.folder }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );

test('npx bitmar prints a line for each photo', async () => {
  assert.deepEqual(await command(photo('cat')), { code: 0, stdout: `${photo('cat')}: ${inBrowser}\n`, stderr: '' });
});

test('npx bitmar finds its help and the name of its model in the package', async () => {
  assert.match((await command('--help')).stdout, /^usage: bitmar /);
  assert.match((await command('--version')).stdout, /^bitmar \d+\.\d+\.\d+, model v\d+\n$/);
});
