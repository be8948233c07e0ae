// One request a message over a few HTTP/2 connections to the sink, as lean as Node makes it.
import http2 from "node:http2";

const connections = Number(process.env.CONNECTIONS ?? 4);
const sessions = [];
let turn = 0;

const session = () => {
  turn = (turn + 1) % connections;
  sessions[turn] ??= http2.connect(`https://localhost:${process.env.SINK_PORT}`);
  return sessions[turn];
};

export const send = (message) =>
  new Promise((resolve, reject) => {
    const body = JSON.stringify(message);
    const request = session().request({
      ":method": "POST",
      ":path": "/v1/projects/bench/messages:send",
      authorization: "Bearer bench",
      "content-type": "application/json",
    });
    let status = 0;
    request.on("response", (headers) => (status = headers[":status"]));
    request.on("error", reject);
    request.on("end", () => (status === 200 ? resolve() : reject(new Error(`status ${status}`))));
    request.resume();
    request.end(body);
  });
