/** Parsers of option values, with one clear sentence for a bad one. */
import { InvalidArgumentError } from "commander";

/** A non-negative integer. */
export function parseInteger(text: string): number {
	if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number, 0 or more.");
	return Number(text);
}

/** A positive number, exponents allowed (delta is often 1e-6). */
export function parsePositive(text: string): number {
	const value = Number(text);
	if (text.trim() === "" || !Number.isFinite(value) || value <= 0) {
		throw new InvalidArgumentError("It must be a positive number.");
	}
	return value;
}

/** A delta: strictly between 0 and 1. */
export function parseDelta(text: string): number {
	const value = parsePositive(text);
	if (value >= 1) throw new InvalidArgumentError("It must be below 1.");
	return value;
}

/** A date or time, as ISO 8601 in UTC. */
export function parseTime(text: string): string {
	const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
	if (Number.isNaN(time)) {
		throw new InvalidArgumentError("It must be a date or time such as 2026-12-31 or 2026-12-31T18:00:00Z.");
	}
	return new Date(time).toISOString();
}
