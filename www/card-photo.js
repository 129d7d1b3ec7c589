// @ts-check
/** A card's picture: the photo, or the file's name where the browser cannot show it. */
import { strings } from './strings.js';

export class CardPhoto {
  #url;

  /** @param {HTMLElement} card @param {File} file */
  constructor(card, file) {
    this.#url = URL.createObjectURL(file);
    const [photo, name] = ['.photo', '.not-a-photo'].map((part) => /** @type {any} */ (card.querySelector(part)));
    photo.src = this.#url;
    photo.alt = strings.photoAlt(file.name);
    photo.onerror = () => {
      photo.hidden = true;
      name.hidden = false;
      name.textContent = file.name;
    };
  }

  /** Gives its memory back; it is not shown again. */
  dispose() {
    URL.revokeObjectURL(this.#url);
  }
}
