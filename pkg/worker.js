// @ts-check
/** The engine in a worker of its own. */
import { Session } from './session.js';

const session = new Session((message) => self.postMessage(message));
self.onmessage = ({ data }) => session.hear(data);
