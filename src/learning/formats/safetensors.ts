/**
 * Weights in safetensors (https://huggingface.co/docs/safetensors): an 8-byte little-endian header
 * length, a JSON header with each tensor's type, shape and byte range, then the data. The model
 * description travels in the header's metadata, so that the file is complete by itself.
 */
import { z } from "zod";
import { AlthingError } from "../../../crypto/error.ts";
import { float32FromBytes, float32ToBytes } from "../littleEndian.ts";
import { parameterCount, parameterLayout, parseModel } from "../model.ts";
import { requireTrainedModel, type TrainedModel } from "./trainedModel.ts";

const LARGEST_HEADER_BYTES = 1 << 20;

const headerSchema = z.object({ __metadata__: z.object({ model: z.string() }) }).catchall(
	z.strictObject({
		dtype: z.literal("F32"),
		shape: z.array(z.int().min(0)),
		data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
	}),
);

/** The bytes of a `.safetensors` file. @throws AlthingError as {@link requireTrainedModel}. */
export function exportSafetensors(trained: TrainedModel): Uint8Array {
	const { model, parameters } = requireTrainedModel(trained);
	const tensors = parameterLayout(model).map(({ name, shape, offset, length }) => [
		name,
		{ dtype: "F32", shape, data_offsets: [4 * offset, 4 * (offset + length)] },
	]);
	const metadata = { __metadata__: { format: "althing", model: JSON.stringify(model) } };
	const json = JSON.stringify({ ...metadata, ...Object.fromEntries(tensors) });
	const header = new TextEncoder().encode(json);
	// Padded with spaces so that the data starts at a multiple of 8, as the format recommends.
	const headerBytes = Math.ceil(header.length / 8) * 8;
	const data = float32ToBytes(parameters);
	const file = new Uint8Array(8 + headerBytes + data.length).fill(0x20, 8, 8 + headerBytes);
	new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
	file.set(header, 8);
	file.set(data, 8 + headerBytes);
	return file;
}

/**
 * Reads a file written by {@link exportSafetensors}, by whatever program it was saved again.
 * @throws AlthingError `learning.invalid_safetensors`, `learning.invalid_model`, `learning.not_finite`.
 */
export function importSafetensors(file: Uint8Array): TrainedModel {
	if (file.length < 8) throw invalid("it is shorter than its header");
	const headerBytes = Number(new DataView(file.buffer, file.byteOffset, 8).getBigUint64(0, true));
	if (headerBytes > LARGEST_HEADER_BYTES || 8 + headerBytes > file.length) {
		throw invalid(`its header claims ${headerBytes} bytes`);
	}
	const json = parseJson(new TextDecoder().decode(file.subarray(8, 8 + headerBytes)));
	const header = headerSchema.safeParse(json);
	if (!header.success) throw invalid(`its header is not one of ours (${header.error.issues[0]?.message})`);
	const { __metadata__: metadata, ...tensors } = header.data;
	const model = parseModel(parseJson(metadata.model));
	const data = file.subarray(8 + headerBytes);
	const layout = parameterLayout(model);
	if (data.length !== 4 * parameterCount(model) || Object.keys(tensors).length !== layout.length) {
		throw invalid("its tensors are not those of the model it names");
	}
	const parameters = new Float32Array(parameterCount(model));
	for (const { name, shape, offset, length } of layout) {
		const tensor = Object.hasOwn(tensors, name) ? tensors[name] : undefined;
		const [start = 0, end = 0] = tensor?.data_offsets ?? [];
		const fits =
			tensor?.shape.length === shape.length && shape.every((size, axis) => tensor.shape[axis] === size);
		if (!fits || end - start !== 4 * length || end > data.length)
			throw invalid(`tensor ${name} is missing or misshapen`);
		parameters.set(float32FromBytes(data.subarray(start, end)), offset);
	}
	return requireTrainedModel({ model, parameters });
}

function parseJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch (cause) {
		throw invalid("its header is not JSON", cause);
	}
}

function invalid(problem: string, cause?: unknown): AlthingError {
	return new AlthingError(
		"learning.invalid_safetensors",
		`The safetensors file cannot be read: ${problem}.`,
		{},
		{ cause },
	);
}
