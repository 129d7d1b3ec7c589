// @ts-check
/** Blank pages of the site's origin with the package on `window`: for tests of the package, not of the page. */
import { photoBytes } from './support.js';

/** The photos that tests teach; no two of them are one episode to the memory. */
export const NAMES = ['cat', 'coffee', 'astronaut', 'rocket'];

/** @param {import('playwright-core').BrowserContext} context @param {string} url */
export async function openTab(context, url) {
  const tab = await context.newPage();
  await tab.goto(`${url}manifest.webmanifest`);
  const photos = await Promise.all(NAMES.map(photoBytes));
  await tab.evaluate(async (photos) => {
    const { BitMar } = await import(/** @type {any} */ ('/pkg/index.js'));
    /** @type {string[]} */ const notices = [];
    Object.assign(window, {
      BitMar,
      notices,
      photos: photos.map((bytes) => new Blob([new Uint8Array(bytes)])),
      failure: (/** @type {Promise<any>} */ job) => job.then(() => null, ({ code }) => code),
      load: (/** @type {object} */ options) =>
        BitMar.load({ memory: { name: 'test' }, onNotice: ({ code }) => notices.push(code), ...options }),
      /** Opens the package's database and keeps it open. */
      holdDatabase: (/** @type {number} */ version) =>
        new Promise((resolve, reject) => {
          const request = indexedDB.open('bitmar', version);
          request.onsuccess = () => resolve(request.result);
          request.onblocked = request.onerror = () => reject(request.error ?? new Error('blocked'));
        }),
      /** Changes what is stored behind the package's back. */
      edit: async (/** @type {(bytes: Uint8Array) => Uint8Array} */ change, name = 'test') => {
        const database = await (/** @type {any} */ (window)).holdDatabase(2);
        const snapshots = database.transaction('snapshots', 'readwrite').objectStore('snapshots');
        const request = snapshots.get(name);
        await new Promise((resolve) => {
          request.onsuccess = () => snapshots.put(change(request.result), name);
          snapshots.transaction.oncomplete = resolve;
        });
        database.close();
      },
      texts: async (/** @type {any} */ bitmar) =>
        (await bitmar.memory.list()).map((/** @type {any} */ { text }) => text).sort(),
    });
  }, photos);
  return tab;
}
