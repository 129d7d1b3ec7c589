// @ts-check
/** The entry point of the worker that runs the engine. */

// Imported dynamically, so that the handler below is set first: a bundler that splits this file
// may load the rest after the first messages have arrived, and messages without a handler are lost.
const server = import('./engine/worker-server.js').then(
  ({ WorkerServer }) => new WorkerServer((message) => self.postMessage(message)),
);
// Thrown outside the promise, a failed import reaches the page as the worker's `error` event.
server.catch((error) => setTimeout(() => { throw error; }));
self.onmessage = async ({ data }) => (await server).receive(data);
// Thrown, it reaches the page in the same way; its job would otherwise wait for ever.
self.onmessageerror = () => { throw new Error('a message could not be read'); };
