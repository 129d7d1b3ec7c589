// @ts-check
/** Many captions in one tab: its memory, the worker's, the model's and the page's own, must not grow. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { serve } from './server.js';
import { PACKAGE, SITE, captions, photo, photoBytes, site, upload } from './support.js';

const CAPTIONS = 200;
const LOOKS = 5;

const here = site(PACKAGE);

/**
 * Bytes that only the tab's process has, heaps and wasm memory of the page and its worker included. A page cannot
 * ask for that: `measureUserAgentSpecificMemory` leaves wasm memory and this worker out.
 */
async function tabMemory() {
  const session = await here.browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  const tabs = processInfo.filter(({ type }) => type === 'renderer');
  const sizes = tabs.map(async ({ id }) => {
    const status = await readFile(`/proc/${id}/smaps_rollup`, 'utf8');
    return 1024 * Number(/^Private_Dirty:\s+(\d+) kB/m.exec(status)?.[1]);
  });
  return Math.max(...(await Promise.all(sizes)));
}

test(`${CAPTIONS} captions leave the tab's memory as it was, below 200 MB`, async (t) => {
  const page = await here.browser.newPage();
  await page.goto(`${here.url}index.d.ts`);
  const files = await Promise.all(['cat', 'coffee', 'rocket'].map(photoBytes));
  await page.evaluate(async (files) => {
    const { BitMar } = await import(/** @type {any} */ ('/index.js'));
    const bitmar = await BitMar.load({ cache: false });
    const photos = files.map((bytes) => new Blob([new Uint8Array(bytes)]));
    const texts = new Set();
    const work = async (/** @type {number} */ times) => {
      for (let i = 0; i < times; i++) {
        // As the page does: word by word, with maps, and corrected now and then.
        const photo = photos[i % photos.length];
        const caption = await bitmar.caption(photo, { attention: true, remember: false, onToken() {} });
        texts.add(caption.text);
        if (i % 20 === 0) await bitmar.correct(caption, `number ${i % 40}`);
      }
      return texts.size;
    };
    Object.assign(globalThis, { work });
  }, files);
  let kinds = 0;
  // The least of several looks: what waits for the garbage collector comes and goes, what leaks stays.
  const leastOver = async (/** @type {number} */ times) => {
    const sizes = [];
    for (let look = 0; look < LOOKS; look++) {
      kinds = await page.evaluate((times) => /** @type {any} */ (globalThis).work(times), times / LOOKS);
      sizes.push(await tabMemory());
    }
    return Math.min(...sizes);
  };
  // The heaps need some captions to find their size, on some runs more than on others; a leak goes on growing.
  const sizes = [await leastOver(100)];
  const grows = () => sizes.length < 2 || sizes[sizes.length - 1] >= 1.1 * sizes[sizes.length - 2];
  while (grows() && sizes.length < 5) sizes.push(await leastOver(CAPTIONS));
  t.diagnostic(`${sizes.join(', then ')} bytes; ${kinds} different captions`);
  assert.ok(kinds > 1, 'photos were looked at');
  assert.ok(sizes[0] > 20e6, `${sizes[0]} bytes cannot be all of it`);
  assert.ok(Math.max(...sizes) < 200e6, `${sizes} bytes`);
  assert.ok(!grows(), `${sizes} bytes: each round took a tenth more`);
});

test(`${CAPTIONS} captions leave nothing behind in the page's own heap and document`, async (t) => {
  const server = await serve(SITE);
  t.after(() => server.close());
  const page = await here.browser.newPage();
  await page.goto(server.url);
  await upload(page, ...['cat', 'coffee', 'rocket', 'astronaut'].map(photo));
  await captions(page);
  const session = await page.context().newCDPSession(page);
  const held = async () => {
    // What the first collection finalizes, the second takes away.
    for (let times = 0; times < 2; times++) await session.send('HeapProfiler.collectGarbage');
    const { usedSize } = await session.send('Runtime.getHeapUsage');
    const { nodes, jsEventListeners } = await session.send('Memory.getDOMCounters');
    return { usedSize, nodes, jsEventListeners };
  };
  const work = async (/** @type {number} */ times) => {
    const again = page.getByRole('button', { name: 'Again', exact: true });
    for (let left = times; left > 0; left -= await again.count()) {
      for (const button of await again.all()) await button.click();
      await captions(page);
    }
  };
  // Until then compiled code and caches find their size.
  await work(CAPTIONS);
  const before = await held();
  await work(CAPTIONS);
  const after = await held();
  t.diagnostic(`${JSON.stringify(before)}, then ${JSON.stringify(after)}`);
  assert.equal(await page.locator('.card[data-state=done]').count(), 4);
  for (const kind of /** @type {const} */ (['usedSize', 'nodes', 'jsEventListeners'])) {
    assert.ok(after[kind] < 1.1 * before[kind], `${kind}: ${before[kind]}, then ${after[kind]}`);
  }
});
