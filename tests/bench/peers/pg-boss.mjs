// pg-boss: batches of 500, several at once.
import { PgBoss } from "pg-boss";
import { send } from "./http2.mjs";
import { message } from "./message.mjs";

const QUEUE = "push";
const BATCH = 500;

const [what, connectionString, count] = process.argv.slice(2);
const boss = new PgBoss({ connectionString, supervise: false, schedule: false, max: 10 });
boss.on("error", console.error);
await boss.start();
if (what === "fill") {
  await boss.createQueue(QUEUE);
  const step = 5000;
  for (let n = 0; n < Number(count); n += step) {
    const length = Math.min(step, count - n);
    await boss.insert(QUEUE, Array.from({ length }, (_, i) => ({ data: message(n + i) })));
  }
  await boss.stop({ graceful: false });
  process.exit(0);
}
const worker = async () => {
  for (;;) {
    const jobs = await boss.fetch(QUEUE, { batchSize: BATCH });
    if (!jobs?.length) return;
    await Promise.all(jobs.map((job) => send({ message: job.data })));
    await boss.complete(QUEUE, jobs.map((job) => job.id));
  }
};
await Promise.all(Array.from({ length: 4 }, worker));
