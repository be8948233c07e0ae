import { main } from "./boss.mjs";
import { send } from "./http2.mjs";

await main((messages) => Promise.all(messages.map((message) => send({ message }))));
