// @ts-check
/** Registers the service worker and offers updates. Called once the model is loaded. */
import { BitMar } from './pkg/index.js';
import { byId } from './dom.js';
import { strings } from './strings.js';

export async function keepOffline() {
  if (!('serviceWorker' in navigator)) return;
  const { serviceWorker } = navigator;
  // A first visit has no worker yet, so the first one to take control is not an update.
  let isOwn = !serviceWorker.controller;
  let isReloading = false;
  serviceWorker.addEventListener('controllerchange', () => {
    if (isReloading) location.reload();
    // Another tab installed the update, so this one runs the old page with the new version's files.
    else if (!isOwn) offerReload(() => location.reload());
    isOwn = false;
  });
  // The worker stores only one wasm build, the one that its URL names.
  const url = `sw.js?build=${BitMar.build()}`;
  const registration = await serviceWorker.register(url).catch(() => null);
  if (!registration) return;
  const offer = (/** @type {ServiceWorker} */ waiting) =>
    offerReload(() => {
      isReloading = true;
      waiting.postMessage('skip-waiting');
    });
  if (registration.waiting && registration.active) offer(registration.waiting);
  registration.addEventListener('updatefound', () => {
    const { installing } = registration;
    installing?.addEventListener('statechange', () => {
      if (installing.state === 'installed' && registration.active) offer(installing);
    });
  });
  await serviceWorker.ready;
  byId('offline-text').textContent = strings.offlineReady;
}

/** The user decides when to reload, because that removes the photos. @param {() => void} run */
function offerReload(run) {
  byId('update').hidden = false;
  byId('update-reload').onclick = run;
}
