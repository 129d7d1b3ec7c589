// @ts-check
/** Loads the captioner and shows the progress. */
import { BitMar } from './pkg/index.js';
import { byId } from './dom.js';
import { strings } from './strings.js';

/** Shows the captioner's state. @param {string} state @param {string} text */
function show(state, text) {
  byId('status').dataset.state = state;
  byId('status-text').textContent = text;
  byId('load-progress').hidden = state !== 'loading';
  byId('load-retry').hidden = state !== 'failed';
  // It shares its place with the retry button.
  byId('memory-open').hidden = state === 'failed';
}

/** @param {import('./pkg/index.js').Progress} progress */
function onProgress(progress) {
  const bar = byId('load-progress');
  if (progress.phase === 'download') {
    bar.max = progress.total;
    bar.value = progress.loaded;
    show('loading', strings.loading(progress.loaded, progress.total));
  }
  if (progress.phase === 'start') {
    bar.removeAttribute('value');
    show('loading', strings.starting);
  }
  if (progress.phase === 'adopt') {
    bar.max = progress.total;
    bar.value = progress.done;
    show('loading', strings.migrating(progress.done, progress.total));
  }
  if (progress.phase === 'ready') show('ready', strings.ready);
}

/** @param {import('./pkg/index.js').Notice} notice */
function onNotice({ code }) {
  byId('notice-text').textContent = strings.notice(code);
  byId('notice').hidden = false;
  byId('notice-close').onclick = () => (byId('notice').hidden = true);
}

/** @type {Promise<BitMar>} */
let captioner;

/** @param {(captioner: BitMar) => void} onReady */
export function load(onReady) {
  byId('not-started')?.remove();
  show('loading', strings.opening);
  // No cache: the service worker keeps the files.
  captioner = BitMar.load({ onProgress, onNotice, memory: { name: 'page' }, cache: false });
  captioner.then(onReady, (error) => {
    show(error.code === 'unsupported' ? 'unsupported' : 'failed',
      error.code === 'unsupported' ? strings.unsupported : strings.notLoaded);
    console.error(error);
  });
  byId('load-retry').onclick = () => load(onReady);
}

/** The captioner, once it is loaded. */
export const ready = () => captioner;
