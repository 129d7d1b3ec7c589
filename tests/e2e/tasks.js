// @ts-check
/** How long a page's tasks keep its thread busy, in processor time: on a loaded machine the clock tells of the load. */

/**
 * The longest task of the page's own thread while something happens, in milliseconds.
 * @param {import('playwright-core').Page} page has a worker: that tells its process from the others
 * @param {() => Promise<unknown>} happen
 */
export async function longestTask(page, happen) {
  const browser = /** @type {import('playwright-core').Browser} */ (page.context().browser());
  const session = await browser.newBrowserCDPSession();
  /** @type {any[]} */ const events = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  const traceConfig = { includedCategories: ['disabled-by-default-devtools.timeline'] };
  await session.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig });
  await happen();
  const complete = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve));
  await session.send('Tracing.end');
  await complete;
  await session.detach();
  const threads = events.filter(({ name }) => name === 'thread_name');
  const named = (/** @type {string} */ wanted) => threads.filter(({ args }) => args.name === wanted);
  const processes = named('DedicatedWorker thread').map(({ pid }) => pid);
  const own = named('CrRendererMain').find(({ pid }) => processes.includes(pid));
  const tasks = events.filter(({ name, pid, tid, tdur }) => name === 'RunTask' && tdur && pid === own.pid && tid === own.tid);
  return Math.max(...tasks.map(({ tdur }) => tdur)) / 1000;
}
