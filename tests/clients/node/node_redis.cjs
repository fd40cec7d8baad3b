// Drives a server with node-redis, over RESP3. Usage: node_redis.cjs PORT
'use strict';
const { createClient } = require('redis');
const { usage } = require('./usage.cjs');

async function main() {
  const client = createClient({ url: `redis://127.0.0.1:${process.argv[2]}`, RESP: 3 });
  client.on('error', (error) => { console.error(error); process.exit(1); });
  await client.connect();
  await usage({
    send: (...args) => client.sendCommand(args),
    batch: async (list, multi) => {
      if (!multi) return Promise.all(list.map((args) => client.sendCommand(args)));
      const transaction = client.multi();
      for (const args of list) transaction.addCommand(args);
      return transaction.exec();
    },
  });
  await client.close();
}

main();
