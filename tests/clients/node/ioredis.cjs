// Drives a server with ioredis. Usage: ioredis.cjs PORT
'use strict';
const { Redis } = require('ioredis');
const { usage } = require('./usage.cjs');

async function main() {
  const redis = new Redis({ host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: 1 });
  redis.on('error', (error) => { console.error(error); process.exit(1); });
  const replies = (results) => results.map(([error, reply]) => (error ? error.message : reply));
  await usage({
    send: (name, ...args) => redis.call(name, ...args),
    batch: async (list, multi) => {
      const batch = multi ? redis.multi() : redis.pipeline();
      for (const [name, ...args] of list) batch[name.toLowerCase()](...args);
      return replies(await batch.exec());
    },
  });
  await redis.quit();
}

main();
