// @ts-check
/** The memory panel, as a person uses it. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import {
  PATIENCE, accessibilityFaults, captions, complaints, photo, shot, site, upload,
} from './support.js';

const here = site();

/** @type {import('playwright-core').Page} */ let page;
/** @type {string[]} */ let heard;

beforeEach(async () => {
  const context = await here.browser.newContext({ viewport: { width: 1180, height: 800 }, colorScheme: 'light', reducedMotion: 'reduce' });
  page = await context.newPage();
  heard = complaints(page);
  await page.goto(here.url);
});
afterEach(async () => {
  await page.context().close();
  assert.deepEqual(heard, [], 'the console stays quiet');
});

const panel = () => page.getByRole('dialog', { name: 'Memory' });
const rows = () => panel().getByTestId('episode');
const remembered = () => rows().locator('.caption').allTextContents();
const undo = () => page.getByRole('button', { name: 'Undo' }).click();
const open = () => page.getByRole('button', { name: /^Memory/ }).click();

/** @param {number} count */
const rowsAre = (count) => page.waitForFunction((count) => document.querySelectorAll('.episode').length === count, count);

/** Picks a file to import. @param {string} file */
async function choose(file) {
  const [chooser] = await Promise.all([
    page.waitForEvent('filechooser'),
    panel().getByRole('button', { name: 'Import' }).click(),
  ]);
  await chooser.setFiles(file);
}

/** Corrects the captions of photos by hand. @param {Record<string, string>} said by photo */
async function teach(said) {
  for (const [name, text] of Object.entries(said)) {
    await upload(page, photo(name));
    await captions(page);
    const card = page.locator('.card').last();
    await card.getByRole('button', { name: 'Correct' }).click();
    await card.getByLabel('What the photo shows').fill(text);
    await card.getByRole('button', { name: 'Save' }).click();
    await card.getByText('stored in the memory').waitFor({ timeout: PATIENCE });
  }
}

const TAUGHT = { cat: 'Chelsea the cat looks past the camera', coffee: 'My cup at the window' };

test('corrections appear with their picture, and are corrected, deleted, cleared and brought back', async () => {
  await open();
  await shot(page, 'memory-empty');
  assert.deepEqual(await accessibilityFaults(page), []);
  await page.keyboard.press('Escape');
  await teach(TAUGHT);
  await open();
  await rowsAre(2);
  assert.deepEqual(await remembered(), ['My cup at the window', 'Chelsea the cat looks past the camera']);
  assert.match((await rows().first().locator('.meta').textContent()) ?? '', /^Corrected .+ · not recalled yet$/);
  const widths = await rows().locator('img').evaluateAll((images) => images.map((image) => /** @type {any} */ (image).naturalWidth));
  assert.deepEqual(widths, [64, 64]);
  await shot(page, 'memory');
  assert.deepEqual(await accessibilityFaults(page), []);

  await rows().first().getByRole('button', { name: 'Correct' }).click();
  await rows().first().getByLabel('What the photo shows').fill('A cup of coffee at noon');
  await shot(page, 'memory-correcting');
  assert.deepEqual(await accessibilityFaults(page), []);
  await page.keyboard.press('Enter');
  await panel().getByText('Corrected.').waitFor();
  assert.deepEqual(await remembered(), ['A cup of coffee at noon', TAUGHT.cat]);
  assert.match(await page.evaluate(() => document.activeElement?.ariaLabel ?? ''), /A cup of coffee at noon/);
  await undo();
  await page.getByText('My cup at the window', { exact: true }).last().waitFor();

  await rows().last().getByRole('button', { name: /^Delete/ }).click();
  await rowsAre(1);
  await shot(page, 'memory-deleted');
  await undo();
  await rowsAre(2);
  await panel().getByRole('button', { name: 'Clear all' }).click();
  await rowsAre(0);
  await undo();
  await rowsAre(2);
  await page.reload();
  await open();
  await rowsAre(2);
});

