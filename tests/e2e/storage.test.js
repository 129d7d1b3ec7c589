// @ts-check
/** Whatever becomes of the browser's storage, the session goes on, says so, and loses nothing quietly. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { site } from './support.js';
import { openTab } from './tabs.js';

const here = site();

/** @type {import('playwright-core').Page} */ let page;

beforeEach(async () => {
  page = await openTab(await here.browser.newContext(), here.url);
});
afterEach(() => page.context().close());

/** What `openTab` puts on `window`. @type {any} */
const { BitMar, load, photos, notices, texts, failure, holdDatabase, edit } = /** @type {any} */ ({});

/** Teaches a photo and tells how that went. Runs in the page. */
const taught = async () => {
  const bitmar = await load();
  await bitmar.correct(photos[0], 'Rex');
  return { notices, texts: await texts(bitmar), stored: (await bitmar.memory.stats()).stored };
};

test('a correction is there after the tab was closed', async () => {
  assert.deepEqual(await page.evaluate(taught), { notices: [], texts: ['Rex'], stored: true });
  const next = await openTab(page.context(), here.url);
  await page.close();
  assert.deepEqual(await next.evaluate(async () => texts(await load())), ['Rex']);
  page = next;
});

test('the figures of a memory', async () => {
  await page.evaluate(taught);
  const { stats, info, exported } = await page.evaluate(async () => {
    const bitmar = await load();
    return { stats: await bitmar.memory.stats(), info: bitmar.info, exported: (await bitmar.memory.export()).length };
  });
  const slots = info.config.memory.num_slots;
  assert.deepEqual(stats, { slots, used: 1, corrected: 1, bytes: exported, stored: true });
});

test('a browser that denies storage', async () => {
  const result = await page.evaluate(async () => {
    const deny = `Object.defineProperty(self, 'indexedDB', {
      get() { throw new DOMException('denied', 'SecurityError'); } })`;
    const code = `import "data:text/javascript,${encodeURIComponent(deny)}"; import "${location.origin}/pkg/worker.js";`;
    const url = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
    const bitmar = await load({ createWorker: () => new Worker(url, { type: 'module' }) });
    await bitmar.correct(photos[0], 'Rex');
    return { notices, texts: await texts(bitmar), stored: (await bitmar.memory.stats()).stored };
  });
  assert.deepEqual(result, { notices: ['storage-denied'], texts: ['Rex'], stored: false });
});

test('a full disk', async () => {
  const session = await page.context().newCDPSession(page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(here.url).origin, quotaSize: 1 });
  assert.deepEqual(await page.evaluate(taught), { notices: ['storage-full'], texts: ['Rex'], stored: false });
});

test('an older version that another tab holds open', async () => {
  const other = await openTab(page.context(), here.url);
  await other.evaluate(() => holdDatabase(1));
  assert.deepEqual(await page.evaluate(taught), { notices: ['storage-blocked'], texts: ['Rex'], stored: false });
});

test('a newer version that another tab opens is not kept waiting', async () => {
  const result = await page.evaluate(async () => {
    const bitmar = await load();
    await holdDatabase(99);
    await bitmar.correct(photos[0], 'Rex');
    return { notices, texts: await texts(bitmar) };
  });
  assert.deepEqual(result, { notices: ['storage-outdated'], texts: ['Rex'] });
});

test('a memory that the browser removed is stored again', async () => {
  const result = await page.evaluate(async () => {
    const bitmar = await load();
    await bitmar.correct(photos[0], 'Rex');
    await new Promise((resolve) => (indexedDB.deleteDatabase('bitmar').onsuccess = resolve));
    await bitmar.correct(photos[1], 'Mia');
    return { notices, texts: await texts(await load()) };
  });
  assert.deepEqual(result, { notices: ['storage-evicted'], texts: ['Mia', 'Rex'] });
});

test('a damaged memory is set aside, and a new one begins', async () => {
  await page.evaluate(taught);
  const result = await page.evaluate(async () => {
    await edit((/** @type {Uint8Array} */ bytes) => bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte)));
    const bitmar = await load();
    await bitmar.correct(photos[1], 'Mia');
    const [aside] = await bitmar.memory.listAside();
    const code = await failure(bitmar.memory.import(await bitmar.memory.exportAside(aside)));
    await bitmar.memory.deleteAside(aside);
    return { notices, code, left: (await bitmar.memory.listAside()).length, texts: await texts(await load()) };
  });
  assert.deepEqual(result, { notices: ['memory-damaged'], code: 'snapshot', left: 0, texts: ['Mia'] });
});

test("another model's memory is encoded anew, and its snapshot kept", async () => {
  await page.evaluate(taught);
  const { old, now, ...result } = await page.evaluate(async () => {
    const before = await load();
    const [old] = await before.memory.list();
    const foreign = (/** @type {Uint8Array} */ bytes) => {
      const at = new TextDecoder('latin1').decode(bytes).indexOf(before.info.sha256);
      return bytes.fill(0x30, at, at + 64);
    };
    const exported = foreign(await before.memory.export());
    await edit(foreign);
    /** @type {string[]} */ const phases = [];
    const bitmar = await load({ onProgress: (/** @type {any} */ { phase }) => phases.push(phase) });
    const [now] = await bitmar.memory.list();
    const aside = (await bitmar.memory.listAside()).length;
    const { text } = await bitmar.caption(photos[0], { remember: false });
    await bitmar.memory.clear();
    await bitmar.memory.import(exported, { mode: 'merge' });
    return { old, now, phases: phases.slice(-3), notices, aside, text, imported: await texts(bitmar), again: (await texts(await load())).length };
  });
  assert.deepEqual(result, { phases: ['start', 'adopt', 'ready'], notices: ['memory-adopted'], aside: 1, text: 'Rex', imported: ['Rex'], again: 1 });
  assert.deepEqual(now, old, 'caption, time and thumbnail stay');
});
