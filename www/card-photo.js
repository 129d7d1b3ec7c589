// @ts-check
/** The photo on a card, or the file's name if the browser cannot show it. */
import { strings } from './strings.js';

export class CardPhoto {
  #url;

  /** @param {HTMLElement} card @param {File} file */
  constructor(card, file) {
    this.#url = URL.createObjectURL(file);
    const find = (/** @type {string} */ part) => /** @type {any} */ (card.querySelector(part));
    const [photo, name] = ['.photo', '.not-a-photo'].map(find);
    photo.src = this.#url;
    photo.alt = strings.photoAlt(file.name);
    photo.onerror = () => {
      photo.hidden = true;
      name.hidden = false;
      name.textContent = file.name;
    };
  }

  /** Frees the photo, which cannot be shown again. */
  dispose() {
    URL.revokeObjectURL(this.#url);
  }
}
