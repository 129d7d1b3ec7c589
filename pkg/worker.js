// @ts-check
/** The entry point of the worker that runs the engine. */
import { WorkerServer } from './engine/worker-server.js';

const server = new WorkerServer((message) => self.postMessage(message));
self.onmessage = ({ data }) => server.receive(data);
// Thrown, it reaches the page as the worker's `error` event; its job would otherwise wait for ever.
self.onmessageerror = () => { throw new Error('a message could not be read'); };
// A bundler or a caller's own worker may load this file after the client's first message, which is
// then lost: the client waits for this one.
server.receive({ ping: true });