test('a correction in any script is kept, and the page says why one is not', async () => {
  await upload(page, photo('cat'));
  await captions(page);
  await page.getByRole('button', { name: 'Correct' }).click();
  const field = page.getByLabel('What the photo shows');
  const save = () => page.getByRole('button', { name: 'Save' }).click();
  for (const [text, reason] of [['Rex\nasleep', 'A caption is a single line'], ['\u{1f98a}'.repeat(501), 'at most 500 characters']]) {
    await field.fill(text);
    await save();
    await page.getByText(reason).waitFor({ timeout: PATIENCE });
  }
  const text = '\u{1f98a}แมว'.repeat(125);
  await field.fill(` ${text} `);
  await save();
  await page.locator('.card').getByText('stored in the memory').waitFor({ timeout: PATIENCE });
  await open();
  await rowsAre(1);
  assert.deepEqual(await remembered(), [text]);
});

test('a correction is taken back on its card', async () => {
  await upload(page, photo('cat'));
  const [before] = await captions(page);
  await page.getByRole('button', { name: 'Correct' }).click();
  await page.getByLabel('What the photo shows').fill('Chelsea');
  await page.getByRole('button', { name: 'Save' }).click();
  await undo();
  await page.getByText(before, { exact: true }).waitFor();
  await open();
  await panel().getByText('Nothing yet').waitFor();
});

test('the memory goes to a file and comes back from it', async () => {
  await teach({ cat: TAUGHT.cat });
  await open();
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    panel().getByRole('button', { name: 'Export' }).click(),
  ]);
  assert.match(download.suggestedFilename(), /^bitmar-memory-\d{4}-\d\d-\d\d\.safetensors$/);
  const file = join(tmpdir(), download.suggestedFilename());
  await writeFile(file, await readFile(await download.path()));
  await panel().getByRole('button', { name: 'Clear all' }).click();
  await rowsAre(0);
  await choose(file);
  await shot(page, 'memory-import');
  assert.deepEqual(await accessibilityFaults(page), []);
  await panel().getByRole('button', { name: 'Add to these' }).click();
  await panel().getByText('Imported.').waitFor();
  assert.deepEqual(await remembered(), [TAUGHT.cat]);
  await choose(photo('cat'));
  await panel().getByRole('button', { name: 'Replace these' }).click();
  await panel().getByText('not a memory that bitmar can read').waitFor();
  assert.deepEqual(await remembered(), [TAUGHT.cat]);
});

test('the panel is used with the keyboard alone', async () => {
  await teach({ cat: TAUGHT.cat });
  await page.locator('#memory-open').focus();
  await page.keyboard.press('Enter');
  await rows().first().waitFor();
  const reached = new Set();
  for (let press = 0; press < 8; press++) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => {
      const { id, dataset } = /** @type {HTMLElement} */ (document.activeElement);
      return dataset.do ?? id;
    }));
  }
  for (const control of ['memory-close', 'memory-export', 'memory-import', 'memory-clear', 'edit', 'delete']) {
    assert.ok(reached.has(control), `${control} is reached: ${[...reached]}`);
  }
  await rows().getByRole('button', { name: /^Correct/ }).focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  assert.ok(await panel().isVisible(), 'Escape ends the editing only');
  await page.keyboard.press('Escape');
  await panel().waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'memory-open');
});

test('another tab shows what this one learns, at once', async () => {
  const other = await page.context().newPage();
  await other.goto(here.url);
  await other.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });
  await other.getByRole('button', { name: /^Memory/ }).click();
  await teach({ cat: TAUGHT.cat });
  await other.getByTestId('episode').getByText(TAUGHT.cat).waitFor();
  await other.getByRole('button', { name: 'Clear all' }).click();
  await page.waitForFunction(() => document.querySelector('#memory-count')?.textContent === '');
});
