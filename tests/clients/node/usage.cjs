// What teams do with bitmaps, written once for two Node clients: one JSON line a step. Run against
// two servers, the outputs must be equal byte for byte.
'use strict';

/** Prints one step's result. */
function show(step, value) {
  const plain = (_, v) => (v && v.type === 'Buffer' ? Buffer.from(v.data).toString('hex') : v);
  console.log(JSON.stringify([step, value], plain));
}

/** A fixed generator, the same on every platform and in every run. */
function random(seed) {
  let state = BigInt(seed);
  return (limit) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number((state >> 33n) % BigInt(limit));
  };
}

const TOP_ID = 12_000_000;

/**
 * Runs every step.
 * @param client `send(...args)` sends one command; `batch(list, multi)` sends many at once, as a
 *   plain pipeline or as MULTI/EXEC, and answers all replies.
 */
async function usage(client) {
  const { send, batch } = client;
  await send('FLUSHALL');
  const below = random(7);
  const user = () => (below(10) ? below(3000) : below(TOP_ID));

  const days = Array.from({ length: 14 }, (_, day) => `dau:2026-11-${String(day + 1).padStart(2, '0')}`);
  for (const day of days) {
    const writes = Array.from({ length: 300 }, () => ['SETBIT', day, String(user()), '1']);
    const replies = await batch(writes, false);
    show(`${day} seen before`, replies.reduce((sum, bit) => sum + bit, 0));
    await send('EXPIRE', day, '3000000');
  }
  show('dau', await batch(days.map((day) => ['BITCOUNT', day]), false));
  for (const [name, from] of [['wau:1', 0], ['wau:2', 7]]) {
    show(name, [await send('BITOP', 'OR', name, ...days.slice(from, from + 7)), await send('BITCOUNT', name)]);
  }
  show('both weeks', [await send('BITOP', 'AND', 'both', 'wau:1', 'wau:2'), await send('BITCOUNT', 'both')]);
  show('one week', [await send('BITOP', 'XOR', 'either', 'wau:1', 'wau:2'), await send('BITCOUNT', 'either')]);
  show('ranges', await batch([
    ['BITCOUNT', 'wau:1', '0', '100'], ['BITCOUNT', 'wau:1', '-100', '-1'],
    ['BITCOUNT', 'wau:1', '8', '4000000', 'BIT'], ['BITPOS', 'wau:1', '1', '300000'],
    ['BITPOS', 'wau:1', '0'],
  ], false));

  const flags = Array.from({ length: 100 }, () => ['SETBIT', 'flag:beta', String(below(1_000_000)), '1']);
  await batch(flags, true);
  show('flags', await batch(flags.map(([, key, id]) => ['GETBIT', key, id]), true));
  show('fields', await send('BITFIELD', 'variant', 'SET', 'u4', '#0', '9', 'OVERFLOW', 'SAT', 'INCRBY', 'u4', '#0', '9',
    'OVERFLOW', 'FAIL', 'INCRBY', 'u4', '#0', '1', 'GET', 'i8', '0'));

  const grants = [];
  for (let number = 0; number < 100; number += 1) {
    grants.push(['SETBIT', `permissions:user:${number}`, String((number * 7) % 64), '1']);
  }
  show('granted', await batch(grants, true));
  show('may', await batch([7, 14, 49].map((bit) => ['GETBIT', 'permissions:user:7', String(bit)]), false));

  for (let hour = 0; hour < 24; hour += 1) {
    await send('SETBIT', `online:${hour}`, String((hour * 1_000_003) % TOP_ID), '1');
    await send('EXPIRE', `online:${hour}`, '7200');
  }
  const ttl = await send('TTL', 'online:3');
  show('presence', [ttl > 7100 && ttl <= 7200, await send('PERSIST', 'online:3'), await send('TTL', 'online:3')]);
  show('rename', [await send('RENAME', 'wau:1', 'week'), await send('EXISTS', 'wau:1'), await send('BITCOUNT', 'week')]);
  show('copy', [await send('COPY', 'week', 'wau:2'), await send('COPY', 'week', 'wau:2', 'REPLACE'), await send('BITCOUNT', 'wau:2')]);
  show('append', [await send('SET', 'text', 'bits'), await send('APPEND', 'text', '!'), await send('GETRANGE', 'text', '-3', '-1')]);
  for (const wrong of [['SETBIT', 'text', '-1', '1'], ['SETBIT', 'text', '1', '2'], ['INCR', 'text'],
    ['BITOP', 'NOT', 'a', 'b', 'c'], ['BITFIELD', 'text', 'GET', 'u64', '0']]) {
    show('refused', await send(...wrong).then(() => 'accepted', (error) => error.message));
  }
  show('delete', [await send('DEL', ...days), await send('EXISTS', ...days), await send('DBSIZE')]);
}

module.exports = { usage };
