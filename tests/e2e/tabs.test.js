// @ts-check
/** One memory in two tabs, and in a worker that is killed: no episode is lost, none comes back. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { site } from './support.js';
import { openTab } from './tabs.js';

/** Kills in the trial below; the figure was measured with 200. */
const TRIALS = Number(process.env.BITMAR_KILL_TRIALS ?? 20);

const here = site();

/** @type {import('playwright-core').Page[]} */ let tabs;

beforeEach(async () => {
  const context = await here.browser.newContext();
  tabs = [await openTab(context, here.url), await openTab(context, here.url)];
  for (const tab of tabs) {
    await tab.evaluate(async () => {
      const bitmar = await load();
      /** @type {any} */ (window).bitmar = bitmar;
      /** @type {any} */ (window).changes = 0;
      bitmar.memory.addEventListener('change', () => /** @type {any} */ (window).changes++);
    });
  }
});
afterEach(() => tabs[0].context().close());

/** What `openTab` and `beforeEach` put on `window`. @type {any} */
const { BitMar, bitmar, changes, load, photos, texts, failure } = /** @type {any} */ ({});

/** @param {number} tab @param {number} photo @param {string} text */
const teach = (tab, photo, text) =>
  tabs[tab].evaluate(({ photo, text }) => bitmar.correct(photos[photo], text), { photo, text });

test('what two tabs learn at once, both know', async () => {
  await Promise.all([teach(0, 0, 'Rex'), teach(1, 1, 'Mia')]);
  await Promise.all([teach(0, 2, 'Eileen'), teach(1, 3, 'Falcon')]);
  const all = ['Eileen', 'Falcon', 'Mia', 'Rex'];
  for (const tab of tabs) assert.deepEqual(await tab.evaluate(() => texts(bitmar)), all);
  assert.deepEqual(await tabs[0].evaluate(async () => texts(await load())), all);
  for (const tab of tabs) assert.equal(await tab.evaluate(() => changes), 4, 'each tab is told of every change');
});

test('what one tab deletes, the other does not bring back', async () => {
  await teach(0, 0, 'Rex');
  await teach(1, 1, 'Mia');
  await tabs[0].evaluate(async () => bitmar.memory.delete((await bitmar.memory.list())[0]));
  await teach(1, 2, 'Eileen');
  for (const tab of tabs) assert.deepEqual(await tab.evaluate(() => texts(bitmar)), ['Eileen', 'Mia']);
  await tabs[0].evaluate(() => bitmar.memory.clear());
  await teach(1, 3, 'Falcon');
  for (const tab of tabs) assert.deepEqual(await tab.evaluate(() => texts(bitmar)), ['Falcon']);
});

test('an undo gives back what was lost, beside what came since', async () => {
  await teach(0, 0, 'Rex');
  await tabs[0].evaluate(async () => bitmar.memory.clear());
  await teach(1, 1, 'Mia');
  assert.equal(await tabs[0].evaluate(() => bitmar.memory.undo()), true);
  for (const tab of tabs) assert.deepEqual(await tab.evaluate(() => texts(bitmar)), ['Mia', 'Rex']);
});

test('a slot that another tab filled anew is not deleted by mistake', async () => {
  await teach(0, 0, 'Rex');
  const [listed] = await tabs[1].evaluate(() => bitmar.memory.list());
  await tabs[0].evaluate(() => bitmar.memory.clear());
  await teach(0, 1, 'Mia');
  const code = await tabs[1].evaluate(
    ({ slot, writtenAt }) => failure(bitmar.memory.delete({ slot, writtenAt })), listed);
  assert.equal(code, 'conflict');
  assert.deepEqual(await tabs[1].evaluate(() => texts(bitmar)), ['Mia']);
});

for (const kind of ['captions', 'corrections']) {
  test(`no finished episode is lost when the worker is killed: ${kind}`, { timeout: 3_600_000 }, async (t) => {
    const { lost, acknowledged, cut } = await tabs[0].evaluate(killing, { kind, trials: Math.ceil(TRIALS / 2) });
    t.diagnostic(`${acknowledged} episodes finished, ${cut} cut off, ${lost.length} lost`);
    assert.deepEqual(lost, []);
    assert.ok(acknowledged > 0 && cut > 0, 'some were finished, and some were cut off');
  });
}

/** Runs in the page: kills the worker at random moments and looks for what it had finished. */
async function killing(/** @type {{ kind: string, trials: number }} */ { kind, trials }) {
  /** @type {Worker | undefined} */ let worker;
  const createWorker = () => (worker = new Worker('/pkg/worker.js', { type: 'module' }));
  const memory = { name: kind };
  const [victim, witness] = [await BitMar.load({ memory, createWorker }), await BitMar.load({ memory })];
  /** What must be in a slot at least. @type {Map<number, { text: string, since: number }>} */
  const expected = new Map();
  /** @type {any[]} */ const lost = [];
  let [acknowledged, cut, count] = [0, 0, 0];
  for (let trial = 0; trial < trials; trial++) {
    let isKilled = false;
    const kill = () => {
      isKilled = true;
      // As a worker reports a script error of its own: the package then ends it.
      worker?.dispatchEvent(new ErrorEvent('error', { message: 'killed' }));
    };
    // Half of the kills come at any moment from the worker's start on, half close to a write.
    let isArmed = trial % 2 === 0;
    if (isArmed) setTimeout(kill, Math.random() * 3000);
    let [caption, inFlight] = [null, ''];
    while (!isKilled) {
      const since = Date.now();
      inFlight = `episode ${++count}`;
      try {
        const photo = photos[count % photos.length];
        if (kind === 'captions' || !caption) {
          caption = await victim.caption(photo, { beams: 1, length: 'short', remember: kind === 'captions' });
        }
        const text = kind === 'captions' ? caption.text : inFlight;
        const slot = kind === 'captions' ? caption.slot : await victim.correct(caption, text);
        expected.set(slot, { text, since });
        acknowledged++;
        if (!isArmed) setTimeout(kill, Math.random() * (kind === 'captions' ? 600 : 100));
        isArmed = true;
      } catch (/** @type {any} */ error) {
        if (error.code !== 'internal') throw error;
        cut++;
      }
    }
    const stored = await witness.memory.list();
    for (const [slot, { text, since }] of expected) {
      const found = stored.find((/** @type {any} */ entry) => entry.slot === slot);
      // What was cut off may have been stored: it was only not told. The same photo's captions are alike.
      const isThere = kind === 'captions' ? found : [text, inFlight].includes(found?.text);
      // The page's and the worker's clock differ by a little.
      if (!isThere || found.writtenAt < since - 50) lost.push({ trial, slot, text, found: found?.text });
      else expected.set(slot, { text: found.text, since });
    }
  }
  return { lost, acknowledged, cut };
}
