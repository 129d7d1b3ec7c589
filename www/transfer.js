// @ts-check
/** Exports and imports the memory, and lists old memories that were set aside. */
import { byId, clone, toast } from './dom.js';
import { saveFile } from './save.js';
import { strings } from './strings.js';

/** @typedef {import('./pkg/index.js').BitMar['memory']} Memory */

/** @type {Memory} */
let memory;

/**
 * @param {Memory} source
 * @param {(change: Promise<unknown>, done: string) => Promise<void>} undoably
 */
export function transfer(source, undoably) {
  memory = source;
  byId('memory-export').onclick = () =>
    save(memory.export(), strings.exportName(new Date()));
  const choice = byId('import-choice');
  /** @type {File} */ let chosen;
  byId('memory-import').onclick = async () => {
    chosen = await chooseFile();
    byId('import-text').textContent = strings.importing(chosen.name);
    choice.hidden = false;
    byId('import-merge').focus();
  };
  const close = () => {
    choice.hidden = true;
    byId('memory-import').focus();
  };
  const take = async (/** @type {'merge' | 'replace'} */ mode) => {
    close();
    toast(strings.readingFile);
    const read = async () => memory.import(await chosen.arrayBuffer(), { mode });
    await undoably(read(), strings.imported);
  };
  byId('import-merge').onclick = () => take('merge');
  byId('import-replace').onclick = () => take('replace');
  byId('import-cancel').onclick = close;
}

/** @param {unknown} error */
const complain = (error) => toast(strings.notChanged(error));

/** @param {Promise<Uint8Array<ArrayBuffer>>} snapshot @param {string} name */
const save = (snapshot, name) => snapshot.then((bytes) => saveFile(bytes, name)).catch(complain);

/** Asks for a file; stays pending if the user picks none. @returns {Promise<File>} */
function chooseFile() {
  const input = document.createElement('input');
  input.type = 'file';
  input.accept = '.safetensors';
  input.click();
  return new Promise((resolve) => {
    input.onchange = () => input.files?.[0] && resolve(input.files[0]);
  });
}

/** Lists the snapshots that were set aside. @param {string[]} names */
export function showAside(names) {
  byId('aside').hidden = names.length === 0;
  byId('aside-list').replaceChildren(...names.map((name) => {
    const row = clone('kept');
    row.querySelector('p').textContent = strings.asideEntry(name);
    const [exporting, deleting] = row.querySelectorAll('button');
    exporting.onclick = () =>
      save(memory.exportAside(name), strings.exportName(new Date(`${name}Z`)));
    deleting.onclick = () => memory.deleteAside(name).catch(complain);
    return row;
  }));
}
