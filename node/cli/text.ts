/** Text for terminals: safe cells, aligned tables, short numbers. */

/**
 * Control characters made visible as `?`. Names come from other organizations: an escape
 * sequence in one must not reach the operator's terminal.
 */
export function printable(text: string): string {
	// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to catch
	return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "?");
}

export type Cell = string | number | boolean | null | undefined;

function cellText(cell: Cell): string {
	if (cell === undefined || cell === null || cell === "") return "-";
	if (typeof cell === "boolean") return cell ? "yes" : "no";
	return printable(String(cell));
}

/** Rows under headers, columns two spaces apart; numbers to the right. Answers `none` when there are no rows. */
export function table(
	headers: readonly string[],
	rows: readonly (readonly Cell[])[],
	none: string,
	heading: (text: string) => string = (text) => text,
): string {
	if (rows.length === 0) return none;
	const texts = rows.map((row) => headers.map((_, column) => cellText(row[column])));
	const widths = headers.map((header, column) =>
		Math.max(header.length, ...texts.map((row) => (row[column] ?? "").length)),
	);
	const numeric = headers.map((_, column) => rows.every((row) => typeof row[column] !== "string"));
	const line = (cells: readonly string[]) =>
		cells
			.map((cell, column) =>
				numeric[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
			)
			.join("  ")
			.trimEnd();
	return [heading(line(headers)), ...texts.map(line)].join("\n");
}

/** `name: value` lines with the values aligned. */
export function fields(entries: readonly (readonly [string, Cell])[]): string {
	const width = Math.max(...entries.map(([name]) => name.length)) + 2;
	return entries.map(([name, value]) => `${`${name}:`.padEnd(width)}${cellText(value)}`).join("\n");
}

/** Four significant digits, for people. */
export function figure(value: number | undefined): string | undefined {
	return value === undefined ? undefined : Number(value.toPrecision(4)).toString();
}

/** Bytes in binary units. */
export function bytesText(sizeBytes: number): string {
	if (sizeBytes < 1024) return `${sizeBytes} B`;
	const exponent = Math.min(4, Math.floor(Math.log2(sizeBytes) / 10));
	return `${(sizeBytes / 1024 ** exponent).toFixed(1)} ${["KiB", "MiB", "GiB", "TiB"][exponent - 1]}`;
}

/** The recognizable end of a peer id or the start of a hash. */
export function shortPeer(peer: string): string {
	return peer.length > 12 ? `…${peer.slice(-8)}` : peer;
}
