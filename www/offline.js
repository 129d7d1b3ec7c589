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
  const say = (/** @type {string} */ text) => (byId('offline-text').textContent = text);
  const registration = await serviceWorker.register(url).catch(() => null);
  if (!registration) return say(strings.notOffline);
  const offer = (/** @type {ServiceWorker} */ waiting) =>
    offerReload(() => {
      isReloading = true;
      waiting.postMessage('skip-waiting');
    });
  if (registration.waiting && registration.active) offer(registration.waiting);
  const watch = () => {
    const { installing } = registration;
    installing?.addEventListener('statechange', () => {
      if (installing.state === 'installed' && registration.active) offer(installing);
      if (installing.state === 'redundant' && !registration.active) say(strings.notOffline);
    });
  };
  watch();
  registration.addEventListener('updatefound', watch);
  await serviceWorker.ready;
  say(strings.offlineReady);
}

/** The user decides when to reload, because that removes the photos. @param {() => void} run */
function offerReload(run) {
  byId('update').hidden = false;
  byId('update-reload').onclick = run;
}
