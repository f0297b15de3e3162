// Runs ONNX files in onnxruntime-node or onnxruntime-web: reads jobs as JSON from a file, writes outputs as JSON.
//
// usage: node run.mjs node|web JOBS.json RESULTS.json
// A job is {model, feeds: {name: {type, dims, data}}}, data in base64, little-endian; a result is {name: tensor}.

import { readFile, writeFile } from "node:fs/promises";

const ARRAYS = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, bool: Uint8Array };
const [runtime, jobsFile, resultsFile] = process.argv.slice(2);
const ort = await import(runtime === "web" ? "onnxruntime-web" : "onnxruntime-node");
if (runtime === "web") ort.env.wasm.numThreads = 1;

function decode({ type, dims, data }) {
  const bytes = new Uint8Array(Buffer.from(data, "base64"));
  return new ort.Tensor(type, new ARRAYS[type](bytes.buffer), dims);
}

function encode(tensor) {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return { type: tensor.type, dims: tensor.dims, data: Buffer.from(buffer, byteOffset, byteLength).toString("base64") };
}

const results = [];
for (const { model, feeds } of JSON.parse(await readFile(jobsFile, "utf8"))) {
  const provider = runtime === "web" ? "wasm" : "cpu";
  const session = await ort.InferenceSession.create(new Uint8Array(await readFile(model)), {
    executionProviders: [provider],
  });
  const named = Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, decode(tensor)]));
  const found = await session.run(named);
  results.push(Object.fromEntries(Object.entries(found).map(([name, tensor]) => [name, encode(tensor)])));
}
await writeFile(resultsFile, JSON.stringify(results));
