// Fluent's own client for Node.js: logs in, and sends numbered lines in compressed chunks until each is
// acknowledged. Prints `acked FIRST LAST` for each round of lines.
//
//   client.js HOST PORT KEY FIRST LAST

const { FluentClient } = require("@fluent-org/logger");

const [host, port, sharedKey, ...numbers] = process.argv.slice(2);
const [first, last] = numbers.map(Number);
const round = 2;

const client = new FluentClient("node", {
  eventMode: "CompressedPackedForward",
  socket: { host, port: Number(port), timeout: 2000, reconnect: { backoff: 1, delay: 20, minDelay: 20, maxDelay: 50 } },
  security: { clientHostname: "node-1", sharedKey },
  ack: { ackTimeout: 500 },
  flushInterval: 5,
  onSocketError: () => {},
});

async function send(number) {
  for (;;) {
    try {
      return await client.emit({ message: `node-${number}`, host: { name: "web-2" } }, new Date(1700000000000));
    } catch (error) {
      console.error("again:", error.message);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function main() {
  for (let number = first; number < last; number += round) {
    const end = Math.min(last, number + round);
    await Promise.all(Array.from({ length: end - number }, (_, place) => send(number + place)));
    console.log("acked", number, end - 1);
  }
  process.exit(0);
}

main();
