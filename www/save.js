// @ts-check
/** Saves a file, or copies text to the clipboard. */
import { toast } from './dom.js';
import { strings } from './strings.js';

/** @param {BlobPart} content @param {string} name @param {string} [type] */
export function saveFile(content, name, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** @param {string} text @param {string} done the message to show */
export async function copyText(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    toast(done);
  } catch {
    toast(strings.notCopied(isSecureContext));
  }
}
