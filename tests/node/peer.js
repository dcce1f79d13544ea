// An MQTT.js client whose events can be awaited.

import { once } from 'node:events';
import mqtt from 'mqtt';

export const PATIENCE_MS = 15_000;
export const VERSIONS = { '3.1': 3, '3.1.1': 4, 5: 5 };

let counter = 0;

// A word that nothing else in this process uses.
export const unique = () => `${process.pid}x${counter++}`;

function inTime(promise, what) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in time`)), PATIENCE_MS);
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

export class Peer {
  // Connects; `options` are those of MQTT.js. Nothing reconnects by itself unless asked to.
  static async connect(broker, version, { listener = 'mqtt', ...options } = {}) {
    const peer = new Peer();
    peer.open(broker, version, listener, options);
    const outcome = await inTime(
      Promise.race([
        once(peer.client, 'connect').then(([connack]) => ({ connack })),
        once(peer.client, 'error').then(([error]) => ({ error })),
        once(peer.client, 'close').then(() => ({ error: new Error('closed') })),
      ]), 'CONNACK');
    peer.client.on('error', () => {});
    if (outcome.error) {
      peer.client.end(true);
      throw outcome.error;
    }
    peer.connack = outcome.connack;
    return peer;
  }

  open(broker, version, listener, options) {
    const tls = ['tls', 'mtls', 'wss'].includes(listener) ? { ca: broker.pem('ca.pem') } : {};
    if (listener === 'mtls') Object.assign(tls, { cert: broker.pem('client.pem'), key: broker.pem('client.key') });
    this.client = mqtt.connect(broker.url(listener), {
      clientId: unique(), protocolVersion: version, protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      reconnectPeriod: 0, ...tls, ...options,
    });
    this.messages = [];
    this.waiting = [];
    this.client.on('message', (topic, payload, packet) => {
      const message = { topic, text: payload.toString(), payload, packet };
      const next = this.waiting.shift();
      if (next) next(message);
      else this.messages.push(message);
    });
  }

  // The next message.
  take() {
    const message = this.messages.shift();
    if (message) return Promise.resolve(message);
    return inTime(new Promise((resolve) => this.waiting.push(resolve)), 'message');
  }

  async takeMany(count) {
    const messages = [];
    while (messages.length < count) messages.push(await this.take());
    return messages;
  }

  subscribe(filter, options) {
    return inTime(this.client.subscribeAsync(filter, options), 'SUBACK');
  }

  unsubscribe(filter) {
    return inTime(this.client.unsubscribeAsync(filter), 'UNSUBACK');
  }

  publish(topic, payload, options) {
    return inTime(this.client.publishAsync(topic, payload, options), 'acknowledgement');
  }

  closed() {
    return inTime(once(this.client, 'close'), 'close');
  }

  async end() {
    await inTime(this.client.endAsync(), 'end');
  }

  // Closes the socket without a word.
  async die() {
    const closed = this.closed();
    this.client.stream.destroy();
    await closed;
    this.client.end(true);
  }
}
