// @ts-check
/** Replaces a caption on a card with the user's words, and offers to undo it. */
import { toast } from './dom.js';
import { offerUndo } from './memory.js';
import { strings } from './strings.js';

/**
 * Returns whether the correction was stored.
 * @param {HTMLElement} card
 * @param {string} text
 * @param {() => Promise<void>} store adds it to the memory
 */
export async function takeCorrection(card, text, store) {
  const find = (/** @type {string} */ part) => /** @type {any} */ (card.querySelector(part));
  const [caption, meta, recalled] = ['.caption', '.meta', '.recalled'].map(find);
  const { dataset } = card;
  // Nodes rather than text: the model's words are elements that show where it looked.
  const nodes = [...caption.childNodes];
  const before = [nodes, meta.textContent, recalled.hidden, dataset.when, dataset.author];
  const show = (/** @type {any[]} */ [content, ...rest]) => {
    caption.replaceChildren(...content);
    [meta.textContent, recalled.hidden, dataset.when, dataset.author] = rest;
  };
  try {
    await store();
  } catch (error) {
    toast(strings.notCorrected(error));
    return false;
  }
  show([[text], strings.corrected, true, new Date().toISOString(), 'user']);
  offerUndo(strings.correctionTaken, () => show(before));
  return true;
}
