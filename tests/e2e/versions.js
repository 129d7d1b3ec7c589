// @ts-check
/** New versions of a copy of the site. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Gives a site another version and heading, as a build of changed files does. @param {string} site @param {string} name */
export async function publish(site, name) {
  const change = async (/** @type {string} */ file, /** @type {RegExp} */ what, /** @type {string} */ by) => {
    const text = await readFile(join(site, file), 'utf8');
    await writeFile(join(site, file), text.replace(what, by));
  };
  await change('index.html', /(<h1 id="title">).*(<\/h1>)/, `$1${name}$2`);
  await change('sw.js', /const VERSION = '.*'/, `const VERSION = '${name}'`);
}

/** The versions that the browser has stored. @param {import('playwright-core').Page} page */
export const storedVersions = async (page) =>
  (await page.evaluate(() => caches.keys())).map((name) => name.split(' ').at(-1));
