// @ts-check
/**
 * Captions what the camera sees. A frame is taken when the previous caption is finished, so frames
 * never queue, and goes ahead of waiting photos. Nothing is written to the memory, not even a count
 * of recalls.
 */
import { hasCamera, showCamera, toPhoto } from './camera.js';
import { byId, openDialog, toast } from './dom.js';
import { strings } from './strings.js';

/**
 * @typedef {import('./pkg/index.js').BitMar} BitMar
 * @typedef {import('./pkg/index.js').Caption} Caption
 */

/** How long a caption stays readable before the next frame is taken, in milliseconds. */
const READING_TIME = 1000;

/** The shortest time between two captions for screen readers, in milliseconds. */
const SPEAKING_TIME = 5000;

const dialog = /** @type {HTMLDialogElement} */ (byId('live'));

// Right away, so that the page's layout does not shift. A page opened over http says what is missing.
byId('live-open').hidden = isSecureContext && !hasCamera();

/** Ends the captions of the open panel. */
let closing = new AbortController();

/**
 * @typedef {{ captioner: BitMar, length: () => any,
 *   onKeep: (photo: File, caption: Caption) => void }} Live `length` returns the chosen length;
 *   `onKeep` receives a frame that the user keeps
 */

/** @param {Live} live */
export function offerLive(live) {
  const button = byId('live-open');
  button.disabled = false;
  button.onclick = () => open(live);
  byId('live-stop').onclick = stop;
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible' || !dialog.open) return;
    stop();
    toast(strings.cameraHidden);
  });
  addEventListener('pagehide', stop);
}

function stop() {
  // Not in the dialog's `close` event, which comes later, and never if the page is being left.
  closing.abort();
  dialog.close();
}

/** @param {Live} live */
async function open(live) {
  closing = new AbortController();
  const { signal } = closing;
  const fail = (/** @type {any} */ error) => {
    if (signal.aborted) return;
    closing.abort();
    byId('live-keep').disabled = true;
    show('failed', { error: strings.camera(error) });
    byId('live-stop').textContent = strings.closeCamera;
    byId('live-stop').focus();
  };
  byId('live-keep').disabled = true;
  byId('live-stop').textContent = strings.stopCamera;
  show('waiting', { text: strings.startingCamera });
  openDialog(dialog, stop);
  byId('live-said').textContent = strings.startingCamera;
  try {
    await showCamera(byId('live-video'), signal, fail);
    await watch(live, signal);
  } catch (error) {
    fail(error);
  }
}

/** @param {Live} live @param {AbortSignal} signal */
async function watch({ captioner, length, onKeep }, signal) {
  const constant = { remember: false, countRecalls: false, attention: true, urgent: true, signal };
  const announce = announcer();
  let said = '';
  /** @type {ImageBitmap | undefined} */ let frame;
  signal.addEventListener('abort', () => frame?.close());
  while (!signal.aborted) {
    const next = await createImageBitmap(byId('live-video'));
    // As long as the new caption repeats the shown one, the shown one stays.
    const onToken = (/** @type {string} */ text) => said.startsWith(text) || show('done', { text });
    const recall = byId('live-memory').checked;
    const options = { ...constant, length: length(), recall, onToken };
    const caption = await captioner.caption(next, options);
    frame?.close();
    const shown = (frame = next);
    said = caption.text;
    show('done', { text: said, meta: strings.captionMeta(caption) });
    announce(said);
    byId('live-keep').disabled = false;
    byId('live-keep').onclick = async () => {
      // Not by disabling the button, which would lose the focus.
      byId('live-keep').onclick = null;
      onKeep(await toPhoto(shown, strings.frameName()), caption);
      toast(strings.frameKept);
    };
    await new Promise((resolve) => setTimeout(resolve, READING_TIME));
  }
}

/** Announces captions to screen readers, if they differ and leave time for the previous one. */
function announcer() {
  let announcedAt = -Infinity;
  return (/** @type {string} */ text) => {
    const status = byId('live-said');
    if (text === status.textContent || performance.now() - announcedAt < SPEAKING_TIME) return;
    status.textContent = text;
    announcedAt = performance.now();
  };
}

/** @param {string} state @param {{ text?: string, meta?: string, error?: string }} content */
function show(state, { text = '', meta = '', error = '' }) {
  byId('live-state').dataset.state = state;
  byId('live-caption').textContent = text;
  byId('live-meta').textContent = meta;
  byId('live-error').textContent = error;
  byId('live-error').hidden = !error;
}
