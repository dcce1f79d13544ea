// amqplib connections and channels whose events can be awaited, to Tercet or to a broker at TERCET_TEST_AMQP_PORT.

import { once } from 'node:events';
import amqplib from 'amqplib';
import { Broker } from './broker.js';

export const PATIENCE_MS = 15_000;

let counter = 0;

// A name that nothing else in this process uses.
export const unique = (what = 'q') => `${what}-${process.pid}x${counter++}`;

export function inTime(promise, what) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in time`)), PATIENCE_MS);
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

// The broker under test; RabbitMQ, if that is what listens at the port.
export async function startBroker() {
  const port = process.env.TERCET_TEST_AMQP_PORT;
  return port ? { port: () => Number(port), stop() {} } : Broker.startAmqp();
}

export async function connect(broker, options = {}) {
  const url = `amqp://guest:guest@127.0.0.1:${broker.port('amqp')}/${options.vhost ?? ''}`;
  const connection = await inTime(amqplib.connect(url, options.socket), 'connection');
  connection.on('error', () => {});
  return connection;
}

// A consumer whose messages can be taken one by one; null stands for the broker's cancel.
export class Inbox {
  static async open(channel, queue, options) {
    const inbox = new Inbox();
    inbox.items = [];
    inbox.waiting = [];
    inbox.channel = channel;
    const { consumerTag } = await inTime(channel.consume(queue, (message) => {
      const next = inbox.waiting.shift();
      if (next) next(message);
      else inbox.items.push(message);
    }, options), 'consumer');
    inbox.tag = consumerTag;
    return inbox;
  }

  take() {
    if (this.items.length) return Promise.resolve(this.items.shift());
    return inTime(new Promise((resolve) => { this.waiting.push(resolve); }), 'message');
  }

  async texts(count) {
    const texts = [];
    while (texts.length < count) texts.push((await this.take()).content.toString());
    return texts;
  }
}

// The error that a channel or a connection emits.
export const failure = (emitter) => inTime(once(emitter, 'error').then(([error]) => error), 'error');
