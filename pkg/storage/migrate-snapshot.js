// @ts-check
/**
 * Another model's snapshot in this model's terms: its photos are encoded anew, as far as it kept them.
 * @param {any} captioner
 * @param {Uint8Array} snapshot
 * @param {(event: any) => void} report hears `{ phase: 'adopt', done, total }`
 * @returns {{ snapshot: Uint8Array, left: number }} and how many photos there was nothing left of
 */
export function translated(captioner, snapshot, report) {
  const adoption = captioner.adoptMemory(snapshot);
  try {
    const total = adoption.total();
    for (let done = 0; adoption.step(); ) report({ phase: 'adopt', done: ++done, total });
    return { snapshot: adoption.snapshot(), left: adoption.left() };
  } finally {
    adoption.free();
  }
}
