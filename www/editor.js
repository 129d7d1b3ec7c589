// @ts-check
/** The caption as a text field: Enter saves, Escape keeps what was there. */

export class Editor {
  #card;
  #form;
  #field;
  #onSave;

  /** @param {HTMLElement} card @param {(text: string) => Promise<boolean>} onSave whether it could be saved */
  constructor(card, onSave) {
    this.#card = card;
    this.#onSave = onSave;
    this.#form = this.#find('form');
    this.#field = this.#find('textarea');
    this.#form.addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#save();
    });
    this.#form.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
      if (event.key === 'Escape') this.close();
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#save();
      }
    });
  }

  open() {
    this.#swap(true);
    this.#field.value = this.#find('.caption').textContent;
    this.#field.focus();
    this.#field.select();
  }

  close() {
    if (this.#form.hidden) return;
    this.#swap(false);
    this.#find('[data-do=edit]').focus();
  }

  async #save() {
    const text = this.#field.value.trim();
    const isChanged = text && text !== this.#find('.caption').textContent;
    if (!isChanged || (await this.#onSave(text))) this.close();
  }

  /** @param {boolean} isEditing */
  #swap(isEditing) {
    this.#form.hidden = !isEditing;
    this.#find('.caption').hidden = isEditing;
  }

  /** @param {string} selector @returns {any} */
  #find(selector) {
    return this.#card.querySelector(selector);
  }
}
