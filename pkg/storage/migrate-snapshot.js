// @ts-check
/**
 * Another model's snapshot in this model's terms: its photos are encoded anew, as far as it kept them.
 * @param {any} captioner
 * @param {Uint8Array} snapshot
 * @param {(event: any) => void} report hears `{ phase: 'adopt', done, total }`
 * @returns {{ snapshot: Uint8Array, left: number }} and how many photos there was nothing left of
 */
export function migrateSnapshot(captioner, snapshot, report) {
  const migration = captioner.adoptMemory(snapshot);
  try {
    const total = migration.total();
    for (let done = 0; migration.step(); ) report({ phase: 'adopt', done: ++done, total });
    return { snapshot: migration.snapshot(), left: migration.left() };
  } finally {
    migration.free();
  }
}
