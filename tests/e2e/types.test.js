// @ts-check
/** The package's types in TypeScript's versions, module resolutions and hosts. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PACKAGE } from './support.js';

const require = createRequire(import.meta.url);
const path = (/** @type {string} */ relative) => fileURLToPath(new URL(relative, import.meta.url));

/** Libraries and packages of types. @type {Record<string, { lib: string[], types: string[] }>} */
const HOSTS = {
  dom: { lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'], types: [] },
  webworker: { lib: ['lib.es2022.d.ts', 'lib.webworker.d.ts'], types: [] },
  node: { lib: ['lib.es2022.d.ts'], types: ['node'] },
};

let folder = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bitmar-types-'));
  await cp(path('hosts'), folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await mkdir(join(folder, 'node_modules'));
  await symlink(PACKAGE, join(folder, 'node_modules/bitmar'));
  await symlink(path('node_modules/@types'), join(folder, 'node_modules/@types'));
});
after(() => rm(folder, { recursive: true, force: true }));

/**
 * What the compiler finds wrong with the package's types and the host's programs.
 * @param {any} ts the compiler
 * @param {string} name of the host
 * @param {'Node16' | 'Bundler'} resolution
 * @param {Map<string, any>} parsed the libraries' files, which take most of the time
 * @returns {string}
 */
function faults(ts, name, resolution, parsed) {
  const options = {
    strict: true, noEmit: true, skipLibCheck: false, target: ts.ScriptTarget.ES2022, ...HOSTS[name],
    module: resolution === 'Node16' ? ts.ModuleKind.Node16 : ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind[resolution],
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getCurrentDirectory = () => folder;
  host.getSourceFile = (/** @type {string} */ file, /** @type {any[]} */ ...rest) => {
    if (!/\/(typescript-[^/]+|@types|undici-types)\//.test(file)) return getSourceFile(file, ...rest);
    if (!parsed.has(file)) parsed.set(file, getSourceFile(file, ...rest));
    return parsed.get(file);
  };
  const programs = [join(folder, 'any.ts'), join(folder, `${name}.ts`)];
  const program = ts.createProgram(programs, options, host);
  // To check the libraries' own files as well takes half a minute.
  const own = [...programs, join(PACKAGE, 'index.d.ts')].map((file) => program.getSourceFile(file) ?? assert.fail(file));
  const found = own.flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]);
  return ts.formatDiagnostics([...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics(), ...found], host);
}

for (const version of ['5.4', '5.6', '5.7', '5.9']) {
  test(`they compile, and refuse what is no photo, with TypeScript ${version}`, () => {
    const ts = require(`typescript-${version}`);
    assert.ok(ts.version.startsWith(version));
    const parsed = new Map();
    for (const name of Object.keys(HOSTS)) {
      assert.equal(faults(ts, name, 'Node16', parsed), '', `${name}, node16`);
      assert.equal(faults(ts, name, 'Bundler', parsed), '', `${name}, bundler`);
    }
  });
}
