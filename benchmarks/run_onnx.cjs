// Run an ONNX file on one float32 input, in JavaScript: node run_onnx.cjs PACKAGE MODEL FOLDER
//
// PACKAGE is onnxruntime-node or onnxruntime-web (WebAssembly). FOLDER holds input.json {name, shape} and input.bin;
// outputs.json {name: shape} and one NAME.bin for each output are written beside them.
const fs = require("node:fs");
const path = require("node:path");

async function main([packageName, model, folder]) {
  const ort = require(packageName);
  const { name, shape } = JSON.parse(fs.readFileSync(path.join(folder, "input.json"), "utf8"));
  const bytes = fs.readFileSync(path.join(folder, "input.bin"));
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  if (ort.env.wasm) ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(fs.readFileSync(model));
  const outputs = await session.run({ [name]: new ort.Tensor("float32", values, shape) });
  const shapes = {};
  for (const [output, tensor] of Object.entries(outputs)) {
    shapes[output] = tensor.dims;
    fs.writeFileSync(path.join(folder, `${output}.bin`), Buffer.from(new Float32Array(tensor.data).buffer));
  }
  fs.writeFileSync(path.join(folder, "outputs.json"), JSON.stringify(shapes));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(String(error.message).split("\n")[0]);
  process.exit(1);
});
