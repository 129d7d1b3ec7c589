// @ts-check
/** Handles how the page was opened: with shared photos, with files, or by a shortcut. */

import { toast } from './dom.js';
import { strings } from './strings.js';

/**
 * The cache where the service worker leaves shared photos. The name includes the page's folder, so
 * that other copies of the page on this origin have their own, and its prefix differs from that of
 * the versions' caches, so that an update keeps it.
 */
const SHARED = `bitmar-shared ${new URL('./', location.href)}`;

/**
 * @param {(files: File[]) => void} onFiles
 * @param {Record<string, () => void>} shortcuts the actions of the manifest's shortcuts, by query
 */
export async function receive(onFiles, shortcuts) {
  const { launchQueue } = /** @type {any} */ (window);
  /** @param {{ files?: FileSystemFileHandle[] }} launch */
  const open = async ({ files = [] }) => {
    const opened = await Promise.allSettled(files.map((handle) => handle.getFile()));
    const found = opened.flatMap((file) => (file.status === 'fulfilled' ? [file.value] : []));
    if (found.length) onFiles(found);
    if (found.length < files.length) toast(strings.fileGone);
  };
  launchQueue?.setConsumer(open);
  const query = new URLSearchParams(location.search);
  // A reload must not repeat it.
  if (location.search) history.replaceState(null, '', location.pathname);
  for (const [name, start] of Object.entries(shortcuts)) if (query.has(name)) start();
  if (!query.has('shared')) return;
  const shared = await takeShared().catch(() => []);
  if (shared.length) onFiles(shared);
  else toast(strings.nothingShared);
}

/** Returns the shared photos and removes them from the cache. @returns {Promise<File[]>} */
async function takeShared() {
  const cache = await caches.open(SHARED);
  const files = [];
  for (const request of await cache.keys()) {
    const response = await cache.match(request);
    if (!response || !(await cache.delete(request))) continue;
    const name = decodeURIComponent(response.headers.get('X-Name') ?? '');
    const type = response.headers.get('Content-Type') ?? '';
    files.push(new File([await response.blob()], name, { type }));
  }
  return files;
}
