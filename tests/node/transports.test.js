// MQTT.js in all three versions over TCP, TLS, WebSocket and WebSocket over TLS.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Broker } from './broker.js';
import { Peer, VERSIONS, unique } from './peer.js';

let broker;
before(async () => { broker = await Broker.start(); });
after(() => broker?.stop());

describe('every transport', { concurrency: 4 }, () => {
  for (const listener of ['mqtt', 'tls', 'mtls', 'ws', 'http', 'wss']) {
    for (const [name, version] of Object.entries(VERSIONS)) {
      test(`${name} over ${listener}: every quality, every size`, async () => {
        const topic = `open/${unique()}`;
        const subscriber = await Peer.connect(broker, version, { listener });
        const publisher = await Peer.connect(broker, version, { listener });
        for (const qos of [0, 1, 2]) {
          const [granted] = await subscriber.subscribe(`${topic}/${qos}`, { qos });
          assert.equal(granted.qos, qos);
          for (const size of [0, 1, 126, 65_536, 300_000]) {
            const payload = Buffer.alloc(size, 'x');
            await publisher.publish(`${topic}/${qos}`, payload, { qos });
            const message = await subscriber.take();
            assert.equal(message.packet.qos, qos);
            assert.ok(message.payload.equals(payload), `${size} bytes`);
          }
        }
        await Promise.all([subscriber.end(), publisher.end()]);
      });

      test(`${name} over ${listener}: a lost connection sends the will`, async () => {
        const topic = `open/${unique()}`;
        const watcher = await Peer.connect(broker, version, { listener });
        await watcher.subscribe(topic, { qos: 1 });
        const will = { topic, payload: 'lost', qos: 1, retain: false };
        await (await Peer.connect(broker, version, { listener, will: { ...will, payload: 'polite' } })).end();
        await (await Peer.connect(broker, version, { listener, will })).die();
        assert.equal((await watcher.take()).text, 'lost');
        await watcher.end();
      });
    }
  }

  test('transports and versions meet on one topic', async () => {
    const topic = `open/${unique()}`;
    const peers = await Promise.all(
      [['mqtt', 3], ['tls', 4], ['ws', 5], ['wss', 4]].map(([listener, version]) => Peer.connect(broker, version, { listener })));
    for (const peer of peers) await peer.subscribe(topic, { qos: 2 });
    for (const [n, peer] of peers.entries()) {
      await peer.publish(topic, String(n), { qos: 2 });
      for (const other of peers) assert.equal((await other.take()).text, String(n));
    }
    await Promise.all(peers.map((peer) => peer.end()));
  });

  test('a certificate of nobody is refused', async () => {
    await assert.rejects(Peer.connect(broker, 5, { listener: 'mtls', cert: undefined, key: undefined }));
  });
});
