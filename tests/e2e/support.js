// @ts-check
/** What the end-to-end tests share: where things are, the browser, the page's hooks. */
import { access, mkdir, readFile } from 'node:fs/promises';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import AxeBuilder from '@axe-core/playwright';
import { chromium } from 'playwright-core';
import { serve } from './server.js';

const path = (/** @type {string} */ relative) => fileURLToPath(new URL(relative, import.meta.url));

/** Folders; the first three can be set to test another build. */
export const SITE = process.env.BITMAR_SITE ?? path('../../www');
export const PACKAGE = process.env.BITMAR_PKG ?? path('../../pkg');
export const PHOTOS = process.env.BITMAR_PHOTOS ?? path('../photos');
export const EXAMPLES = path('../../examples/npm');
/** Pictures of what the tests saw, to be looked at. */
export const SHOTS = path('screenshots');

export const photo = (/** @type {string} */ name) => `${PHOTOS}/${name}.jpg`;
const NAMES = ['cat', 'coffee', 'astronaut', 'rocket'];
/** A number of files large enough that the first captions are done long before the last. */
export const photos = (/** @type {number} */ count) => Array.from({ length: count }, (_, at) => photo(NAMES[at % NAMES.length]));
export const photoBytes = async (/** @type {string} */ name) => [...(await readFile(photo(name)))];

/** Chromium must not look for its maker's servers: there is no network. */
export const LAUNCH = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
};

/** The policy that index.html states, as a host would send it: it then holds for the worker too. */
export const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; " +
  "img-src 'self' blob:; style-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'";

/** @param {string[]} args more of Chromium's switches */
export const launch = (...args) => chromium.launch({ ...LAUNCH, args: [...LAUNCH.args, ...args] });

/**
 * A served folder, the site if none is given, and a browser for the tests of a file.
 * @param {string} [folder]
 * @returns {{ url: string, browser: import('playwright-core').Browser }} to be read inside tests
 */
export function site(folder = SITE) {
  const it = /** @type {any} */ ({});
  before(async () => {
    it.server = await serve(folder);
    it.url = it.server.url;
    it.browser = await launch();
  });
  after(async () => {
    await it.browser?.close();
    await it.server?.close();
  });
  return it;
}

/** How long a caption may take on a busy machine. */
export const PATIENCE = 60_000;

/** @param {import('playwright-core').Page} page @param {string} name */
export async function shot(page, name) {
  await mkdir(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage: true });
}

/** @param {import('playwright-core').Page} page @param {string[]} files */
export const upload = (page, ...files) => page.locator('#picker').setInputFiles(files);

/** By keyboard: the count beside the button grows meanwhile and moves it. @param {import('playwright-core').Page} page */
export const cancelAll = (page) => page.getByRole('button', { name: 'Cancel all' }).press('Enter');

/** The captions of all photos on the page, once they are complete. @param {import('playwright-core').Page} page */
export async function captions(page) {
  const pending = page.locator('[data-testid=caption][aria-busy=true]');
  await pending.first().waitFor({ state: 'attached', timeout: 500 }).catch(() => {});
  await page.waitForFunction(
    () => !document.querySelector('[data-testid=caption][aria-busy=true]'),
    undefined,
    { timeout: PATIENCE },
  );
  return page.locator('[data-testid=caption]').allTextContents();
}

/**
 * What axe finds wrong with the page as it is now, and as it is for people who have set forced colors and reduced motion.
 * @param {import('playwright-core').Page} page
 */
export async function accessibilityFaults(page) {
  const found = async (/** @type {string} */ how) => {
    const { violations } = await new AxeBuilder({ page }).analyze();
    return violations.map(({ id, nodes }) => `${how}${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  };
  const faults = await found('');
  const [isForced, isReduced] = await page.evaluate(() =>
    ['(forced-colors: active)', '(prefers-reduced-motion: reduce)'].map((query) => matchMedia(query).matches));
  await page.emulateMedia({ forcedColors: 'active', reducedMotion: 'reduce' });
  faults.push(...await found('forced colors: '));
  await page.emulateMedia({ forcedColors: isForced ? 'active' : 'none', reducedMotion: isReduced ? 'reduce' : 'no-preference' });
  return faults;
}

/** Everything a page asks for that is not of its origin. @param {import('playwright-core').Page} page */
export function foreignRequests(page) {
  /** @type {string[]} */
  const foreign = [];
  page.context().on('request', (request) => {
    const url = new URL(request.url());
    if (url.hostname !== 'localhost' && !['blob:', 'data:'].includes(url.protocol)) foreign.push(request.url());
  });
  return foreign;
}

/** What the page's console complains of. @param {import('playwright-core').Page} page */
export function complaints(page) {
  /** @type {string[]} */
  const heard = [];
  page.on('pageerror', (error) => heard.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && heard.push(message.text()));
  return heard;
}

await access(`${SITE}/sw.js`).catch(() => {
  throw new Error(`${SITE} is not built: run ./build.sh first`);
});
