/** A model's files in one format; the card comes with every one of them. */
import { toHex } from "../../crypto/encoding.ts";
import { sha256 } from "../../crypto/hash.ts";
import { exportLayersModel } from "../../src/learning/formats/layersModel.ts";
import {
	createModelCard,
	type ModelCardFacts,
	modelCardJson,
	modelCardMarkdown,
} from "../../src/learning/formats/modelCard.ts";
import { exportOnnx } from "../../src/learning/formats/onnx.ts";
import { exportSafetensors } from "../../src/learning/formats/safetensors.ts";
import type { TrainedModel } from "../../src/learning/formats/trainedModel.ts";
import type { ModelArtifact, ModelFormat } from "../rpc/services.ts";

const BINARY = "application/octet-stream";

/**
 * The main file first, the card last, as Markdown and as JSON.
 * @param cardOf the card's facts, given the hashes of the files it goes with
 * @throws AlthingError as the formats do, `learning.not_finite` above all
 */
export function artifactsOf(
	trained: TrainedModel,
	format: ModelFormat,
	cardOf: (files: Record<string, string>) => ModelCardFacts,
): ModelArtifact[] {
	const files = modelFiles(trained, format);
	const hashes = Object.fromEntries(files.map(({ name, bytes }) => [name, toHex(sha256(bytes))]));
	const card = createModelCard(trained, cardOf(hashes));
	return [
		...files,
		text("model-card.md", "text/markdown; charset=utf-8", modelCardMarkdown(card)),
		text("model-card.json", "application/json", modelCardJson(card)),
	];
}

function modelFiles(trained: TrainedModel, format: ModelFormat): ModelArtifact[] {
	switch (format) {
		case "onnx":
			return [{ name: "model.onnx", mediaType: BINARY, bytes: exportOnnx(trained) }];
		case "safetensors":
			return [{ name: "model.safetensors", mediaType: BINARY, bytes: exportSafetensors(trained) }];
		case "tfjs": {
			const { modelJson, weights } = exportLayersModel(trained);
			return [
				text("model.json", "application/json", modelJson),
				{ name: "weights.bin", mediaType: BINARY, bytes: weights },
			];
		}
	}
}

function text(name: string, mediaType: string, content: string): ModelArtifact {
	return { name, mediaType, bytes: new TextEncoder().encode(content) };
}
