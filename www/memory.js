// @ts-check
/** The panel that lists, corrects and deletes what is remembered. */
import { byId, openDialog, toast } from './dom.js';
import { EpisodeRow } from './episode.js';
import { strings } from './strings.js';
import { showAside, transfer } from './transfer.js';

/** @typedef {import('./pkg/index.js').Remembered} Remembered */

const dialog = /** @type {HTMLDialogElement} */ (byId('memory'));

/** The rows by content, so that one that stays keeps its focus. @type {Map<string, EpisodeRow>} */
const rows = new Map();

/** @type {import('./pkg/index.js').BitMar['memory']} */
let memory;

/** Connects the panel to a captioner. @param {import('./pkg/index.js').BitMar} captioner */
export function showMemory(captioner) {
  memory = captioner.memory;
  const button = byId('memory-open');
  button.disabled = false;
  button.onclick = () => {
    openDialog(dialog);
    render();
  };
  byId('memory-clear').onclick = () => undoably(memory.clear(), strings.cleared);
  byId('memory-close').onclick = () => dialog.close();
  transfer(memory, undoably);
  memory.addEventListener('change', render);
  render();
}

/** Asks the browser not to remove the memory when space runs low. It may ask the user or refuse. */
export async function askToPersist() {
  if (await navigator.storage?.persisted?.()) return;
  if (await navigator.storage?.persist?.()) render();
}

/**
 * Says what was done and offers to undo it.
 * @param {string} done
 * @param {() => void} [onUndone]
 */
export function offerUndo(done, onUndone) {
  const run = async () => {
    const isUndone = await memory.undo().catch(() => false);
    isUndone ? onUndone?.() : toast(strings.notUndone);
  };
  toast(done, { label: strings.undo, run });
}

/** @param {Promise<unknown>} change @param {string} done */
async function undoably(change, done) {
  try {
    await change;
  } catch (error) {
    toast(strings.notChanged(error));
    return;
  }
  try {
    // Before the message, so that the panel already shows what it says.
    await render();
  } finally {
    offerUndo(done);
  }
}

/** Counts the renderings: when two overlap, only the later one is shown. */
let turn = 0;

/** The latest rendering. @type {Promise<void>} */
let latest;

/** Shows the memory's current state; resolves once it, or a later one, is visible. */
const render = () => (latest = renderOnce(++turn));

/** @param {number} own @returns {Promise<void>} */
async function renderOnce(own) {
  const stats = await memory.stats();
  byId('memory-count').textContent = strings.badge(stats.used);
  if (!dialog.open) return;
  const [entries, aside] = await Promise.all([memory.list(), memory.listAside()]);
  const isPersistent = stats.stored && (await navigator.storage?.persisted?.());
  if (own !== turn) return latest;
  byId('memory-figures').textContent = strings.figures(stats);
  byId('memory-storage').textContent = strings.kept(stats.stored, Boolean(isPersistent));
  byId('memory-empty').hidden = entries.length > 0;
  for (const id of ['memory-export', 'memory-clear']) byId(id).disabled = entries.length === 0;
  showRows(entries.sort((a, b) => b.writtenAt - a.writtenAt));
  showAside(aside);
}

/** @param {Remembered} entry */
const key = ({ slot, writtenAt, text }) => `${slot} ${writtenAt} ${text}`;

/** @param {Remembered[]} entries */
function showRows(entries) {
  const list = byId('episodes');
  const shown = new Set(entries.map(key));
  for (const [old, row] of rows) {
    if (shown.has(old)) continue;
    row.remove();
    rows.delete(old);
  }
  entries.forEach((entry, index) => {
    const handlers = { onCorrect: correct, onDelete: remove };
    const row = rows.get(key(entry)) ?? new EpisodeRow(entry, handlers);
    row.update(entry);
    rows.set(key(entry), row);
    // Only if it is not in place: an element that is moved loses the focus.
    const at = list.children[index];
    if (at !== row.element) list.insertBefore(row.element, at ?? null);
  });
}

/** @param {Remembered} entry @param {string} text */
async function correct(entry, text) {
  await memory.correct(entry, text);
  await render();
  // The corrected entry is in a new row.
  byId('episodes').querySelector(`[data-slot="${entry.slot}"] [data-do=edit]`)?.focus();
  offerUndo(strings.correctedEntry);
}

/** @param {Remembered} entry */
async function remove(entry) {
  const elements = [...rows.values()].map(({ element }) => element);
  const focused = elements.find((element) => element.contains(document.activeElement));
  const next = focused?.nextElementSibling ?? focused?.previousElementSibling;
  await undoably(memory.delete(entry), strings.deleted);
  (next?.querySelector('[data-do=delete]') ?? byId('memory-close')).focus();
}
