// AMQP 0-9-1 through amqp-client.js, as servers use it (TCP) and as browsers do (WebSocket).

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { AMQPClient } from '@cloudamqp/amqp-client';
import { AMQPWebSocketClient } from '@cloudamqp/amqp-client/amqp-websocket-client';
import WebSocket from 'ws';
import { inTime, startBroker, unique } from './amqp.js';

globalThis.WebSocket ??= WebSocket;

const broker = await startBroker();
after(() => broker.stop());
const onTercet = process.env.TERCET_TEST_AMQP_PORT === undefined;

const transports = {
  TCP: () => new AMQPClient(`amqp://127.0.0.1:${broker.port('amqp')}`),
  WebSocket: () => new AMQPWebSocketClient({ url: `ws://127.0.0.1:${broker.port('http')}/amqp` }),
};

for (const [name, make] of Object.entries(transports)) {
  describe(`amqp-client.js over ${name}`, { concurrency: 4, skip: name === 'WebSocket' && !onTercet && 'RabbitMQ has no WebSocket' }, () => {
    test('messages of all sizes go round', async () => {
      const client = make();
      await inTime(client.connect(), 'connection');
      const channel = await client.channel();
      await channel.confirmSelect();
      const { name: queue } = await channel.queueDeclare('', { exclusive: true });
      for (const size of [0, 1, 4096, 131_072, 1_000_000]) {
        const body = Uint8Array.from({ length: size }, (_, n) => n % 251);
        await inTime(channel.basicPublish('', queue, body, { contentType: 'x/y', headers: { size, list: [1, 'a'] } }), 'confirm');
        const message = await inTime(channel.basicGet(queue), 'message');
        assert.deepEqual(Buffer.from(message.body ?? []), Buffer.from(body));
        assert.deepEqual([message.properties.contentType, message.properties.headers], ['x/y', { size, list: [1, 'a'] }]);
      }
      await client.close();
    });

    test('a consumer gets what is bound to its queue', async () => {
      const client = make();
      await inTime(client.connect(), 'connection');
      const channel = await client.channel();
      const exchange = unique('x');
      await channel.exchangeDeclare(exchange, 'topic', { autoDelete: true, durable: false });
      const { name: queue } = await channel.queueDeclare('', { exclusive: true });
      await channel.queueBind(queue, exchange, 'a.#');
      await channel.basicQos(5);
      const texts = [];
      let done;
      const all = new Promise((resolve) => { done = resolve; });
      await channel.basicConsume(queue, { noAck: false }, (message) => {
        texts.push(message.bodyString());
        message.ack();
        if (texts.length === 50) done();
      });
      for (let n = 0; n < 50; n++) await channel.basicPublish(exchange, `a.${n}`, String(n));
      await inTime(all, 'messages');
      assert.deepEqual(texts, [...Array(50).keys()].map(String));
      await client.close();
    });

    test('an error is told', async () => {
      const client = make();
      await inTime(client.connect(), 'connection');
      const channel = await client.channel();
      await assert.rejects(inTime(channel.queueDeclare(unique('missing'), { passive: true }), 'error'), /404|NOT_FOUND/);
      await client.close();
    });
  });
}
