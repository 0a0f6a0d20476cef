// A Sotto client made from codec.proto alone: stream 16-bit samples, get codes, get audio back.
//
//   npm install --no-package-lock
//   node stream.js 127.0.0.1:50551 ../../proto/v1/codec.proto speech.raw heard.raw 24000
//
// speech.raw holds mono LINEAR16 samples at the given rate; heard.raw will too. SOTTO_TOKEN and
// SOTTO_CA (a PEM file) are used if they are set.
"use strict";

const fs = require("node:fs");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const CHUNK_MS = 80;

function connect(address, proto) {
  const definition = protoLoader.loadSync(proto, { keepCase: true, enums: String, longs: Number });
  const { SpeechCodec } = grpc.loadPackageDefinition(definition).sotto.v1;
  const { SOTTO_CA } = process.env;
  const credentials = SOTTO_CA
    ? grpc.credentials.createSsl(fs.readFileSync(SOTTO_CA))
    : grpc.credentials.createInsecure();
  return new SpeechCodec(address, credentials);
}

function metadata() {
  const { SOTTO_TOKEN } = process.env;
  const headers = new grpc.Metadata();
  if (SOTTO_TOKEN) headers.set("authorization", `Bearer ${SOTTO_TOKEN}`);
  return headers;
}

// Sends a configuration and then messages, no faster than the server reads; gives all responses.
function converse(call, config, messages) {
  return new Promise((resolve, reject) => {
    const responses = [];
    call.on("data", (response) => responses.push(response));
    call.on("error", reject);
    call.on("end", () => resolve(responses));
    call.write({ streaming_config: config });
    const queue = messages[Symbol.iterator]();
    (function send() {
      for (let next = queue.next(); !next.done; next = queue.next()) {
        if (!call.write(next.value)) return void call.once("drain", send);
      }
      call.end();
    })();
  });
}

function* chunks(samples, bytes) {
  for (let start = 0; start < samples.length; start += bytes) {
    yield { audio_content: samples.subarray(start, start + bytes) };
  }
}

async function main([address, proto, source, target, rate]) {
  const client = connect(address, proto);
  const sampleRate = Number(rate);
  const bytes = 2 * Math.floor((sampleRate * CHUNK_MS) / 1000);

  const encoded = await converse(
    client.StreamingEncode(metadata()),
    { encoding: "LINEAR16", sample_rate_hertz: sampleRate },
    chunks(fs.readFileSync(source), bytes),
  );
  const { config } = encoded.find((response) => response.config);
  const { totals } = encoded.find((response) => response.totals);

  const decoded = await converse(
    client.StreamingDecode(metadata()),
    {
      identity: config.model.identity,
      encoding: "LINEAR16",
      sample_rate_hertz: sampleRate,
      num_samples: totals.num_samples,
    },
    encoded.filter((response) => response.codes).map(({ codes }) => ({ codes })),
  );
  const heard = decoded.filter((response) => response.audio).map(({ audio }) => audio.audio_content);
  fs.writeFileSync(target, Buffer.concat(heard));
  client.close();
  console.log(JSON.stringify({ model: config.model.name, ...totals }));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`${error.code ?? ""} ${error.details ?? error.message}`);
  process.exit(1);
});
