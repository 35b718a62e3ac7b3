/** The IDX format of MNIST: big-endian header (0, 0, type, dimensions, sizes), then the values. */
import { AlthingError } from "../../crypto/error.ts";
import type { Dataset } from "./dataset.ts";
import { readDataFile } from "./file.ts";

const UNSIGNED_BYTE = 0x08;

/**
 * Images and their labels from two IDX files of unsigned bytes (plain or gzip). Features are the
 * pixel values 0..255, row by row; `labelNames` are the byte values in use, ascending.
 * @throws AlthingError `data.unreadable`, `data.empty`, `data.wrong_magic`, `data.truncated`, `data.length_mismatch`
 */
export function readIdx(imagesPath: string, labelsPath: string): Dataset {
	const images = readIdxFile(imagesPath, 3);
	const labels = readIdxFile(labelsPath, 1);
	const [rows = 0, height = 0, width = 0] = images.sizes;
	if (labels.sizes[0] !== rows) {
		throw new AlthingError(
			"data.length_mismatch",
			`${imagesPath} holds ${rows} images but ${labelsPath} holds ${labels.sizes[0]} labels. Use two files of the same set.`,
			{ imagesPath, labelsPath },
		);
	}
	const values = [...new Set(labels.values)].sort((a, b) => a - b);
	const indexOf = new Map(values.map((value, index) => [value, index]));
	return {
		features: Float32Array.from(images.values),
		labels: Float32Array.from(labels.values, (value) => indexOf.get(value)!),
		rows,
		columns: Array.from({ length: height * width }, (_, i) => `p${i}`),
		labelNames: values.map(String),
	};
}

function readIdxFile(path: string, dimensions: number): { sizes: number[]; values: Uint8Array } {
	const bytes = readDataFile(path);
	const headerBytes = 4 + 4 * dimensions;
	const expectedMagic = (UNSIGNED_BYTE << 8) | dimensions;
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const magic = bytes.length >= 4 ? view.getUint32(0) : undefined;
	if (magic !== expectedMagic) {
		throw new AlthingError(
			"data.wrong_magic",
			`Data file ${path} is not an IDX file of unsigned bytes in ${dimensions} dimension(s): its first four bytes should be ${hex(expectedMagic)}${magic === undefined ? "" : ` but are ${hex(magic)}`}. Check that images and labels are not swapped.`,
			{ path },
		);
	}
	if (bytes.length < headerBytes) throw truncated(path, headerBytes, bytes.length);
	const sizes = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i));
	const expected = headerBytes + sizes.reduce((product, size) => product * size, 1);
	if (bytes.length !== expected) throw truncated(path, expected, bytes.length);
	if (sizes.includes(0)) {
		throw new AlthingError("data.empty", `Data file ${path} announces no records.`, { path });
	}
	return { sizes, values: bytes.subarray(headerBytes) };
}

function truncated(path: string, expectedBytes: number, actualBytes: number): AlthingError {
	return new AlthingError(
		"data.truncated",
		`Data file ${path} should hold ${expectedBytes} bytes by its own header but holds ${actualBytes}. Copy it again.`,
		{ path, expectedBytes, actualBytes },
	);
}

function hex(magic: number): string {
	return `0x${magic.toString(16).padStart(8, "0")}`;
}
