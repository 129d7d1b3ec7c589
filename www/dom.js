// @ts-check
/** What every part of the page needs to work with elements. */

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** Clones the element in a template. @param {string} id @returns {any} */
export const clone = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** @type {number | undefined} */
let timer;

/**
 * Shows a message for a few seconds, or until the next one.
 * @param {string} text
 * @param {{ label: string, run: () => void }} [action]
 */
export function toast(text, action) {
  const [box, message, button] = ['toast', 'toast-text', 'toast-action'].map(byId);
  clearTimeout(timer);
  box.hidden = false;
  message.textContent = text;
  button.hidden = !action;
  button.textContent = action?.label ?? '';
  button.onclick = () => {
    box.hidden = true;
    action?.run();
  };
  timer = setTimeout(() => (box.hidden = true), action ? 8000 : 4000);
}

/**
 * Opens a dialog that a click outside it closes.
 * @param {HTMLDialogElement} dialog
 * @param {() => void} [onClose]
 */
export function openDialog(dialog, onClose) {
  dialog.showModal();
  // The toast moves into the dialog, because elements outside a modal dialog cannot be clicked, and
  // moves out again so as not to vanish with it.
  dialog.append(byId('toast'));
  dialog.onclick = ({ target }) => {
    if (target === dialog) dialog.close();
  };
  dialog.onclose = () => {
    document.body.append(byId('toast'));
    onClose?.();
  };
}

/** A URL for a thumbnail; empty if there is none. @param {Uint8Array<ArrayBuffer>} jpeg */
export const thumbnailUrl = (jpeg) =>
  jpeg.length > 0 ? URL.createObjectURL(new Blob([jpeg], { type: 'image/jpeg' })) : '';

/** How many items are handled before the page can react to its user. */
const TURN = 10;

/**
 * Handles many items without blocking the page.
 * @template T
 * @param {T[]} items
 * @param {(item: T) => void} act
 */
export async function inTurns(items, act) {
  for (let at = 0; at < items.length; at += TURN) {
    items.slice(at, at + TURN).forEach(act);
    await new Promise((resolve) => setTimeout(resolve));
  }
}
