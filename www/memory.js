// @ts-check
/** The panel of what is remembered: look, correct, delete, take back. */
import { byId, openDialog, toast } from './dom.js';
import { EpisodeRow } from './episode.js';
import { strings } from './strings.js';
import { showAside, transfer } from './transfer.js';

/** @typedef {import('./pkg/index.js').Remembered} Remembered */

const dialog = /** @type {HTMLDialogElement} */ (byId('memory'));

/** Rows by what they show, so that a row that stays keeps its focus. @type {Map<string, EpisodeRow>} */
const rows = new Map();

/** @type {import('./pkg/index.js').BitMar['memory']} */
let memory;

/** Shows the memory of this captioner from now on. @param {import('./pkg/index.js').BitMar} captioner */
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

/** Asks the browser not to remove the memory when space runs short. It may ask the user, and refuse. */
export async function askToPersist() {
  if (await navigator.storage?.persisted?.()) return;
  if (await navigator.storage?.persist?.()) render();
}

/** Says what was done, and offers to take it back. @param {string} done @param {() => void} [undone] what else to do then */
export function offerUndo(done, undone) {
  const run = async () => ((await memory.undo()) ? undone?.() : toast(strings.notUndone));
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
    // Who reads that it is done finds it done.
    await render();
  } finally {
    offerUndo(done);
  }
}

/** Counts the renderings: of two under way, the later one is right. */
let turn = 0;

/** The last rendering that began. @type {Promise<void>} */
let latest;

/** Shows the memory as it is; done when it, or what it is by then, is seen. */
const render = () => (latest = renderOnce(++turn));

/** @param {number} own @returns {Promise<void>} */
async function renderOnce(own) {
  const stats = await memory.stats();
  byId('memory-count').textContent = strings.badge(stats.used);
  if (!dialog.open) return;
  const [entries, aside] = await Promise.all([memory.list(), memory.listAside()]);
  const isSafe = stats.stored && (await navigator.storage?.persisted?.());
  if (own !== turn) return latest;
  byId('memory-figures').textContent = strings.figures(stats);
  byId('memory-storage').textContent = strings.kept(stats.stored, Boolean(isSafe));
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
    const row = rows.get(key(entry)) ?? new EpisodeRow(entry, { onCorrect: correct, onDelete: remove });
    row.update(entry);
    rows.set(key(entry), row);
    // Moving an element takes its focus: only what is elsewhere is moved.
    if (list.children[index] !== row.element) list.insertBefore(row.element, list.children[index] ?? null);
  });
}

/** @param {Remembered} entry @param {string} text */
async function correct(entry, text) {
  await memory.correct(entry, text);
  await render();
  // The corrected entry is a new row.
  byId('episodes').querySelector(`[data-slot="${entry.slot}"] [data-do=edit]`)?.focus();
  offerUndo(strings.correctedEntry);
}

/** @param {Remembered} entry */
async function remove(entry) {
  const at = [...rows.values()].map(({ element }) => element).find((element) => element.contains(document.activeElement));
  const next = at?.nextElementSibling ?? at?.previousElementSibling;
  await undoably(memory.delete(entry), strings.deleted);
  (next?.querySelector('[data-do=delete]') ?? byId('memory-close')).focus();
}
