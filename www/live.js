// @ts-check
/**
 * Captions of what the camera sees. A frame is taken when the caption before is done, so none waits, and goes before
 * photos that do. What the camera sees leaves no trace in the memory, not even a count of recalls.
 */
import { hasCamera, showCamera, toPhoto } from './camera.js';
import { byId, openDialog, toast } from './dom.js';
import { strings } from './strings.js';

/** @typedef {import('./pkg/index.js').BitMar} BitMar @typedef {import('./pkg/index.js').Caption} Caption */

/** How long a caption stands before the next frame is taken, in milliseconds: faster, nobody can read it. */
const STANDS = 1000;

/** How long a voice has for a caption before it hears another one, in milliseconds. */
const VOICE = 5000;

const dialog = /** @type {HTMLDialogElement} */ (byId('live'));

// At once: where there is a camera, which is nearly everywhere, nothing moves.
byId('live-open').hidden = !hasCamera();

/** Ends what the open panel does. */
let closing = new AbortController();

/**
 * @typedef {{ captioner: BitMar, length: () => any, onKeep: (photo: File, caption: Caption) => void }} Live
 *   who says what is seen, how much, and what to do with a kept frame
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
  // At once: the dialog's close event comes later, and after a page is gone not at all.
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
    // What is seen does not start over while the caption comes out as it was.
    const onToken = (/** @type {string} */ text) => said.startsWith(text) || show('done', { text });
    const recall = byId('live-memory').checked;
    const caption = await captioner.caption(next, { ...constant, length: length(), recall, onToken });
    frame?.close();
    const shown = (frame = next);
    said = caption.text;
    show('done', { text: said, meta: strings.captionMeta(caption.timings.total, caption.confidence, '') });
    announce(said);
    byId('live-keep').disabled = false;
    byId('live-keep').onclick = async () => {
      // Once: a disabled button would lose the focus.
      byId('live-keep').onclick = null;
      onKeep(await toPhoto(shown, strings.frameName()), caption);
      toast(strings.frameKept);
    };
    await new Promise((resolve) => setTimeout(resolve, STANDS));
  }
}

/** Lets a screen reader hear captions that differ from the last one it heard, once it had time for that. */
function announcer() {
  let heard = -Infinity;
  return (/** @type {string} */ text) => {
    const voice = byId('live-said');
    if (text === voice.textContent || performance.now() - heard < VOICE) return;
    voice.textContent = text;
    heard = performance.now();
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
