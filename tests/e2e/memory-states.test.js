// @ts-check
/** What the memory looks like: beside a caption, when something is wrong, on every screen. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { PATIENCE, accessibilityFaults, captions, photo, shot, site, upload } from './support.js';
import { openTab } from './tabs.js';

const here = site();

/** @type {import('playwright-core').BrowserContext} */ let context;

beforeEach(async () => {
  context = await here.browser.newContext({ viewport: { width: 1180, height: 800 }, colorScheme: 'light', reducedMotion: 'reduce' });
});
afterEach(() => context.close());

/** What `openTab` puts on `window`. @type {any} */
const { load, photos, holdDatabase, edit } = /** @type {any} */ ({});

/** A memory of four photos under the page's name. */
async function taught() {
  const tab = await openTab(context, here.url);
  await tab.evaluate(async () => {
    const bitmar = await load({ memory: { name: 'page' } });
    const said = [
      'Chelsea the cat looks past the camera', 'My cup at the window', 'Eileen Collins before her flight',
      'A rocket rises over the marsh while everyone on the bridge stops to watch it',
    ];
    for (const [index, text] of said.entries()) await bitmar.correct(photos[index], text);
    bitmar.close();
  });
  return tab;
}

test('beside a caption stands the memory that it came from', async () => {
  const page = await context.newPage();
  await page.goto(here.url);
  await upload(page, photo('cat'), photo('coffee'));
  await captions(page);
  // Which captions recall what is the model's business; what is shown then is the page's.
  await page.evaluate(async () => {
    const { showRecalled } = await import(/** @type {any} */ ('/recalled.js'));
    const canvas = new OffscreenCanvas(64, 64);
    canvas.getContext('2d')?.fillRect(0, 0, 40, 64);
    const jpeg = await canvas.convertToBlob({ type: 'image/jpeg' });
    const thumbnail = new Uint8Array(await jpeg.arrayBuffer());
    const memory = { slot: 0, text: 'Chelsea asleep', corrected: true, writtenAt: 1.7e12, weight: 0.87, thumbnail };
    const notes = document.querySelectorAll('.recalled');
    showRecalled(notes[0], { text: 'Chelsea asleep', recalled: [memory] });
    showRecalled(notes[1], { text: 'A cup', recalled: [{ ...memory, weight: 0.41 }] });
  });
  const notes = await page.getByTestId('recalled').allTextContents();
  assert.match(notes[0], /Remembered from your correction \(Nov 14.*, 87 %\)/);
  assert.match(notes[1], /Reminded of “Chelsea asleep” \(.*41 %\)/);
  await shot(page, 'recalled');
  assert.deepEqual(await accessibilityFaults(page), []);
});

test('a corrected caption comes back for the same photo', async () => {
  await taught();
  const page = await context.newPage();
  await page.goto(here.url);
  await upload(page, photo('cat'));
  assert.deepEqual(await captions(page), ['Chelsea the cat looks past the camera']);
  assert.match((await page.getByTestId('recalled').textContent()) ?? '', /Remembered from your correction/);
});

test('a memory that is not stored says so until it is dismissed', async () => {
  const other = await openTab(context, here.url);
  await other.evaluate(() => holdDatabase(1));
  const page = await context.newPage();
  await page.goto(here.url);
  await page.getByText('Another tab has an older version').waitFor({ timeout: PATIENCE });
  await shot(page, 'not-stored');
  assert.deepEqual(await accessibilityFaults(page), []);
  await page.getByRole('button', { name: /^Memory/ }).click();
  await page.getByText('Kept only until this page is closed').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'OK' }).click();
  assert.equal(await page.locator('#notice').isVisible(), false);
});

test('the browser is asked to keep the memory after the first correction, and not before', async () => {
  await context.addInitScript(() => {
    let isPersisted = false;
    Object.assign(window, { asked: 0 });
    Object.defineProperties(StorageManager.prototype, {
      persisted: { value: async () => isPersisted },
      persist: { value: async () => (/** @type {any} */ (window).asked++, (isPersisted = true)) },
    });
  });
  const page = await context.newPage();
  await page.goto(here.url);
  await upload(page, photo('cat'));
  await captions(page);
  const asked = () => page.evaluate(() => /** @type {any} */ (window).asked);
  assert.equal(await asked(), 0);
  for (const text of ['Chelsea', 'Chelsea the cat']) {
    await page.getByRole('button', { name: 'Correct' }).click();
    await page.getByLabel('What the photo shows').fill(text);
    await page.keyboard.press('Enter');
    await page.getByTestId('caption').getByText(text, { exact: true }).waitFor();
  }
  assert.equal(await asked(), 1);
  await page.getByRole('button', { name: /^Memory/ }).click();
  await page.getByText('Stored on this device.').waitFor();
});

test('a memory that was set aside can be exported and deleted', async () => {
  const tab = await taught();
  await tab.evaluate(() => edit((/** @type {Uint8Array} */ bytes) => bytes.slice(0, 100), 'page'));
  const page = await context.newPage();
  await page.goto(here.url);
  await page.getByText('could not be read').waitFor({ timeout: PATIENCE });
  await page.getByRole('button', { name: /^Memory/ }).click();
  const aside = page.getByRole('region', { name: 'Older memories' });
  await shot(page, 'memory-aside');
  assert.deepEqual(await accessibilityFaults(page), []);
  await Promise.all([page.waitForEvent('download'), aside.getByRole('button', { name: 'Export' }).click()]);
  await aside.getByRole('button', { name: 'Delete' }).click();
  await aside.waitFor({ state: 'hidden' });
});

for (const [name, width, height, colorScheme, dir] of /** @type {const} */ ([
  ['desktop-dark', 1180, 800, 'dark', 'ltr'],
  ['phone-light', 390, 844, 'light', 'ltr'],
  ['phone-dark', 390, 844, 'dark', 'ltr'],
  ['right-to-left', 1180, 800, 'light', 'rtl'],
])) {
  test(`the panel is accessible and fits: ${name}`, async () => {
    await taught();
    const page = await context.newPage();
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.goto(here.url);
    await page.evaluate((dir) => (document.documentElement.dir = dir), dir);
    await page.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });
    await page.getByRole('button', { name: /^Memory/ }).click();
    await page.getByTestId('episode').nth(3).waitFor();
    await shot(page, `memory-${name}`);
    assert.deepEqual(await accessibilityFaults(page), []);
    const overflow = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = /** @type {Element} */ (document.querySelector('dialog'));
      return scrollWidth - clientWidth;
    });
    assert.ok(overflow <= 0, 'nothing sticks out sideways');
  });
}
