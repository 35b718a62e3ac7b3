import { expect, test, vi } from "vitest";
import { linearRegression } from "../../../src/learning/model.ts";
import { createTrainer, describeBackends } from "../../../src/learning/trainer.ts";

vi.mock("onnxruntime-node", () => {
	throw new Error("no binary for this platform");
});

test("a runtime that does not load is a clear error of the trainer that asks for it, and of no other", async () => {
	const model = linearRegression(1);
	await expect(createTrainer({ model })).rejects.toMatchObject({
		code: "learning.backend_unavailable",
		facts: { backend: "onnx" },
	});
	const trainer = await createTrainer({ model, backend: "tfjs" });
	expect(await trainer.predict(Float32Array.of(2, 1), Float32Array.of(3))).toEqual(Float32Array.of(7));
	await trainer.dispose();
});

test("describeBackends says which runtime is missing", async () => {
	const [onnx, tfjs] = await describeBackends();
	expect(onnx).toMatchObject({ backend: "onnx", runtime: "none", available: false });
	expect(onnx!.note).toContain("does not load");
	expect(tfjs).toMatchObject({ backend: "tfjs", available: true });
});
