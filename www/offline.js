// @ts-check
/** Registers the service worker once the model is there, and tells of updates. */
import { BitMar } from './pkg/index.js';
import { byId } from './dom.js';
import { strings } from './strings.js';

export async function keepOffline() {
  if (!('serviceWorker' in navigator)) return;
  const { serviceWorker } = navigator;
  // A first visit has no worker: the one that takes over then is no update.
  let isOwn = !serviceWorker.controller;
  let isReloading = false;
  serviceWorker.addEventListener('controllerchange', () => {
    if (isReloading) location.reload();
    // Another tab took the update: this one runs the old page over the new version's files.
    else if (!isOwn) offerReload(() => location.reload());
    isOwn = false;
  });
  // The worker stores one wasm build only; the address tells it which.
  const registration = await serviceWorker.register(`sw.js?build=${BitMar.build()}`).catch(() => null);
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

/** Nothing reloads unasked: the photos on the page would be gone. @param {() => void} run */
function offerReload(run) {
  byId('update').hidden = false;
  byId('update-reload').onclick = run;
}
