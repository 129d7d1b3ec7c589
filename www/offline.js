// @ts-check
/** Registers the service worker once the model is there, and tells of updates. */
import { BitMar } from './pkg/index.js';
import { byId, toast } from './dom.js';
import { strings } from './strings.js';

export async function keepOffline() {
  if (!('serviceWorker' in navigator)) return;
  const { serviceWorker } = navigator;
  // The worker stores one wasm build only; the address tells it which.
  const registration = await serviceWorker.register(`sw.js?build=${BitMar.build()}`).catch(() => null);
  if (!registration) return;
  let isReloading = false;
  const offer = (/** @type {ServiceWorker} */ waiting) => {
    const run = () => {
      isReloading = true;
      waiting.postMessage('skip-waiting');
    };
    toast(strings.updateThere, { label: strings.update, run, stays: true });
  };
  serviceWorker.addEventListener('controllerchange', () => isReloading && location.reload());
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
