// @ts-check
/** Edits a caption in a text field: Enter saves, Escape cancels. */
import { clone } from './dom.js';

export class Editor {
  #host;
  #onSave;
  /**
   * Exists only while the editor is open, because Chromium goes through all forms of a page
   * whenever one is added.
   * @type {any}
   */
  #form = null;

  /**
   * @param {HTMLElement} host holds a `.caption` and a button `[data-do=edit]`
   * @param {(text: string) => Promise<boolean>} onSave returns whether the text was saved
   */
  constructor(host, onSave) {
    this.#host = host;
    this.#onSave = onSave;
    this.#find('[data-do=edit]').addEventListener('click', () => this.open());
  }

  open() {
    this.#form = clone('edit');
    this.#form.addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#save();
    });
    this.#form.querySelector('[type=button]').addEventListener('click', () => this.close());
    const press = (/** @type {KeyboardEvent} */ event) => this.#press(event);
    this.#form.addEventListener('keydown', press);
    const caption = this.#find('.caption');
    caption.after(this.#form);
    caption.hidden = true;
    this.#field.value = caption.textContent;
    this.#field.focus();
    this.#field.select();
  }

  close() {
    if (!this.#form) return;
    this.#form.remove();
    this.#form = null;
    this.#find('.caption').hidden = false;
    this.#find('[data-do=edit]').focus();
  }

  get #field() {
    return this.#form.querySelector('textarea');
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const isSaving = event.key === 'Enter' && !event.shiftKey && !event.isComposing;
    if (!isSaving && event.key !== 'Escape') return;
    // Otherwise Escape would also close the surrounding dialog.
    event.preventDefault();
    isSaving ? this.#save() : this.close();
  }

  async #save() {
    const text = this.#field.value.trim();
    const isChanged = text && text !== this.#find('.caption').textContent;
    if (!isChanged || (await this.#onSave(text))) this.close();
  }

  /** @param {string} selector @returns {any} */
  #find(selector) {
    return this.#host.querySelector(selector);
  }
}
