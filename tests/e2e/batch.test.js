// @ts-check
/** Many photos: progress, bad files among good ones, and an end when the user wants one. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { PATIENCE, PHOTOS, cancelAll, captions, foreignRequests, photos, shot, site, upload } from './support.js';
import { longestTask } from './tasks.js';

const here = site();
/** @type {import('playwright-core').Page} */ let page;
/** @type {string[]} */ let foreign;

beforeEach(async () => {
  page = await (await here.browser.newContext({ reducedMotion: 'reduce' })).newPage();
  foreign = foreignRequests(page);
  await page.goto(here.url);
  await page.getByText('Ready to work offline').waitFor({ timeout: PATIENCE });
});
afterEach(async () => {
  await page.context().close();
  assert.deepEqual(foreign, [], 'nothing leaves the origin');
});

test('a batch with bad files among good ones shows its progress and can be cancelled', async () => {
  await upload(page, `${PHOTOS}/README.md`, ...photos(78), `${PHOTOS}/README.md`);
  await page.getByText(/^\d+ of 80 photos$/).waitFor();
  await page.locator('.card[data-state=done]').first().waitFor({ timeout: PATIENCE });
  await shot(page, 'batch');
  await cancelAll(page);
  await captions(page);
  const states = await page.locator('.card').evaluateAll((cards) => cards.map((card) => /** @type {any} */ (card).dataset.state));
  assert.equal(states[0], 'failed', 'the bad file');
  assert.equal(states[1], 'done', 'the photo behind it');
  assert.ok(states.includes('cancelled'), states.join(' '));
  await page.getByRole('button', { name: 'Cancel all' }).waitFor({ state: 'hidden' });
});

test('no task keeps the thread of the page from the user for 50 ms while 200 photos come and go', async (t) => {
  // So long that a longest task that is not seen would show.
  const block = () => page.evaluate(() => {
    let sum = 0;
    for (let i = 0; i < 1e9; i++) sum += i & 7;
    return sum;
  });
  assert.ok((await longestTask(page, block)) > 50, 'a long task is seen');
  const longest = await longestTask(page, async () => {
    await upload(page, ...photos(200));
    await page.getByText(/^\d+ of 200 photos$/).waitFor({ timeout: PATIENCE });
    await page.locator('.card[data-state=done]').first().waitFor({ timeout: PATIENCE });
    // By its id: to look for a role among so many elements is a long task itself.
    await page.locator('#cancel-all').press('Enter');
    await captions(page);
  });
  t.diagnostic(`the longest took ${longest} ms`);
  assert.ok(longest < 50, `${longest} ms`);
});
