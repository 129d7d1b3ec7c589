// @ts-check
/** The packed package in test programs that imitate a browser in Node: it runs as in Node. */
import assert from 'node:assert/strict';
import { copyFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { installed, run } from './packed.js';
import { PACKAGE, photo } from './support.js';

const path = (/** @type {string} */ relative) => fileURLToPath(new URL(relative, import.meta.url));

/** @type {Awaited<ReturnType<typeof installed>>} */ let its;
/** @type {NodeJS.ProcessEnv} */ let env;

before(async () => {
  its = await installed();
  await copyFile(path('hosts/caption.spec.js'), join(its.folder, 'caption.spec.js'));
  await writeFile(join(its.folder, 'package.json'), '{ "type": "module" }');
  await symlink(path('node_modules/jsdom'), join(its.folder, 'node_modules/jsdom'));
  await writeFile(join(its.folder, 'vitest.config.js'),
    "export default { test: { environment: 'jsdom', globals: true, include: ['caption.spec.js'] } };");
  await writeFile(join(its.folder, 'jest.config.js'), `export default {
    testEnvironment: ${JSON.stringify(path('node_modules/jest-environment-jsdom/build/index.js'))},
    testMatch: ['**/caption.spec.js'], transform: {} };`);
  const { BitMar } = await import(pathToFileURL(join(its.folder, 'node_modules/bitmar/index.js')).href);
  const bitmar = await BitMar.load();
  env = { ...process.env, PHOTO: photo('cat'), CAPTION: (await bitmar.caption(pathToFileURL(photo('cat')))).text };
  bitmar.close();
});
after(() => its?.remove());

/** @param {string} tool @param {string[]} args */
const runTests = (tool, ...args) =>
  run(process.execPath, [...args.slice(0, -1), path(`node_modules/${tool}`), ...args.slice(-1)], { cwd: its.folder, env })
    .catch(({ stdout, stderr }) => assert.fail(stdout + stderr));

test('in vitest, installed and linked', async () => {
  await runTests('vitest/vitest.mjs', 'run');
  const home = join(its.folder, 'node_modules/bitmar');
  await rm(home, { recursive: true });
  // Outside node_modules, vitest rewrites the module's addresses into those of a server.
  await symlink(PACKAGE, home);
  await runTests('vitest/vitest.mjs', 'run');
});

test('in jest with modules', async () => {
  const { stderr } = await runTests('jest/bin/jest.js', '--experimental-vm-modules', '--silent');
  assert.match(stderr, /1 passed/);
});
