// The broker under test as a child process, with listeners of every kind on free ports.

import { execFileSync, spawn } from 'node:child_process';
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');
const START_MS = 30_000;

export function binary() {
  const path = process.env.TERCET_BIN ?? join(ROOT, 'target/debug/tercet');
  if (!existsSync(path)) throw new Error(`${path} is missing: run \`cargo build -p tercet\`, or set TERCET_BIN`);
  return path;
}

// An authority, a certificate for localhost and one for the client `alice`.
function makeCertificates(directory) {
  const openssl = (...args) => execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '30', '-subj', '/CN=test authority',
    '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
  for (const [name, subject, names] of [
    ['server', '/CN=localhost', 'DNS:localhost,IP:127.0.0.1'],
    ['client', '/CN=alice', 'DNS:alice.example'],
  ]) {
    openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject);
    writeFileSync(join(directory, `${name}.ext`), `subjectAltName=${names}\n`);
    openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial',
      '-out', `${name}.pem`, '-days', '30', '-extfile', `${name}.ext`);
  }
}

// A password file line as Mosquitto writes it, with credentials for SCRAM-SHA-256 (RFC 7677) behind it.
function passwordLine(user, password) {
  const salt = Buffer.from('0123456789ab');
  const hash = pbkdf2Sync(password, salt, 101, 64, 'sha512');
  const salted = pbkdf2Sync(password, salt, 4096, 32, 'sha256');
  const mac = (text) => createHmac('sha256', salted).update(text).digest();
  const stored = createHash('sha256').update(mac('Client Key')).digest('base64');
  const encodedSalt = salt.toString('base64');
  const scram = `$scram-sha-256$4096$${encodedSalt}$${stored}$${mac('Server Key').toString('base64')}`;
  return `${user}:$7$101$${encodedSalt}$${hash.toString('base64')}:${scram}\n`;
}

export class Broker {
  // Starts the broker; resolves once it is ready.
  static async start() {
    const broker = new Broker();
    broker.directory = mkdtempSync(join(tmpdir(), 'tercet-node-'));
    const file = (name) => join(broker.directory, name);
    makeCertificates(broker.directory);
    writeFileSync(file('passwords'), passwordLine('alice', 'alice-secret') + passwordLine('bob', 'bob-secret'));
    chmodSync(file('passwords'), 0o600);
    writeFileSync(file('acl'), readFileSync(join(ROOT, 'tests/clients/acl')));
    const config = readFileSync(join(ROOT, 'tests/clients/tercet.toml'), 'utf8');
    writeFileSync(file('tercet.toml'), config.replaceAll('{dir}', broker.directory));
    await broker.launch(['--http', '127.0.0.1:0', '--config', file('tercet.toml')]);
    return broker;
  }

  // Starts a broker with an AMQP listener and the built-in user.
  static async startAmqp() {
    const broker = new Broker();
    broker.directory = mkdtempSync(join(tmpdir(), 'tercet-node-'));
    await broker.launch(['--http', '127.0.0.1:0', '--amqp', '127.0.0.1:0']);
    return broker;
  }

  // Starts a broker with a CoAP listener.
  static async startCoap() {
    const broker = new Broker();
    broker.directory = mkdtempSync(join(tmpdir(), 'tercet-node-'));
    await broker.launch(['--http', 'off', '--amqp', 'off']);
    return broker;
  }

  async launch(args) {
    const portsFile = join(this.directory, 'ports.json');
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TERCET_')));
    this.process = spawn(binary(), ['serve', '--memory', '--mqtt', '127.0.0.1:0', '--coap', '127.0.0.1:0',
      '--ports-file', portsFile, ...args],
      { stdio: ['ignore', 'ignore', 'pipe'], env });
    this.log = [];
    await new Promise((resolve, reject) => {
      const fail = () => reject(new Error(`the broker did not start:\n${this.log.join('\n')}`));
      const timer = setTimeout(fail, START_MS);
      this.process.on('exit', fail);
      createInterface({ input: this.process.stderr }).on('line', (line) => {
        this.log.push(line);
        if (line.includes('ready in')) {
          clearTimeout(timer);
          resolve();
        }
      });
    });
    const ports = JSON.parse(readFileSync(portsFile, 'utf8'));
    this.addresses = { ...ports, ...ports.listeners };
  }

  port(name) {
    return Number(this.addresses[name].split(':').at(-1));
  }

  pem(name) {
    return readFileSync(join(this.directory, name));
  }

  // The URL of a listener.
  url(name) {
    switch (name) {
      case 'ws': return `ws://localhost:${this.port('ws')}/mqtt`;
      case 'http': return `ws://localhost:${this.port('http')}/mqtt`;
      case 'wss': return `wss://localhost:${this.port('wss')}/mqtt`;
      case 'tls': case 'mtls': return `mqtts://localhost:${this.port(name)}`;
      default: return `mqtt://localhost:${this.port(name)}`;
    }
  }

  stop() {
    const ended = this.process.exitCode !== null || this.process.signalCode !== null;
    this.process.removeAllListeners('exit');
    this.process.kill('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
    if (ended) throw new Error(`the broker ended by itself:\n${this.log.slice(-50).join('\n')}`);
  }
}
