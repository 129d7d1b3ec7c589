// @ts-check
/** The page and the package once through in Firefox, which is driven by WebDriver BiDi. */
import assert from 'node:assert/strict';
import { access } from 'node:fs/promises';
import { test } from 'node:test';
import puppeteer from 'puppeteer-core';
import { serve } from './server.js';
import { PATIENCE, SITE, captions, launch, photo, upload } from './support.js';

const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';
const isThere = await access(FIREFOX).then(() => true, () => false);

const PHOTOS = ['cat', 'rocket'].map(photo);
const CORRECTION = 'Chelsea looks up from her basket';

/** What Chromium's page says of the photos. @param {string} url */
async function inChromium(url) {
  const browser = await launch();
  try {
    const page = await browser.newPage();
    await page.goto(url);
    await upload(page, ...PHOTOS);
    return await captions(page);
  } finally {
    await browser.close();
  }
}

/** The captions of photos that are picked in Firefox's page. @param {import('puppeteer-core').Page} page @param {string[]} photos */
async function picked(page, ...photos) {
  const picker = /** @type {import('puppeteer-core').ElementHandle<HTMLInputElement>} */ (await page.$('#picker'));
  await picker.uploadFile(...photos);
  const areDone = (/** @type {number} */ count) => document.querySelectorAll('.card[data-state=done]').length === count;
  await page.waitForFunction(areDone, { timeout: PATIENCE }, photos.length);
  return page.$$eval('[data-testid=caption]', (found) => found.map(({ textContent }) => textContent ?? ''));
}

const availability = (/** @type {import('puppeteer-core').Page} */ page) =>
  page.evaluate(async () => (await import(/** @type {any} */ ('/pkg/index.js'))).BitMar.availability());

test('Firefox captions as Chromium does, remembers a correction, and needs no server any more', { skip: !isThere && `no ${FIREFOX}` }, async (t) => {
  const server = await serve(SITE);
  t.after(() => server.close());
  const firefox = await puppeteer.launch({ browser: 'firefox', executablePath: FIREFOX, timeout: PATIENCE, protocolTimeout: 2 * PATIENCE });
  t.after(() => firefox.close());
  const page = await firefox.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.goto(server.url);
  assert.equal(await availability(page), 'downloadable');
  assert.deepEqual(await picked(page, ...PHOTOS), await inChromium(server.url));

  await page.click('.card [data-do=edit]');
  await page.$eval('.card .edit textarea', (field) => field.select());
  await page.type('.card .edit textarea', CORRECTION);
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('#memory-count')?.textContent?.includes('1'));
  await page.waitForFunction(() => document.querySelector('#offline-text')?.textContent);
  assert.equal(await availability(page), 'available');

  await server.close();
  await page.reload();
  assert.deepEqual(await picked(page, PHOTOS[0]), [CORRECTION]);
});
