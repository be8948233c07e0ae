// Somebody sends a test message and stays on the page, which tells by itself what becomes of it. Each line that
// is written asks the stage for something; a line comes back when it is done.

import { createInterface } from "node:readline";
import { come, enter, hears, keyboard, leave, look, page, says, setPassword, tabTo } from "./hands.mjs";

const stage = createInterface({ input: process.stdin });
const answers = stage[Symbol.asyncIterator]();
async function ask(what) {
  console.log(what);
  await answers.next();
}
/** The page says so without a hand being moved. */
const tells = (words) =>
  page.waitForFunction((said) => document.getElementById("said").textContent.startsWith(said), {}, words);

await come();
await setPassword();
await keyboard.type("ana");
await enter();
await says("Reminders reach the patient’s phone.");
await tabTo("Send a test message");
await enter();
await hears("It is on its way.");
await look("12-test-asked");
await ask("send");
await tells("Sent at 15:40:00. The phone has not shown it yet.");
await ask("show");
await tells("The phone showed it at 15:40:00.");
await hears("The phone showed it at 15:40:00.");
await look("13-test-shown");
await leave();
stage.close();
console.log("done");
