// @ts-check
/** A trap inside the wasm module fails its own job, and the captioner goes on in a new instance. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { beforeEach, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { PACKAGE, photo, photoBytes, site } from './support.js';
import { trapping } from './trapping.js';

const here = site(PACKAGE);
/** @type {import('playwright-core').Page} */ let page;

/** @param {string} build @param {string} name of the export that traps */
const trappingModule = async (build, name) => trapping(await readFile(`${PACKAGE}/wasm/${build}/bitmar_bg.wasm`), name);

beforeEach(async () => {
  page = await (await here.browser.newContext()).newPage();
  await page.goto(`${here.url}index.d.ts`);
  const build = await page.evaluate(async () => (await import(/** @type {any} */ ('/index.js'))).BitMar.build());
  // Photos that the browser decodes do not go through `begin`; what it cannot read does.
  const wasm = await trappingModule(build, 'captioner_begin');
  await page.route('**/trapping.wasm', (route) => route.fulfill({ body: Buffer.from(wasm), contentType: 'application/wasm' }));
  await page.evaluate(async (bytes) => {
    const { BitMar } = await import(/** @type {any} */ ('/index.js'));
    const wasm = new Uint8Array(await (await fetch('/trapping.wasm')).arrayBuffer());
    const load = (/** @type {object} */ options) => BitMar.load({ wasm, cache: false, ...options });
    const outcome = (/** @type {Promise<any>} */ job) =>
      job.then(({ text }) => text, ({ name, code, message }) => ({ name, code, message }));
    Object.assign(window, { load, outcome, good: new Blob([new Uint8Array(bytes)]), bad: new Blob(['traps']) });
  }, await photoBytes('cat'));
});

/** What the pages below find on `window`. @type {any} */
const { load, outcome, good, bad } = /** @type {any} */ ({});

/** @param {any} failure */
function assertTrap({ name, code, message }) {
  assert.deepEqual([name, code], ['BitMarError', 'internal']);
  assert.match(message, /unreachable/);
}

test('a trap in the worker fails its job, and a new worker does the rest of the queue', async () => {
  const { before, trapped, next, workers, known } = await page.evaluate(async () => {
    let workers = 0;
    const createWorker = () => (workers++, new Worker('/worker.js', { type: 'module' }));
    const bitmar = await load({ createWorker, memory: { name: 'crash' } });
    await bitmar.correct(good, 'Chelsea');
    const jobs = [good, bad, good, bad, good].map((photo) => outcome(bitmar.caption(photo, { remember: false })));
    const [before, ...after] = await Promise.all(jobs);
    const known = (await bitmar.memory.list()).map((/** @type {any} */ { text }) => text);
    return { before, trapped: [after[0], after[2]], next: [after[1], after[3]], workers, known };
  });
  trapped.forEach(assertTrap);
  assert.deepEqual([before, ...next], Array(3).fill('Chelsea'));
  assert.equal(workers, 3, 'one more after each trap');
  assert.deepEqual(known, ['Chelsea'], 'what is stored outlives the crash');
});

test('a trap without a worker fails its job, and the captioners of the thread go on in a new instance', async () => {
  const { before, trapped, next, other, instances, closed } = await page.evaluate(async () => {
    let instances = 0;
    const { Instance } = WebAssembly;
    WebAssembly.Instance = class extends Instance {
      constructor(/** @type {[WebAssembly.Module, WebAssembly.Imports]} */ ...made) {
        super(...made);
        instances++;
      }
    };
    const [bitmar, idle] = await Promise.all([load({ worker: false }), load({ worker: false })]);
    const before = await outcome(idle.caption(good, { remember: false }));
    const jobs = [bad, good, bad, good].map((photo) => outcome(bitmar.caption(photo, { remember: false })));
    const done = await Promise.all(jobs);
    const other = await outcome(idle.caption(good, { remember: false }));
    bitmar.close();
    const closed = await outcome(idle.caption(good, { remember: false }));
    return { before, trapped: [done[0], done[2]], next: [done[1], done[3]], other, instances, closed };
  });
  trapped.forEach(assertTrap);
  assert.ok(typeof before === 'string' && before.length > 10, String(before));
  assert.deepEqual([...next, other, closed], Array(4).fill(before));
  assert.equal(instances, 2, 'one for each trap');
});

for (const worker of [true, false]) {
  test(`a memory that is not stored outlives a trap ${worker ? 'in' : 'without'} a worker`, async () => {
    const { failed, stats, texts } = await page.evaluate(async (worker) => {
      const bitmar = await load({ worker });
      await bitmar.correct(good, 'Chelsea');
      const failed = await outcome(bitmar.caption(bad));
      const [{ slot }] = await bitmar.memory.list();
      await bitmar.memory.correct(slot, 'Chelsea the cat');
      await outcome(bitmar.caption(bad));
      return { failed, stats: await bitmar.memory.stats(), texts: [(await bitmar.memory.list())[0].text, await outcome(bitmar.caption(good))] };
    }, worker);
    assertTrap(failed);
    assert.deepEqual([stats.used, stats.corrected, stats.stored], [1, 1, false]);
    assert.deepEqual(texts, ['Chelsea the cat', 'Chelsea the cat']);
  });
}

test('a trap in Node fails its job alone, too', async () => {
  const { BitMar } = await import(pathToFileURL(`${PACKAGE}/index.js`).href);
  // Without a browser's decoder every photo goes through `begin`.
  const bitmar = await BitMar.load({ wasm: await trappingModule(BitMar.build() ?? '', 'captioner_undoMemory') });
  const caption = async () => (await bitmar.caption(await readFile(photo('cat')), { remember: false })).text;
  const before = await caption();
  const [trapped, next] = await Promise.allSettled([bitmar.memory.undo(), caption()]);
  assertTrap(trapped.status === 'rejected' ? trapped.reason : {});
  assert.deepEqual(next, { status: 'fulfilled', value: before });
  bitmar.close();
});
