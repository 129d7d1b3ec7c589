// @ts-check
/** Captions leave the page: as HTML, CSV and JSON. And what the user knows goes in: the hint. */
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { PATIENCE, PHOTOS, accessibilityFaults, captions, complaints, photo, shot, site, upload } from './support.js';

const here = site();
let folder = '';
/** @type {import('playwright-core').Page} */ let page;
/** @type {string[]} */ let heard;

before(async () => (folder = await mkdtemp(join(tmpdir(), 'bitmar-names-'))));
after(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  const context = await here.browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
  page = await context.newPage();
  heard = complaints(page);
  await page.goto(here.url);
});
afterEach(async () => {
  await page.context().close();
  assert.deepEqual(heard, [], 'the console stays quiet');
});

/** A photo under another name. @param {string} from @param {string} name */
async function named(from, name) {
  await copyFile(photo(from), join(folder, name));
  return join(folder, name);
}

/** @param {string} text */
async function correctTo(text) {
  await page.getByRole('button', { name: 'Correct' }).first().click();
  await page.getByLabel('What the photo shows').first().fill(text);
  await page.getByRole('button', { name: 'Save', exact: true }).first().click();
  await page.getByText('stored in the memory').first().waitFor();
}

/** @param {'CSV' | 'JSON'} format */
async function saved(format) {
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: `Download all captions as ${format}` }).click(),
  ]);
  assert.match(download.suggestedFilename(), new RegExp(`^captions-\\d{4}-\\d\\d-\\d\\d\\.${format.toLowerCase()}$`));
  return readFile(await download.path(), 'utf8');
}

test('a caption copied as HTML is the image element it was, whatever the name and the words', async () => {
  const name = 'a "b" & <c> #1 100%.jpg';
  await upload(page, await named('cat', name));
  await captions(page);
  const text = 'Tom & "Jerry" <at> 5 o\'clock';
  await correctTo(text);
  await page.getByRole('button', { name: 'Copy as HTML' }).click();
  await page.getByText('Copied as HTML').waitFor();
  const copied = await page.evaluate(async () => {
    const html = await navigator.clipboard.readText();
    const { body } = new DOMParser().parseFromString(html, 'text/html');
    const image = /** @type {HTMLImageElement} */ (body.firstElementChild);
    const path = new URL(image.getAttribute('src') ?? '', 'http://host/folder/').pathname;
    return { nodes: body.childNodes.length, tag: image.localName, names: image.getAttributeNames(), alt: image.alt, path };
  });
  assert.deepEqual(copied, { nodes: 1, tag: 'img', names: ['src', 'alt'], alt: text, path: copied.path });
  assert.equal(decodeURIComponent(copied.path), `/folder/${name}`, 'the address leads to the file');
});

test('all captions are saved as CSV and JSON, with who wrote them and no formulas', async () => {
  await upload(page, await named('coffee', '=1+1, "x".jpg'), photo('rocket'));
  const [, rocket] = await captions(page);
  await correctTo('@SUM(A1), said "we"');
  const [first, second] = JSON.parse(await saved('JSON'));
  assert.deepEqual(
    [first.file, first.caption, first.confidence, first.corrected],
    ['=1+1, "x".jpg', '@SUM(A1), said "we"', null, true],
  );
  assert.deepEqual([second.file, second.caption, second.corrected], ['rocket.jpg', rocket, false]);
  assert.ok(second.confidence > 0 && second.confidence <= 1, String(second.confidence));
  assert.ok(Math.abs(Date.parse(first.when) - Date.now()) < PATIENCE);
  const csv = await saved('CSV');
  const quoted = /[",\n]/.test(rocket) ? `"${rocket.replaceAll('"', '""')}"` : rocket;
  assert.equal(
    csv,
    '\ufefffile,caption,confidence,corrected,when\r\n' +
      `"'=1+1, ""x"".jpg","'@SUM(A1), said ""we""",,true,${first.when}\r\n` +
      `rocket.jpg,${quoted},${second.confidence},false,${second.when}\r\n`,
  );
  await shot(page, 'saved');
  assert.deepEqual(await accessibilityFaults(page), []);
});

test('where no photo has a caption there is nothing to save', async () => {
  await upload(page, await named('cat', 'cat.jpg'), join(PHOTOS, 'README.md'));
  await captions(page);
  const button = page.getByRole('button', { name: 'Download all captions as CSV' });
  assert.equal(JSON.parse(await saved('JSON')).length, 1, 'a file that is no photo is left out');
  await page.getByRole('button', { name: 'Remove cat.jpg' }).click();
  assert.ok(await button.isDisabled());
  await page.getByRole('button', { name: 'Undo' }).click();
  assert.ok(await button.isEnabled());
});

test('a hint given with the keyboard is told to the model and said beside the caption', async () => {
  await upload(page, photo('cat'));
  const [before] = await captions(page);
  await page.getByRole('button', { name: 'Hint' }).press('Enter');
  await page.getByLabel('What do you know about it?').press('Escape');
  assert.equal(await page.evaluate(() => /** @type {any} */ (document.activeElement).dataset.do), 'hint');
  await page.keyboard.press('Enter');
  await page.keyboard.type('my cat Chelsea');
  await shot(page, 'hint');
  assert.deepEqual(await accessibilityFaults(page), []);
  await page.keyboard.press('Enter');
  await page.getByText('hint “my cat Chelsea”').waitFor({ timeout: PATIENCE });
  const [after] = await captions(page);
  const direct = await page.evaluate(async (bytes) => {
    const { BitMar } = await import(/** @type {any} */ ('/pkg/index.js'));
    const bitmar = await BitMar.load();
    const { text } = await bitmar.caption(new Uint8Array(bytes), { hint: 'my cat Chelsea' });
    bitmar.close();
    return text;
  }, [...(await readFile(photo('cat')))]);
  assert.equal(after, direct);
  assert.match(after, /\bChelsea\b/, `without the hint: "${before}"`);
});
