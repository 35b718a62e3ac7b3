/**
 * A count sketch: a small table that vectors can be added up in, from which the largest coordinates
 * of the sum are read (Charikar, Chen, Farach-Colton 2002; in federated learning FetchSGD, Rothchild et
 * al. 2020, arXiv:2007.07682).
 *
 * In each of r rows every coordinate has one of c cells and a sign, drawn from public randomness; it is
 * added to its cells times its signs. The median over the rows of cell times sign estimates it, off by
 * about the length of the rest of the vector over the root of c.
 *
 * A sketch does not keep lengths: coordinates that share cells and signs add up. The L2 norm of the
 * table is root r times that of the vector on average, but for the worst vector the root of r times
 * the coordinates in the fullest cell. So a record's part is not bounded by clipping its gradient before
 * it is sketched; a whole table can be clipped, which is what private jobs do.
 */
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { forEachChunk } from "../../crypto/maskStream.ts";

export interface SketchShape {
	/** r, odd, so that a median is one of the estimates. */
	readonly rows: number;
	/** c, cells of a row. */
	readonly columns: number;
}

export const MOST_ROWS = 9;
/** So that a cell is found exactly in 53 bits. */
export const MOST_COLUMNS = 2 ** 22;

export class CountSketch {
	readonly length: number;
	readonly shape: SketchShape;
	/** Cell times 2, plus 1 for a minus sign; row after row, r times `length`. */
	readonly #places: Uint32Array;

	/**
	 * @param length of the vectors
	 * @param seed32 32 public bytes; sketches are added up under one seed alone
	 * @throws AlthingError `compression.bad_sketch`
	 */
	constructor(length: number, shape: SketchShape, seed32: Uint8Array) {
		const { rows, columns } = shape;
		const sound = Number.isInteger(rows) && rows % 2 === 1 && Number.isInteger(columns) && columns >= 1;
		if (!sound || rows < 1 || rows > MOST_ROWS || columns > MOST_COLUMNS) {
			throw new AlthingError(
				"compression.bad_sketch",
				`A sketch has an odd number of rows up to ${MOST_ROWS} and up to ${MOST_COLUMNS} columns, not ${rows} and ${columns}.`,
				{ rows, columns },
			);
		}
		this.length = length;
		this.shape = shape;
		this.#places = new Uint32Array(rows * length);
		for (let row = 0; row < rows; row++) {
			const places = this.#places.subarray(row * length, (row + 1) * length);
			forEachChunk(length, hashFields("althing/count-sketch/1", seed32, row), (offset, words) => {
				for (let j = 0; j < words.length; j++) {
					const word = words[j]!;
					const cell = row * columns + Math.floor(((word >>> 1) * columns) / 2 ** 31);
					places[offset + j] = 2 * cell + (word & 1);
				}
			});
		}
	}

	get cells(): number {
		return this.shape.rows * this.shape.columns;
	}

	/** The table of a vector, row after row. */
	of(values: Float64Array): Float64Array {
		const table = new Float64Array(this.cells);
		for (let row = 0; row < this.shape.rows; row++) {
			const from = row * this.length;
			for (let i = 0; i < this.length; i++) {
				const place = this.#places[from + i]!;
				const value = values[i]!;
				if (value !== 0) table[place >>> 1] = table[place >>> 1]! + ((place & 1) === 0 ? value : -value);
			}
		}
		return table;
	}

	/** An estimate of every coordinate. */
	estimates(table: Float64Array): Float64Array {
		const { rows } = this.shape;
		const estimates = new Float64Array(this.length);
		const sorted = new Float64Array(rows);
		for (let i = 0; i < this.length; i++) {
			for (let row = 0; row < rows; row++) {
				const place = this.#places[row * this.length + i]!;
				const estimate = (place & 1) === 0 ? table[place >>> 1]! : -table[place >>> 1]!;
				let at = row;
				for (; at > 0 && sorted[at - 1]! > estimate; at--) sorted[at] = sorted[at - 1]!;
				sorted[at] = estimate;
			}
			estimates[i] = sorted[rows >> 1]!;
		}
		return estimates;
	}
}
