// CoAP through node-coap: as a client of the broker, and beside MQTT.js.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import coap from 'coap';
import { Broker, binary } from './broker.js';
import { Peer, unique } from './peer.js';

const PATIENCE_MS = 15_000;

let broker;
before(async () => { broker = await Broker.startCoap(); });
after(() => broker.stop());

// A request and its response, with the payload as text.
function ask(method, path, { payload, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer to ${method} ${path}`)), PATIENCE_MS);
    const { contentFormat, blocks, ...rest } = options;
    const request = coap.request({ host: '127.0.0.1', port: broker.port('coap'), method, pathname: `/${path}`, ...rest });
    if (contentFormat) request.setOption('Content-Format', contentFormat);
    // Blocks of 1,024 bytes, which node-coap only makes if it is told to.
    if (blocks) request.setOption('Block1', Buffer.of(6));
    request.on('response', (response) => {
      clearTimeout(timer);
      resolve({ code: response.code, text: response.payload.toString(), payload: response.payload, headers: response.headers });
    });
    request.on('error', reject);
    request.end(payload);
  });
}

// An observation whose values can be taken one by one.
function observe(path, options = {}) {
  return new Promise((resolve, reject) => {
    const request = coap.request({ host: '127.0.0.1', port: broker.port('coap'), pathname: `/${path}`, observe: true, ...options });
    request.on('error', reject);
    request.on('response', (stream) => {
      const values = [];
      const waiting = [];
      stream.on('data', (data) => {
        const next = waiting.shift();
        if (next) next(data.toString());
        else values.push(data.toString());
      });
      resolve({
        take: () => (values.length ? Promise.resolve(values.shift()) : new Promise((next) => { waiting.push(next); })),
        close: () => stream.close(),
      });
    });
    request.end();
  });
}

describe('node-coap', () => {
  for (const confirmable of [true, false]) {
    test(`creates, changes, reads and deletes, ${confirmable ? 'CON' : 'NON'}`, async () => {
      const path = `ps/${unique()}`;
      const rest = { confirmable };
      assert.equal((await ask('GET', path, rest)).code, '4.04');
      assert.equal((await ask('PUT', path, { payload: 'one', ...rest })).code, '2.01');
      assert.equal((await ask('PUT', path, { payload: '{}', contentFormat: 'application/json', ...rest })).code, '2.04');
      const read = await ask('GET', path, rest);
      assert.deepEqual([read.code, read.text, read.headers['Content-Format']], ['2.05', '{}', 'application/json']);
      assert.equal((await ask('DELETE', path, rest)).code, '2.02');
      assert.equal((await ask('GET', path, rest)).code, '4.04');
    });
  }

  test('observes what MQTT publishes', async () => {
    const topic = unique();
    const peer = await Peer.connect(broker, 5);
    await peer.publish(topic, '0', { qos: 1, retain: true });
    const observation = await observe(`ps/${topic}`);
    assert.equal(await observation.take(), '0');
    for (const value of ['1', '2', '3']) {
      await peer.publish(topic, value, { qos: 1, retain: true });
      assert.equal(await observation.take(), value);
    }
    observation.close();
    await peer.end();
  });

  test('publishes to a subscriber of MQTT', async () => {
    const topic = unique();
    const peer = await Peer.connect(broker, 5);
    await peer.subscribe(`${topic}/#`, { qos: 1 });
    assert.equal((await ask('POST', `ps/${topic}/a/b`, { payload: 'event' })).code, '2.04');
    const message = await peer.take();
    assert.deepEqual([message.topic, message.text, message.packet.qos], [`${topic}/a/b`, 'event', 1]);
    await peer.end();
  });

  test('moves large values in blocks', async () => {
    const path = `ps/${unique()}`;
    const payload = Buffer.from(Array.from({ length: 10_000 }, (_, at) => at % 251));
    assert.equal((await ask('PUT', path, { payload, contentFormat: 'application/octet-stream', blocks: true })).code, '2.01');
    assert.deepEqual((await ask('GET', path)).payload, payload);
  });

  test('discovers', async () => {
    const found = await ask('GET', '.well-known/core');
    assert.equal(found.headers['Content-Format'], 'application/link-format');
    assert.match(found.text, /<\/ps>;[^,]*core\.ps/);
  });
});

describe('a server of node-coap', () => {
  const run = promisify(execFile);
  const values = new Map();
  let server;
  before(async () => {
    server = coap.createServer((request, response) => {
      if (request.method === 'PUT') {
        response.code = values.has(request.url) ? '2.04' : '2.01';
        values.set(request.url, request.payload);
        response.end();
      } else if (values.has(request.url)) {
        response.setOption('Content-Format', 'text/plain');
        response.end(values.get(request.url));
      } else {
        response.code = '4.04';
        response.end('nothing here');
      }
    });
    await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  });
  after(() => new Promise((resolve) => { server.close(resolve); }));

  const url = (path) => `coap://127.0.0.1:${server._sock.address().port}/${path}`;
  const tercet = (...args) => run(binary(), ['coap', ...args], { timeout: PATIENCE_MS });

  test('is asked by tercet coap', async () => {
    await tercet('put', '-e', 'a value', url('a'));
    assert.equal((await tercet('get', url('a'))).stdout.trim(), 'a value');
    await assert.rejects(tercet('get', url('b')), (error) => error.code === 1 && /4\.04.*nothing here/s.test(error.stderr));
  });

  test('gives large values in blocks', async () => {
    values.set('/large', Buffer.alloc(5000, 'x'));
    assert.equal((await tercet('get', url('large'))).stdout.trim(), 'x'.repeat(5000));
  });
});
