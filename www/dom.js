// @ts-check
/** The few things every part of the page does with its elements. */

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** A copy of the element in a template. @param {string} id @returns {any} */
export const clone = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** @type {number | undefined} */
let timer;

/**
 * Says something for a while, or until something else is said.
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

/** Opens a dialog that a press beside it closes, too. @param {HTMLDialogElement} dialog @param {() => void} [onClose] */
export function openDialog(dialog, onClose) {
  dialog.showModal();
  // Outside the open dialog its button could not be pressed; and it must not vanish with the dialog.
  dialog.append(byId('toast'));
  dialog.onclick = ({ target }) => {
    if (target === dialog) dialog.close();
  };
  dialog.onclose = () => {
    document.body.append(byId('toast'));
    onClose?.();
  };
}

/** A thumbnail's address in this page, empty if there is none. @param {Uint8Array<ArrayBuffer>} jpeg */
export const thumbnailUrl = (jpeg) =>
  jpeg.length > 0 ? URL.createObjectURL(new Blob([jpeg], { type: 'image/jpeg' })) : '';

/** How many photos are dealt with before the page looks whether its user wants something. */
const TURN = 10;

/**
 * Does something with each of many, and lets the page breathe in between.
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
