// AMQP 0-9-1 through amqplib.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import amqplib from 'amqplib';
import { Inbox, connect, failure, inTime, startBroker, unique } from './amqp.js';

const broker = await startBroker();
let connection;
before(async () => { connection = await connect(broker); });
after(async () => {
  await connection?.close();
  broker.stop();
});

const open = () => connection.createChannel();
const exclusive = async (channel, options = {}) =>
  (await channel.assertQueue('', { exclusive: true, ...options })).queue;

describe('amqplib', { concurrency: 4 }, () => {
  test('a message keeps its properties and headers', async () => {
    const channel = await open();
    const queue = await exclusive(channel);
    const headers = { text: 'ä€', number: 1.5, whole: 7, large: 2 ** 40, yes: true, nothing: null, list: [1, 'two', { three: 3 }],
      table: { nested: { deep: 'x' } }, bytes: Buffer.from([0, 255]), when: { '!': 'timestamp', value: 1_700_000_000 } };
    const properties = { contentType: 'text/plain', contentEncoding: 'utf-8', deliveryMode: 2, priority: 3,
      correlationId: 'c', replyTo: 'r', expiration: '60000', messageId: 'm', timestamp: 1_700_000_000, type: 't',
      userId: 'guest', appId: 'a' };
    channel.sendToQueue(queue, Buffer.from('body'), { ...properties, headers });
    const message = await inTime((async () => {
      for (;;) {
        const got = await channel.get(queue, { noAck: true });
        if (got) return got;
      }
    })(), 'message');
    assert.equal(message.content.toString(), 'body');
    for (const [name, value] of Object.entries(properties)) assert.deepEqual(message.properties[name], value, name);
    assert.deepEqual(message.properties.headers, headers);
    await channel.close();
  });

  test('a confirmed persistent message waits in a durable queue', async () => {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue(unique(), { durable: true });
    for (let n = 0; n < 50; n++) channel.sendToQueue(queue, Buffer.from(String(n)), { persistent: true });
    await inTime(channel.waitForConfirms(), 'confirms');
    assert.equal((await channel.checkQueue(queue)).messageCount, 50);
    assert.equal((await channel.purgeQueue(queue)).messageCount, 50);
    assert.equal((await channel.deleteQueue(queue)).messageCount, 0);
    await channel.close();
  });

  test('a full queue nacks', async () => {
    const channel = await connection.createConfirmChannel();
    const queue = await exclusive(channel, { maxLength: 1, overflow: 'reject-publish' });
    const send = (text) => inTime(new Promise((resolve) => {
      channel.sendToQueue(queue, Buffer.from(text), {}, (error) => resolve(error ? 'nack' : 'ack'));
    }), 'confirm');
    assert.deepEqual([await send('a'), await send('b')], ['ack', 'nack']);
    await channel.close();
  });

  test('prefetch, acks of several and requeues', async () => {
    const channel = await open();
    const queue = await exclusive(channel);
    await channel.prefetch(3);
    for (let n = 0; n < 6; n++) channel.sendToQueue(queue, Buffer.from(String(n)));
    const inbox = await Inbox.open(channel, queue);
    const [first, second, third] = [await inbox.take(), await inbox.take(), await inbox.take()];
    assert.deepEqual([first, second, third].map((message) => message.content.toString()), ['0', '1', '2']);
    assert.equal((await channel.checkQueue(queue)).messageCount, 3);
    channel.ack(second, true);
    assert.deepEqual(await inbox.texts(2), ['3', '4']);
    channel.nack(third);
    const again = await inbox.take();
    assert.deepEqual([again.content.toString(), again.fields.redelivered], ['2', true]);
    channel.reject(again, false);
    assert.deepEqual(await inbox.texts(1), ['5']);
    channel.ackAll();
    await channel.cancel(inbox.tag);
    assert.equal((await channel.checkQueue(queue)).messageCount, 0);
    await channel.close();
  });

  test('topics, headers and bindings between exchanges', async () => {
    const channel = await open();
    const [source, target] = [unique('x'), unique('x')];
    await channel.assertExchange(source, 'topic', { autoDelete: true, durable: false });
    await channel.assertExchange(target, 'headers', { autoDelete: true, durable: false });
    await channel.bindExchange(target, source, 'a.#');
    const queue = await exclusive(channel);
    await channel.bindQueue(queue, target, '', { 'x-match': 'any', color: 'red', size: 5 });
    const inbox = await Inbox.open(channel, queue, { noAck: true });
    channel.publish(source, 'a.b', Buffer.from('red'), { headers: { color: 'red' } });
    channel.publish(source, 'a.b', Buffer.from('blue'), { headers: { color: 'blue' } });
    channel.publish(source, 'b', Buffer.from('elsewhere'), { headers: { color: 'red' } });
    channel.publish(source, 'a', Buffer.from('large'), { headers: { size: 5 } });
    assert.deepEqual(await inbox.texts(2), ['red', 'large']);
    await channel.unbindExchange(target, source, 'a.#');
    await channel.close();
  });

  test('what routes nowhere is returned', async () => {
    const channel = await open();
    const returned = once(channel, 'return');
    channel.publish('amq.direct', unique('key'), Buffer.from('m'), { mandatory: true });
    const [message] = await inTime(returned, 'return');
    assert.deepEqual([message.fields.replyCode, message.fields.replyText, message.content.toString()], [312, 'NO_ROUTE', 'm']);
    await channel.close();
  });

  test('requests are answered by direct reply-to', async () => {
    const [client, server] = [await open(), await open()];
    const requests = await exclusive(server);
    await server.consume(requests, (message) => {
      server.sendToQueue(message.properties.replyTo, Buffer.from(`re: ${message.content}`),
        { correlationId: message.properties.correlationId });
    }, { noAck: true });
    const replies = await Inbox.open(client, 'amq.rabbitmq.reply-to', { noAck: true });
    for (let n = 0; n < 10; n++) {
      client.sendToQueue(requests, Buffer.from(String(n)), { replyTo: 'amq.rabbitmq.reply-to', correlationId: String(n) });
    }
    for (let n = 0; n < 10; n++) {
      const reply = await replies.take();
      assert.deepEqual([reply.content.toString(), reply.properties.correlationId], [`re: ${n}`, String(n)]);
    }
    await Promise.all([client.close(), server.close()]);
  });

  test('the dead are told apart by their headers', async () => {
    const channel = await open();
    const grave = await exclusive(channel);
    const queue = await exclusive(channel, { deadLetterExchange: '', deadLetterRoutingKey: grave, messageTtl: 10 });
    channel.sendToQueue(queue, Buffer.from('m'));
    const inbox = await Inbox.open(channel, grave, { noAck: true });
    const { headers } = (await inbox.take()).properties;
    const [death] = headers['x-death'];
    assert.deepEqual({ ...death, time: 0 }, { count: 1, reason: 'expired', queue, time: 0, exchange: '', 'routing-keys': [queue] });
    assert.equal(death.time['!'], 'timestamp');
    assert.deepEqual([headers['x-first-death-queue'], headers['x-first-death-reason'], headers['x-first-death-exchange']],
      [queue, 'expired', '']);
    await channel.close();
  });

  test('priorities', async () => {
    const channel = await connection.createConfirmChannel();
    const queue = await exclusive(channel, { maxPriority: 3 });
    for (const [text, priority] of [['low', 0], ['high', 3], ['middle', 2]]) {
      channel.sendToQueue(queue, Buffer.from(text), { priority });
    }
    await channel.waitForConfirms();
    const inbox = await Inbox.open(channel, queue, { noAck: true });
    assert.deepEqual(await inbox.texts(3), ['high', 'middle', 'low']);
    await channel.close();
  });

  test('a consumer is told when its queue goes', async () => {
    const [channel, other] = [await open(), await open()];
    const queue = await exclusive(channel);
    const inbox = await Inbox.open(channel, queue);
    await other.deleteQueue(queue);
    assert.equal(await inbox.take(), null);
    await Promise.all([channel.close(), other.close()]);
  });

  test('an error ends its channel alone, with its reason', async () => {
    const [channel, other] = [await open(), await open()];
    const ended = failure(channel);
    await assert.rejects(channel.checkQueue(unique('missing')), /404/);
    const error = await ended;
    assert.equal(error.code, 404);
    assert.match(error.message, /NOT_FOUND - no queue/);
    assert.deepEqual([error.classId, error.methodId], [50, 10]);
    await exclusive(other);
    await other.close();
  });

  test('an error of the connection ends it, with its reason', async () => {
    const mine = await connect(broker);
    const channel = await mine.createChannel();
    channel.on('error', () => {});
    const ended = failure(mine);
    const queue = await exclusive(channel);
    await channel.consume(queue, () => {}, { consumerTag: 'same' });
    channel.consume(queue, () => {}, { consumerTag: 'same' }).catch(() => {});
    const error = await ended;
    assert.equal(error.code, 530);
    assert.match(error.message, /attempt to reuse consumer tag 'same'/);
  });

  test('wrong credentials and missing virtual hosts are refused', async () => {
    await assert.rejects(inTime(amqplib.connect(`amqp://guest:wrong@127.0.0.1:${broker.port('amqp')}`), 'refusal'),
      /ACCESS[_-]REFUSED/);
    await assert.rejects(connect(broker, { vhost: 'missing' }), /ConnectionClose/);
  });

  test('large messages are cut to frames and put together', async () => {
    const mine = await connect(broker, { socket: { noDelay: true } });
    const channel = await mine.createChannel();
    const queue = await exclusive(channel);
    const body = Buffer.from(Uint8Array.from({ length: 3_000_000 }, (_, n) => n % 251));
    channel.sendToQueue(queue, body);
    const inbox = await Inbox.open(channel, queue, { noAck: true });
    assert.ok((await inbox.take()).content.equals(body));
    await mine.close();
  });

  test('recover and unacknowledged messages of a closed channel', async () => {
    const [channel, other] = [await open(), await open()];
    const queue = await exclusive(other);
    other.sendToQueue(queue, Buffer.from('m'));
    const inbox = await Inbox.open(channel, queue);
    assert.equal((await inbox.take()).fields.redelivered, false);
    await channel.recover();
    assert.equal((await inbox.take()).fields.redelivered, true);
    await channel.close();
    const last = await Inbox.open(other, queue);
    assert.equal((await last.take()).fields.redelivered, true);
    await other.close();
  });
});
