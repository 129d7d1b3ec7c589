// @ts-check
/** How the page was opened: with photos that another app shared, with files, or by a shortcut. */

/**
 * Where the service worker leaves shared photos. The folder is in its name: another copy of the page on this origin
 * has its own. It begins otherwise than the names of the versions: an update keeps it.
 */
const SHARED = `bitmar-shared ${new URL('./', location.href)}`;

/**
 * @param {(files: File[]) => void} onFiles
 * @param {Record<string, () => void>} shortcuts what the manifest's shortcuts start, by their query
 */
export async function receive(onFiles, shortcuts) {
  const { launchQueue } = /** @type {any} */ (window);
  launchQueue?.setConsumer(async (/** @type {{ files?: FileSystemFileHandle[] }} */ { files = [] }) => {
    const opened = await Promise.all(files.map((handle) => handle.getFile()));
    if (opened.length) onFiles(opened);
  });
  const query = new URLSearchParams(location.search);
  // A reload must not do it again.
  if (location.search) history.replaceState(null, '', location.pathname);
  for (const [name, start] of Object.entries(shortcuts)) if (query.has(name)) start();
  if (!query.has('shared') || !('caches' in window)) return;
  const shared = await takeShared();
  if (shared.length) onFiles(shared);
}

/** The photos that were shared, which are given once. @returns {Promise<File[]>} */
async function takeShared() {
  const cache = await caches.open(SHARED);
  const files = [];
  for (const request of await cache.keys()) {
    const response = await cache.match(request);
    if (!response || !(await cache.delete(request))) continue;
    const name = decodeURIComponent(response.headers.get('X-Name') ?? '');
    files.push(new File([await response.blob()], name, { type: response.headers.get('Content-Type') ?? '' }));
  }
  return files;
}
