// @ts-check
/** Where the model looked for a word: over the photo, by pointer and by keyboard. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { accessibilityFaults, captions, complaints, photo, shot, site, upload } from './support.js';

const here = site();
/** @type {import('playwright-core').Page} */ let page;
/** @type {string[]} */ let heard;

beforeEach(async () => {
  page = await (await here.browser.newContext({ reducedMotion: 'reduce' })).newPage();
  heard = complaints(page);
  await page.goto(here.url);
  await upload(page, photo('astronaut'));
  await captions(page);
});
afterEach(async () => {
  await page.context().close();
  assert.deepEqual(heard, [], 'the console stays quiet');
});

const words = () => page.locator('.caption .word');
const legend = () => page.locator('.legend');
/** The darkness over a grid of the photo's points. */
const darkness = () =>
  page.locator('.heatmap').evaluate((canvas) => {
    const { width, height } = /** @type {HTMLCanvasElement} */ (canvas);
    const { data } = /** @type {any} */ (canvas).getContext('2d').getImageData(0, 0, width, height);
    return Array.from({ length: 100 }, (_, at) => {
      const [x, y] = [((at % 10) + 0.5) / 10, (Math.floor(at / 10) + 0.5) / 10];
      return data[4 * (Math.floor(y * height) * width + Math.floor(x * width)) + 3];
    });
  });

test('every word of the caption shows the map that the package gives for it', async () => {
  const [text] = await captions(page);
  assert.deepEqual(await words().allTextContents(), text.split(' '));
  await words().last().hover();
  await legend().getByText(`Where the model looked for “${text.split(' ').at(-1)}”`).waitFor();
  const shown = await darkness();
  assert.ok(Math.min(...shown) < 60 && Math.max(...shown) > 150, `light and dark: ${shown}`);
  const bytes = await (await import('node:fs/promises')).readFile(photo('astronaut'));
  const { width, height, map } = await page.evaluate(async (bytes) => {
    const { BitMar } = await import(/** @type {any} */ ('/pkg/index.js'));
    const bitmar = await BitMar.load();
    const { attention } = await bitmar.caption(new Uint8Array(bytes), { attention: true });
    bitmar.close();
    return { ...attention, map: [...attention.words.at(-1).map] };
  }, [...bytes]);
  assert.ok(Math.abs(map.reduce((sum, share) => sum + share) - 1) < 1e-3, 'shares');
  // Weak cells are dark and strong ones light: the order of the points is the opposite of the map's.
  const expected = shown.map((_, at) => map[Math.floor(((Math.floor(at / 10) + 0.5) / 10) * height) * width + Math.floor((((at % 10) + 0.5) / 10) * width)]);
  const mean = (/** @type {number[]} */ values) => values.reduce((sum, value) => sum + value) / values.length;
  const [ms, me] = [mean(shown), mean(expected)];
  const product = (/** @type {number[]} */ a, /** @type {number} */ ma, /** @type {number[]} */ b, /** @type {number} */ mb) =>
    a.reduce((sum, value, at) => sum + (value - ma) * (b[at] - mb), 0);
  const correlation = product(shown, ms, expected, me) / Math.sqrt(product(shown, ms, shown, ms) * product(expected, me, expected, me));
  assert.ok(correlation < -0.8, `correlation ${correlation}`);
  await page.mouse.move(2, 2);
  assert.ok(await legend().isHidden(), 'gone with the pointer');
});

test('the words are one tab stop, and arrows go through them', async () => {
  assert.equal(await page.locator('.word[tabindex="0"]').count(), 1);
  await words().first().focus();
  const [first] = [await legend().textContent()];
  const before = await darkness();
  await page.keyboard.press('End');
  assert.notEqual(await legend().textContent(), first);
  assert.notDeepEqual(await darkness(), before, 'another word, another map');
  assert.equal(await page.locator('.word[tabindex="0"]').count(), 1);
  for (const [colorScheme, width, height] of /** @type {const} */ ([['light', 1180, 800], ['dark', 390, 844]])) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    await shot(page, `attention-${colorScheme}`);
    assert.deepEqual(await accessibilityFaults(page), []);
  }
  await page.keyboard.press('Escape');
  assert.ok(await legend().isHidden());
});

test('a corrected caption has no map, and its undo brings the maps back', async () => {
  const count = await words().count();
  await page.getByRole('button', { name: 'Correct' }).click();
  await page.getByLabel('What the photo shows').fill('Eileen Collins before her flight');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByText('stored in the memory').waitFor();
  assert.equal(await words().count(), 0);
  await page.getByRole('button', { name: 'Undo' }).click();
  await words().first().waitFor();
  assert.equal(await words().count(), count);
});
