// graphile-worker with the settings its documentation gives for throughput: a local queue, and completions
// in batches.
import { run, makeWorkerUtils } from "graphile-worker";
import { message } from "./message.mjs";
import { send } from "./http2.mjs";

const [what, connectionString, count] = process.argv.slice(2);
const quiet = { log: () => {}, scope: () => quiet, error: console.error, warn: console.error, info: () => {}, debug: () => {} };

if (what === "fill") {
  const utils = await makeWorkerUtils({ connectionString });
  await utils.migrate();
  const step = 5000;
  for (let n = 0; n < Number(count); n += step) {
    const jobs = Array.from({ length: Math.min(step, count - n) }, (_, i) => ({ identifier: "push", payload: message(n + i) }));
    await utils.addJobs(jobs);
  }
  await utils.release();
} else {
  const { Logger } = await import("graphile-worker");
  await run({
    connectionString,
    logger: new Logger(() => () => {}),
    taskList: { push: (payload) => send({ message: payload }) },
    preset: {
      worker: {
        concurrentJobs: 400,
        localQueue: { size: 2000 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
        maxPoolSize: 20,
      },
    },
  });
}
