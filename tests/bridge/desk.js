// The desk as a plain @grpc/grpc-js server: it knows nothing of the bus.
//
// Started with one argument, JSON: {"proto": FILE, "roots": [DIR], "port": N, "reflection": BOOL, "health": BOOL}; with
// "age_ms": N its connections are that old at most. Says on its output where it listens, and what becomes of calls that wait.

const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');
const { ReflectionService } = require('@grpc/reflection');
const { HealthImplementation } = require('grpc-health-check');

const plan = JSON.parse(process.argv[2]);
const name = 'test.bridge.v1.Desk';
const definition = loader.loadSync(plan.proto, { includeDirs: plan.roots, keepCase: true, defaults: true });
const desk = grpc.loadPackageDefinition(definition).test.bridge.v1.Desk;

const rpc = protobuf.parse(`syntax = "proto3"; package google.rpc;
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message Any { string type_url = 1; bytes value = 2; }
  message BadRequest { repeated FieldViolation field_violations = 1; }
  message FieldViolation { string field = 1; string description = 2; }`).root;

let produced = 0;
const health = new HealthImplementation(plan.health ? { [name]: 'SERVING' } : {});

function say(...words) {
  console.log(...words);
}

function metadata(entries) {
  const made = new grpc.Metadata();
  for (const [key, value] of Object.entries(entries)) made.set(key, value);
  return made;
}

function refusal(code, message) {
  const BadRequest = rpc.lookupType('google.rpc.BadRequest');
  const value = BadRequest.encode({ fieldViolations: [{ field: 'wish', description: 'e panjohur: ë ç š' }] }).finish();
  const status = rpc.lookupType('google.rpc.Status').encode({
    code, message, details: [{ typeUrl: 'type.googleapis.com/google.rpc.BadRequest', value }],
  }).finish();
  const trailers = metadata({ 'x-desk-trailer': 'refused', 'grpc-status-details-bin': Buffer.from(status) });
  return { code, details: message, metadata: trailers };
}

function wait(call, method) {
  const deadline = call.getDeadline();
  const left = deadline instanceof Date ? deadline.getTime() - Date.now() : deadline - Date.now();
  say('waiting', method, `remaining_ms=${Number.isFinite(left) ? left : 0}`);
  call.on('cancelled', () => say('ended', method));
}

function seen(call) {
  const texts = Object.entries(call.metadata.getMap()).filter(([, value]) => typeof value === 'string');
  return Object.fromEntries(texts);
}

function ask(call, callback) {
  const { wish, number } = call.request;
  if (wish === 'missing') return callback(refusal(grpc.status.NOT_FOUND, 'nuk u gjet: ë ç š'));
  if (wish === 'wait') return wait(call, 'Ask');
  if (wish === 'crash') return callback(new Error('the desk is broken'));
  if (wish === 'produced') return callback(null, { number: produced });
  if (wish === 'sick' || wish === 'well') health.setStatus(name, wish === 'sick' ? 'NOT_SERVING' : 'SERVING');
  call.sendMetadata(metadata({ 'x-desk': 'open' }));
  const trailers = metadata({ 'x-desk-trailer': 'closed', 'x-desk-bin': Buffer.from([0, 1, 2, 255]) });
  callback(null, { text: wish, number, seen: seen(call) }, trailers);
}

async function list(call) {
  const { wish, number } = call.request;
  if (wish === 'wait') {
    call.write({ text: 'first' });
    return wait(call, 'List');
  }
  for (let at = 0; at < number && !call.cancelled; at += 1) {
    produced += 1;
    const room = call.write({ number: at, data: wish === 'large' ? Buffer.alloc(65536, 'x') : Buffer.alloc(0) });
    if (!room) await new Promise((resolve) => { call.once('drain', resolve); call.once('cancelled', resolve); });
  }
  if (wish === 'fail') {
    call.emit('error', refusal(grpc.status.DATA_LOSS, 'u ndërpre'));
  } else {
    call.end(metadata({ 'x-desk-trailer': 'closed' }));
  }
}

function total(call, callback) {
  let count = 0;
  call.on('data', (question) => {
    if (question.wish === 'stall') {
      call.pause();
      return wait(call, 'Sum');
    }
    count += question.number;
    return say('got', count);
  });
  call.on('cancelled', () => say('ended Sum'));
  call.on('end', () => callback(null, { number: count, seen: seen(call) }));
}

function talk(call) {
  call.on('data', (question) => {
    if (question.wish === 'missing') {
      call.emit('error', refusal(grpc.status.NOT_FOUND, 'nuk u gjet: ë ç š'));
    } else {
      call.write({ text: question.wish.toUpperCase(), number: question.number });
    }
  });
  call.on('end', () => call.end(metadata({ 'x-desk-trailer': 'closed' })));
}

const server = new grpc.Server(plan.age_ms ? { 'grpc.max_connection_age_ms': plan.age_ms } : {});
server.addService(desk.service, { Ask: ask, File: ask, List: list, Sum: total, Talk: talk });
if (plan.health) health.addToServer(server);
if (plan.reflection) new ReflectionService(definition).addToServer(server);
server.bindAsync(`127.0.0.1:${plan.port}`, grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  say('listening on port', port);
});
