// What MQTT offers, through MQTT.js.

import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Broker } from './broker.js';
import { Peer, VERSIONS, unique } from './peer.js';

let broker;
before(async () => { broker = await Broker.start(); });
after(() => broker?.stop());

const durable = (version, clientId) => ({
  clientId, clean: false, ...(version === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
});

for (const [name, version] of Object.entries(VERSIONS)) {
  describe(`MQTT ${name}`, { concurrency: 4 }, () => {
    const connect = (options) => Peer.connect(broker, version, options);

    test('a session keeps what came while its client was away', async () => {
      const [topic, clientId] = [`open/${unique()}`, unique()];
      const first = await connect(durable(version, clientId));
      await first.subscribe(topic, { qos: 2 });
      await first.end();
      const publisher = await connect();
      for (let n = 0; n < 20; n++) await publisher.publish(topic, String(n), { qos: 1 + (n % 2) });
      const second = await connect(durable(version, clientId));
      // The CONNACK of 3.1 has no session present flag.
      assert.ok(second.connack.sessionPresent || version === 3);
      const texts = (await second.takeMany(20)).map((message) => Number(message.text));
      assert.deepEqual(texts.toSorted((a, b) => a - b), [...Array(20).keys()]);
      await Promise.all([second.end(), publisher.end()]);
    });

    test('the last retained message is kept, an empty one clears', async () => {
      const topic = `open/${unique()}`;
      const publisher = await connect();
      await publisher.publish(topic, 'old', { qos: 1, retain: true });
      await publisher.publish(topic, 'new', { qos: 2, retain: true });
      const subscriber = await connect();
      await subscriber.subscribe(topic, { qos: 1 });
      const message = await subscriber.take();
      assert.deepEqual([message.text, message.packet.retain], ['new', true]);
      await publisher.publish(topic, '', { qos: 1, retain: true });
      assert.equal((await subscriber.take()).text, '');
      const late = await connect();
      await late.subscribe(topic, { qos: 1 });
      await publisher.publish(topic, 'live', { qos: 1 });
      assert.equal((await late.take()).text, 'live');
      await Promise.all([publisher, subscriber, late].map((peer) => peer.end()));
    });

    test('a second connection takes over', async () => {
      const clientId = unique();
      const old = await connect({ clientId });
      const closed = old.closed();
      const told = version === 5 ? new Promise((resolve) => old.client.once('disconnect', resolve)) : null;
      const next = await connect({ clientId });
      await closed;
      if (told) assert.equal((await told).reasonCode, 0x8e);
      old.client.end(true);
      await next.end();
    });

    test('wildcards, and the end of a subscription', async () => {
      const topic = `open/${unique()}`;
      const peer = await connect();
      await peer.subscribe([`${topic}/+/x`, `${topic}/a/#`], { qos: 1 });
      for (const tail of ['b/x', 'a/y', 'b/y', 'a']) await peer.publish(`${topic}/${tail}`, tail, { qos: 1 });
      assert.deepEqual((await peer.takeMany(3)).map((message) => message.text), ['b/x', 'a/y', 'a']);
      await peer.unsubscribe([`${topic}/+/x`, `${topic}/a/#`]);
      await peer.subscribe(`${topic}/end`, { qos: 0 });
      for (const tail of ['b/x', 'a/y', 'end']) await peer.publish(`${topic}/${tail}`, tail, { qos: 1 });
      assert.equal((await peer.take()).text, 'end');
      await peer.end();
    });

    test('a shared subscription gives each message to one member', async () => {
      const topic = `open/${unique()}`;
      const members = await Promise.all([connect(), connect(), connect()]);
      for (const member of members) await member.subscribe(`$share/group/${topic}`, { qos: 1 });
      const publisher = await connect();
      for (let n = 0; n < 30; n++) await publisher.publish(topic, String(n), { qos: 1 });
      const seen = (await Promise.all(members.map((member) => member.takeMany(10)))).flat();
      assert.deepEqual(seen.map((m) => Number(m.text)).toSorted((a, b) => a - b), [...Array(30).keys()]);
      await Promise.all([...members, publisher].map((peer) => peer.end()));
    });

    test('keep alive keeps it alive', async () => {
      const peer = await connect({ keepalive: 1 });
      let ended = false;
      peer.client.once('close', () => { ended = true; });
      await sleep(2500); // time is what is tested
      assert.equal(ended, false);
      await peer.end();
    });

    test('a thousand messages in order', async () => {
      const topic = `open/${unique()}`;
      const [subscriber, publisher] = [await connect(), await connect()];
      await subscriber.subscribe(topic, { qos: 1 });
      const sent = [];
      for (let n = 0; n < 1000; n++) sent.push(publisher.publish(topic, String(n), { qos: 1 }));
      await Promise.all(sent);
      const texts = (await subscriber.takeMany(1000)).map((message) => Number(message.text));
      assert.deepEqual(texts, [...Array(1000).keys()]);
      await Promise.all([subscriber.end(), publisher.end()]);
    });

    test('logins and rights', async () => {
      const login = { listener: 'locked', username: 'bob', password: 'bob-secret' };
      const codes = version === 5 ? [0x86, 0x87] : [4, 5];
      await assert.rejects(connect({ ...login, password: 'wrong' }), { code: codes[0] });
      await assert.rejects(connect({ listener: 'locked' }), (error) => codes.includes(error.code));
      const bob = await connect(login);
      await bob.subscribe(`private/bob/${name}`, { qos: 1 });
      await bob.publish(`private/bob/${name}`, 'own', { qos: 1 });
      assert.equal((await bob.take()).text, 'own');
      const denied = bob.publish(`private/alice/${name}`, 'not', { qos: 1 });
      if (version === 5) await assert.rejects(denied, { code: 0x87 });
      else await denied;
      await bob.end();
    });

    test('$SYS is there', async () => {
      const peer = await connect({ username: 'alice', password: 'alice-secret' });
      await peer.subscribe('$SYS/broker/version', { qos: 0 });
      assert.ok((await peer.take()).text.length > 0);
      await peer.end();
    });

    test('a client that lost its connection comes back by itself', async () => {
      const topic = `open/${unique()}`;
      const peer = await connect({ ...durable(version, unique()), reconnectPeriod: 50 });
      await peer.subscribe(topic, { qos: 1 });
      const back = new Promise((resolve) => peer.client.once('connect', resolve));
      peer.client.stream.destroy();
      const publisher = await connect();
      await publisher.publish(topic, 'meanwhile', { qos: 1 });
      await back;
      assert.equal((await peer.take()).text, 'meanwhile');
      await Promise.all([peer.end(), publisher.end()]);
    });
  });
}

describe('MQTT 5 alone', { concurrency: 4 }, () => {
  const connect = (options) => Peer.connect(broker, 5, options);

  test('properties travel', async () => {
    const topic = `open/${unique()}`;
    const peer = await connect();
    await peer.subscribe(topic, { qos: 2 });
    const properties = {
      payloadFormatIndicator: true, contentType: 'text/plain', responseTopic: 'open/answer',
      correlationData: Buffer.from([0, 1, 255]), userProperties: { a: ['1', '2'], ü: '' }, messageExpiryInterval: 600,
    };
    await peer.publish(topic, 'x', { qos: 2, properties });
    const seen = (await peer.take()).packet.properties;
    assert.ok(seen.messageExpiryInterval >= 590);
    assert.deepEqual({ ...seen, messageExpiryInterval: 600, userProperties: { ...seen.userProperties } }, properties);
    await peer.end();
  });

  test('the broker tells its limits and assigns an identifier', async () => {
    const peer = await connect({ clientId: '' });
    const { properties } = peer.connack;
    assert.equal(properties.receiveMaximum, 1024);
    assert.equal(properties.topicAliasMaximum, 32);
    assert.equal(properties.maximumPacketSize, 1 << 20);
    assert.ok(properties.assignedClientIdentifier.length > 0);
    await peer.end();
  });

  test('topic aliases both ways', async () => {
    const topic = `open/${unique()}`;
    const subscriber = await connect({ properties: { topicAliasMaximum: 5 } });
    await subscriber.subscribe(`${topic}/#`, { qos: 1 });
    const publisher = await connect({ autoAssignTopicAlias: true });
    for (let n = 0; n < 30; n++) {
      await publisher.publish(`${topic}/${n % 3}`, String(n), { qos: n % 2 });
      const message = await subscriber.take();
      assert.deepEqual([message.topic, message.text], [`${topic}/${n % 3}`, String(n)]);
    }
    await Promise.all([subscriber.end(), publisher.end()]);
  });

  test('subscription identifiers and options', async () => {
    const topic = `open/${unique()}`;
    const peer = await connect();
    await peer.publish(topic, 'kept', { qos: 1, retain: true });
    await peer.subscribe(topic, { qos: 1, rh: 2, nl: true, properties: { subscriptionIdentifier: 7 } });
    await peer.publish(topic, 'own', { qos: 1 });
    const other = await connect();
    await other.publish(topic, 'theirs', { qos: 1, retain: true });
    const message = await peer.take();
    assert.deepEqual([message.text, message.packet.retain], ['theirs', false]);
    assert.equal(message.packet.properties.subscriptionIdentifier, 7);
    await peer.subscribe(topic, { qos: 1, rh: 2, rap: true });
    await other.publish(topic, 'flagged', { qos: 1, retain: true });
    assert.equal((await peer.take()).packet.retain, true);
    await Promise.all([peer.end(), other.end()]);
  });

  test('receive maximum and maximum packet size', async () => {
    const topic = `open/${unique()}`;
    const subscriber = await connect({ properties: { receiveMaximum: 1, maximumPacketSize: 200 } });
    await subscriber.subscribe(topic, { qos: 2 });
    const publisher = await connect();
    await publisher.publish(topic, 'x'.repeat(500), { qos: 1 });
    for (let n = 0; n < 20; n++) await publisher.publish(topic, String(n), { qos: 1 + (n % 2) });
    const texts = (await subscriber.takeMany(20)).map((message) => Number(message.text));
    assert.deepEqual(texts.toSorted((a, b) => a - b), [...Array(20).keys()]);
    await Promise.all([subscriber.end(), publisher.end()]);
  });

  test('a delayed will waits, and is cancelled by coming back', async () => {
    const topic = `open/${unique()}`;
    const watcher = await connect();
    await watcher.subscribe(`${topic}/#`, { qos: 1 });
    const dies = async (name, willDelayInterval, clientId = unique()) => {
      const will = { topic: `${topic}/${name}`, payload: name, qos: 1, properties: { willDelayInterval } };
      await (await connect({ clientId, properties: { sessionExpiryInterval: 60 }, will })).die();
    };
    const clientId = unique();
    await dies('back', 1, clientId);
    const back = await connect({ clientId, clean: false, properties: { sessionExpiryInterval: 60 } });
    await dies('late', 2);
    await dies('now', 0);
    assert.deepEqual((await watcher.takeMany(2)).map((message) => message.text), ['now', 'late']);
    await Promise.all([watcher.end(), back.end()]);
  });

  test('messages expire', async () => {
    const [topic, clientId] = [`open/${unique()}`, unique()];
    const first = await connect(durable(5, clientId));
    await first.subscribe(topic, { qos: 1 });
    await first.end();
    const publisher = await connect();
    await publisher.publish(topic, 'short', { qos: 1, properties: { messageExpiryInterval: 1 } });
    await publisher.publish(topic, 'long', { qos: 1, properties: { messageExpiryInterval: 60 } });
    await sleep(2100); // time is what is tested
    const second = await connect(durable(5, clientId));
    assert.equal((await second.take()).text, 'long');
    await Promise.all([second.end(), publisher.end()]);
  });

  test('SCRAM-SHA-256', async () => {
    const login = async (user, password) => {
      const clientNonce = `nonce-${unique()}`;
      const bare = `n=${user},r=${clientNonce}`;
      let signature;
      const peer = new Peer();
      peer.open(broker, 5, 'locked', {
        properties: { authenticationMethod: 'SCRAM-SHA-256', authenticationData: Buffer.from(`n,,${bare}`) },
      });
      peer.client.handleAuth = (packet, callback) => {
        const serverFirst = packet.properties.authenticationData.toString();
        const [nonce, salt, iterations] = serverFirst.split(',').map((part) => part.slice(2));
        const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256');
        const mac = (key, text) => createHmac('sha256', key).update(text).digest();
        const final = `c=biws,r=${nonce}`;
        const message = `${bare},${serverFirst},${final}`;
        const key = mac(salted, 'Client Key');
        const proof = mac(createHash('sha256').update(key).digest(), message).map((byte, at) => byte ^ key[at]);
        signature = mac(mac(salted, 'Server Key'), message).toString('base64');
        callback(null, {
          cmd: 'auth', reasonCode: 0x18,
          properties: {
            authenticationMethod: 'SCRAM-SHA-256',
            authenticationData: Buffer.from(`${final},p=${Buffer.from(proof).toString('base64')}`),
          },
        });
      };
      const connack = await new Promise((resolve, reject) => {
        peer.client.once('connect', resolve);
        peer.client.once('error', reject);
      }).catch((error) => { peer.client.end(true); throw error; });
      assert.equal(connack.properties.authenticationData.toString(), `v=${signature}`);
      return peer;
    };
    const peer = await login('alice', 'alice-secret');
    await peer.subscribe('private/alice/scram', { qos: 1 });
    await peer.publish('private/alice/scram', 'x', { qos: 1 });
    assert.equal((await peer.take()).text, 'x');
    await peer.end();
    await assert.rejects(login('alice', 'wrong'));
  });
});
