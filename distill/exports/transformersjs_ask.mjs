// Answers batches with a model of transformers.js: node transformersjs_ask.mjs NODE_MODULES FOLDER CLASS
//
// In: a line of JSON, { inputs: [{ name, dims }], outputs: [name] }, then float32 bytes of each input. Out: a line of
// JSON, { outputs: [{ name, dims }] }, then float32 bytes of each output. The first line out says that it is ready.

import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [, , modules, folder, name] = process.argv;
const found = createRequire(path.join(modules, "from-here.js")).resolve("@huggingface/transformers");
const transformers = await import(pathToFileURL(found).href);
const { env, Tensor } = transformers;

env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder);
const model = await transformers[name].from_pretrained(path.basename(folder), { dtype: "fp32", device: "cpu" });

let waiting = Buffer.alloc(0);
const incoming = process.stdin[Symbol.asyncIterator]();
const more = async () => {
  const { value, done } = await incoming.next();
  if (done) process.exit(0);
  waiting = Buffer.concat([waiting, value]);
};
const line = async () => {
  let end;
  while ((end = waiting.indexOf(10)) < 0) await more();
  const text = waiting.subarray(0, end).toString();
  waiting = waiting.subarray(end + 1);
  return JSON.parse(text);
};
const floats = async (count) => {
  while (waiting.length < 4 * count) await more();
  const data = new Float32Array(count);
  Buffer.from(data.buffer).set(waiting.subarray(0, 4 * count));
  waiting = waiting.subarray(4 * count);
  return data;
};
const write = (data) => new Promise((done) => process.stdout.write(data, done));

await write(JSON.stringify({ ready: true }) + "\n");
for (;;) {
  const { inputs, outputs } = await line();
  const given = {};
  for (const { name, dims } of inputs) {
    given[name] = new Tensor("float32", await floats(dims.reduce((a, b) => a * b, 1)), dims);
  }
  const said = await model(given);
  await write(JSON.stringify({ outputs: outputs.map((name) => ({ name, dims: said[name].dims })) }) + "\n");
  for (const name of outputs) {
    const data = Float32Array.from(said[name].data);
    await write(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  }
}
