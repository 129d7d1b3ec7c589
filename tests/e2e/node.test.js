// @ts-check
/** The packed package in Node: the import, the same interface without a worker, and the command. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
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

test('npx bitmar prints a line a photo', async () => {
  assert.deepEqual(await command(photo('cat')), { code: 0, stdout: `${photo('cat')}: ${inBrowser}\n`, stderr: '' });
});

test('npx bitmar tells of bad photos on standard error, goes on with the good ones in order, and ends with 1', async () => {
  await writeFile(join(its.folder, 'notes.jpg'), 'not a photo');
  const photos = [photo('cat'), 'nowhere.jpg', 'notes.jpg', photo('rocket')];
  const options = ['--length', 'short', '--hint', 'my cat', '--beams', '1'];
  const { code, stdout, stderr } = await command('--json', ...options, ...photos);
  assert.equal(code, 1);
  assert.deepEqual(stderr.trim().split('\n').map((line) => line.split(': ')[0]), ['nowhere.jpg', 'notes.jpg']);
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(lines.map((line) => line.photo), photos);
  assert.deepEqual(lines.map(({ error }) => error?.code), [undefined, 'ENOENT', 'photo', undefined]);
  for (const { photo, text, tokens, confidence, ms } of [lines[0], lines[3]]) {
    assert.ok(tokens > 0 && confidence > 0 && confidence <= 1 && ms.total >= ms.vision, photo);
    const asked = await bitmar.caption(pathToFileURL(photo), { length: 'short', hint: 'my cat', beams: 1, remember: false });
    assert.deepEqual([text, tokens, confidence], [asked.text, asked.tokens, asked.confidence]);
  }
});

/** The command with a memory's file of a test's own. @param {string} name */
const withMemory = (name) => {
  const memory = join(its.folder, `${name}.safetensors`);
  const list = async () => (await command('memory', 'list', '--memory', memory)).stdout;
  const does = async (/** @type {string[]} */ ...args) => {
    const { code, stdout, stderr } = await command(...args, '--memory', memory);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  return { memory, list, does };
};

test('npx bitmar keeps corrections in a file, recalls them, and lists, deletes, exports, imports and clears them', async () => {
  const { memory, list, does } = withMemory('mine');
  await does('correct', photo('cat'), 'Chelsea the cat');
  assert.equal(await list(), '0\tcorrected\trecalled 0\tChelsea the cat\n');
  assert.equal(await does('caption', '--no-write', photo('cat')), `${photo('cat')}: Chelsea the cat\n`);
  assert.equal(await list(), '0\tcorrected\trecalled 0\tChelsea the cat\n', 'no recall is counted');
  await does(photo('cat'));
  const [entry] = (await does('memory', 'list', '--json')).trim().split('\n').map((line) => JSON.parse(line));
  assert.deepEqual([entry.slot, entry.caption, entry.corrected, entry.recalls], [0, 'Chelsea the cat', true, 1]);
  const other = withMemory('other');
  await other.does('memory', 'import', memory);
  assert.equal(await other.list(), await list());
  await does('memory', 'delete', '0');
  assert.equal(await list(), '');
  const { stdout } = await run('npx', ['--no-install', 'bitmar', 'memory', 'export', '--memory', other.memory], { cwd: its.folder, encoding: 'buffer' });
  const own = await BitMar.load();
  await own.memory.import(new Uint8Array(stdout));
  assert.deepEqual((await own.memory.list()).map(({ text }) => text), ['Chelsea the cat']);
  own.close();
  await other.does('memory', 'clear');
  assert.equal(await other.list(), '');
  assert.deepEqual((await readdir(its.folder)).filter((name) => name.includes('.tmp')), []);
});

test('several npx bitmar at once lose nothing of what the others learn', async () => {
  const { memory, list, does } = withMemory('shared');
  const lock = `${memory}.lock`;
  const names = ['cat', 'coffee', 'rocket', 'astronaut'];
  // Who is gone holds nobody up.
  await writeFile(lock, String(spawnSync(process.execPath, ['--version']).pid));
  await Promise.all(names.map((name) => does('correct', photo(name), `my ${name}`)));
  for (const name of names) assert.match(await list(), new RegExp(`corrected\trecalled 0\tmy ${name}\n`));
  // Who is not, does.
  await writeFile(lock, String(process.pid));
  const before = await readFile(memory);
  const recalling = Promise.all(names.map((name) => does(photo(name))));
  await sleep(1500);
  assert.deepEqual(await readFile(memory), before);
  await rm(lock);
  assert.deepEqual(await recalling, names.map((name) => `${photo(name)}: my ${name}\n`));
  for (const name of names) assert.match(await list(), new RegExp(`corrected\trecalled 1\tmy ${name}\n`));
  assert.deepEqual((await readdir(its.folder)).filter((name) => name.includes('.lock')), []);
});

test('npx bitmar refuses a damaged memory, takes over another model\'s, and says when it needs one', async () => {
  const { memory, list, does } = withMemory('foreign');
  await does('correct', photo('cat'), 'Rex');
  const bytes = await readFile(memory);
  const damaged = Buffer.from(bytes);
  damaged[damaged.length - 1] ^= 1;
  await writeFile(memory, damaged);
  for (const args of [[photo('cat')], ['correct', photo('cat'), 'Mia'], ['memory', 'list'], ['memory', 'export']]) {
    const { code, stderr } = await command(...args, '--memory', memory);
    assert.equal(code, 1);
    assert.match(stderr, /foreign\.safetensors: .*snapshot/);
  }
  assert.deepEqual(await readFile(memory), damaged, 'left as it is');
  const foreign = Buffer.from(bytes);
  const at = foreign.indexOf('"model_sha256":"') + '"model_sha256":"'.length;
  foreign.fill('0', at, at + 64);
  await writeFile(memory, foreign);
  assert.equal(await list(), '0\tcorrected\trecalled 0\tRex\n');
  assert.deepEqual(await readFile(memory), foreign, 'looking changes nothing');
  await does('correct', photo('coffee'), 'A cup');
  assert.match(await list(), /Rex[^]*A cup/);
  const [kept] = (await readdir(its.folder)).filter((name) => name.startsWith('foreign.') && name.endsWith('.old'));
  assert.deepEqual(await readFile(join(its.folder, kept)), foreign);
  const { code, stderr } = await command('memory', 'list');
  assert.equal(code, 1);
  assert.match(stderr, /--memory/);
});

test('npx bitmar explains itself, and refuses what it does not know', async () => {
  assert.match((await command('--help')).stdout, /--length short\|medium\|long/);
  for (const args of [[], ['--length', 'endless', 'a.jpg'], ['--beams', '9', 'a.jpg'], ['--colour', 'a.jpg'], ['memory', 'forget'], ['correct', 'a.jpg']]) {
    const { code, stdout, stderr } = await command(...args);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /--help/);
  }
});
