// @ts-check
/**
 * Starts the package's worker where `new Worker` alone fails: through a Trusted Types policy, or
 * from a Blob that imports the script, which may then be of another origin and has the policies of
 * the page. If nothing helps, finds out why.
 */
import { BitMarError } from '../errors.js';
import { running } from './start-worker.js';

/** @typedef {{ address: string, options?: WorkerOptions }} Script */

/**
 * @param {() => Worker} create
 * @param {any} cause what was thrown, or the worker's `error` event
 * @param {AbortSignal} signal
 */
export async function startOtherwise(create, cause, signal) {
  const script = scriptOf(create);
  /** @type {SecurityPolicyViolationEvent[]} */
  const violations = [];
  const note = (/** @type {any} */ event) => violations.push(event);
  const blob = blobAddress(script);
  globalThis.addEventListener('securitypolicyviolation', note);
  try {
    for (const address of [script.address, blob]) {
      try {
        return await running(new Worker(trusted(address), script.options), signal);
      } catch (/** @type {any} */ error) {
        signal.throwIfAborted();
        if (error instanceof BitMarError) throw error;
      }
    }
    throw await explained(script.address, violations, cause, signal);
  } finally {
    URL.revokeObjectURL(blob);
    globalThis.removeEventListener('securitypolicyviolation', note);
  }
}

/**
 * What `create` gives to `new Worker`. Only this call names it: bundlers write another address into
 * the call, and would also do so elsewhere, but for a file that is not bundled.
 * @param {() => Worker} create
 * @returns {Script}
 */
function scriptOf(create) {
  const { Worker } = globalThis;
  /** @type {any[]} */
  let given = [];
  globalThis.Worker = /** @type {any} */ (class {
    constructor(/** @type {any[]} */ ...args) {
      given = args;
    }
  });
  try {
    create();
  } finally {
    globalThis.Worker = Worker;
  }
  return { address: new URL(given[0], location.href).href, options: given[1] };
}

/** The address of a script that runs another one. @param {Script} script */
function blobAddress({ address, options }) {
  const url = JSON.stringify(address);
  const code = options?.type === 'module' ? `import ${url};` : `importScripts(${url});`;
  return URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
}

/** @type {any} */
let policy;

/** The address as the page's Trusted Types want it. @param {string} address @returns {any} */
function trusted(address) {
  const { trustedTypes } = /** @type {any} */ (globalThis);
  if (!trustedTypes) return address;
  try {
    policy ??= trustedTypes.createPolicy('bitmar', {
      createScriptURL: (/** @type {string} */ url) => url,
    });
  } catch (cause) {
    const message = "the page's Trusted Types forbid the worker: " +
      'add the policy bitmar to trusted-types, or pass createWorker';
    throw new BitMarError('unsupported', message, { cause });
  }
  return policy.createScriptURL(address);
}

/**
 * Why no worker starts, and what to change.
 * @param {string} address
 * @param {SecurityPolicyViolationEvent[]} violations
 * @param {any} cause
 * @param {AbortSignal} signal
 */
async function explained(address, violations, cause, signal) {
  const { origin } = new URL(address);
  const isForeign = origin !== globalThis.origin;
  const blocks = (/** @type {RegExp} */ blocked) =>
    violations.some(({ effectiveDirective, blockedURI }) =>
      effectiveDirective === 'worker-src' && blocked.test(blockedURI));
  if (blocks(/^https?:/)) {
    return unsupported(`allow ${origin} in worker-src`, cause);
  }
  const fault = await faultOf(address, signal);
  if (fault) {
    const help = isForeign
      ? 'another origin must send Access-Control-Allow-Origin'
      : 'keep the files of the package together, or pass createWorker';
    return new BitMarError('network', `cannot load ${address}: ${fault}; ${help}`, { cause });
  }
  if (isForeign) return unsupported('allow blob: in worker-src', cause);
  const message = `the worker ${address} does not start: either a file that it imports is missing, ` +
    "or it lacks the page's Cross-Origin-Embedder-Policy header, and worker-src has no blob:";
  return new BitMarError('network', message, { cause });
}

/** @param {string} change @param {any} cause */
const unsupported = (change, cause) =>
  new BitMarError('unsupported', `the page's Content Security Policy forbids the worker: ${change}, ` +
    'or load({ worker: false })', { cause });

/** Why a script cannot be downloaded. @param {string} address @param {AbortSignal} signal */
async function faultOf(address, signal) {
  try {
    const { ok, status, headers } = await fetch(address, { signal });
    const type = headers.get('Content-Type') ?? 'no type';
    if (!ok) return `HTTP status ${status}`;
    return /javascript|ecmascript/.test(type) ? null : `it is ${type}, not JavaScript`;
  } catch (/** @type {any} */ error) {
    signal.throwIfAborted();
    return error.message;
  }
}
