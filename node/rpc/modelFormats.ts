/** File formats of models, apart from the schemas so that the command line starts without them. */
export const modelFormats = ["onnx", "tfjs", "safetensors"] as const;
