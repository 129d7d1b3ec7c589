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
 * @param {AbortSignal} signal
 */
export async function startOtherwise(create, signal) {
  const script = scriptOf(create);
  /** @type {SecurityPolicyViolationEvent[]} */
  const violations = [];
  const note = (/** @type {any} */ event) => violations.push(event);
  const blob = blobAddress(script);
  /** @type {[string, WorkerOptions?][]} */
  const ways = [[script.address, script.options], [blob]];
  let failure;
  globalThis.addEventListener('securitypolicyviolation', note);
  try {
    for (const [address, options] of ways) {
      try {
        return await running(new Worker(trusted(address), options), signal);
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof BitMarError) throw error;
        failure = error;
      }
    }
    throw await explained(script.address, violations, failure, signal);
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

/**
 * The address of a classic script that runs another one: Chromium does not run modules from a Blob
 * in a sandboxed frame. What it throws reaches the page as the worker's `error` event.
 * @param {Script} script
 */
function blobAddress({ address, options }) {
  const url = JSON.stringify(address);
  const code = options?.type === 'module'
    ? `import(${url}).catch((error) => setTimeout(() => { throw error; }));`
    : `importScripts(${url});`;
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
 * @param {any} cause what was thrown, or the `error` event, when the last way failed
 * @param {AbortSignal} signal
 */
async function explained(address, violations, cause, signal) {
  const { origin } = new URL(address);
  const isForeign = origin !== globalThis.origin;
  const isBlocked = (/** @type {RegExp} */ uri) =>
    violations.some(({ effectiveDirective, blockedURI }) =>
      effectiveDirective === 'worker-src' && uri.test(blockedURI));
  if (isBlocked(/^http/)) return forbidden(`allow ${origin} in worker-src`, cause);
  const fault = await faultOf(address, signal);
  if (fault) {
    const help = isForeign
      ? 'another origin must send Access-Control-Allow-Origin'
      : 'keep the files of the package together, or pass createWorker';
    return new BitMarError('network', `cannot load ${address}: ${fault}; ${help}`, { cause });
  }
  if (!isBlocked(/^blob/)) {
    const why = `it, or a file that it imports, cannot be loaded: ${cause.message}`;
    return new BitMarError('network', `the worker ${address} does not start: ${why}`, { cause });
  }
  if (isForeign) return forbidden('allow blob: in worker-src', cause);
  const message = `the worker ${address} does not start: a file that it imports is missing, or it ` +
    "lacks the page's Cross-Origin-Embedder-Policy header; add that or allow blob: in worker-src";
  return new BitMarError('network', message, { cause });
}

/** @param {string} change @param {any} cause */
function forbidden(change, cause) {
  const message = `the page's Content Security Policy forbids the worker: ${change}, or call ` +
    'load({ worker: false })';
  return new BitMarError('unsupported', message, { cause });
}

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
